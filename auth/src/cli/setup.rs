//! `export`, `apply` and `import`: the whole setup as one document. The difference is always shown, and what is then applied is what was
//! shown: it is refused if anything has changed in between.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::{Map, Value, json};
use shared::repository::RepositoryName;

use super::{CliError, arguments::ImportCommand, output, request::Request, target::Target};
use crate::{
    http::admin::setup::{self, Document, MAX_SETUP_BYTES},
    import::{self, Imported, Warning},
};

/// Most bytes of a file that holds one secret.
const MAX_SECRET_BYTES: u64 = 4096;
const STANDARD_INPUT: &str = "-";

/// How a document is to be taken.
struct Taken<'a> {
    /// What errors call it.
    name: &'a str,
    /// YAML, or the document itself.
    setup: Value,
    secrets: Map<String, Value>,
    missing: &'a str,
    existing: &'a str,
    dry_run: bool,
    /// What else `--json` says.
    said: Map<String, Value>,
}

/// Prints what there is.
pub(super) async fn export(target: &Target, json: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    let Request { method, url, .. } = Request::get(&["setup"]);
    let answer = target.ask(&method, &url, None).await?;
    if json {
        return output::print(&answer, &[], true, out);
    }
    let document: Document = serde_json::from_value(answer).map_err(|error| document(&error))?;
    Ok(write!(out, "{}", shared::settings::written(&document).map_err(|error| self::document(&error))?)?)
}

/// Shows the difference between a file and what there is, and makes it so.
pub(super) async fn apply(
    file: &Path,
    dry_run: bool,
    prune: bool,
    target: &Target,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    let text = content(file)?;
    let name =
        if file.as_os_str() == STANDARD_INPUT { "standard input".to_owned() } else { file.display().to_string() };
    let read = setup::read(&name, &text).map_err(|error| document(&error))?;
    let secrets = secrets(&read, file.parent().unwrap_or(Path::new(".")))?;
    let missing = if prune { "remove" } else { "keep" };
    let taken =
        Taken { name: &name, setup: text.into(), secrets, missing, existing: "change", dry_run, said: Map::new() };
    take(&taken, target, json, out).await
}

/// Adds what another program knows to what there is.
pub(super) async fn import(
    command: ImportCommand,
    target: &Target,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    match command {
        ImportCommand::Htpasswd { file, dry_run } => {
            let name = file.display().to_string();
            let read =
                import::htpasswd(&fs::read(&file)?).map_err(|error| CliError::Document(format!("{name}, {error}")))?;
            take(&added(&name, &read, Map::new(), dry_run)?, target, json, out).await
        }
        ImportCommand::DockerAuth { file, repositories, allow_more, dry_run } => {
            let name = file.display().to_string();
            let repositories = repositories.as_deref().map(names).transpose()?.unwrap_or_default();
            let imported =
                import::docker_auth(&name, &content(&file)?, &repositories).map_err(|error| document(&error))?;
            if !json {
                told(&name, &imported, out)?;
            }
            let more = imported.differences.iter().filter(|changed| changed.more).count();
            if more > 0 && !allow_more && !dry_run {
                let text = format!(
                    "{name}: {more} of these answers would allow more than before, so nothing was made: look at them, and say --allow-more"
                );
                return Err(CliError::Document(text));
            }
            let said = json!({ "warnings": imported.warnings, "differences": imported.differences, "compared": imported.compared });
            let said = said.as_object().cloned().unwrap_or_default();
            take(&added(&name, &imported.document, said, dry_run)?, target, json, out).await
        }
    }
}

/// Adds a document that was made of something else; what is there stays as it is.
fn added<'a>(name: &'a str, read: &Document, said: Map<String, Value>, dry_run: bool) -> Result<Taken<'a>, CliError> {
    let setup = serde_json::to_value(read).map_err(|error| document(&error))?;
    Ok(Taken { name, setup, secrets: Map::new(), missing: "keep", existing: "keep", dry_run, said })
}

async fn take(taken: &Taken<'_>, target: &Target, json: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    let Taken { name, setup, secrets, missing, existing, dry_run, said } = taken;
    let mut body = json!({
        "name": name, "setup": setup, "secrets": secrets, "missing": missing, "existing": existing, "dry_run": true,
    });
    let put = |body| Request::put(&["setup"], body);
    let Request { method, url, .. } = put(Value::Null);
    let mut answer = target.ask(&method, &url, Some(&body)).await?;
    if !json {
        differences(&answer, *existing == "keep", out)?;
    }
    let changes = answer["changes"].as_array().is_some_and(|changes| !changes.is_empty());
    if changes && !dry_run {
        body["dry_run"] = false.into();
        body["seen"] = answer["seen"].clone();
        answer = target.ask(&method, &url, Some(&body)).await?;
    }
    if let Some(members) = answer.as_object_mut() {
        members.extend(said.clone());
    }
    match (json, changes, dry_run) {
        (true, ..) => output::print(&answer, &[], true, out),
        (false, false, _) => Ok(()),
        (false, true, true) => Ok(writeln!(out, "Nothing was changed: this was a dry run.")?),
        (false, true, false) => Ok(writeln!(out, "Applied.")?),
    }
}

