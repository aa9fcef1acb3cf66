//! Bytes that no row refers to.

use super::{Batch, Collector, Error};
use crate::metadata::trash::{self, ForgetTrash};

/// How many keys one batch deletes.
const BATCH: i64 = 1000;

impl Collector {
    /// Deletes bytes that have been in the trash for long enough, then forgets their keys. A crash between the two makes the next sweep delete what is gone
    /// already, which is a success.
    pub(super) async fn empty_trash(&self) -> Result<Batch, Error> {
        let before = self.clock.now() - self.settings.trash_wait;
        let keys = trash::due(&mut self.metadata.read().await?, self.store.name(), before, BATCH).await?;
        let removed = keys.len();
        if removed > 0 {
            self.store.delete(&keys).await?;
            self.metadata.write(ForgetTrash { keys }).await?;
        }
        Ok(Batch { removed, full: removed as i64 == BATCH })
    }
}
