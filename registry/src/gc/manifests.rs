//! Deleted manifests that nobody wants back.

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::manifests::{Due, Purge, purgeable},
};

/// How many manifests one batch purges.
const BATCH: i64 = 100;

impl Collector {
    /// Purges manifests whose undelete window has passed; the blobs they named are looked at again a day later.
    pub(super) async fn purge_manifests(&self) -> Result<Batch, Error> {
        let now = self.clock.now();
        let due = purgeable(&mut self.metadata.read().await?, now, BATCH).await?;
        let full = due.len() as i64 == BATCH;
        let mut removed = 0;
        for manifest in due {
            let remembered = self.metadata.manifests().clone();
            let purge = Purge { manifest, due: Due::AfterWindow, grace: self.settings.grace, remembered };
            if self.metadata.write(purge).await?.is_some() {
                reach(Point::PurgeCommitted)?;
                removed += 1;
            }
        }
        Ok(Batch { removed, more: full && removed > 0 })
    }
}