/// What a person should know before the grants are made, and whose answers they change.
fn told(name: &str, imported: &Imported, out: &mut impl io::Write) -> Result<(), CliError> {
    for Warning { line, text } in &imported.warnings {
        let place = if *line > 0 { format!("{name}, line {line}") } else { name.to_owned() };
        writeln!(out, "! {place}: {text}")?;
    }
    let changed = serde_json::to_value(&imported.differences).map_err(|error| document(&error))?;
    let mut rows = changed.as_array().cloned().unwrap_or_default();
    for row in &mut rows {
        match row["account"].as_str() {
            Some("") => row["account"] = "(not signed in)".into(),
            Some("*") => row["account"] = "(anybody else)".into(),
            _ => {}
        }
    }
    writeln!(out, "{} of {} answers for an account and a repository change.", rows.len(), imported.compared)?;
    if !rows.is_empty() {
        output::print(&json!({ "items": rows }), &["account", "repository", "before", "after"], false, out)?;
    }
    Ok(())
}

/// Repositories, a name a line.
fn names(file: &Path) -> Result<Vec<RepositoryName>, CliError> {
    let text = content(file)?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let names = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(line, text)| {
        let wrong = |error: shared::repository::RepositoryNameError| {
            CliError::Document(format!("{}, line {line}: {error}", file.display()))
        };
        text.parse().map_err(wrong)
    });
    names.collect()
}

fn differences(answer: &Value, adding: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    let lines = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let (changes, kept) = (lines("changes"), lines("kept"));
    for line in changes.iter().chain(&kept) {
        writeln!(out, "{}", difference(line))?;
    }
    let count = |verb: &str| changes.iter().filter(|line| line["change"] == verb).count();
    let (create, change, remove) = (count("create"), count("change"), count("remove"));
    if changes.is_empty() {
        writeln!(out, "Nothing to change.")?;
    } else {
        writeln!(out, "{create} to create, {change} to change, {remove} to remove.")?;
    }
    match (kept.len(), adding) {
        (0, _) => {}
        (kept, true) => writeln!(out, "{kept} already there, and left as they are.")?,
        (kept, false) => {
            writeln!(out, "{kept} there, not in the document, and left as they are; --prune removes them.")?;
        }
    }
    Ok(())
}

/// `~ namespace acme: private -> public`.
fn difference(line: &Value) -> String {
    let sign = match line["change"].as_str() {
        Some("create") => '+',
        Some("change") => '~',
        Some("remove") => '-',
        _ => '=',
    };
    let [kind, name] = ["kind", "name"].map(|key| output::text(&line[key]));
    let said = match (line.get("before"), line.get("after")) {
        (Some(before), Some(after)) => format!(": {} -> {}", output::text(before), output::text(after)),
        (Some(one), None) | (None, Some(one)) => format!(": {}", output::text(one)),
        (None, None) => String::new(),
    };
    format!("{sign} {kind} {name}{said}")
}

/// The secrets that a document names, from the files beside it.
fn secrets(read: &Document, directory: &Path) -> Result<Map<String, Value>, CliError> {
    let mut secrets = Map::new();
    for file in read.password_files().chain(read.key_files()) {
        let path = directory.join(file);
        let unread = |error| CliError::Document(format!("secret_file {}: {error}", path.display()));
        let mut text = String::new();
        fs::File::open(&path).map_err(unread)?.take(MAX_SECRET_BYTES).read_to_string(&mut text).map_err(unread)?;
        secrets.insert(file.to_owned(), text.trim_end_matches(['\n', '\r']).into());
    }
    Ok(secrets)
}

fn content(file: &Path) -> Result<String, CliError> {
    let limit = MAX_SETUP_BYTES as u64;
    let mut text = String::new();
    let read = if file.as_os_str() == STANDARD_INPUT {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::Document(format!("{}: {error}", file.display())))?;
    Ok(text)
}

fn document(error: &dyn std::fmt::Display) -> CliError {
    CliError::Document(error.to_string())
}
