//! What the collector has done since the process began, and what it found waiting when it last looked: for those who watch it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use shared::clock::Timestamp;

use super::{Bounded, Of, Waiting};

/// Counters that every collector of a process shares with its clones.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    uploads: AtomicU64,
    repositories: AtomicU64,
    manifests: AtomicU64,
    links: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    sweeps: AtomicU64,
    failures: AtomicU64,
    looked: Mutex<Option<(Timestamp, Waiting)>>,
    bounded: Mutex<Arc<Bounded>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Uploads that nobody came back for.
    pub uploads: u64,
    /// Deleted repositories that were purged.
    pub repositories: u64,
    /// Manifests that were purged.
    pub manifests: u64,
    /// Links that were removed.
    pub links: u64,
    /// Files that were deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sweeps that came to their end.
    pub sweeps: u64,
    /// Sweeps that broke off.
    pub failures: u64,
    /// When it was last looked what waits, and what was found.
    pub waiting: Option<(Timestamp, Waiting)>,
}

impl Counts {
    pub(super) fn removed(&self, of: Of, count: usize) {
        let counter = match of {
            Of::Uploads => &self.0.uploads,
            Of::Manifests => &self.0.manifests,
            Of::Links => &self.0.links,
            Of::Trash => &self.0.files,
            // Events are no garbage that an operator frees.
            Of::Events => return,
        };
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn repositories(&self, count: usize) {
        self.0.repositories.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn freed(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn swept(&self, came_to_its_end: bool) {
        let counter = if came_to_its_end { &self.0.sweeps } else { &self.0.failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn looked(&self, now: Timestamp, waiting: Waiting, bounded: Bounded) {
        *self.0.bounded.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(bounded);
        *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, waiting));
    }

    /// Namespaces with a quota, as they were when it was last looked.
    pub(super) fn bounded(&self) -> Arc<Bounded> {
        Arc::clone(&self.0.bounded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn now(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            uploads: read(&self.0.uploads),
            repositories: read(&self.0.repositories),
            manifests: read(&self.0.manifests),
            links: read(&self.0.links),
            files: read(&self.0.files),
            bytes: read(&self.0.bytes),
            sweeps: read(&self.0.sweeps),
            failures: read(&self.0.failures),
            waiting: *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
