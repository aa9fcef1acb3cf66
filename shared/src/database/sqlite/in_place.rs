//! SQLite on the thread that asks: a driver for sqlx.
//!
//! sqlx's own driver gives each connection a thread of its own, and makes every statement a message there and every row a message back. Waking a thread
//! costs several times what most of our statements cost: with that driver a third of the processor time of a push was spent on it. Here a statement runs
//! where it is asked for, and its future is ready at once. Queries look as they do with any other driver.
//!
//! What this means for callers: a statement holds its thread until it is done. The write door has a thread of its own; what readers ask on the runtime's
//! threads is bounded: rows by an index, a page of a list (`docs/decisions/0011-sqlite-in-place.md`).
//!
//! The file of this name says what sqlx wants to be told about a database; `connection` runs statements, `values` and `rows` carry what goes in and
//! comes out.

mod connection;
mod errors;
mod options;
mod rows;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;

use sqlx_core::{
    Either,
    arguments::{Arguments, IntoArguments},
    database::{Database, HasStatementCache},
    encode::{Encode, IsNull},
    error::{BoxDynError, Error},
    sql_str::SqlStr,
    statement::Statement,
    transaction::TransactionManager,
    types::Type,
};

pub use self::connection::InPlaceConnection;
pub use self::options::Options;
use self::{
    rows::{Column, Row},
    values::{Kind, Value, ValueRef},
};

/// The database, as sqlx knows it.
#[derive(Debug)]
pub struct InPlace;

impl Database for InPlace {
    type Connection = InPlaceConnection;
    type TransactionManager = Transactions;
    type Row = Row;
    type QueryResult = Done;
    type Column = Column;
    type TypeInfo = Kind;
    type Value = Value;
    type ValueRef<'r> = ValueRef<'r>;
    type Arguments = Values;
    type ArgumentBuffer = Vec<rusqlite::types::Value>;
    type Statement = Prepared;

    const NAME: &'static str = "SQLite";
    // Databases are opened by their path.
    const URL_SCHEMES: &'static [&'static str] = &[];
}

impl HasStatementCache for InPlace {}

/// What a statement changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    rows: u64,
}

impl Done {
    /// How many rows were inserted, updated or deleted.
    #[must_use]
    pub const fn rows_affected(&self) -> u64 {
        self.rows
    }
}

impl Extend<Self> for Done {
    fn extend<T: IntoIterator<Item = Self>>(&mut self, others: T) {
        self.rows += others.into_iter().map(|done| done.rows).sum::<u64>();
    }
}

/// The values bound to a statement: the first one to `$1`.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<rusqlite::types::Value>);

impl Arguments for Values {
    type Database = InPlace;

    fn reserve(&mut self, additional: usize, _: usize) {
        self.0.reserve(additional);
    }

    fn add<'t, T: Encode<'t, InPlace> + Type<InPlace>>(&mut self, value: T) -> Result<(), BoxDynError> {
        if let IsNull::Yes = value.encode(&mut self.0)? {
            self.0.push(rusqlite::types::Value::Null);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoArguments<InPlace> for Values {
    fn into_arguments(self) -> Self {
        self
    }
}

/// A statement that SQLite has understood. It is prepared again, or found prepared, by its text.
#[derive(Clone, Debug)]
pub struct Prepared {
    sql: SqlStr,
    columns: Vec<Column>,
    parameters: usize,
}

impl Statement for Prepared {
    type Database = InPlace;

    fn into_sql(self) -> SqlStr {
        self.sql
    }

    fn sql(&self) -> &SqlStr {
        &self.sql
    }

    fn parameters(&self) -> Option<Either<&[Kind], usize>> {
        Some(Either::Right(self.parameters))
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    sqlx_core::impl_statement_query!(Values);
}

/// Transactions by statements, for who has no savepoints: SQLite itself knows whether one runs.
#[derive(Debug)]
pub struct Transactions;

impl TransactionManager for Transactions {
    type Database = InPlace;

    async fn begin(connection: &mut InPlaceConnection, statement: Option<SqlStr>) -> Result<(), Error> {
        connection.command(statement.as_ref().map_or("BEGIN", SqlStr::as_str))
    }

    async fn commit(connection: &mut InPlaceConnection) -> Result<(), Error> {
        connection.command("COMMIT")
    }

    async fn rollback(connection: &mut InPlaceConnection) -> Result<(), Error> {
        connection.command("ROLLBACK")
    }

    fn start_rollback(connection: &mut InPlaceConnection) {
        // Fails where SQLite has rolled back by itself, and then there is nothing to do.
        let _ = connection.command("ROLLBACK");
    }

    fn get_transaction_depth(connection: &InPlaceConnection) -> usize {
        usize::from(connection.in_transaction())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(sqlx_core::type_info::TypeInfo::name(self))
    }
}
