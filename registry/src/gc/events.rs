//! Events that nobody came for.

use super::{Batch, Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        events::{EVENT_LIFE, ForgetEvents},
        pace::Kind,
    },
};

impl Collector {
    /// Forgets old events: each push and deletion writes one, and nothing else bounds them.
    pub(super) async fn forget_events(&self) -> Result<Batch, Error> {
        let limit = self.metadata.paces().batch(Kind::Events);
        let forget = ForgetEvents { before: self.clock.now() - EVENT_LIFE, limit };
        let removed = self.metadata.collect(forget).await?;
        reach(Point::EventsForgotten)?;
        Ok(Batch { removed: removed as usize, more: removed == limit.cast_unsigned() })
    }
}
