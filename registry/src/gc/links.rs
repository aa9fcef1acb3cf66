//! Links that no manifest needs.

use super::{Batch, Collector, Error};
use crate::metadata::links::collect::{self, CollectLink, Collected};

/// How many links one batch looks at.
const BATCH: i64 = 100;

impl Collector {
    /// Collects expired links; the last link of a blob takes the blob with it.
    pub(super) async fn collect_links(&self) -> Result<Batch, Error> {
        let now = self.clock.now();
        let expired = collect::expired(&mut self.metadata.read().await?, now, BATCH).await?;
        let full = expired.len() as i64 == BATCH;
        let (mut removed, mut needed) = (0, 0);
        for expired in expired {
            let collect = CollectLink { expired, hot: self.metadata.blobs().clone() };
            match self.metadata.write(collect).await? {
                Collected::Gone => removed += 1,
                Collected::Needed => needed += 1,
                Collected::Left => {}
            }
        }
        Ok(Batch { removed, more: full && removed + needed > 0 })
    }
}
