//! A data directory brought back: the facts of a backup (or a database that was restored with its own programs), and the bytes in line with them.
//!
//! No server runs meanwhile. What the facts speak of comes out of the backup where the directory does not have it; what is missing then is marked as
//! damaged, so that the next push of it heals it; and bytes that no fact speaks of, pushed after the backup was made, go to quarantine.

mod place;
pub mod unfinished;

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use shared::{
    clock::Clock,
    database::{DatabaseError, WriteError},
    digest::Hasher,
};
use tokio::task;

pub use self::place::{Backup, Over, Placed};
use super::{
    Error as CollectorError,
    backup::{self, Blobs, CopiedFile, hash},
    quarantine::{self, SetAside},
};
use crate::{
    metadata::{
        BlobId, Metadata,
        backup::{self as rows, ForgetUnfinished, Naming, Stored},
        blobs::MarkDamaged,
        repair::MarkVerified,
    },
    store::{
        Store,
        filesystem::transfer::{Brought, Transfer, holds_something},
    },
};

/// How many blobs are looked at between two syncs of the filesystem.
const BATCH: i64 = 256;

/// How many manifests are named that name a missing blob.
const MAX_NAMING: i64 = 20;

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no finished backup.
    #[error("{}: there is no finished backup in this directory", .0.display())]
    NoBackup(PathBuf),
    /// The backup is not what it says.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// The directory holds a registry.
    #[error("{} holds a registry: --force puts what is there aside and restores all the same", .0.display())]
    NotEmpty(PathBuf),
    /// The directory, or something in it, cannot be used.
    #[error("{}: {source}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The database speaks of nothing, and there are bytes: all of them would go to quarantine.
    #[error("the database speaks of no repository, and there are blobs: restore the database first")]
    NoFacts,
    /// The bytes cannot be brought in line.
    #[error(transparent)]
    Bytes(#[from] CollectorError),
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl From<WriteError<Infallible>> for Error {
    fn from(error: WriteError<Infallible>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A file of the facts is in place.
    File(CopiedFile),
    /// The keys stay as they are: the backup has none of the accounts that they belong to.
    KeysKept,
    /// What was there before lies there now.
    Replaced {
        /// Below the data directory.
        directory: PathBuf,
    },
    /// So many blobs were looked at so far.
    Brought(Blobs),
    /// A blob has no bytes, neither here nor in the backup.
    Missing {
        /// Its digest.
        digest: String,
        /// Its length in bytes.
        size: u64,
        /// Why what the backup has will not do, where it has something.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Manifests that name it, the first of them.
        named_by: Vec<Naming>,
    },
    /// Bytes that no fact speaks of were moved.
    Quarantined {
        /// Their key.
        key: String,
        /// How many.
        size: u64,
    },
    /// It is done.
    Done(Restored),
}

/// What a restore came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Uploads that were ended.
    pub uploads: u64,
    /// What became of the blobs.
    pub blobs: Blobs,
    /// Bytes that no fact speaks of.
    pub quarantined: SetAside,
}

/// A data directory whose facts are in place, nobody's but the caller's.
#[derive(Debug)]
pub struct Bytes<'b> {
    /// The facts.
    pub metadata: &'b Metadata,
    /// The bytes.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Clock,
    /// The directory of the bytes.
    pub data: &'b Path,
    /// A backup that may have what is missing there.
    pub backup: Option<&'b Path>,
}

