//! A bounded share of the blocking threads.

use std::sync::Arc;

use tokio::{sync::Semaphore, task};

/// Runs blocking jobs, a bounded number at once; more wait in order. The runtime has far more threads than all lanes together, so lanes never wait for
/// each other.
#[derive(Clone, Debug)]
pub(super) struct Lane(Arc<Semaphore>);

impl Lane {
    pub(super) fn new(jobs: usize) -> Self {
        Self(Arc::new(Semaphore::new(jobs)))
    }

    /// Runs `job` to its end, even if this future is dropped in the meantime.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed; a job that runs without a permit would only be one too many.
        let permit = Arc::clone(&self.0).acquire_owned().await.ok();
        let running = task::spawn_blocking(move || {
            let done = job();
            drop(permit);
            done
        });
        match running.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // A blocking job is cancelled only while the runtime shuts down, and then nobody waits for this any more.
            Err(_) => std::future::pending().await,
        }
    }
}
