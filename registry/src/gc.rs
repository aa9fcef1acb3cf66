//! The collector: it removes what nobody needs any more, while everybody pushes and pulls (design.md section 6).
//!
//! It collects uploads that nobody came back for, deleted manifests that nobody wants back, links without a reference, and at last bytes that no row knows. There is no moment when it has to be
//! alone: each of its operations locks a few rows, looks again, and only then removes. A crash anywhere is repaired by going on.

use std::{convert::Infallible, sync::Arc, time::Duration};

use shared::{
    clock::Clock,
    database::{DatabaseError, WriteError},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{counts::Counts, hold::TrashHold};
use crate::{
    failpoints::Failed,
    metadata::{
        Metadata,
        manifests::MANIFEST_GRACE,
        quotas::{self, Exceeded},
        waiting,
    },
    store::{Store, StoreError},
};

pub mod backup;
pub mod by_hand;
mod counts;
pub mod doctor;
mod events;
mod hold;
mod links;
mod manifests;
pub mod quarantine;
pub mod reindex;
mod repositories;
pub mod restore;
mod trash;
mod uploads;

pub use self::counts::Counted;
pub use crate::metadata::{
    quotas::Bounded,
    timings::Spread,
    waiting::{Queue, Waiting},
};

/// Of how many namespaces with a quota those who watch are told: each is a few series in their database.
pub const MAX_BOUNDED: i64 = 100;

/// How the collector works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long it rests between two sweeps.
    pub interval: Duration,
    /// How long bytes lie in the trash before they are deleted: as long as the oldest backup that may be restored.
    pub trash_wait: Duration,
    /// How long an untagged manifest stays at least.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), trash_wait: Duration::from_secs(60 * 60), grace: MANIFEST_GRACE }
    }
}

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
    /// Another run does the same.
    #[error("another run is under way")]
    AtWork,
    /// A backup is being made of bytes that may be in the trash by now.
    #[error("a backup is being made: what is in the trash stays until it is done; collect again then")]
    BackupRuns,
    /// What was found does not fit into the quota of the repository that is to hold it.
    #[error(transparent)]
    DoesNotFit(#[from] Exceeded),
    /// It was told to stop, or nobody listens any more.
    #[error("it was stopped; what was removed stays removed, and the next run goes on")]
    Stopped,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::Unavailable(failed.into())
    }
}

impl From<WriteError<Infallible>> for Error {
    fn from(error: WriteError<Infallible>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// What one sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that nobody came back for.
    pub uploads: usize,
    /// Deleted repositories whose undelete window has passed.
    pub repositories: usize,
    /// Deleted manifests likewise.
    pub manifests: usize,
    /// Links that no manifest needed.
    pub links: usize,
    /// Keys whose bytes were deleted.
    pub keys: usize,
    /// Whether it left off in the middle of something large, to look after everything else: there is more to do at once.
    pub halfway: bool,
}

/// Removes what nobody needs any more.
#[derive(Clone, Debug)]
pub struct Collector {
    metadata: Metadata,
    store: Arc<dyn Store>,
    clock: Clock,
    settings: Settings,
    counts: Counts,
    hold: TrashHold,
}

impl Collector {
    /// A collector of what `metadata` says about the bytes in `store`.
    pub fn new(metadata: Metadata, store: Arc<dyn Store>, clock: Clock, settings: Settings) -> Self {
        Self { metadata, store, clock, settings, counts: Counts::default(), hold: TrashHold::default() }
    }

    /// Sweeps, rests, and sweeps again until `stop`. What fails is tried again with the next sweep.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let swept = self.sweep(&stop).await;
            self.counts.swept(swept.is_ok());
            let halfway = swept.as_ref().is_ok_and(|swept| swept.halfway);
            match swept {
                Ok(swept) if swept == Swept::default() => {}
                Ok(Swept { uploads, repositories, manifests, links, keys, halfway: _ }) => {
                    info!(uploads, repositories, manifests, links, keys, "collected");
                }
                Err(error) => warn!(error = &error as &dyn std::error::Error, "the collector will try again"),
            }
            self.look().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(if halfway { Duration::ZERO } else { self.settings.interval }) => {}
            }
        }
    }

    /// What collectors have done since the process began, by hand too, and what the last sweep left waiting.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.counts.now()
    }

    /// How long transactions that take something away have taken since the process began, by the operation's name.
    #[must_use]
    pub fn timings(&self) -> Vec<(&'static str, Spread)> {
        self.metadata.paces().timings().now()
    }

    /// Namespaces with a quota, as the last sweep saw them.
    #[must_use]
    pub fn bounded(&self) -> Arc<Bounded> {
        self.counts.bounded()
    }

    async fn see(&self) -> Result<(Waiting, Bounded), DatabaseError> {
        let bounded = quotas::bounded(&mut self.metadata.read().await?, MAX_BOUNDED).await?;
        Ok((self.waiting().await?, bounded))
    }

    /// Remembers what waits, for those who watch.
    async fn look(&self) {
        match self.see().await {
            Ok((waiting, bounded)) => self.counts.looked(self.clock.now(), waiting, bounded),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "what waits for the collector was not counted");
            }
        }
    }

    /// Counts what waits for a collector.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting(&self) -> Result<Waiting, DatabaseError> {
        waiting::waiting(&mut self.metadata.read().await?, self.clock.now()).await
    }

    /// Removes everything that is due now, a bounded batch at a time, each kind letting go what the next ones collect; `stop` ends it between two of them.
    ///
    /// # Errors
    /// Database or store failed. What was removed before that stays removed.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<Swept, Error> {
        let before = self.make_room(stop).await?;
        self.in_batches(Of::Events, stop).await?;
        let uploads = self.in_batches(Of::Uploads, stop).await?;
        let (repositories, halfway) = self.purge_repositories(stop).await?;
        Ok(Swept {
            uploads,
            repositories,
            manifests: self.in_batches(Of::Manifests, stop).await?,
            links: self.in_batches(Of::Links, stop).await?,
            keys: match self.in_batches(Of::Trash, stop).await {
                // What the store keeps for a reason of its own is no failure while other bytes go.
                Err(Error::Store(_)) if before > 0 => before,
                emptied => before + emptied?,
            },
            halfway,
        })
    }

    /// Empties the trash before anything else is done: it frees space without writing first, and on a full disk nothing else may be possible. What the store
    /// does not let go keeps nobody from collecting; it is met again behind the rest, and told there.
    async fn make_room(&self, stop: &CancellationToken) -> Result<usize, Error> {
        match self.in_batches(Of::Trash, stop).await {
            Err(Error::Store(_)) => Ok(0),
            emptied => emptied,
        }
    }

    async fn in_batches(&self, of: Of, stop: &CancellationToken) -> Result<usize, Error> {
        let mut removed = 0;
        while !stop.is_cancelled() {
            let batch = match of {
                Of::Uploads => self.expire_uploads().await?,
                Of::Manifests => self.purge_manifests().await?,
                Of::Links => self.collect_links().await?,
                Of::Trash => self.empty_trash().await?.batch,
                Of::Events => self.forget_events().await?,
            };
            removed += batch.removed;
            self.counts.removed(of, batch.removed);
            if !batch.more {
                break;
            }
        }
        Ok(removed)
    }
}

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
enum Of {
    Uploads,
    Manifests,
    Links,
    Trash,
    /// What was told and never fetched; nothing hangs on it.
    Events,
}

/// What one batch did.
#[derive(Clone, Copy, Debug)]
struct Batch {
    removed: usize,
    /// Whether another batch may find more. One that found much and settled nothing of it would only find it again: others hold it.
    more: bool,
}
