//! `backup`: beside the running server, which makes it, or on a data directory that nobody serves.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use serde_json::{Value, json};
use shared::command::{Method, NotAnswered};

use super::{CommandError, Where};

const PATH: &str = "/api/v1/registry/backup";

/// Copies what is needed to bring this registry back: its database, and where auth lives in the same directory its database and the keys. The server may run
/// meanwhile, and clients push and pull.
#[derive(Debug, Args)]
pub struct Backup {
    /// The directory of the backup: a new or empty one, or that of an earlier backup of this registry, whose place this one takes when it is whole.
    target: PathBuf,
    #[command(flatten)]
    registry: Where,
    /// Copy the bytes of the blobs, too; what an earlier backup has is not copied again. On one filesystem files get a second name in place of a copy.
    #[arg(long)]
    blobs: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Makes a backup, and prints to `out` what is in it.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        // The server starts from somewhere else.
        let target = std::path::absolute(&self.target)?;
        let reached = self.registry.reach().await?;
        let order = json!({"target": target, "blobs": self.blobs});
        let mut told = Told { json: self.json, missing: Vec::new(), ending: None };
        let each = |event: Value| told.hear(&event, out);
        let heard = reached.target.ask_for_lines(&Method::POST, PATH, Some(&order), each).await;
        reached.close().await;
        heard?;
        match told.ending {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(CommandError::NotBackedUp(reason)),
            None => Err(NotAnswered::Io(io::ErrorKind::UnexpectedEof.into()).into()),
        }
    }
}

/// What was heard so far.
struct Told {
    json: bool,
    missing: Vec<Value>,
    ending: Option<Result<(), String>>,
}

impl Told {
    fn hear(&mut self, event: &Value, out: &mut impl Write) -> io::Result<()> {
        match event["event"].as_str() {
            Some("done") => {
                self.ending = Some(Ok(()));
                return if self.json { self.document(event, out) } else { summary(event, out) };
            }
            Some("failed") => self.ending = Some(Err(event["detail"].as_str().unwrap_or_default().to_owned())),
            Some("missing") if self.json => {
                self.missing.push(json!({"digest": event["digest"], "size": event["size"]}));
            }
            _ if self.json => {}
            _ => line(event, out)?,
        }
        Ok(())
    }

    fn document(&mut self, done: &Value, out: &mut impl Write) -> io::Result<()> {
        let missing = std::mem::take(&mut self.missing);
        writeln!(out, "{}", json!({"backup": done["backup"], "removed": done["removed"], "missing": missing}))
    }
}

fn text<'e>(event: &'e Value, key: &str) -> &'e str {
    event[key].as_str().unwrap_or_default()
}

fn line(event: &Value, out: &mut impl Write) -> io::Result<()> {
    match text(event, "event") {
        "file" => writeln!(out, "{}: {} bytes", text(event, "name"), event["bytes"]),
        "missing" => {
            writeln!(
                out,
                "missing: {} ({} bytes) is damaged here, and so it is in the backup",
                text(event, "digest"),
                event["size"]
            )
        }
        _ => Ok(()),
    }
}

fn summary(done: &Value, out: &mut impl Write) -> io::Result<()> {
    let backup = &done["backup"];
    let blobs = &backup["blobs"];
    let files = backup["files"].as_array().map_or(&[][..], Vec::as_slice);
    if blobs.is_null() {
        writeln!(out, "the blobs are not in it: copy blobs/ now, before what was deleted meanwhile leaves the trash")?;
    } else {
        let [files, bytes, linked, copied, already] =
            ["files", "bytes", "linked", "copied", "already"].map(|key| &blobs[key]);
        writeln!(out, "blobs: {files} files, {bytes} bytes ({linked} linked, {copied} copied, {already} were there)")?;
        writeln!(out, "{} files of blobs that an earlier backup had needed were removed", done["removed"])?;
    }
    if backup["database"] == "postgresql" {
        writeln!(out, "the registry's facts are in PostgreSQL, and not in it: it belongs to the dump made before it")?;
    }
    if files.iter().any(|file| text(file, "name").starts_with("keys/")) {
        writeln!(out, "it holds keys: whoever can read it can sign tokens for every repository")?;
    }
    writeln!(out, "whole: everything that was answered before {}", text(backup, "facts_at"))
}
