//! Bytes that no row refers to.

use std::slice;

use tracing::warn;

use super::{Batch, Collector, Error};
use crate::{
    metadata::trash::{self, ForgetTrash},
    store::{StorageKey, StoreError},
};

/// How many keys one batch deletes.
const BATCH: i64 = 1000;

impl Collector {
    /// Deletes bytes that have been in the trash for long enough, then forgets their keys. A crash between the two makes the next sweep delete what is gone
    /// already, which is a success.
    pub(super) async fn empty_trash(&self) -> Result<Batch, Error> {
        let before = self.clock.now() - self.settings.trash_wait;
        let keys = trash::due(&mut self.metadata.read().await?, self.store.name(), before, BATCH).await?;
        let full = keys.len() as i64 == BATCH;
        let keys = self.delete(keys).await?;
        let removed = keys.len();
        if removed > 0 {
            self.metadata.write(ForgetTrash { keys }).await?;
        }
        Ok(Batch { removed, more: full && removed > 0 })
    }

    /// Deletes the bytes of as many keys as the store lets go, and says which. Those that it keeps for a reason of their own must not stand in the way of
    /// all others for ever; that nothing can be deleted is an error.
    async fn delete(&self, keys: Vec<StorageKey>) -> Result<Vec<StorageKey>, StoreError> {
        let Err(mut failure) = self.store.delete(&keys).await else { return Ok(keys) };
        let mut deleted = Vec::with_capacity(keys.len());
        for key in keys {
            match self.store.delete(slice::from_ref(&key)).await {
                Ok(()) => deleted.push(key),
                Err(error) => {
                    warn!(%key, %error, "bytes in the trash cannot be deleted");
                    failure = error;
                }
            }
        }
        if deleted.is_empty() { Err(failure) } else { Ok(deleted) }
    }
}
