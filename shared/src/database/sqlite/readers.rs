//! The read connections.
//!
//! Not sqlx's pool: that one sends a task and a ping along with every connection that comes back, which costs as much as a small query does. A
//! connection to a file in this process does not go stale, so here it is put on a stack and that is all.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use sqlx::{ConnectOptions, Connection};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::timeout,
};

use super::in_place::{InPlaceConnection, Options};
use crate::database::{DatabaseError, LEND_TIMEOUT};

/// Each connection has a page cache of its own, and reads that wait here wait for a processor anyway.
const MOST: usize = 16;
const LEAST: usize = 4;

pub(in crate::database) struct Readers {
    options: Options,
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// The last connection that came back goes out first: its caches are warm.
#[derive(Default)]
struct Idle(Mutex<Vec<InPlaceConnection>>);

impl Idle {
    fn stack(&self) -> MutexGuard<'_, Vec<InPlaceConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back when dropped.
pub(in crate::database) struct Lent {
    /// `None` only while being dropped.
    connection: Option<InPlaceConnection>,
    idle: Arc<Idle>,
    permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(options: Options) -> Self {
        let processors = thread::available_parallelism().map_or(LEAST, usize::from);
        let permits = Arc::new(Semaphore::new((2 * processors).clamp(LEAST, MOST)));
        Self { options, permits, idle: Arc::default() }
    }

    /// An idle connection, or a new one, or the next that comes back.
    pub(in crate::database) async fn lend(&self) -> Result<Lent, DatabaseError> {
        let permit = self.permit().await?;
        let idle = self.idle.stack().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Lent { connection: Some(connection), idle: Arc::clone(&self.idle), permit })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, DatabaseError> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(TryAcquireError::Closed) => Err(DatabaseError::Closed),
            Err(TryAcquireError::NoPermits) => timeout(LEND_TIMEOUT, Arc::clone(&self.permits).acquire_owned())
                .await
                .map_err(|_| DatabaseError::Busy)?
                .map_err(|_: AcquireError| DatabaseError::Closed),
        }
    }

    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.stack());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a read connection did not close");
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The stack first and the permit after, so that who gets the permit finds the connection. After closing, nobody would take it any more.
        if let Some(connection) = self.connection.take()
            && !self.permit.semaphore().is_closed()
        {
            self.idle.stack().push(connection);
        }
    }
}

impl Deref for Lent {
    type Target = InPlaceConnection;

    #[expect(clippy::expect_used, reason = "taken out by drop alone")]
    fn deref(&self) -> &InPlaceConnection {
        self.connection.as_ref().expect("the connection is there until it is dropped")
    }
}

impl DerefMut for Lent {
    #[expect(clippy::expect_used, reason = "taken out by drop alone")]
    fn deref_mut(&mut self) -> &mut InPlaceConnection {
        self.connection.as_mut().expect("the connection is there until it is dropped")
    }
}
