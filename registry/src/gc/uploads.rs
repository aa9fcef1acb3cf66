//! Uploads that nobody came back for.

use super::Batch;
use crate::{
    content::{Content, Error},
    metadata::uploads::{self, Ended},
};

/// How many uploads one batch ends.
const BATCH: i64 = 100;

/// Ends expired uploads; their bytes go to the trash.
pub(super) async fn expire(content: &Content) -> Result<Batch, Error> {
    let now = content.clock.now();
    let expired = uploads::expired(&mut content.metadata.read().await?, now, BATCH).await?;
    let full = expired.len() as i64 == BATCH;
    let mut removed = 0;
    for id in expired {
        // A request that began in time may take longer than the upload's life; when it records, the upload lives again.
        if !content.writers.is_busy(id) && content.end_upload(id, Ended::ByExpiry).await? {
            removed += 1;
        }
    }
    Ok(Batch { removed, full })
}
