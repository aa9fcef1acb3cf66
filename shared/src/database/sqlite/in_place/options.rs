//! How a connection is opened.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use log::LevelFilter;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use sqlx_core::{Url, connection::ConnectOptions, error::Error};

use super::{InPlaceConnection, errors::translate};

/// Where the database lies, and what each connection is told first.
#[derive(Clone, Debug)]
pub struct Options {
    path: PathBuf,
    pragmas: Vec<(&'static str, &'static str)>,
    busy_timeout: Duration,
    cached_statements: usize,
    optimize_on_close: bool,
}

impl Options {
    /// A database that is there. A statement waits for a lock of somebody else's up to `busy_timeout`; so many statements stay prepared.
    pub(in crate::database) fn new(path: &Path, busy_timeout: Duration, cached_statements: usize) -> Self {
        Self { path: path.to_owned(), pragmas: Vec::new(), busy_timeout, cached_statements, optimize_on_close: false }
    }

    /// Sets a pragma on every connection, in the order of the calls.
    pub(in crate::database) fn pragma(mut self, name: &'static str, value: &'static str) -> Self {
        self.pragmas.push((name, value));
        self
    }

    /// Lets SQLite look after its statistics when a connection is closed.
    pub(in crate::database) fn optimize_on_close(self) -> Self {
        Self { optimize_on_close: true, ..self }
    }

    fn open(&self) -> Result<InPlaceConnection, rusqlite::Error> {
        // One thread at a time has a connection, which the borrow checker sees to.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        // Without it SQLite plans a statement anew for every value that is bound to its LIMIT, which costs more than to run it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(self.cached_statements);
        for (name, value) in &self.pragmas {
            connection.execute_batch(&format!("PRAGMA {name} = {value}"))?;
        }
        Ok(InPlaceConnection::new(connection, self.optimize_on_close))
    }
}

impl FromStr for Options {
    type Err = Error;

    fn from_str(_: &str) -> Result<Self, Error> {
        Err(Error::Configuration("this database is opened by its path".into()))
    }
}

impl ConnectOptions for Options {
    type Connection = InPlaceConnection;

    fn from_url(url: &Url) -> Result<Self, Error> {
        url.as_str().parse()
    }

    async fn connect(&self) -> Result<InPlaceConnection, Error> {
        self.open().map_err(translate)
    }

    fn log_statements(self, _: LevelFilter) -> Self {
        self
    }

    fn log_slow_statements(self, _: LevelFilter, _: Duration) -> Self {
        self
    }
}
