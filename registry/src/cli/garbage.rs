//! `garbage-collect`, with the verbs and the lines of the stock registries' command of that name: scripts read them.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use shared::command::{Method, NotAnswered};

use super::{CommandError, Where};

const PATH: &str = "/api/v1/registry/garbage-collect";

/// Frees at once what was deleted, and never what is being pushed. The server may run meanwhile, and clients push and pull.
#[derive(Debug, Args)]
pub struct GarbageCollect {
    #[command(flatten)]
    registry: Where,
    /// Say what would go, and remove nothing.
    #[arg(short = 'd', long)]
    dry_run: bool,
    /// Remove manifests that no tag, index or subject holds, once their grace has passed.
    #[arg(short = 'm', long)]
    delete_untagged: bool,
    /// Leave deleted manifests that could still be undeleted.
    #[arg(long)]
    keep_deleted: bool,
    /// Print nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Print one JSON document: everything that goes, everything that stays with the reason, and the bytes of each repository.
    #[arg(long)]
    json: bool,
}

impl GarbageCollect {
    /// Collects, and prints what happens to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let reached = self.registry.reach().await?;
        let order = json!({
            "dry_run": self.dry_run,
            "delete_untagged": self.delete_untagged,
            "keep_deleted": self.keep_deleted,
            "detail": self.json || !self.quiet,
        });
        let mut printer = Printer::new(self.json, self.quiet);
        let each = |event: Value| printer.print(&event, out);
        let heard = reached.target.ask_for_lines(&Method::POST, PATH, Some(&order), each).await;
        reached.close().await;
        heard?;
        match printer.ending {
            Some(Ending::Done) => Ok(()),
            Some(Ending::Failed(reason)) => Err(CommandError::NotCollected(reason)),
            None => Err(NotAnswered::Io(io::ErrorKind::UnexpectedEof.into()).into()),
        }
    }
}

/// How a run ended.
enum Ending {
    Done,
    Failed(String),
}

/// Prints events as they come.
struct Printer {
    form: Form,
    ending: Option<Ending>,
}

enum Form {
    Lines,
    Nothing,
    /// One document; the repositories stand behind the items, and wait for that.
    Json {
        items: u64,
        repositories: Vec<Value>,
    },
}

impl Printer {
    fn new(json: bool, quiet: bool) -> Self {
        let form = match (json, quiet) {
            (true, _) => Form::Json { items: 0, repositories: Vec::new() },
            (false, true) => Form::Nothing,
            (false, false) => Form::Lines,
        };
        Self { form, ending: None }
    }

    fn print(&mut self, event: &Value, out: &mut impl Write) -> io::Result<()> {
        match event["event"].as_str() {
            Some("done") => self.ending = Some(Ending::Done),
            Some("failed") => self.ending = Some(Ending::Failed(text(event, "detail").to_owned())),
            _ => {}
        }
        match &mut self.form {
            Form::Nothing => Ok(()),
            Form::Lines => line(event, out),
            Form::Json { items, repositories } => document(event, items, repositories, out),
        }
    }
}

/// The lines of the stock registries, their spaces too. What only we know is behind the last of them.
fn line(event: &Value, out: &mut impl Write) -> io::Result<()> {
    let [repository, digest] = ["repository", "digest"].map(|key| text(event, key));
    match (text(event, "event"), text(event, "kind")) {
        ("repository", _) => writeln!(out, "{}", text(event, "name")),
        ("kept", "manifest") => writeln!(out, "{repository}: marking manifest {digest} "),
        ("kept", "blob") => writeln!(out, "{repository}: marking blob {digest}"),
        ("manifest", _) => writeln!(out, "manifest eligible for deletion: {{{repository} {digest} []}}"),
        ("marked", _) => {
            let [kept, blobs, manifests] = ["kept", "blobs", "manifests"].map(|key| &event[key]);
            writeln!(out, "\n{kept} blobs marked, {blobs} blobs and {manifests} manifests eligible for deletion")
        }
        ("link", _) => writeln!(out, "{repository}: layer link eligible for deletion: {digest}"),
        ("blob", _) => writeln!(out, "blob eligible for deletion: {digest}"),
        ("done", _) => {
            let verb = if event["dry_run"] == true { "would free" } else { "freed" };
            writeln!(out, "{verb} {} bytes in {} files", event["bytes"], event["files"])
        }
        _ => Ok(()),
    }
}

