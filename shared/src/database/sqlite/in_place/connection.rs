//! A connection, and how a statement runs on it.

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use rusqlite::CachedStatement;
use sqlx_core::{
    Either,
    connection::Connection,
    describe::Describe,
    error::Error,
    executor::{Execute, Executor},
    sql_str::SqlStr,
    transaction::Transaction,
};

use super::{
    Done, InPlace, Kind, Options, Prepared, Values,
    errors::translate,
    rows::{Column, Row},
};

/// A statement that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// A connection to SQLite that runs statements on the thread that asks for them.
pub struct InPlaceConnection {
    connection: rusqlite::Connection,
    optimize_on_close: bool,
}

impl fmt::Debug for InPlaceConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlaceConnection").finish_non_exhaustive()
    }
}

/// How many rows a caller wants to see.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    None,
    First,
    All,
}

impl InPlaceConnection {
    pub(super) fn new(connection: rusqlite::Connection, optimize_on_close: bool) -> Self {
        Self { connection, optimize_on_close }
    }

    /// Runs a statement that takes no values and returns no rows.
    pub(in crate::database) fn command(&mut self, sql: &str) -> Result<(), Error> {
        self.step(sql, &Values::default(), Wanted::None).map(drop).map_err(translate)
    }

    /// How often SQLite has planned a statement anew since it was first prepared.
    #[cfg(test)]
    pub(super) fn planned_again(&self, sql: &str) -> i32 {
        self.connection.prepare_cached(sql).unwrap().get_status(rusqlite::StatementStatus::RePrepare)
    }

    /// Whether a transaction is open: SQLite ends one by itself when the disk is full.
    pub(in crate::database) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn run<'q>(&self, mut query: impl Execute<'q, InPlace>, wanted: Wanted) -> Result<(Vec<Row>, Done), Error> {
        let values = query.take_arguments().map_err(Error::Encode)?.unwrap_or_default();
        let sql = query.sql();
        let began = Instant::now();
        let outcome = self.step(sql.as_str(), &values, wanted).map_err(translate);
        let took = began.elapsed();
        // The text alone: values may be secrets.
        if took > SLOW {
            tracing::warn!(sql = sql.as_str(), ?took, "a statement was slow");
        } else {
            tracing::debug!(sql = sql.as_str(), ?took, "ran a statement");
        }
        outcome
    }

    fn step(&self, sql: &str, values: &Values, wanted: Wanted) -> rusqlite::Result<(Vec<Row>, Done)> {
        let mut statement = self.connection.prepare_cached(sql)?;
        bind(&mut statement, values)?;
        // What changes rows runs to its end, whatever is wanted of it: outside a transaction that is where it commits.
        let to_the_end = !statement.readonly();
        let (mut found, mut columns) = (Vec::new(), None);
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if wanted == Wanted::All || (wanted == Wanted::First && found.is_empty()) {
                let columns = columns.get_or_insert_with(|| columns_of(row.as_ref()));
                found.push(Row::read(row, Arc::clone(columns))?);
            } else if !to_the_end {
                break;
            }
            if wanted == Wanted::First && !to_the_end {
                break;
            }
        }
        drop(rows);
        Ok((found, Done { rows: self.connection.changes() }))
    }

    fn understand(&self, sql: SqlStr) -> rusqlite::Result<Prepared> {
        let statement = self.connection.prepare_cached(sql.as_str())?;
        let (columns, parameters) = (columns_of(&statement).to_vec(), statement.parameter_count());
        drop(statement);
        Ok(Prepared { sql, columns, parameters })
    }
}

/// Binds `$1`, `$2` … by their numbers: SQLite counts parameters in the order in which a text first names them. What has no value is NULL.
fn bind(statement: &mut CachedStatement<'_>, Values(values): &Values) -> rusqlite::Result<()> {
    for parameter in 1..=statement.parameter_count() {
        let number = statement.parameter_name(parameter).and_then(|name| name.get(1..)?.parse::<usize>().ok());
        let value = number.unwrap_or(parameter).checked_sub(1).and_then(|index| values.get(index));
        match value {
            Some(value) => statement.raw_bind_parameter(parameter, value)?,
            None => statement.raw_bind_parameter(parameter, rusqlite::types::Null)?,
        }
    }
    Ok(())
}

fn columns_of(statement: &rusqlite::Statement<'_>) -> Arc<[Column]> {
    statement.column_names().into_iter().enumerate().map(|(ordinal, name)| Column::new(ordinal, name)).collect()
}

type BoxFuture<'e, T> = Pin<Box<dyn Future<Output = T> + Send + 'e>>;

/// Every statement runs before its future is polled: there is nothing to wait for.
impl<'c> Executor<'c> for &'c mut InPlaceConnection {
    type Database = InPlace;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<Done, Row>, Error>>
    where
        'c: 'e,
        E: Execute<'q, InPlace> + 'q,
    {
        match self.run(query, Wanted::All) {
            Ok((rows, done)) => {
                let rows = rows.into_iter().map(Either::Right);
                stream::iter(rows.chain([Either::Left(done)]).map(Ok)).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Done, Error>>
    where
        'c: 'e,
        E: Execute<'q, InPlace> + 'q,
    {
        future::ready(self.run(query, Wanted::None).map(|(_, done)| done)).boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<Row>, Error>>
    where
        'c: 'e,
        E: Execute<'q, InPlace> + 'q,
    {
        future::ready(self.run(query, Wanted::All).map(|(rows, _)| rows)).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<Row>, Error>>
    where
        'c: 'e,
        E: Execute<'q, InPlace> + 'q,
    {
        future::ready(self.run(query, Wanted::First).map(|(rows, _)| rows.into_iter().next())).boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, _: &[Kind]) -> BoxFuture<'e, Result<Prepared, Error>>
    where
        'c: 'e,
    {
        future::ready(self.understand(sql).map_err(translate)).boxed()
    }

    /// For sqlx's macros that check queries while compiling. Nothing of ours uses them.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<InPlace>, Error>>
    where
        'c: 'e,
    {
        let described = self.understand(sql).map_err(translate).map(|prepared| Describe {
            nullable: vec![None; prepared.columns.len()],
            columns: prepared.columns,
            parameters: Some(Either::Right(prepared.parameters)),
        });
        future::ready(described).boxed()
    }
}

impl Connection for InPlaceConnection {
    type Database = InPlace;
    type Options = Options;

    async fn close(self) -> Result<(), Error> {
        if self.optimize_on_close {
            self.connection.execute_batch("PRAGMA optimize").map_err(translate)?;
        }
        self.connection.close().map_err(|(_, error)| translate(error))
    }

    async fn close_hard(self) -> Result<(), Error> {
        self.connection.close().map_err(|(_, error)| translate(error))
    }

    async fn ping(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn begin(&mut self) -> impl Future<Output = Result<Transaction<'_, InPlace>, Error>> + Send + '_ {
        Transaction::begin(self, None)
    }

    fn shrink_buffers(&mut self) {}

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn should_flush(&self) -> bool {
        false
    }
}
