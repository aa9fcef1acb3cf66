//! Bytes that no row refers to.

use std::slice;

use shared::clock::Timestamp;
use tracing::warn;

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        pace::Kind,
        trash::{self, ForgetTrash},
    },
    store::{StorageKey, StoreError},
};

/// What a batch of deletions came to.
pub(super) struct Emptied {
    pub(super) batch: Batch,
    /// How many bytes there were.
    pub(super) bytes: u64,
}

impl Collector {
    /// Deletes bytes that have been in the trash for long enough.
    pub(super) async fn empty_trash(&self) -> Result<Emptied, Error> {
        match self.empty_trash_before(self.clock.now() - self.settings.trash_wait).await {
            // The next sweep is soon enough.
            Err(Error::BackupRuns) => Ok(Emptied { batch: Batch { removed: 0, more: false }, bytes: 0 }),
            emptied => emptied,
        }
    }

    /// Deletes bytes that went to the trash until `before`, unless a backup is being made, then forgets their keys. A crash between the two makes the next sweep delete what is gone
    /// already, which is a success.
    pub(super) async fn empty_trash_before(&self, before: Timestamp) -> Result<Emptied, Error> {
        let _emptying = self.hold.emptying().ok_or(Error::BackupRuns)?;
        let most = self.metadata.paces().batch(Kind::Trash);
        let keys = trash::due(&mut self.metadata.read().await?, self.store.name(), before, most).await?;
        let full = keys.len() as i64 == most;
        if keys.is_empty() {
            return Ok(Emptied { batch: Batch { removed: 0, more: false }, bytes: 0 });
        }
        reach(Point::TrashListed)?;
        let (keys, bytes) = self.delete(keys).await?;
        reach(Point::FilesDeleted)?;
        self.counts.freed(bytes);
        let removed = keys.len();
        if removed > 0 {
            self.metadata.collect(ForgetTrash { keys }).await?;
            reach(Point::TrashEmptied)?;
        }
        Ok(Emptied { batch: Batch { removed, more: full && removed > 0 }, bytes })
    }

    /// Deletes the bytes of as many keys as the store lets go, and says which and how many. Those that it keeps for a reason of their own must not stand in
    /// the way of all others for ever; that nothing can be deleted is an error.
    async fn delete(&self, keys: Vec<StorageKey>) -> Result<(Vec<StorageKey>, u64), StoreError> {
        let mut sizes = Vec::with_capacity(keys.len());
        for key in &keys {
            // What cannot be weighed may still be deleted.
            sizes.push(self.store.size(key).await.ok().flatten().unwrap_or(0));
        }
        let Err(mut failure) = self.store.delete(&keys).await else { return Ok((keys, sizes.iter().sum())) };
        let (mut deleted, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for (key, size) in keys.into_iter().zip(sizes) {
            match self.store.delete(slice::from_ref(&key)).await {
                Ok(()) => {
                    deleted.push(key);
                    bytes += size;
                }
                Err(error) => {
                    warn!(%key, %error, "bytes in the trash cannot be deleted");
                    failure = error;
                }
            }
        }
        if deleted.is_empty() { Err(failure) } else { Ok((deleted, bytes)) }
    }
}
