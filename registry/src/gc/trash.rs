//! Bytes that no row refers to.

use std::time::Duration;

use super::Batch;
use crate::{
    content::{Content, Error},
    metadata::trash::{self, ForgetTrash},
};

/// How many keys one batch deletes.
const BATCH: i64 = 1000;

/// Deletes bytes that have been in the trash for `wait`, then forgets their keys. A crash between the two makes the next sweep delete what is gone
/// already, which is a success.
pub(super) async fn empty(content: &Content, wait: Duration) -> Result<Batch, Error> {
    let before = content.clock.now() - wait;
    let keys = trash::due(&mut content.metadata.read().await?, content.store.name(), before, BATCH).await?;
    let removed = keys.len();
    if removed > 0 {
        content.store.delete(&keys).await?;
        content.metadata.write(ForgetTrash { keys }).await.map_err(|error| Error::Unavailable(error.into()))?;
    }
    Ok(Batch { removed, full: removed as i64 == BATCH })
}
