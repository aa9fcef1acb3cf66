//! Uploads that nobody came back for.

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        pace::Kind,
        uploads::{self, ExpireUploads, UploadId},
    },
};

impl Collector {
    /// Ends expired uploads; their bytes go to the trash.
    pub(super) async fn expire_uploads(&self) -> Result<Batch, Error> {
        let most = usize::try_from(self.metadata.paces().batch(Kind::Uploads)).unwrap_or(1);
        let mut ids = self.abandoned(most).await?;
        if ids.is_empty() {
            return Ok(Batch { removed: 0, more: false });
        }
        let full = ids.len() >= most;
        ids.truncate(most);
        let removed = self.metadata.collect(ExpireUploads { ids }).await?;
        reach(Point::UploadsExpired)?;
        Ok(Batch { removed, more: full && removed > 0 })
    }

    /// Expired uploads that nobody writes, a batch of them or more if there are so many. Those that are written stay in the queue for as long as their
    /// requests last, and whoever sends slowly must not keep those behind: they are passed over, and are no more than there are requests.
    async fn abandoned(&self, most: usize) -> Result<Vec<UploadId>, Error> {
        let (now, mut behind, mut ids) = (self.clock.now(), None, Vec::new());
        let mut reader = self.metadata.read().await?;
        loop {
            let page = uploads::expired(&mut reader, now, behind, most as i64).await?;
            // A request that began in time may take longer than the upload's life; when it records, the upload lives again.
            ids.extend(page.iter().map(|(_, id)| *id).filter(|id| !self.metadata.writers().is_busy(*id)));
            if page.len() < most || ids.len() >= most {
                return Ok(ids);
            }
            behind = page.last().copied();
        }
    }
}
