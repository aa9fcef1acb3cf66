//! What is handed to the write door.

use std::time::{Duration, Instant};

use super::{Connection, DatabaseError, Dialect};
use crate::clock::Timestamp;

/// A change: SQL and nothing else, all or nothing.
///
/// It may run more than once, in another transaction each time, so it keeps nothing from an earlier run. It lets every `sqlx::Error` through: SQLite
/// ends the whole transaction at some of them, and what runs after that would not be part of it.
pub trait Operation: Send + Sync + 'static {
    /// What a successful run yields.
    type Output: Send + 'static;
    /// Why the operation may refuse. [`std::convert::Infallible`] if it never does.
    type Refusal: Send + 'static;

    /// Its name in logs and metrics, like `put_manifest`.
    const NAME: &'static str;

    /// Whether [`Operation::took`] is told. To look at the clock costs little, but most operations have nobody who asks.
    const TIMED: bool = false;

    /// What the answer promises. [`Durability::Full`] unless losing the change with the machine's power harms nobody.
    fn durability(&self) -> Durability {
        Durability::Full
    }

    /// Makes the change. A refusal or an error undoes whatever it had changed.
    fn run(
        &self,
        tx: &mut Transaction<'_>,
    ) -> impl Future<Output = Result<Self::Output, Failure<Self::Refusal>>> + Send;

    /// The refusal that a lasting violation of a unique constraint means, where the operation has one.
    ///
    /// On PostgreSQL a row may appear between an operation's look and its insert. The operation is then run again and usually finds that row; if the
    /// violation lasts, this is its answer. On SQLite nothing comes between, so the first violation is answered so.
    fn already_exists(&self) -> Option<Self::Refusal> {
        None
    }

    /// Runs once after COMMIT and before the answer: this is where cached answers that the change made wrong are dropped. It must not block.
    fn committed(&self, output: &Self::Output) {
        let _ = output;
    }

    /// Runs once after [`Operation::committed`] where the operation is [`Operation::TIMED`]. It must not block.
    fn took(&self, output: &Self::Output, took: Took) {
        let _ = (output, took);
    }
}

/// How long a committed operation took. Runs of it that came to nothing are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// Its statements, with what they waited for.
    pub run: Duration,
    /// From its first statement to the end of COMMIT: others may have waited for what it held as long as that. On SQLite operations that joined its
    /// transaction behind it are in it.
    pub held: Duration,
}

/// What measures an operation that asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Option<(Instant, Duration)>);

impl Stopwatch {
    /// Begins; nothing for operations that are not timed.
    pub(super) fn start<O: Operation>() -> Self {
        Self(O::TIMED.then(|| (Instant::now(), Duration::ZERO)))
    }

    /// The statements have come to their end.
    pub(super) fn lap(&mut self) {
        if let Some((begun, run)) = &mut self.0 {
            *run = begun.elapsed();
        }
    }

    /// The transaction has come to its end: tells the operation, and lets it drop what memory knows wrongly.
    pub(super) fn committed<O: Operation>(self, operation: &O, output: &O::Output) {
        let took = self.0.map(|(begun, run)| Took { run, held: begun.elapsed() });
        operation.committed(output);
        if let Some(took) = took {
            operation.took(output, took);
        }
    }
}

/// What an answered operation has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The end of the process; a loss of power may undo it, together with everything after it. Never half of it.
    Relaxed,
    /// A loss of power too.
    Full,
}

/// Why a run did not succeed.
#[derive(Debug)]
pub enum Failure<R> {
    /// The operation refuses, and this is the answer.
    Refused(R),
    /// After taking its locks the operation found that what it had read before has moved. It is run again, a bounded number of times.
    Again,
    /// A query failed.
    Database(sqlx::Error),
}

impl<R> From<sqlx::Error> for Failure<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<R> {
    /// The operation's own reason.
    #[error("refused: {0:?}")]
    Refused(R),
    /// The database could not do it.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl<R> WriteError<R> {
    /// The same with another reason, for a boundary that has its own words.
    pub fn map_refusal<S>(self, map: impl FnOnce(R) -> S) -> WriteError<S> {
        match self {
            Self::Refused(refusal) => WriteError::Refused(map(refusal)),
            Self::Unavailable(error) => WriteError::Unavailable(error),
        }
    }
}

/// An operation that never refuses fails only as the database fails.
impl From<WriteError<std::convert::Infallible>> for DatabaseError {
    fn from(error: WriteError<std::convert::Infallible>) -> Self {
        match error {
            WriteError::Refused(never) => match never {},
            WriteError::Unavailable(error) => error,
        }
    }
}

/// The transaction an operation runs in; use it through [`on!`](crate::on).
#[derive(Debug)]
pub struct Transaction<'t> {
    connection: Connection<'t>,
    now: Timestamp,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(connection: Connection<'t>, now: Timestamp) -> Self {
        Self { connection, now }
    }

    /// The time to write and to compare with: one for the whole run, and on PostgreSQL the database's own, because replicas compare what others wrote.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Which database this changes.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.connection {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The connection, for [`on!`](crate::on).
    pub fn connection(&mut self) -> Connection<'_> {
        match &mut self.connection {
            Connection::Sqlite(connection) => Connection::Sqlite(connection),
            Connection::Postgres(connection) => Connection::Postgres(connection),
        }
    }
}

/// Whether the error says that a row is already there.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Polls a future to its end or to its panic.
///
/// What the future left half done is rolled back by the caller, which is why unwinding past it is safe.
pub(super) async fn catching_panic<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        pin::Pin,
        task::Poll,
    };
    std::future::poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
