//! The doors: the one way to read metadata and the one way to change it, on SQLite and on PostgreSQL alike.
//!
//! [`Database::reader`] lends a read-only connection. [`Database::write`] runs an [`Operation`]: SQL without any other effect, which may run twice and
//! whose answer, a refusal too, is given after COMMIT. On SQLite one writer runs the operations that wait as savepoints of one transaction, so that
//! writers share the cost of reaching the disk. On PostgreSQL every operation is a transaction of its own and is repeated when it collides with another.
//!
//! Most query text serves both databases, with `$1` placeholders; [`on!`](crate::on) runs it on whichever connection there is:
//!
//! ```
//! use shared::{
//!     database::{Database, DatabaseError, Failure, Operation, Transaction},
//!     on,
//! };
//!
//! struct Rename {
//!     id: i64,
//!     name: String,
//! }
//!
//! enum NotRenamed {
//!     Unknown,
//!     NameTaken,
//! }
//!
//! impl Operation for Rename {
//!     type Output = ();
//!     type Refusal = NotRenamed;
//!     const NAME: &'static str = "rename";
//!
//!     async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotRenamed>> {
//!         let now = tx.now();
//!         let found: Option<(i64,)> = on!(tx, c => {
//!             sqlx::query_as("UPDATE thing SET name = $2, changed_at = $3 WHERE id = $1 RETURNING id")
//!                 .bind(self.id)
//!                 .bind(&self.name)
//!                 .bind(now)
//!                 .fetch_optional(c)
//!                 .await
//!         })?;
//!         found.map(drop).ok_or(Failure::Refused(NotRenamed::Unknown))
//!     }
//!
//!     fn already_exists(&self) -> Option<NotRenamed> {
//!         Some(NotRenamed::NameTaken)
//!     }
//! }
//!
//! async fn name(database: &Database, id: i64) -> Result<Option<String>, DatabaseError> {
//!     let mut reader = database.reader().await?;
//!     let row: Option<(String,)> =
//!         on!(reader, c => sqlx::query_as("SELECT name FROM thing WHERE id = $1").bind(id).fetch_optional(c).await)?;
//!     Ok(row.map(|(name,)| name))
//! }
//! ```

mod job;
mod location;
mod operation;
mod postgres;
mod sqlite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::{fmt, path::Path, sync::Arc};

use sqlx::{PgConnection, migrate::Migrator};

pub use self::{
    location::{InvalidSchema, Location, Schema},
    operation::{Durability, Failure, Operation, Took, Transaction, WriteError},
    sqlite::in_place,
};
use crate::clock::Clock;

/// Which of the two databases a query speaks to, for the few texts that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The embedded database: one process, one writer, no row locks.
    Sqlite,
    /// The shared database: several replicas, row locks.
    Postgres,
}

/// The schema of a database in both dialects, as steps that are applied in order and never change once released.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// The steps for SQLite.
    pub sqlite: &'static Migrator,
    /// The steps for PostgreSQL.
    pub postgres: &'static Migrator,
}

/// An open database. Clones share connections, writer and clock.
#[derive(Clone)]
pub struct Database(Doors);

#[derive(Clone)]
enum Doors {
    Sqlite(Arc<sqlite::Doors>),
    Postgres(Arc<postgres::Doors>),
}

impl Database {
    /// Opens the database, creating it and bringing its schema up to date where needed.
    ///
    /// A schema newer than `migrations` is accepted: migrations keep the release before them working, so that an upgrade can be taken back.
    ///
    /// # Errors
    /// The database cannot be reached or created, or its schema differs from what the applied migrations made.
    pub async fn open(location: &Location, migrations: Migrations, clock: Clock) -> Result<Self, DatabaseError> {
        Ok(Self(match location {
            Location::Sqlite { path } => {
                Doors::Sqlite(Arc::new(sqlite::Doors::open(path, migrations.sqlite, clock).await?))
            }
            Location::Postgres { url, schema } => {
                Doors::Postgres(Arc::new(postgres::Doors::open(url, schema, migrations.postgres, clock).await?))
            }
        }))
    }

    /// Which database this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Doors::Sqlite(_) => Dialect::Sqlite,
            Doors::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Lends a connection that can only read. It goes back when dropped; hold it no longer than the queries take.
    ///
    /// A read that begins after a write was answered sees that write. Two queries on one reader may see two states: what must be seen together is asked
    /// in one query.
    ///
    /// # Errors
    /// The database cannot be reached, or every connection stayed busy for ten seconds.
    pub async fn reader(&self) -> Result<Reader, DatabaseError> {
        Ok(Reader(match &self.0 {
            Doors::Sqlite(doors) => Lent::Sqlite(doors.readers.lend().await?),
            Doors::Postgres(doors) => Lent::Postgres(doors.reader().await?),
        }))
    }

    /// Runs an operation and answers after it was committed, or refused.
    ///
    /// Once this future was polled far enough to hand the operation over, dropping it neither undoes nor loses the operation; only the answer is lost.
    ///
    /// # Errors
    /// [`WriteError::Refused`] with the operation's own reason, or [`WriteError::Unavailable`] if the database failed, and then nothing of the operation
    /// remains. The one exception is a connection to PostgreSQL that breaks during COMMIT: whether that took place is unknown.
    pub async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, WriteError<O::Refusal>> {
        match &self.0 {
            Doors::Sqlite(doors) => doors.writer.write(operation).await,
            Doors::Postgres(doors) => doors.write(operation).await,
        }
    }

