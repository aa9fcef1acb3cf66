//! Deleted manifests that nobody wants back.

use super::{Batch, Collector, Error};
use crate::metadata::manifests::{Due, purge_whole, purgeable};

/// How many manifests one batch purges, each in a transaction of its own or more.
const BATCH: i64 = 100;

impl Collector {
    /// Purges manifests whose undelete window has passed; the blobs they named are looked at again a day later.
    pub(super) async fn purge_manifests(&self) -> Result<Batch, Error> {
        let now = self.clock.now();
        let due = purgeable(&mut self.metadata.read().await?, now, BATCH).await?;
        let full = due.len() as i64 == BATCH;
        let mut removed = 0;
        for manifest in due {
            let purged = purge_whole(&self.metadata, manifest, Due::AfterWindow, self.settings.grace).await?;
            removed += usize::from(purged.is_some());
        }
        Ok(Batch { removed, more: full && removed > 0 })
    }
}
