//! The queue in front of password hashing. A hash takes tens of milliseconds of a core and 19 MiB: a flood of logins must neither
//! take every thread nor all memory, and who would wait too long is told so at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::Semaphore;

/// How many logins may wait for each that is being hashed. At 30 ms a hash the last of them waits about two seconds.
pub const WAITING_PER_WORKER: usize = 64;

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many passwords are being checked; try again in a moment")]
pub struct Busy;

impl Busy {
    /// When it is worth another try.
    pub const RETRY_AFTER: Duration = Duration::from_secs(1);
}

/// Runs hashes beside each other, a few at a time.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Everybody who waits or works holds a place.
    places: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    /// How many places there are.
    capacity: usize,
    done: Arc<Done>,
}

#[derive(Debug, Default)]
struct Done {
    hashes: AtomicU64,
    microseconds: AtomicU64,
}

/// What hashing has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How much work was done.
    pub hashes: u64,
    /// How long threads were at it.
    pub took: Duration,
    /// Who is being worked for, or waits.
    pub waiting: usize,
}

impl Queue {
    /// As many workers as there are cores.
    #[must_use]
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores, cores * WAITING_PER_WORKER)
    }

    /// At most `workers` at once, with at most `waiting` behind them.
    #[must_use]
    pub fn new(workers: usize, waiting: usize) -> Self {
        let capacity = workers + waiting;
        let (places, workers) = (Arc::new(Semaphore::new(capacity)), Arc::new(Semaphore::new(workers)));
        Self { places, workers, capacity, done: Arc::default() }
    }

    /// What hashing has come to until now.
    #[must_use]
    pub fn times(&self) -> Times {
        Times {
            hashes: self.done.hashes.load(Relaxed),
            took: Duration::from_micros(self.done.microseconds.load(Relaxed)),
            waiting: self.capacity.saturating_sub(self.places.available_permits()),
        }
    }

    /// Runs the work on a thread that may block.
    ///
    /// # Errors
    /// [`Busy`] if every place is taken.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let worker = self.workers.clone().acquire_owned().await.map_err(|_| Busy)?;
        // The permits go with the work: a client that hangs up does not make room before its hash has ended.
        let counted = self.done.clone();
        let work = move || {
            let begun = Instant::now();
            let done = work();
            counted.hashes.fetch_add(1, Relaxed);
            counted.microseconds.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
            drop((place, worker));
            done
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn beyond_its_places_it_says_so_at_once() {
        let queue = Queue::new(1, 1);
        let (release, hold) = mpsc::channel::<()>();
        let working = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(move || hold.recv()).await.unwrap() }
        });
        while queue.workers.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(|| "waited").await }
        });
        while queue.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.run(|| "too many").await, Err(Busy));
        assert_eq!(queue.times(), Times { waiting: 2, ..Times::default() });

        release.send(()).unwrap();
        working.await.unwrap().unwrap();
        assert_eq!(waiting.await.unwrap(), Ok("waited"));
        assert_eq!(queue.run(|| "room again").await, Ok("room again"));
        let times = queue.times();
        assert_eq!((times.hashes, times.waiting), (3, 0));
        assert!(times.took > Duration::ZERO, "the first waited to be released: {times:?}");
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_keeps_its_place_until_the_work_ends() {
        let queue = Queue::new(1, 0);
        let (release, hold) = mpsc::channel::<()>();
        let gone = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(move || hold.recv()).await.map(drop) }
        });
        while queue.workers.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(queue.run(|| ()).await, Err(Busy));
        release.send(()).unwrap();
        while queue.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.run(|| ()).await, Ok(()));
    }
}
