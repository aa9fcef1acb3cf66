//! `reindex`: rows for the bytes of a data directory whose database is lost, where nobody serves it.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use serde_json::json;
use shared::{digest::Algorithm, repository::RepositoryName};

use super::{CommandError, Where};
use crate::server::restore::{Became, Holding, ReindexEvent, Reindexed, reindex};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Hashes every file that no row of the database speaks of, and makes it a blob, so that a push of the same content finds it. Manifests and tags come from
/// a backup: bytes do not tell them. No server runs meanwhile; a run that was cut is gone on with by the next.
#[derive(Debug, Args)]
pub struct Reindex {
    #[command(flatten)]
    registry: Where,
    /// The repository that holds what is found.
    #[arg(long, default_value = "reindexed/blobs", value_name = "NAME")]
    repository: RepositoryName,
    /// What digests of blobs are made with that the database does not know: sha256, or sha512 if that is what was pushed.
    #[arg(long, default_value = "sha256", value_name = "NAME")]
    algorithm: Algorithm,
    /// For how many days it holds it; what nobody has pushed by then is collected.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// There is no database any more, neither here nor in PostgreSQL: begin one in the data directory.
    #[arg(long)]
    database_lost: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Reindex {
    /// Indexes, and prints what happens to `out`.
    ///
    /// # Errors
    /// [`CommandError`], to be printed.
    pub async fn run(&self, out: &mut (impl Write + Send)) -> Result<(), CommandError> {
        let (settings, held) = self.registry.claim_blobs(self.database_lost)?;
        let holding = Holding { algorithm: self.algorithm, repository: self.repository.clone(), life: DAY * self.days };
        let (mut printed, mut files) = (Ok(()), Vec::new());
        let mut tell = |event: ReindexEvent| match event {
            ReindexEvent::Indexed { .. } | ReindexEvent::Unreadable { .. } if self.json => {
                files.push(serde_json::to_value(event).unwrap_or_default());
            }
            event if printed.is_ok() => printed = line(&event, out),
            _ => {}
        };
        let reindexed = reindex(&settings, &held, &holding, &mut tell).await?;
        printed?;
        if self.json {
            writeln!(out, "{}", json!({"files": files, "reindexed": reindexed}))?;
            return Ok(());
        }
        Ok(self.end(&reindexed, out)?)
    }

    fn end(&self, reindexed: &Reindexed, out: &mut impl Write) -> io::Result<()> {
        let Reindexed { blobs, bytes, healed, surplus, unreadable } = reindexed;
        writeln!(out, "{blobs} files are blobs now, {bytes} bytes; {healed} healed a damaged blob")?;
        writeln!(out, "{surplus} were there already and lie in quarantine/; {unreadable} cannot be read")?;
        writeln!(out, "{} holds them for {} days, unless they are pushed", self.repository, self.days)?;
        writeln!(out, "manifests and tags are not in the bytes: restore them from a backup, or push the images again")
    }
}

fn line(event: &ReindexEvent, out: &mut impl Write) -> io::Result<()> {
    let (key, digest, size, became) = match event {
        ReindexEvent::Indexed { key, digest, size, became } => (key, digest, size, became),
        ReindexEvent::Unreadable { key } => return writeln!(out, "{key}: cannot be read"),
        ReindexEvent::Done(_) => return Ok(()),
    };
    let became = match became {
        Became::Blob => "a blob",
        Became::Healed => "heals a damaged blob",
        Became::Surplus => "there already",
    };
    writeln!(out, "{key}: {digest} ({size} bytes), {became}")
}
