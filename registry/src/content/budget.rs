//! The memory that the bodies of requests share while they wait to be written.
//!
//! A body that becomes a file takes room for what waits in memory, for moments. One that has to be there as a whole, a manifest,
//! holds its room for as long as its sender takes. So those have shares of their own: slow ones never keep uploads from going on,
//! and large ones, of which there are few, never keep the usual ones waiting.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes of all bodies are in memory at once.
pub const BODY_BUDGET: usize = 16 * 1024 * 1024;

/// Up to this size, in bytes, a manifest is a usual one. Images have 1 to 3 KiB.
pub const USUAL_MANIFEST_BYTES: usize = 64 * 1024;

/// What all usual manifests take of [`BODY_BUDGET`] at most.
pub const USUAL_MANIFESTS_BUDGET: usize = 4 * 1024 * 1024;

/// What all larger manifests take of it at most.
pub const LARGE_MANIFESTS_BUDGET: usize = 8 * 1024 * 1024;

/// With less room than this, in bytes, no piece of a body is read: so many it may have.
const PIECE_BYTES: usize = 64 * 1024;

/// The memory that all bodies share. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    usual: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Room that was taken, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    all: Option<OwnedSemaphorePermit>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Default for Budget {
    fn default() -> Self {
        let [all, usual, large] = [BODY_BUDGET, USUAL_MANIFESTS_BUDGET, LARGE_MANIFESTS_BUDGET];
        let semaphore = |bytes| Arc::new(Semaphore::new(bytes));
        Self { all: semaphore(all), usual: semaphore(usual), large: semaphore(large) }
    }
}

impl Budget {
    /// Waits until a piece may be read. Nothing is taken yet: whoever reads from a slow client would hold it for nothing.
    pub(super) async fn wait_for_some(&self) {
        drop(take(&self.all, PIECE_BYTES, BODY_BUDGET).await);
    }

    /// Waits for room. Whoever waits holds none, so that no two bodies can wait for each other.
    pub(super) async fn wait_for(&self, bytes: usize) -> Room {
        Room { all: take(&self.all, bytes, BODY_BUDGET).await, _share: None }
    }

    /// Room beside what is held already, if there is some at once.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Room> {
        let all = Arc::clone(&self.all).try_acquire_many_owned(permits(bytes, BODY_BUDGET)).ok()?;
        Some(Room { all: Some(all), _share: None })
    }

    /// Waits for room for a manifest of so many bytes, all of it at once.
    pub(crate) async fn wait_for_manifest(&self, bytes: usize) -> Room {
        let (share, budget) = if bytes <= USUAL_MANIFEST_BYTES {
            (&self.usual, USUAL_MANIFESTS_BUDGET)
        } else {
            (&self.large, LARGE_MANIFESTS_BUDGET)
        };
        // The share first: who waits for it keeps nobody else waiting.
        let share = take(share, bytes, budget).await;
        Room { all: take(&self.all, bytes.min(budget), BODY_BUDGET).await, _share: share }
    }

    /// Bytes that nobody holds.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.all.available_permits()
    }
}

impl Room {
    /// Holds the other's room, too.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self.all, other.all) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = held.take().or(more),
        }
    }
}

/// None only if the semaphore were closed, which nobody does.
async fn take(of: &Arc<Semaphore>, bytes: usize, budget: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(of).acquire_many_owned(permits(bytes, budget)).await.ok()
}

/// What is larger than a whole budget takes all of it, and is alone then.
fn permits(bytes: usize, budget: usize) -> u32 {
    u32::try_from(bytes.min(budget)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn manifests_never_take_what_uploads_need() {
        let budget = Budget::default();
        let now = |bytes| budget.wait_for_manifest(bytes).now_or_never();
        let large = [now(LARGE_MANIFESTS_BUDGET / 2), now(LARGE_MANIFESTS_BUDGET / 2)];
        assert!(large.iter().all(Option::is_some));
        assert!(now(USUAL_MANIFEST_BYTES + 1).is_none(), "their share is taken");
        let usual: Vec<_> = std::iter::from_fn(|| now(USUAL_MANIFEST_BYTES)).collect();
        assert_eq!(usual.len(), USUAL_MANIFESTS_BUDGET / USUAL_MANIFEST_BYTES);
        assert_eq!(budget.left(), BODY_BUDGET - LARGE_MANIFESTS_BUDGET - USUAL_MANIFESTS_BUDGET);
        assert!(budget.try_take(1).is_some());
        drop(large);
        assert!(now(LARGE_MANIFESTS_BUDGET).is_some(), "what was given back is there again");
    }

    #[test]
    fn a_manifest_larger_than_its_share_comes_alone() {
        let budget = Budget::default();
        let now = |bytes| budget.wait_for_manifest(bytes).now_or_never();
        let first = now(BODY_BUDGET * 4);
        assert!(first.is_some());
        assert!(now(USUAL_MANIFEST_BYTES + 1).is_none());
        assert!(now(USUAL_MANIFEST_BYTES).is_some());
        drop(first);
        assert!(now(USUAL_MANIFEST_BYTES + 1).is_some());
        assert_eq!(budget.left(), BODY_BUDGET);
    }
}
