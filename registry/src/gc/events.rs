//! Events that nobody came for.

use super::{Batch, Collector, Error};
use crate::metadata::events::{EVENT_LIFE, ForgetEvents};

/// How many events one batch looks at.
const BATCH: i64 = 1000;

impl Collector {
    /// Forgets old events: each push and deletion writes one, and nothing else bounds them.
    pub(super) async fn forget_events(&self) -> Result<Batch, Error> {
        let forget = ForgetEvents { before: self.clock.now() - EVENT_LIFE, limit: BATCH };
        let removed = self.metadata.write(forget).await?;
        Ok(Batch { removed: removed as usize, more: removed == BATCH as u64 })
    }
}
