//! `portreeve auth audit …`. Lists may be long, so pages are printed as they come, and a trail is verified as it comes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    CliError,
    arguments::{AuditCommand, AuditFilter},
    output,
    request::Request,
    target::Target,
};
use crate::audit::{
    chain::PublicKey,
    verify::{Break, Head, Line, Verifier, Whole},
};

/// Events that are asked for at once.
const PAGE: usize = 500;
const COLUMNS: &[&str] = &["seq", "at", "event", "who", "target", "namespace", "outcome", "address"];

/// The first line of an exported trail.
#[derive(Debug, Deserialize)]
struct Heading {
    known: Option<Head>,
}

/// Runs the command on a server.
pub(super) async fn run(
    command: AuditCommand,
    target: &Target,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    match command {
        AuditCommand::List { filter, limit } => {
            let mut items = Vec::new();
            each_event(target, &filter, limit, |mut event| {
                event["who"] = event["actor"]["name"].clone();
                items.push(event);
                Ok(())
            })
            .await?;
            output::print(&json!({ "items": items }), COLUMNS, json, out)
        }
        AuditCommand::Export { filter, trail: false } => {
            each_event(target, &filter, usize::MAX, |event| Ok(writeln!(out, "{event}")?)).await
        }
        AuditCommand::Export { trail: true, .. } => {
            let mut heading = true;
            each_part(target, |part| {
                if std::mem::take(&mut heading) {
                    writeln!(out, "{}", json!({ "keys": part["keys"], "known": part["known"] }))?;
                }
                for line in part["items"].as_array().into_iter().flatten() {
                    writeln!(out, "{line}")?;
                }
                Ok(())
            })
            .await
        }
        AuditCommand::Verify { file: Some(file), key, known, accept } => {
            let (keys, whole) = verify_file(&file, key, known, accept)?;
            told(&whole, &keys, &Value::Null, json, out)
        }
        AuditCommand::Verify { file: None, key, known, accept } => {
            let (keys, unsealed, whole) = verify(target, key, known, accept).await?;
            told(&whole, &keys, &unsealed, json, out)
        }
    }
}

async fn each_event(
    target: &Target,
    filter: &AuditFilter,
    limit: usize,
    mut each: impl FnMut(Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (mut after, mut left) = (None::<String>, limit);
    while left > 0 {
        let Request { method, url, .. } = filter.page(after.as_deref(), left.min(PAGE));
        let mut page = target.ask_once(&method, &url, None).await?;
        let items = page["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        left -= items.len().min(left);
        items.into_iter().try_for_each(&mut each)?;
        let Some(next) = page["next"].as_str() else { return Ok(()) };
        after = Some(next.to_owned());
    }
    Ok(())
}

async fn each_part(target: &Target, mut each: impl FnMut(&Value) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut after = 0;
    loop {
        let Request { method, url, .. } = Request::get(&["audit", "trail"]).asking("after", &after.to_string());
        let part = target.ask_once(&method, &url, None).await?;
        each(&part)?;
        match part["next"].as_i64() {
            Some(next) if next > after => after = next,
            _ => return Ok(()),
        }
    }
}

async fn verify(
    target: &Target,
    keys: Vec<PublicKey>,
    known: Vec<Head>,
    accept: Vec<i64>,
) -> Result<(Vec<PublicKey>, Value, Whole), CliError> {
    let mut walk: Option<(Vec<PublicKey>, Value, Verifier)> = None;
    each_part(target, |part| {
        if walk.is_none() {
            let keys = if keys.is_empty() { read(part["keys"].clone())? } else { keys.clone() };
            let seen: Option<Head> = read(part["known"].clone())?;
            let known = known.iter().copied().chain(seen).collect();
            walk = Some((keys.clone(), part["unsealed"].clone(), Verifier::new(keys, known, accept.clone())));
        }
        let Some((_, _, verifier)) = &mut walk else { return Ok(()) };
        for line in part["items"].as_array().into_iter().flatten() {
            verifier.take(&read::<Line>(line.clone())?)?;
        }
        Ok(())
    })
    .await?;
    let (keys, unsealed, verifier) = walk.ok_or_else(|| unreadable("no trail was answered"))?;
    Ok((keys, unsealed, verifier.end()?))
}

/// Verifies an exported trail; asks nobody.
pub(super) fn verify_file(
    file: &Path,
    keys: Vec<PublicKey>,
    mut known: Vec<Head>,
    accept: Vec<i64>,
) -> Result<(Vec<PublicKey>, Whole), CliError> {
    let lines: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(file)?)),
    };
    let mut lines = lines.lines();
    let heading = lines.next().ok_or_else(|| unreadable("the file is empty: it is no exported trail"))??;
    known.extend(read_text::<Heading>(&heading)?.known);
    let mut verifier = Verifier::new(keys.clone(), known, accept);
    for line in lines {
        verifier.take(&read_text(&line?)?)?;
    }
    Ok((keys, verifier.end()?))
}

/// Prints what a verification came to.
pub(super) fn told(
    whole: &Whole,
    keys: &[PublicKey],
    unsealed: &Value,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    let head = whole.head.map(|head| head.to_string());
    let said = json!({
        "whole": true,
        "events": whole.events,
        "checkpoints": whole.checkpoints,
        "removed": whole.removed,
        "head": head,
        "sealed_at": whole.sealed_at,
        "passed_over": whole.passed_over.iter().map(Head::to_string).collect::<Vec<_>>(),
        "keys": keys,
        "unsealed": unsealed,
    });
    if json {
        return output::print(&said, &[], true, out);
    }
    let Whole { events, checkpoints, removed, .. } = whole;
    writeln!(
        out,
        "whole: {events} events under {checkpoints} checkpoints; {removed} more were removed, their time was over"
    )?;
    for head in &whole.passed_over {
        writeln!(out, "not compared: {head} is of events that were removed, and nothing is left to compare it with")?;
    }
    if let Some(head) = head {
        writeln!(out, "head: {head}")?;
    }
    for key in keys {
        writeln!(out, "key: {key}")?;
    }
    match (unsealed["events"].as_i64(), unsealed["since"].as_str()) {
        (Some(events @ 1..), Some(since)) => writeln!(out, "not sealed yet: {events} events, the oldest of {since}")?,
        (Some(_), _) => writeln!(out, "not sealed yet: nothing")?,
        _ => {}
    }
    Ok(())
}

impl From<Break> for CliError {
    fn from(broken: Break) -> Self {
        Self::AuditBroken(broken)
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, CliError> {
    serde_json::from_value(value).map_err(|error| unreadable(&error.to_string()))
}

fn read_text<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, CliError> {
    serde_json::from_str(text).map_err(|error| unreadable(&format!("{error}: {text:.80}")))
}

fn unreadable(reason: &str) -> CliError {
    io::Error::new(io::ErrorKind::InvalidData, reason).into()
}
