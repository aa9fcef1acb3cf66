//! Blobs: whether they are here, their bytes, their end (OCI distribution specification, "Pulling blobs" and "Content management").

use std::{ops::Range, sync::Arc};

use shared::{database::WriteError, digest::Digest, repository::RepositoryName};

use super::{Content, Error, Promise, TagLimits, tags::Denial};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        blobs::{self, DeleteBlob, Held, MarkDamaged, NotDeleted, NotHeld, PromiseBlob},
        links::Lease,
        manifests::{Due, ManifestId, purge_whole},
    },
    store::{self, Reading, StorageKey, StoreError},
};

/// How often a deletion purges manifests that were deleted while it went on.
const MAX_PURGES: u32 = 5;

/// A blob that a repository holds.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    held: Arc<Held>,
}

impl Blob {
    /// Where its bytes lie, for a store that can send clients there.
    pub fn key(&self) -> &StorageKey {
        &self.held.key
    }
}

impl Content {
    /// Looks whether the repository holds a blob. For a pusher a yes is a promise that it stays.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], also for a blob whose bytes are damaged: the push that follows heals it.
    pub async fn stat_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        promise: Promise<'_>,
    ) -> Result<Blob, Error> {
        let held = self.held(repository, digest).await?;
        if let (Promise::To(pusher), Some(held)) = (promise, held.as_ref().filter(|held| !held.damaged)) {
            self.keep_promise(repository, digest, &held.lease, &pusher.holder).await?;
        }
        match held {
            Some(held) if !held.damaged => Ok(Blob { digest: *digest, size: held.size, held }),
            _ => Err(Error::BlobUnknown { digest: *digest }),
        }
    }

    /// Finds a blob to be read with [`Content::read_blob`].
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        self.stat_blob(repository, digest, Promise::Nothing).await
    }

    /// Streams a range of a blob's bytes; the range lies within its size.
    ///
    /// # Errors
    /// [`Error::BlobDamaged`] if the bytes are missing or too few. The blob is marked, so that the next push of it heals; not where no bytes at all
    /// are to be seen, because that is a disk that is not mounted.
    pub async fn read_blob(&self, blob: &Blob, range: Range<u64>) -> Result<Reading, Error> {
        match self.store.read(&blob.held.key, range).await {
            Ok(reading) => Ok(reading),
            Err(source @ (StoreError::NotFound(_) | StoreError::TooShort { .. })) => {
                if store::is_there(&*self.store).await? {
                    self.mark_damaged(blob).await?;
                }
                Err(Error::BlobDamaged { digest: blob.digest, source })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a blob from a repository at once; other repositories keep it.
    ///
    /// # Errors
    /// [`Error::Denied`] under any limit to tags; [`Error::BlobUnknown`]; [`Error::BlobInUse`] while a living manifest of the
    /// repository names it.
    pub async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limits: &TagLimits,
    ) -> Result<(), Error> {
        if *limits != TagLimits::Everything {
            return Err(Error::Denied(Denial::Blob));
        }
        for _ in 0..MAX_PURGES {
            let delete =
                DeleteBlob { repository: repository.clone(), digest: *digest, hot: self.metadata.blobs().clone() };
            match self.metadata.write(delete).await {
                Ok(()) => return Ok(reach(Point::BlobDeleted)?),
                Err(WriteError::Refused(NotDeleted::NotHeld)) => return Err(Error::BlobUnknown { digest: *digest }),
                Err(WriteError::Refused(NotDeleted::InUse(manifest))) => return Err(Error::BlobInUse { manifest }),
                Err(WriteError::Refused(NotDeleted::PurgeFirst(manifests))) => self.purge(manifests).await?,
                Err(WriteError::Unavailable(error)) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// Purges deleted manifests before their time: what they name is to be deleted, or their bytes come back as another type.
    pub(super) async fn purge(&self, manifests: Vec<ManifestId>) -> Result<(), Error> {
        for manifest in manifests {
            purge_whole(&self.metadata, manifest, Due::AtOnce, self.lives.grace).await?;
        }
        Ok(())
    }

    async fn held(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Arc<Held>>, Error> {
        let key = (repository.clone(), *digest);
        let read = async |_: &_| self.look_up(repository, digest).await.map(|held| held.map(Arc::new));
        self.metadata.blobs().get_or_read(key, read).await
    }

    /// What the database holds now.
    pub(super) async fn look_up(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Held>, Error> {
        Ok(blobs::find(&mut self.metadata.read().await?, repository, digest).await?)
    }

    async fn keep_promise(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        lease: &Lease,
        holder: &str,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        if lease.covers(holder, now) {
            return Ok(());
        }
        let renewal = lease.is_renewed_by(holder, now);
        let promise = PromiseBlob {
            repository: repository.clone(),
            digest: *digest,
            holder: holder.to_owned(),
            renewal,
            hot: self.metadata.blobs().clone(),
        };
        self.metadata.write(promise).await.map_err(|error| match error {
            // The link went between the look and the promise.
            WriteError::Refused(NotHeld) => Error::BlobUnknown { digest: *digest },
            WriteError::Unavailable(error) => error.into(),
        })?;
        Ok(reach(Point::PromiseGiven)?)
    }

    async fn mark_damaged(&self, blob: &Blob) -> Result<(), Error> {
        let mark = MarkDamaged { blob: blob.held.id, key: blob.held.key.clone(), hot: self.metadata.blobs().clone() };
        self.metadata.write(mark).await.map_err(|error| Error::Unavailable(error.into()))
    }
}

#[cfg(test)]
mod tests;