    /// Lets the operations that run come to their end, and on SQLite those that wait, then closes all connections. On SQLite, readers that are lent out
    /// stay usable; on PostgreSQL they are waited for.
    pub async fn close(&self) {
        match &self.0 {
            Doors::Sqlite(doors) => doors.close().await,
            Doors::Postgres(doors) => doors.close().await,
        }
    }
}

/// Copies an SQLite database into a file that is not there yet, as it stands at one moment, while others write it. What was answered before the call is in
/// the copy, which is one synced file (mode 0600).
///
/// # Errors
/// [`DatabaseError::Copy`]: the one cannot be read, or the other not be made.
pub async fn copy_sqlite(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    sqlite::copy::copy(from, to).await
}

/// Reads a copy that [`copy_sqlite`] made, and leaves it as it is: its schema may be older or newer than the program's.
///
/// # Errors
/// It cannot be opened.
pub async fn read_copy(path: &Path) -> Result<Reader, DatabaseError> {
    Ok(Reader(Lent::Sqlite(sqlite::copy::look_into(path).await?)))
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.dialect()).finish()
    }
}

/// A connection that can only read, lent by [`Database::reader`]; use it through [`on!`](crate::on).
pub struct Reader(Lent);

enum Lent {
    Sqlite(sqlite::Lent),
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
}

impl Reader {
    /// Which database this reads.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Lent::Sqlite(_) => Dialect::Sqlite,
            Lent::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The connection, for [`on!`](crate::on).
    pub fn connection(&mut self) -> Connection<'_> {
        match &mut self.0 {
            Lent::Sqlite(lent) => Connection::Sqlite(lent),
            Lent::Postgres(lent) => Connection::Postgres(lent),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.dialect()).finish()
    }
}

/// What [`on!`](crate::on) tells apart.
#[derive(Debug)]
pub enum Connection<'c> {
    /// A connection to SQLite.
    Sqlite(&'c mut in_place::InPlaceConnection),
    /// A connection to PostgreSQL.
    Postgres(&'c mut PgConnection),
}

/// Runs an expression with the connection of a [`Reader`] or a [`Transaction`], once written and compiled for both databases:
/// `on!(reader, c => sqlx::query_as("…").bind(id).fetch_optional(c).await)?`.
///
/// The value must have one type for both, so a statement that returns no rows ends in `.execute(c).await.map(|done| done.rows_affected())`. Where a
/// block makes several queries it passes `&mut *c`.
#[macro_export]
macro_rules! on {
    ($target:expr, $connection:ident => $body:expr) => {
        match $target.connection() {
            $crate::database::Connection::Sqlite($connection) => $body,
            $crate::database::Connection::Postgres($connection) => $body,
        }
    };
}

/// Why the database did not do what was asked. None of these is the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database cannot be opened.
    #[error("cannot open the database {location}: {reason}")]
    Open {
        /// Where it was looked for; without the password.
        location: String,
        /// What stood in the way.
        reason: String,
    },
    /// The database cannot be copied.
    #[error("cannot copy the database {location}: {reason}")]
    Copy {
        /// Which, or where to.
        location: String,
        /// What stood in the way.
        reason: String,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the schema of {location} up to date: {reason}")]
    Migrate {
        /// Whose schema; without the password.
        location: String,
        /// What stood in the way.
        reason: sqlx::migrate::MigrateError,
    },
    /// A query failed.
    #[error("the database failed: {0}")]
    Query(#[from] sqlx::Error),
    /// No transaction could be begun; several operations share this answer.
    #[error("the database takes no writes: {0}")]
    NoTransaction(Arc<sqlx::Error>),
    /// No connection became free, or could be made.
    #[error("no database connection became free within {} seconds", LEND_TIMEOUT.as_secs())]
    Busy,
    /// The operation kept colliding with others.
    #[error("the operation {operation} collided with others {attempts} times")]
    Contended {
        /// Its name.
        operation: &'static str,
        /// How often it was run.
        attempts: u32,
    },
    /// The operation panicked, which is a defect in the program; nothing of it remains.
    #[error("the operation {operation} panicked")]
    Panicked {
        /// Its name.
        operation: &'static str,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

impl DatabaseError {
    /// Whether the database has no room for what was to be written.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        /// PostgreSQL's `disk_full`; SQLite's `SQLITE_FULL`, which is what a write becomes that finds no block, and `SQLITE_IOERR_SHMSIZE`, which is what
        /// it becomes where the index of the log has to grow. A quota of the file system is `SQLITE_IOERR_WRITE`, as a failing disk is.
        const FULL: [&str; 3] = ["53100", "13", "4874"];
        let error = match self {
            Self::Query(error) => error,
            Self::NoTransaction(error) => error,
            _ => return false,
        };
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| FULL.contains(&&*code))
    }
}

/// How long a caller waits for a connection before it is told [`DatabaseError::Busy`].
const LEND_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// How often an operation is run again after it collided with another, or asked for it.
const MAX_REPEATS: u32 = 5;

/// How many prepared statements each connection keeps; more than either service has.
const CACHED_STATEMENTS: usize = 256;

/// The migrations, accepting a database that a later release has already moved on.
fn tolerant(migrations: &Migrator) -> Migrator {
    let mut tolerant = Migrator::with_migrations(migrations.iter().cloned().collect());
    tolerant.set_ignore_missing(true);
    tolerant
}
