//! Links that no manifest needs.

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        links::collect::{self, CollectLinks, Collected, LinkDue, Loose},
        pace::Kind,
    },
};

impl Collector {
    /// Collects expired links; the last link of a blob takes the blob with it.
    pub(super) async fn collect_links(&self) -> Result<Batch, Error> {
        let (now, most) = (self.clock.now(), self.metadata.paces().batch(Kind::Links));
        let expired = collect::expired(&mut self.metadata.read().await?, now, most).await?;
        let full = expired.len() as i64 == most;
        let collected = self.collect_loose(expired, LinkDue::Expired).await?;
        let settled = collected.iter().filter(|(_, collected)| *collected != Collected::Left).count();
        let removed = collected.iter().filter(|(_, collected)| matches!(collected, Collected::Gone { .. })).count();
        Ok(Batch { removed, more: full && settled > 0 })
    }

    /// Collects these links as far as they are still due, and says what became of each.
    pub(super) async fn collect_loose(
        &self,
        loose: Vec<Loose>,
        due: LinkDue,
    ) -> Result<Vec<(Loose, Collected)>, Error> {
        if loose.is_empty() {
            return Ok(Vec::new());
        }
        let collect = CollectLinks { loose: loose.clone(), due, hot: self.metadata.blobs().clone() };
        let collected = self.metadata.collect(collect).await?;
        reach(Point::LinksCollected)?;
        Ok(loose.into_iter().zip(collected).collect())
    }
}
