//! One writer for each upload, within this process; the `writer` number of its row keeps other processes out.
//!
//! No fact of the database, but the other half of one: a number can only be raised once the earlier writer here has closed the bytes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as Turnstile, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::UploadId;

/// Who writes which upload, and who waits to.
#[derive(Clone, Default)]
pub(crate) struct Writers(Arc<Mutex<HashMap<UploadId, Queue>>>);

struct Queue {
    turnstile: Arc<Turnstile<()>>,
    newest: CancellationToken,
    places: usize,
}

impl Writers {
    /// Ends the earlier writers of this upload and waits until they have closed its bytes. `None` if a still newer request came in the meantime.
    pub(crate) async fn enter(&self, id: UploadId) -> Option<Turn> {
        let place = self.take_place(&mut self.queues(), id);
        let entered = Arc::clone(&place.turnstile).lock_owned().await;
        if place.ended.is_cancelled() { None } else { Some(Turn { _entered: entered, place }) }
    }

    /// The turn, if nobody writes this upload or waits to. Whoever comes then waits until it is given back.
    pub(crate) fn try_enter(&self, id: UploadId) -> Option<Turn> {
        let place = {
            let mut queues = self.queues();
            if queues.contains_key(&id) {
                return None;
            }
            self.take_place(&mut queues, id)
        };
        // Somebody may have come since: that one is the newer.
        let entered = Arc::clone(&place.turnstile).try_lock_owned().ok()?;
        Some(Turn { _entered: entered, place })
    }

    /// Ends whoever writes these uploads, or waits to; nobody takes their place. It does not wait until the bytes are closed.
    pub(crate) fn end(&self, ids: &[UploadId]) {
        let queues = self.queues();
        ids.iter().filter_map(|id| queues.get(id)).for_each(|queue| queue.newest.cancel());
    }

    /// Whether somebody writes this upload now.
    pub(crate) fn is_busy(&self, id: UploadId) -> bool {
        self.queues().contains_key(&id)
    }

    fn take_place(&self, queues: &mut HashMap<UploadId, Queue>, id: UploadId) -> Place {
        let ended = CancellationToken::new();
        let queue = queues.entry(id).or_insert_with(|| Queue {
            turnstile: Arc::default(),
            newest: CancellationToken::new(),
            places: 0,
        });
        std::mem::replace(&mut queue.newest, ended.clone()).cancel();
        queue.places += 1;
        Place { writers: self.clone(), id, ended, turnstile: Arc::clone(&queue.turnstile) }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<UploadId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writers({})", self.queues().len())
    }
}

/// The right to write an upload until it is dropped. Whoever holds it closes the bytes before that.
pub(crate) struct Turn {
    // Dropped first, so that the next writer may enter before this place is forgotten.
    _entered: OwnedMutexGuard<()>,
    place: Place,
}

impl Turn {
    /// Resolves when a newer request wants the upload, or nobody is to write it any more.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.place.ended
    }
}

struct Place {
    writers: Writers,
    id: UploadId,
    ended: CancellationToken,
    turnstile: Arc<Turnstile<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.writers.queues();
        if let Some(queue) = queues.get_mut(&self.id) {
            queue.places -= 1;
            if queue.places == 0 {
                queues.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_writer_ends_the_earlier_one_and_waits_for_it() {
        let (writers, id) = (Writers::default(), UploadId::fresh());
        let first = writers.enter(id).await.unwrap();
        let waiting = tokio::spawn({
            let writers = writers.clone();
            async move { writers.enter(id).await }
        });
        first.ended().cancelled().await;
        assert!(!waiting.is_finished(), "the first has not closed the bytes yet");
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert!(!second.ended().is_cancelled());
        assert!(writers.is_busy(id));
        drop(second);
        assert!(!writers.is_busy(id));
    }

    #[tokio::test]
    async fn of_those_who_wait_only_the_newest_enters() {
        let (writers, id) = (Writers::default(), UploadId::fresh());
        let first = writers.enter(id).await.unwrap();
        let (second, third) = (writers.enter(id), writers.enter(id));
        let (mut second, mut third) = (Box::pin(second), Box::pin(third));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        assert!(second.await.is_none());
        assert!(third.await.is_some());
        assert!(!writers.is_busy(id));
    }

    #[tokio::test]
    async fn one_who_gives_up_waiting_leaves_no_trace() {
        let (writers, id) = (Writers::default(), UploadId::fresh());
        let first = writers.enter(id).await.unwrap();
        {
            let mut waiting = Box::pin(writers.enter(id));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        drop(first);
        assert!(!writers.is_busy(id));
        assert!(writers.enter(id).await.is_some());
    }

    #[tokio::test]
    async fn one_who_only_tries_ends_nobody_and_is_waited_for() {
        let (writers, id) = (Writers::default(), UploadId::fresh());
        let first = writers.enter(id).await.unwrap();
        assert!(writers.try_enter(id).is_none());
        assert!(!first.ended().is_cancelled());
        drop(first);
        let tried = writers.try_enter(id).unwrap();
        let mut waiting = Box::pin(writers.enter(id));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(tried);
        assert!(waiting.await.is_some());
        assert!(!writers.is_busy(id));
    }

    #[tokio::test]
    async fn who_is_ended_gives_way_to_nobody() {
        let (writers, id, other) = (Writers::default(), UploadId::fresh(), UploadId::fresh());
        let (writing, beside) = (writers.enter(id).await.unwrap(), writers.enter(other).await.unwrap());
        writers.end(&[id, UploadId::fresh()]);
        assert!(writing.ended().is_cancelled() && !beside.ended().is_cancelled());
        assert!(writers.is_busy(id), "it has yet to close the bytes");
        drop(writing);
        assert!(!writers.is_busy(id));
        assert!(!writers.enter(id).await.unwrap().ended().is_cancelled(), "whoever comes later finds out by the row");
    }

    #[tokio::test]
    async fn other_uploads_are_not_disturbed() {
        let writers = Writers::default();
        let first = writers.enter(UploadId::fresh()).await.unwrap();
        let _other = writers.enter(UploadId::fresh()).await.unwrap();
        assert!(!first.ended().is_cancelled());
    }
}