impl Bytes<'_> {
    /// Brings the bytes in line with the facts.
    ///
    /// # Errors
    /// [`Error`]. What was done stays done; the next run goes on.
    pub async fn bring_in_line(&self, tell: &mut (dyn FnMut(Event) + Send)) -> Result<Restored, Error> {
        let uploads = self.metadata.write(ForgetUnfinished).await?;
        let blobs = self.bring_blobs(tell).await?;
        let each = |stray: &crate::store::Listed| {
            tell(Event::Quarantined { key: stray.key.to_string(), size: stray.size });
        };
        let quarantined = quarantine::set_strays_aside(self.metadata, &*self.store, &self.clock, each).await?;
        let restored = Restored { uploads, blobs, quarantined };
        tell(Event::Done(restored));
        Ok(restored)
    }

    /// Makes sure that the facts are there, where somebody else put them: a database that was never restored must not cost a registry its images.
    ///
    /// # Errors
    /// [`Error::NoFacts`]
    pub async fn check_facts(&self) -> Result<(), Error> {
        let counts = rows::counts(&mut self.metadata.read().await?).await?;
        let data = self.data.to_owned();
        let bytes = self.on_disk(move || holds_something(&data)).await?;
        if bytes && counts.repositories == 0 { Err(Error::NoFacts) } else { Ok(()) }
    }

    async fn bring_blobs(&self, tell: &mut (dyn FnMut(Event) + Send)) -> Result<Blobs, Error> {
        let (mut blobs, mut behind) = (Blobs::default(), BlobId(0));
        loop {
            let page = rows::blobs_behind(&mut self.metadata.read().await?, self.store.name(), behind, BATCH).await?;
            let Some(last) = page.last() else { return Ok(blobs) };
            behind = last.id;
            let transfer = Transfer::new(self.backup.unwrap_or(self.data), self.data);
            let mut sound = Vec::new();
            for Looked { blob, how, hashed, reason } in self.on_disk(move || bring(page, transfer)).await? {
                blobs.count(how, blob.size);
                if how == Brought::Missing {
                    tell(self.give_up(&blob, reason).await?);
                } else if hashed {
                    sound.push((blob.id, blob.key));
                }
            }
            // An earlier look may have found them missing, and said so.
            if !sound.is_empty() {
                self.metadata.write(MarkVerified { blobs: sound, hot: self.metadata.blobs().clone() }).await?;
            }
            tell(Event::Brought(blobs));
        }
    }

    /// Marks a blob whose bytes are nowhere, and tells what that means.
    async fn give_up(&self, blob: &Stored, reason: Option<String>) -> Result<Event, Error> {
        if !blob.damaged {
            let hot = self.metadata.blobs().clone();
            self.metadata.write(MarkDamaged { blob: blob.id, key: blob.key.clone(), hot }).await?;
        }
        let named_by = rows::naming(&mut self.metadata.read().await?, blob, MAX_NAMING).await?;
        Ok(Event::Missing { digest: blob.digest.to_string(), size: blob.size, reason, named_by })
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let done = task::spawn_blocking(job).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| Error::Data { path: self.data.to_owned(), source })
    }
}

/// What became of a blob.
struct Looked {
    blob: Stored,
    how: Brought,
    /// Whether its bytes were read and found right.
    hashed: bool,
    /// Why what the backup has will not do.
    reason: Option<String>,
}

fn bring(page: Vec<Stored>, mut transfer: Transfer) -> io::Result<Vec<Looked>> {
    let mut looked = Vec::with_capacity(page.len());
    for blob in page {
        looked.push(bring_one(&blob, &mut transfer)?);
    }
    transfer.settle()?;
    Ok(looked)
}

/// Brings what is not there. Every byte that comes out of a backup is hashed: this is the moment to find out. Of what is there, that is hashed which is
/// said to be damaged: an earlier restore may not have had it, or a disk been away.
fn bring_one(blob: &Stored, transfer: &mut Transfer) -> io::Result<Looked> {
    let there = transfer.there(&blob.key, blob.size);
    let looked = |how, hashed, reason| Ok(Looked { blob: blob.clone(), how, hashed, reason });
    match &there {
        Some(_) if !blob.damaged => return looked(Brought::Already, false, None),
        Some(path) if wrong(blob, path).is_none() => return looked(Brought::Already, true, None),
        _ => {}
    }
    let source = transfer.source(&blob.key, blob.size).filter(|source| Some(source) != there.as_ref());
    let Some(source) = source else { return looked(Brought::Missing, false, None) };
    match wrong(blob, &source) {
        Some(reason) => {
            looked(Brought::Missing, false, Some(format!("the backup has bytes under its key that {reason}")))
        }
        None => looked(transfer.replace(&blob.key, blob.size)?, true, None),
    }
}

/// What is wrong with the bytes in a file.
fn wrong(blob: &Stored, path: &Path) -> Option<String> {
    match hash(path, blob.digest.algorithm()).map(Hasher::finish) {
        Ok(found) if found == blob.digest => None,
        Ok(found) => Some(format!("hash to {found}")),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}
