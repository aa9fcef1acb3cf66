//! Repositories deleted and brought back as a whole.

#[cfg(test)]
mod tests;

use std::time::Duration;

use shared::{
    database::{DatabaseError, Failure, Operation, Transaction, WriteError},
    repository::RepositoryName,
};

use super::Lifecycle;
use crate::{
    failpoints::{Failed, Point, reach},
    metadata::{
        blobs::HotBlobs,
        events::{self, Event},
        immutable::{Force, Held, Written},
        manifests::Remembered,
        quotas::Exceeded,
        repositories::{Repository, deletion},
        uploads::{UploadId, writers::Writers},
    },
};

pub use crate::metadata::RepositoryId;

/// A repository to delete.
#[derive(Clone, Debug)]
pub struct DeleteRepository {
    /// Which.
    pub name: RepositoryName,
    /// Whether tags that have to stay go all the same.
    pub force: Force,
    /// Who is written into events.
    pub actor: String,
}

/// A deleted repository to bring back.
#[derive(Clone, Debug)]
pub struct RestoreRepository {
    /// Its name.
    pub name: RepositoryName,
    /// Which of that name; without it, the one that was deleted last.
    pub id: Option<RepositoryId>,
    /// Whether a repository that has the name by now is deleted for it.
    pub force: Force,
    /// Who is written into events.
    pub actor: String,
}

/// Why a repository is not deleted, or does not come back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no repository {0}")]
    Unknown(RepositoryName),
    /// None of this name can come back.
    #[error("there is no deleted repository {0} that can come back")]
    NotRestorable(RepositoryName),
    /// Another one has the name.
    #[error("there is a repository {0} again; say force to delete it for the one that comes back")]
    Occupied(RepositoryName),
    /// The namespace would have more tags or repositories than it may.
    #[error(transparent)]
    QuotaExceeded(#[from] Exceeded),
    /// One of its tags has to stay.
    #[error("{0}; say force to delete it with the repository")]
    Immutable(Box<Held>),
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::Unavailable(failed.into())
    }
}

impl From<WriteError<Self>> for Error {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Refused(refusal) => refusal,
            WriteError::Unavailable(error) => error.into(),
        }
    }
}

impl Lifecycle {
    /// Deletes a repository: from now on nobody sees anything of it, and a push to its name makes a new one. Until its window is over it can
    /// come back; then the collector removes what it holds.
    ///
    /// # Errors
    /// There is none, or one of its tags has to stay.
    pub async fn delete_repository(&self, delete: DeleteRepository) -> Result<(), Error> {
        let operation = Delete { delete, window: self.undelete_window, memory: self.memory() };
        self.metadata.write(operation).await?;
        Ok(reach(Point::RepositoryDeleted)?)
    }

    /// Brings a deleted repository back as it was.
    ///
    /// # Errors
    /// None can come back, another one has the name, or the namespace may not have so much.
    pub async fn restore_repository(&self, restore: RestoreRepository) -> Result<RepositoryId, Error> {
        let operation = Restore { restore, window: self.undelete_window, memory: self.memory() };
        let Restored { id, .. } = self.metadata.write(operation).await?;
        reach(Point::RepositoryRestored)?;
        Ok(id)
    }

    fn memory(&self) -> Memory {
        let metadata = &self.metadata;
        Memory {
            blobs: metadata.blobs().clone(),
            manifests: metadata.manifests().clone(),
            writers: metadata.writers().clone(),
        }
    }
}

/// What this process keeps of repositories beside their rows.
struct Memory {
    blobs: HotBlobs,
    manifests: Remembered,
    writers: Writers,
}

impl Memory {
    /// Forgets what is remembered by a repository's name, and ends the requests that write into what is hidden now: a body may go on for hours, and all of
    /// it would be for nothing.
    fn forget(&self, hidden: &[UploadId]) {
        self.blobs.forget_all();
        self.manifests.answers.forget_all();
        self.writers.end(hidden);
    }
}

struct Delete {
    delete: DeleteRepository,
    window: Duration,
    memory: Memory,
}

impl Operation for Delete {
    /// The uploads that ended with it.
    type Output = Vec<UploadId>;
    type Refusal = Error;
    const NAME: &'static str = "delete_repository";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<UploadId>, Failure<Error>> {
        let DeleteRepository { name, force, actor } = &self.delete;
        let found = deletion::lock_alone(tx, name).await?;
        let found = found.ok_or_else(|| Failure::Refused(Error::Unknown(name.clone())))?;
        hide(tx, name, &found, (*force, self.window, actor)).await
    }

    fn committed(&self, ended: &Vec<UploadId>) {
        self.memory.forget(ended);
    }
}

struct Restore {
    restore: RestoreRepository,
    window: Duration,
    memory: Memory,
}

/// A repository that came back.
struct Restored {
    id: RepositoryId,
    /// Uploads into the one that made room for it.
    ended: Vec<UploadId>,
}

impl Operation for Restore {
    type Output = Restored;
    type Refusal = Error;
    const NAME: &'static str = "restore_repository";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Restored, Failure<Error>> {
        let RestoreRepository { name, id, force, actor } = &self.restore;
        let found = deletion::lock_restorable(tx, name, *id).await?;
        let found = found.ok_or_else(|| Failure::Refused(Error::NotRestorable(name.clone())))?;
        let ended = match (deletion::lock_alone(tx, name).await?, force) {
            (Some(_), Force::No) => return Err(Failure::Refused(Error::Occupied(name.clone()))),
            (Some(living), Force::Yes) => hide(tx, name, &living, (Force::Yes, self.window, actor)).await?,
            (None, _) => Vec::new(),
        };
        deletion::show(tx, &found).await?;
        reach(Point::RepositoryShown)?;
        events::record(tx, &Event::RepositoryRestored { repository: name, id: found.id.0, actor }).await?;
        Ok(Restored { id: found.id, ended })
    }

    fn committed(&self, restored: &Restored) {
        self.memory.forget(&restored.ended);
    }
}

/// Hides a repository that is locked alone; the uploads that end with it.
async fn hide(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    (repository, rules): &(Repository, Written),
    (force, window, actor): (Force, Duration, &str),
) -> Result<Vec<UploadId>, Failure<Error>> {
    if force == Force::No
        && let Some(held) = deletion::first_held(tx, (repository.id, name), rules).await?
    {
        return Err(Failure::Refused(Error::Immutable(Box::new(held))));
    }
    let until = tx.now() + window;
    let ended = deletion::hide(tx, repository.id, until, actor).await?;
    reach(Point::RepositoryHidden)?;
    events::record(tx, &Event::RepositoryDeleted { repository: name, id: repository.id.0, until, actor }).await?;
    Ok(ended)
}
