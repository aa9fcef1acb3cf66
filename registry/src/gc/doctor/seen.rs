//! What the last runs came to, for those who watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::clock::Timestamp;

use super::{Depth, Totals};

/// What was seen last. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<[Option<Last>; 2]>>);

/// A run that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When.
    pub finished: Timestamp,
    /// With what.
    pub totals: Totals,
}

impl Seen {
    /// Remembers a run, unless a later one is known.
    pub(super) fn finished(&self, depth: Depth, finished: Timestamp, totals: Totals) {
        let mut last = self.last();
        let last = &mut last[depth as usize];
        if last.is_none_or(|last| last.finished <= finished) {
            *last = Some(Last { finished, totals });
        }
    }

    pub(super) fn of(&self, depth: Depth) -> Option<Last> {
        self.last()[depth as usize]
    }

    fn last(&self) -> MutexGuard<'_, [Option<Last>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
