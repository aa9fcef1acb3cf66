//! Backups beside the running server: the facts first, the bytes after them.
//!
//! In this order nothing that the facts speak of can be missing: bytes are there before their row is, they never change, and they are deleted last. What
//! the facts speak of when they are copied may go to the trash meanwhile; there it stays until the bytes are copied too, because a backup holds the trash.
//! Whoever copies the bytes later, with a tool of their own, has `portreeve.trash` in place of that.

mod blobs;
mod facts;
mod manifest;
mod target;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use shared::{
    clock::{Clock, Timestamp},
    database::DatabaseError,
};
use tokio::{
    sync::{Mutex, mpsc},
    task,
};
use utoipa::ToSchema;

pub(super) use self::manifest::hash;
pub use self::manifest::{Blobs, CopiedFile, Facts, Manifest};
use self::target::Target;
use super::{Collector, hold::TrashHold};
use crate::metadata::{Metadata, backup as rows};

/// Why there is no backup, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one is being made.
    #[error("a backup is being made already: wait for its end")]
    AnotherRuns,
    /// The server does not know from where a relative path starts.
    #[error("{}: name the whole path of the directory", .0.display())]
    Relative(PathBuf),
    /// A backup in the data directory would go with it, and would be in the next one.
    #[error("{} and the data directory lie in each other: name another directory", .0.display())]
    WithinItself(PathBuf),
    /// Somebody keeps something else there.
    #[error("{} holds something else: name an empty directory, or one with an earlier backup", .0.display())]
    Foreign(PathBuf),
    /// Another registry's backup is there.
    #[error("{} holds a backup of {}: name another directory", path.display(), of.display())]
    AnothersBackup {
        /// The directory.
        path: PathBuf,
        /// What it is a backup of.
        of: PathBuf,
    },
    /// The directory, or something in it, cannot be used.
    #[error("{}: {source}", path.display())]
    Target {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no manifest to be read.
    #[error("{}: {reason}", path.display())]
    NoManifest {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file is not what the manifest says.
    #[error("{path} in the backup: {reason}")]
    NotWhole {
        /// Which, below the backup.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The keys changed whenever they were copied.
    #[error("the keys in {} change all the time", .0.display())]
    RestlessKeys(PathBuf),
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
    /// Nobody listens any more.
    #[error("it was stopped; an earlier backup is as it was")]
    Stopped,
}

/// What happens while a backup is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schema(as = BackupEvent)]
pub enum Event {
    /// A file of the facts was copied.
    File(CopiedFile),
    /// So many blobs were brought so far.
    Brought(Blobs),
    /// A blob's bytes are not there to be brought: it is damaged, and so it is in the backup.
    Missing {
        /// Its digest.
        digest: String,
        /// Its length in bytes.
        size: u64,
    },
    /// The backup is whole.
    Done {
        /// What it holds.
        backup: Box<Manifest>,
        /// How many files of blobs went, that an earlier backup had needed and this one does not.
        removed: u64,
    },
    /// It is not, and why.
    Failed {
        /// The reason.
        detail: String,
    },
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackupOrder)]
pub struct Order {
    /// The directory, as the server sees it.
    #[schema(value_type = String)]
    pub target: PathBuf,
    /// Whether the bytes are copied too.
    #[serde(default)]
    pub blobs: bool,
}

/// Makes backups of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backups {
    metadata: Metadata,
    hold: TrashHold,
    store: &'static str,
    clock: Clock,
    data: PathBuf,
    database: Option<PathBuf>,
    one: Arc<Mutex<()>>,
}

impl Backups {
    /// Backups of what lies in `data`, whose facts are in the file `database`, or in PostgreSQL.
    #[must_use]
    pub fn new(collector: &Collector, data: &Path, database: Option<PathBuf>) -> Self {
        Self {
            metadata: collector.metadata.clone(),
            hold: collector.hold.clone(),
            store: collector.store.name(),
            clock: collector.clock.clone(),
            data: data.to_owned(),
            database,
            one: Arc::default(),
        }
    }

    /// Makes a backup and tells `listener` what happens; the last event of one that is whole is [`Event::Done`]. When nobody listens any more it ends,
    /// and an earlier backup in the same directory is as it was.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn make(&self, order: Order, listener: &mpsc::Sender<Event>) -> Result<(), Error> {
        let _alone = self.one.try_lock().map_err(|_| Error::AnotherRuns)?;
        // Until the end: what the facts of this backup name may have left the live ones by then.
        let _held = self.hold.keep().await;
        let (data, begun) = (self.data.clone(), self.clock.now());
        let target = blocking(move || Target::open(&order.target, &data, begun)).await?;
        let making = Making { backups: self, target: &target, listener };
        let made = making.run(order.blobs, begun).await;
        let manifest = match made {
            Ok(manifest) => manifest,
            Err(error) => {
                let target = target.clone();
                let giving_up = move || {
                    target.give_up();
                    Ok(())
                };
                blocking(giving_up).await?;
                return Err(error);
            }
        };
        // Only now: an earlier backup needed what goes until this one was whole.
        let removed = making.tidy(order.blobs).await?;
        making.tell(Event::Done { removed, backup: Box::new(manifest) }).await
    }
}

/// A backup on its way.
struct Making<'b> {
    backups: &'b Backups,
    target: &'b Target,
    listener: &'b mpsc::Sender<Event>,
}

impl Making<'_> {
    async fn run(&self, with_blobs: bool, begun: Timestamp) -> Result<Manifest, Error> {
        let database = if self.backups.database.is_some() { Facts::Sqlite } else { Facts::Postgresql };
        let mut manifest = Manifest::new(self.target.data(), database, begun);
        manifest.facts_at = self.backups.clock.now();
        manifest.files = self.copy_secrets().await?;
        manifest.files.extend(self.copy_facts().await?);
        let mut reader = self.reader().await?;
        manifest.counts = rows::counts(&mut reader).await?;
        manifest.schema = rows::schema(&mut reader).await?;
        drop(reader);
        if with_blobs {
            manifest.blobs = Some(self.bring_blobs().await?);
        }
        manifest.finished_at = self.backups.clock.now();
        let (target, whole) = (self.target.clone(), manifest.clone());
        self.on_disk(move || target.finish(&whole)).await?;
        Ok(manifest)
    }

    /// Removes what no backup needs any more; answers how many files of blobs that were.
    async fn tidy(&self, with_blobs: bool) -> Result<u64, Error> {
        let removed = if with_blobs { self.remove_unneeded().await? } else { 0 };
        let target = self.target.clone();
        self.on_disk(move || target.tidy()).await?;
        Ok(removed)
    }

    async fn tell(&self, event: Event) -> Result<(), Error> {
        self.listener.send(event).await.map_err(|_| Error::Stopped)
    }

    /// Does something that waits for the disk, about the directory of the backup.
    async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let path = self.target.root().to_owned();
        blocking(move || job().map_err(|source| Error::Target { path, source })).await
    }
}

/// Does something that waits for the disk.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process ends.
        Err(_) => Err(Error::Stopped),
    }
}
