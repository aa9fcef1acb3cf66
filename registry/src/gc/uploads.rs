//! Uploads that nobody came back for.

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::uploads::{self, ExpireUploads},
};

/// How many uploads one batch ends: two statements, whose rows nobody else waits for.
const BATCH: i64 = 100;

impl Collector {
    /// Ends expired uploads; their bytes go to the trash.
    pub(super) async fn expire_uploads(&self) -> Result<Batch, Error> {
        let now = self.clock.now();
        let mut ids = uploads::expired(&mut self.metadata.read().await?, now, BATCH).await?;
        let full = ids.len() as i64 == BATCH;
        // A request that began in time may take longer than the upload's life; when it records, the upload lives again.
        ids.retain(|id| !self.metadata.writers().is_busy(*id));
        if ids.is_empty() {
            return Ok(Batch { removed: 0, more: false });
        }
        let removed = self.metadata.write(ExpireUploads { ids }).await?;
        reach(Point::UploadsExpired)?;
        Ok(Batch { removed, more: full && removed > 0 })
    }
}
