//! `doctor`: everything that cannot be, looked for beside the running server or on a stopped one.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use shared::command::{Method, NotAnswered, Target};

use super::{CommandError, Where};

const PATH: &str = "/api/v1/registry/doctor";

/// Compares rows with rows and rows with bytes, and tells every fault. It writes nothing but how far it has come.
///
/// Ends with 0 if nothing was found, with 1 if something was (repaired or not), and with 2 if it could not look at everything. A run that was ended goes on
/// where it was.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    registry: Where,
    /// Read and hash all bytes, those first that nobody has hashed for longest; damaged blobs are marked, so that a push of them heals.
    #[arg(long)]
    deep: bool,
    /// Put right what can be: files that no row knows go to quarantine, what is counted wrong is counted again, what cannot expire is looked at again.
    #[arg(long)]
    repair: bool,
    /// Begin anew where an earlier run was ended.
    #[arg(long)]
    restart: bool,
    /// How much of the machine to take: a share of the time, or bytes per second. Without it 25% beside a server, 100% on a stopped one.
    #[arg(long, value_name = "25%|20M")]
    rate: Option<String>,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What a run came to.
struct Ending {
    findings: u64,
    repaired: u64,
}

impl Ending {
    fn read(done: &Value) -> Self {
        Self { findings: number(done, "findings"), repaired: number(done, "repaired") }
    }
}

impl Doctor {
    /// Looks, and prints what is found to `out`.
    ///
    /// # Errors
    /// [`CommandError::Found`] if something was found, [`CommandError::NotExamined`] if not all was looked at.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        match self.examine(out).await.map_err(|error| CommandError::NotExamined(Box::new(error)))? {
            Ending { findings: 0, .. } => Ok(()),
            Ending { findings, repaired } => Err(CommandError::Found { findings, repaired }),
        }
    }

    async fn examine(&self, out: &mut (impl Write + Send)) -> Result<Ending, CommandError> {
        let reached = self.registry.reach().await?;
        let alone = matches!(reached.target, Target::Direct(_)).then_some("100%");
        let rate = self.rate.as_deref().or(alone);
        let order = json!({"deep": self.deep, "repair": self.repair, "restart": self.restart, "rate": rate});
        let mut ending = None;
        let each = |event: Value| {
            match event["event"].as_str() {
                Some("done") => ending = Some(Ok(Ending::read(&event))),
                Some("failed") => ending = Some(Err(event["detail"].as_str().unwrap_or_default().to_owned())),
                _ => {}
            }
            if self.json { writeln!(out, "{event}") } else { line(&event, out) }
        };
        let heard = reached.target.ask_for_lines(&Method::POST, PATH, Some(&order), each).await;
        reached.close().await;
        heard?;
        match ending {
            Some(Ok(ending)) => Ok(ending),
            Some(Err(reason)) => Err(CommandError::BrokenOff(reason)),
            None => Err(NotAnswered::Io(io::ErrorKind::UnexpectedEof.into()).into()),
        }
    }
}

/// A line for a person.
fn line(event: &Value, out: &mut impl Write) -> io::Result<()> {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let looked = number(event, "looked");
    match text("event") {
        "finding" => {
            writeln!(out, "{} {}", text("invariant"), text("sentence"))?;
            match (text("repaired"), text("left")) {
                ("", "") => Ok(()),
                ("", left) => writeln!(out, "   left: {left}"),
                (repaired, _) => writeln!(out, "   repaired: {repaired}"),
            }
        }
        "progress" => writeln!(out, "{}: {looked} looked at …", text("check")),
        "checked" => writeln!(out, "{}: {looked} looked at, {} findings", text("check"), number(event, "findings")),
        "done" => {
            let since = if event["resumed"] == true { ", those of the run before it included" } else { "" };
            let [findings, repaired] = ["findings", "repaired"].map(|key| number(event, key));
            writeln!(out, "{looked} rows and files looked at, {findings} findings, {repaired} repaired{since}")
        }
        _ => Ok(()),
    }
}

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_a_person() {
        let mut out = Vec::new();
        for event in [
            json!({"event": "progress", "check": "links", "looked": 500}),
            json!({"event": "finding", "invariant": "I2", "sentence": "key blobs/00/1: 5 bytes that no row knows"}),
            json!({"event": "finding", "invariant": "I10", "sentence": "namespace acme: …", "repaired": "counted again"}),
            json!({"event": "finding", "invariant": "I1", "sentence": "blob 1: …", "left": "push it again"}),
            json!({"event": "checked", "check": "links", "looked": 700, "findings": 3}),
            json!({"event": "done", "depth": "sizes", "looked": 700, "findings": 3, "repaired": 1, "resumed": true}),
        ] {
            line(&event, &mut out).unwrap();
        }
        let expected = "links: 500 looked at …\n\
                        I2 key blobs/00/1: 5 bytes that no row knows\n\
                        I10 namespace acme: …\n   repaired: counted again\n\
                        I1 blob 1: …\n   left: push it again\n\
                        links: 700 looked at, 3 findings\n\
                        700 rows and files looked at, 3 findings, 1 repaired, those of the run before it included\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
