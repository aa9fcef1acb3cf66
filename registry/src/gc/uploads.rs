//! Uploads that nobody came back for.

use shared::database::WriteError;

use super::{Batch, Collector, Error};
use crate::metadata::uploads::{self, EndUpload, Ended, NotYours, UploadId};

/// How many uploads one batch ends.
const BATCH: i64 = 100;

impl Collector {
    /// Ends expired uploads; their bytes go to the trash.
    pub(super) async fn expire_uploads(&self) -> Result<Batch, Error> {
        let now = self.clock.now();
        let expired = uploads::expired(&mut self.metadata.read().await?, now, BATCH).await?;
        let full = expired.len() as i64 == BATCH;
        let mut removed = 0;
        for id in expired {
            // A request that began in time may take longer than the upload's life; when it records, the upload lives again.
            if !self.metadata.writers().is_busy(id) && self.end(id).await? {
                removed += 1;
            }
        }
        Ok(Batch { removed, more: full && removed > 0 })
    }

    /// Ends an upload that is still expired; false if it is not, or is gone.
    async fn end(&self, id: UploadId) -> Result<bool, Error> {
        match self.metadata.write(EndUpload { id, ended: Ended::ByExpiry }).await {
            Ok(()) => Ok(true),
            Err(WriteError::Refused(NotYours)) => Ok(false),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }
}
