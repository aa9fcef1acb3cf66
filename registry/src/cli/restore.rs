//! `restore`: into a data directory that nobody serves.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::{CommandError, Where};
use crate::server::restore::{Backup, Event, Facts, Over, RestoreError, Restored, Source, restore};

/// How many strays are named; the rest is counted.
const MAX_NAMED: u64 = 20;

/// Brings a registry back: puts the facts in place, fetches the bytes that are missing out of the backup, names what is missing for good, and moves bytes that
/// no fact speaks of into quarantine. No server runs meanwhile.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("facts").required(true).args(["from", "database_restored"])))]
pub struct Restore {
    #[command(flatten)]
    registry: Where,
    /// The directory of the backup.
    #[arg(long, value_name = "DIRECTORY")]
    from: Option<PathBuf>,
    /// The database was restored already, by its own programs (pg_restore): only bring the bytes in line with it.
    #[arg(long)]
    database_restored: bool,
    /// Restore over a registry: its database and keys are put aside, its bytes stay where the backup speaks of them.
    #[arg(long, requires = "from")]
    force: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Restore {
    /// Restores, and prints what happens to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let source = self.source()?;
        let (settings, held) = match source {
            Source::Backup(_) => self.registry.claim()?,
            Source::DatabaseRestored => self.registry.claim_blobs(false)?,
        };
        let over = if self.force { Over::WhatIsThere } else { Over::Nothing };
        let mut printer = Printer::new(self.json);
        let mut printed = Ok(());
        let mut tell = |event: Event| {
            if printed.is_ok() {
                printed = printer.print(&event, out);
            }
        };
        let restored =
            restore(&settings, &held, (&source, over), &mut tell).await.map_err(CommandError::NotRestored)?;
        printed?;
        printer.end(&source, &restored, out)?;
        Ok(())
    }

    fn source(&self) -> Result<Source, CommandError> {
        match &self.from {
            Some(from) => Ok(Source::Backup(Box::new(Backup::open(from).map_err(RestoreError::from)?))),
            None => Ok(Source::DatabaseRestored),
        }
    }
}

/// Prints events as they come, or keeps them for the document.
struct Printer {
    events: Option<Vec<Value>>,
    quarantined: u64,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { events: json.then(Vec::new), quarantined: 0 }
    }

    fn print(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        match (event, &mut self.events) {
            (Event::Brought(_) | Event::Done(_), _) => Ok(()),
            (event, Some(events)) => {
                events.push(serde_json::to_value(event)?);
                Ok(())
            }
            (event, None) => self.line(event, out),
        }
    }

    fn line(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        match event {
            Event::File(file) => writeln!(out, "{}: {} bytes", file.name, file.bytes),
            Event::KeysKept => {
                writeln!(out, "keys/ stays as it is: the accounts that it belongs to are not in the backup")
            }
            Event::Replaced { directory } => writeln!(out, "what was there lies in {}", directory.display()),
            Event::Missing { digest, size, reason, named_by } => {
                let reason = reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
                writeln!(out, "missing: {digest} ({size} bytes){reason}")?;
                named_by.iter().try_for_each(|naming| {
                    let tag = naming.tag.as_deref().map_or_else(String::new, |tag| format!(":{tag}"));
                    writeln!(out, "  named by {}{tag} ({})", naming.repository, naming.manifest)
                })
            }
            Event::Quarantined { key, size } => {
                self.quarantined += 1;
                if self.quarantined > MAX_NAMED {
                    return Ok(());
                }
                writeln!(out, "quarantined: {key} ({size} bytes)")
            }
            Event::Brought(_) | Event::Done(_) => Ok(()),
        }
    }

    fn end(self, source: &Source, restored: &Restored, out: &mut impl Write) -> io::Result<()> {
        let backup = match source {
            Source::Backup(backup) => Some(backup),
            Source::DatabaseRestored => None,
        };
        if let Some(events) = self.events {
            let manifest = backup.map(|backup| &backup.manifest);
            return writeln!(out, "{}", json!({"backup": manifest, "events": events, "restored": restored}));
        }
        let Restored { uploads, blobs, quarantined } = restored;
        let (from_backup, missing) = (blobs.linked + blobs.copied, blobs.missing);
        writeln!(
            out,
            "blobs: {} were there, {from_backup} came out of the backup, {missing} are missing",
            blobs.already
        )?;
        writeln!(out, "quarantine/: {} files, {} bytes that no fact speaks of", quarantined.files, quarantined.bytes)?;
        writeln!(out, "{uploads} unfinished uploads were ended")?;
        if backup.is_some_and(|backup| backup.holds_accounts()) {
            writeln!(
                out,
                "accounts were restored: restart every registry that asks this auth service, and take away again what was taken away since"
            )?;
        }
        if let Some(backup) = backup.filter(|backup| backup.manifest.database == Facts::Sqlite) {
            writeln!(out, "restored: everything that was answered before {}", backup.manifest.facts_at)?;
        }
        Ok(())
    }
}
