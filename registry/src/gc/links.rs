//! Links that no manifest needs.

use super::Batch;
use crate::{
    content::{Content, Error},
    metadata::links::collect::{self, CollectLink, Collected},
};

/// How many links one batch looks at.
const BATCH: i64 = 100;

/// Collects expired links; the last link of a blob takes the blob with it.
pub(super) async fn collect(content: &Content) -> Result<Batch, Error> {
    let now = content.clock.now();
    let expired = collect::expired(&mut content.metadata.read().await?, now, BATCH).await?;
    let full = expired.len() as i64 == BATCH;
    let mut removed = 0;
    for expired in expired {
        let collect = CollectLink { expired, hot: content.blobs.clone() };
        match content.metadata.write(collect).await.map_err(|error| Error::Unavailable(error.into()))? {
            Collected::Gone => removed += 1,
            Collected::Needed | Collected::Left => {}
        }
    }
    Ok(Batch { removed, full })
}
