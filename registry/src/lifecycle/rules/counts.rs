//! What was done by rules since the process began: for those who watch it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use shared::clock::Timestamp;

/// Counters that all who run rules in a process share.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    tags: AtomicU64,
    manifests: AtomicU64,
    moved: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    ended: Mutex<Option<Timestamp>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tags that rules took away.
    pub tags: u64,
    /// Untagged manifests that they deleted.
    pub manifests: u64,
    /// Tags that moved between decision and deletion, and stayed.
    pub moved: u64,
    /// Runs that came to their end.
    pub done: u64,
    /// Runs that did not do all they should have.
    pub failed: u64,
    /// When the last run ended.
    pub ended: Option<Timestamp>,
}

impl Counts {
    pub(super) fn tags(&self, expired: u64, moved: u64) {
        self.0.tags.fetch_add(expired, Ordering::Relaxed);
        self.0.moved.fetch_add(moved, Ordering::Relaxed);
    }

    pub(super) fn manifest(&self) {
        self.0.manifests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, whole: bool, now: Timestamp) {
        let counter = if whole { &self.0.done } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub(super) fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            tags: read(&self.0.tags),
            manifests: read(&self.0.manifests),
            moved: read(&self.0.moved),
            done: read(&self.0.done),
            failed: read(&self.0.failed),
            ended: *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
