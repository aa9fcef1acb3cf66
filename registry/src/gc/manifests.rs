//! Deleted manifests that nobody wants back.

use super::Batch;
use crate::{
    content::{Content, Error},
    metadata::manifests::{Due, Purge, purgeable},
};

/// How many manifests one batch purges.
const BATCH: i64 = 100;

/// Purges manifests whose undelete window has passed; the blobs they named are looked at again a day later.
pub(super) async fn purge(content: &Content) -> Result<Batch, Error> {
    let now = content.clock.now();
    let due = purgeable(&mut content.metadata.read().await?, now, Due::AfterWindow, BATCH).await?;
    let full = due.len() as i64 == BATCH;
    let mut removed = 0;
    for manifest in due {
        let purge = Purge { manifest, due: Due::AfterWindow };
        if content.metadata.write(purge).await.map_err(|error| Error::Unavailable(error.into()))? {
            removed += 1;
        }
    }
    Ok(Batch { removed, full })
}