fn document(event: &Value, items: &mut u64, repositories: &mut Vec<Value>, out: &mut impl Write) -> io::Result<()> {
    match text(event, "event") {
        "swept" => repositories.push(without(event, "repository")),
        "kept" | "manifest" | "link" | "blob" | "upload" | "file" => {
            out.write_all(if *items == 0 { b"{\"items\":[\n" } else { b",\n" })?;
            *items += 1;
            write!(out, "{event}")?;
        }
        // A run that failed has no totals; what it did until then is told all the same.
        ending @ ("done" | "failed") => {
            let begin = if *items == 0 { "{\"items\":[" } else { "\n" };
            let repositories = Value::Array(std::mem::take(repositories));
            let last = if ending == "done" { "totals" } else { "failed" };
            writeln!(out, "{begin}],\n\"repositories\":{repositories},\n\"{last}\":{}}}", without(event, ""))?;
        }
        _ => {}
    }
    Ok(())
}

/// An event as a member of a list: what it is stands in the list's name.
fn without(event: &Value, name: &str) -> Value {
    let mut members = event.as_object().cloned().unwrap_or_default();
    members.remove("event");
    if let Some(named) = members.remove(name) {
        members.insert("name".to_owned(), named);
    }
    Value::Object(members)
}

fn text<'e>(event: &'e Value, key: &str) -> &'e str {
    event[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(json: bool, events: &[Value]) -> String {
        let (mut out, mut printer) = (Vec::new(), Printer::new(json, false));
        for event in events {
            printer.print(event, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn events() -> [Value; 11] {
        [
            json!({"event": "repository", "name": "acme/web"}),
            json!({"event": "kept", "repository": "acme/web", "kind": "manifest", "digest": "sha256:1", "size": 1, "why": "tag v1 in acme/web"}),
            json!({"event": "manifest", "repository": "acme/web", "digest": "sha256:2", "size": 2}),
            json!({"event": "kept", "repository": "acme/web", "kind": "blob", "digest": "sha256:3", "size": 3, "why": "named by sha256:1"}),
            json!({"event": "kept", "repository": "acme/web", "kind": "upload", "upload": "1", "size": 5, "why": "unfinished: …"}),
            json!({"event": "upload", "repository": "acme/web", "upload": "2", "size": 6}),
            json!({"event": "file", "key": "blobs/ab/1", "size": 7}),
            json!({"event": "marked", "kept": 2, "blobs": 1, "manifests": 1}),
            json!({"event": "link", "repository": "acme/web", "digest": "sha256:4", "size": 4}),
            json!({"event": "blob", "digest": "sha256:4", "size": 4}),
            json!({"event": "done", "dry_run": false, "manifests": 1, "links": 1, "blobs": 1, "files": 1, "bytes": 4}),
        ]
    }

    #[test]
    fn lines_are_those_that_scripts_know() {
        let expected = "acme/web\n\
                        acme/web: marking manifest sha256:1 \n\
                        manifest eligible for deletion: {acme/web sha256:2 []}\n\
                        acme/web: marking blob sha256:3\n\
                        \n\
                        2 blobs marked, 1 blobs and 1 manifests eligible for deletion\n\
                        acme/web: layer link eligible for deletion: sha256:4\n\
                        blob eligible for deletion: sha256:4\n\
                        freed 4 bytes in 1 files\n";
        assert_eq!(printed(false, &events()), expected);
    }

    #[test]
    fn json_is_one_document_with_or_without_items() {
        let document: Value = serde_json::from_str(&printed(true, &events())).unwrap();
        assert_eq!(document["items"].as_array().unwrap().len(), 8);
        assert_eq!(document["totals"]["bytes"], 4);
        let swept = json!({"event": "swept", "repository": "acme/web", "bytes": 9, "freed": 4});
        let done = events()[10].clone();
        let document: Value = serde_json::from_str(&printed(true, &[swept, done])).unwrap();
        assert_eq!(document["repositories"], json!([{"name": "acme/web", "bytes": 9, "freed": 4}]));
        assert_eq!(document["items"], json!([]));
    }

    #[test]
    fn what_failed_is_one_document_too() {
        let failed = json!({"event": "failed", "detail": "the disk went away"});
        for (told, items) in [(0, 0), (3, 2)] {
            let events: Vec<Value> = events().into_iter().take(told).chain([failed.clone()]).collect();
            let document: Value = serde_json::from_str(&printed(true, &events)).unwrap();
            assert_eq!(document["items"].as_array().unwrap().len(), items);
            assert_eq!(document["failed"]["detail"], "the disk went away");
            assert!(document.get("totals").is_none());
        }
    }
}
