//! The doors on SQLite: a pool of read-only connections and one writer.

pub(super) mod copy;
pub mod in_place;
mod readers;
mod writer;

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection as _,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

pub(super) use self::readers::Lent;
use self::{in_place::Options, readers::Readers, writer::Writer};
use super::{CACHED_STATEMENTS, DatabaseError, tolerant};
use crate::clock::Clock;

/// How long a statement waits for a lock that somebody else holds: a person with a shell on the file, or a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the write-ahead log is cut back after a burst, in bytes.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// Of the page cache of each read connection: 512 KiB, as SQLite writes it. What is read often is kept as answers; what a long list passes over
/// once need not stay in each of them.
const READER_CACHE: &str = "-512";

pub(super) struct Doors {
    pub(super) readers: Readers,
    pub(super) writer: Writer,
}

impl Doors {
    pub(super) async fn open(path: &Path, migrations: &Migrator, clock: Clock) -> Result<Self, DatabaseError> {
        let refused = |reason: String| DatabaseError::Open { location: path.display().to_string(), reason };
        make_private(path).map_err(|error| refused(error.to_string()))?;
        migrate(path, migrations).await?;
        let connection = writing(path).connect().await.map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            readers: Readers::new(reading(path)),
            writer: Writer::start(connection, writing(path), clock).map_err(|error| refused(error.to_string()))?,
        })
    }

    pub(super) async fn close(&self) {
        // Readers first: the last connection to leave folds the write-ahead log back into the database.
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file if it is missing and keeps it to its owner: it holds password verifiers and names. SQLite gives the files beside it the same mode.
///
/// A file that is there is not opened: closing it would give up every lock that this process, with whatever it has open on it, holds on that file.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the database can be read by other users of this machine");
    }
    Ok(())
}

/// Brings the schema up to date, with sqlx's own driver: its migrations know no other.
async fn migrate(path: &Path, migrations: &Migrator) -> Result<(), DatabaseError> {
    let location = || path.display().to_string();
    let refused = |error: sqlx::Error| DatabaseError::Open { location: location(), reason: error.to_string() };
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.journal_mode(SqliteJournalMode::Wal).connect().await.map_err(refused)?;
    let migrated = tolerant(migrations).run_direct(None, &mut connection, false).await;
    migrated.map_err(|reason| DatabaseError::Migrate { location: location(), reason })?;
    connection.close().await.map_err(refused)
}

fn common(path: &Path) -> Options {
    Options::new(path, BUSY_TIMEOUT, CACHED_STATEMENTS).pragma("temp_store", "memory")
}

fn writing(path: &Path) -> Options {
    common(path)
        .pragma("journal_mode", "wal")
        .pragma("synchronous", "full")
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
        .pragma("foreign_keys", "on")
        .optimize_on_close()
}

/// Not opened read-only: a reader of a write-ahead log takes part in its shared memory. `query_only` refuses every change all the same.
fn reading(path: &Path) -> Options {
    common(path).pragma("query_only", "on").pragma("cache_size", READER_CACHE)
}
