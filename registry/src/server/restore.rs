//! A registry brought back where none runs: its facts put in place, its bytes brought in line with them.

use std::{io, path::Path, sync::Arc};

use shared::{clock::Clock, data_directory::DataDirectory};

use super::{StartError, location};
pub use crate::gc::{
    backup::{Blobs, CopiedFile, Facts, Manifest},
    reindex::{Became, Event as ReindexEvent, Holding, Reindexed},
    restore::{Backup, Error, Event, Over, Placed, Restored},
};
use crate::{
    gc::{
        self,
        restore::{Bytes, unfinished},
    },
    metadata::Metadata,
    settings::Settings,
    store::{Store, filesystem::Filesystem},
};

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup or the directory will not do.
    #[error(transparent)]
    Restore(#[from] Error),
    /// The directory cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The backup has the facts in a file, and the configuration has them elsewhere.
    #[error("the backup holds registry.db, and the configuration keeps the facts in PostgreSQL: they cannot go there")]
    OtherDatabase,
}

/// Where the facts come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From a backup, which may have bytes too.
    Backup(Box<Backup>),
    /// Somebody has restored the database already.
    DatabaseRestored,
}

/// Brings back what the settings describe, in a data directory that the caller holds, and tells what happens.
///
/// # Errors
/// [`RestoreError`]. A restore that broke off is run again, with [`Over::WhatIsThere`].
pub async fn restore(
    settings: &Settings,
    held: &DataDirectory,
    (source, over): (&Source, Over),
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Restored, RestoreError> {
    let clock = Clock::system();
    let placed = match source {
        Source::Backup(backup) => place(settings, held.path(), (backup, over), &clock, tell)?,
        Source::DatabaseRestored => false,
    };
    let store: Arc<dyn Store> = Arc::new(Filesystem::open(held.path()).map_err(StartError::Store)?);
    let location = location(&settings.database)?;
    let metadata = Metadata::open(&location, clock.clone()).await.map_err(StartError::Database)?;
    let backup = match source {
        Source::Backup(backup) => Some(backup.root()),
        Source::DatabaseRestored => None,
    };
    let bytes = Bytes { metadata: &metadata, store, clock, data: held.path(), backup };
    let brought = async {
        if !placed {
            bytes.check_facts().await?;
        }
        on_its_way(held.path(), unfinished::begin)?;
        let restored = bytes.bring_in_line(tell).await?;
        on_its_way(held.path(), unfinished::end)?;
        Ok(restored)
    };
    let brought: Result<_, Error> = brought.await;
    metadata.close().await;
    Ok(brought?)
}

fn on_its_way(data: &Path, step: fn(&Path) -> io::Result<()>) -> Result<(), Error> {
    step(data).map_err(|source| Error::Data { path: data.to_owned(), source })
}

/// Puts the files of a backup in place; answers whether the registry's facts were among them.
fn place(
    settings: &Settings,
    data: &Path,
    (backup, over): (&Backup, Over),
    clock: &Clock,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<bool, RestoreError> {
    let placed = backup.manifest.database == Facts::Sqlite;
    if placed && settings.database.file().is_none() {
        return Err(RestoreError::OtherDatabase);
    }
    let now_there = backup.place(data, over, clock.now())?;
    if backup.holds_keys() && !now_there.has_keys() {
        tell(Event::KeysKept);
    }
    let Placed { aside, files } = now_there;
    aside.into_iter().for_each(|directory| tell(Event::Replaced { directory }));
    files.into_iter().for_each(|file| tell(Event::File(file)));
    Ok(placed)
}

/// Makes blobs of the bytes that no row speaks of, in a data directory that the caller holds, and tells what happens.
///
/// # Errors
/// [`RestoreError`]. What was indexed stays indexed, and the next run goes on.
pub async fn reindex(
    settings: &Settings,
    held: &DataDirectory,
    holding: &Holding,
    tell: &mut (dyn FnMut(ReindexEvent) + Send),
) -> Result<Reindexed, RestoreError> {
    super::check_restored(held.path())?;
    let clock = Clock::system();
    let store = Filesystem::open(held.path()).map_err(StartError::Store)?;
    let location = location(&settings.database)?;
    let metadata = Metadata::open(&location, clock.clone()).await.map_err(StartError::Database)?;
    let reindexed = gc::reindex::reindex(&metadata, &store, &clock, holding, tell).await;
    metadata.close().await;
    Ok(reindexed.map_err(Error::Bytes)?)
}
