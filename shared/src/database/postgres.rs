//! The doors on PostgreSQL: two pools, and a transaction for every operation.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, PgPool, Postgres, Row,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::sleep;

use super::{
    CACHED_STATEMENTS, Connection, DatabaseError, LEND_TIMEOUT, Location, MAX_REPEATS, Operation, Schema, Transaction,
    WriteError,
    job::{Ended, Job, Sent},
    operation::is_unique_violation,
    tolerant,
};
use crate::{
    clock::{Clock, Timestamp},
    random,
    secret::Secret,
};

/// Connections per pool and process; PostgreSQL itself takes a hundred unless told otherwise.
const POOL: u32 = 16;

/// A connection that was idle for longer is asked whether it still lives before it is lent; a busy one is not, because that doubles the trips.
const STALE: Duration = Duration::from_secs(15);

/// How long PostgreSQL keeps the locks of a process that fell silent in the middle of an operation.
const SILENT_MS: &str = "60000";

/// How long a reader's statement may take. Lists come a page at a time; what takes longer lost its index, and would hold its connection for good.
const READ_MS: &str = "60000";

/// PostgreSQL asks a connection that was silent for so many seconds whether it still lives, then so often, so many times: a process whose machine
/// vanished gives its connections back within a minute. Over a socket file they mean nothing.
const KEEPALIVES: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "3")];

/// How long a statement of an operation waits for a lock that somebody else holds, as on SQLite: a person with a shell, who may have forgotten it.
/// Migrations wait for each other as long as they take.
const LOCK_MS: &str = "10000";

/// Operations lock in one statement and look in the next, which must see what was committed in between; a server's own default may differ.
const ISOLATION: &str = "read committed";

/// The time comes along with BEGIN, in one trip. Cut off, not rounded, so that it never lies ahead of the clock.
const BEGIN: &str = "BEGIN; SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000000)::int8";

/// After an error PostgreSQL answers COMMIT with success and rolls back. An operation that swallowed the error is found out by the query before it.
const COMMIT: &str = "SELECT 1; COMMIT";

/// Operations that collided draw a pause up to this long for each time they did, so that they do not meet again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Doors {
    readers: PgPool,
    writers: PgPool,
    clock: Clock,
}

impl Doors {
    pub(super) async fn open(
        url: &Secret<String>,
        schema: &Schema,
        migrations: &Migrator,
        clock: Clock,
    ) -> Result<Self, DatabaseError> {
        let location = Location::Postgres { url: url.clone(), schema: schema.clone() }.to_string();
        let refused =
            |error: sqlx::Error| DatabaseError::Open { location: location.clone(), reason: error.to_string() };
        let options = PgConnectOptions::from_str(url.expose())
            .map_err(refused)?
            .application_name("portreeve")
            .options([
                ("search_path", schema.as_str()),
                ("default_transaction_isolation", ISOLATION),
                ("idle_in_transaction_session_timeout", SILENT_MS),
            ])
            .options(KEEPALIVES)
            .statement_cache_capacity(CACHED_STATEMENTS);
        let mut connection = options.connect().await.map_err(refused)?;
        make_schema(&mut connection, schema).await.map_err(refused)?;
        tolerant(migrations)
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|reason| DatabaseError::Migrate { location: location.clone(), reason })?;
        connection.close().await?;
        let reading = [("default_transaction_read_only", "on"), ("statement_timeout", READ_MS)];
        Ok(Self {
            readers: pool().connect_lazy_with(options.clone().options(reading)),
            writers: pool().connect_lazy_with(options.options([("lock_timeout", LOCK_MS)])),
            clock,
        })
    }

    pub(super) async fn reader(&self) -> Result<PoolConnection<Postgres>, DatabaseError> {
        self.readers.acquire().await.map_err(not_lent)
    }

    /// The operation runs in a task of its own, so a caller that goes away leaves neither half an operation nor an open transaction behind.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, WriteError<O::Refusal>> {
        let (job, answer) = Sent::new(operation);
        match tokio::spawn(serve(self.writers.clone(), self.clock.clone(), job)).await {
            Ok(()) => answer.await.map_err(|_| DatabaseError::Closed)?,
            Err(end) if end.is_panic() => Err(DatabaseError::Panicked { operation: O::NAME }.into()),
            Err(_) => Err(DatabaseError::Closed.into()),
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

fn pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(POOL).acquire_timeout(LEND_TIMEOUT).test_before_acquire(false).before_acquire(
        |connection, meta| {
            Box::pin(async move {
                if meta.idle_for > STALE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        },
    )
}

/// Looks before it creates: a role that may only use a schema made for it is refused even `IF NOT EXISTS`.
async fn make_schema(connection: &mut PgConnection, schema: &Schema) -> Result<(), sqlx::Error> {
    let exists: Option<(i32,)> = sqlx::query_as("SELECT 1 FROM pg_namespace WHERE nspname = $1")
        .bind(schema.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if exists.is_some() {
        return Ok(());
    }
    let create = AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\""));
    match sqlx::query(create).execute(connection).await {
        // Two replicas start at once and both look first.
        Err(error) if is_unique_violation(&error) => Ok(()),
        other => other.map(drop),
    }
}

fn not_lent(error: sqlx::Error) -> DatabaseError {
    match error {
        sqlx::Error::PoolTimedOut => DatabaseError::Busy,
        sqlx::Error::PoolClosed => DatabaseError::Closed,
        other => DatabaseError::Query(other),
    }
}

/// An operation met another one, or says that it did.
enum Collision {
    /// Serialization failure or deadlock: PostgreSQL chose this operation to give way.
    GaveWay,
    /// A row appeared between look and insert.
    Exists(sqlx::Error),
    /// [`Failure::Again`].
    Moved,
}

/// Runs the job until it has an answer or an error, and hands that over.
async fn serve(pool: PgPool, clock: Clock, mut job: Box<dyn Job>) {
    match repeat(&pool, &clock, &mut *job).await {
        Ok(()) => job.answer(),
        Err(error) => job.fail(error),
    }
}

async fn repeat(pool: &PgPool, clock: &Clock, job: &mut dyn Job) -> Result<(), DatabaseError> {
    let mut repeats = 0;
    loop {
        match attempt(pool, clock, job).await {
            Ok(answered) => return answered,
            Err(collision) if repeats == MAX_REPEATS => return give_up(job, collision),
            Err(Collision::GaveWay) => sleep(pause(repeats)).await,
            Err(Collision::Exists(_) | Collision::Moved) => {}
        }
        repeats += 1;
    }
}

fn give_up(job: &mut dyn Job, collision: Collision) -> Result<(), DatabaseError> {
    match collision {
        Collision::Exists(_) if job.exists() => Ok(()),
        Collision::Exists(error) => Err(failed(job, error)),
        Collision::GaveWay | Collision::Moved => {
            Err(DatabaseError::Contended { operation: job.name(), attempts: MAX_REPEATS + 1 })
        }
    }
}

fn failed(job: &dyn Job, error: sqlx::Error) -> DatabaseError {
    tracing::error!(operation = job.name(), %error, "an operation failed");
    DatabaseError::Query(error)
}

/// A random part of [`PAUSE`] for every collision so far.
fn pause(repeats: u32) -> Duration {
    let [draw] = random::bytes::<1>();
    PAUSE.saturating_mul(repeats + 1).mul_f64(f64::from(draw) / 256.0)
}

/// One transaction, after which the job has its answer or there is an error; or a collision, after which everything is as before.
async fn attempt(pool: &PgPool, clock: &Clock, job: &mut dyn Job) -> Result<Result<(), DatabaseError>, Collision> {
    let (mut open, now) = match Open::begin(pool, clock).await {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    let ended = job.run(&mut Transaction::new(Connection::Postgres(open.connection()), now)).await;
    let error = match ended {
        Ended::Kept => match open.end(COMMIT).await {
            Ok(()) => return Ok(Ok(())),
            Err(error) => error,
        },
        undone => {
            // If this fails the connection is broken, and PostgreSQL rolls back what a broken connection had begun.
            let _ = open.end("ROLLBACK").await;
            match undone {
                Ended::Kept | Ended::Refused => return Ok(Ok(())),
                Ended::Again => return Err(Collision::Moved),
                Ended::Failed(error) => error,
            }
        }
    };
    collision(error).map(|error| Err(failed(job, error)))
}

/// The collision that the error tells of, or the error.
fn collision(error: sqlx::Error) -> Result<sqlx::Error, Collision> {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("40001" | "40P01") => Err(Collision::GaveWay),
        Some("23505") => Err(Collision::Exists(error)),
        _ => Ok(error),
    }
}

/// A connection inside a transaction. Dropped there, by a panic say, it is closed and not lent again, for the next one would write into that transaction.
struct Open(Option<PoolConnection<Postgres>>);

impl Open {
    /// Begins on a connection that works: those that broke while idle, when PostgreSQL was restarted, are thrown away here.
    async fn begin(pool: &PgPool, clock: &Clock) -> Result<(Self, Timestamp), DatabaseError> {
        let mut broken = 0;
        loop {
            let mut open = Self(Some(pool.acquire().await.map_err(not_lent)?));
            match open.begin_at(clock).await {
                Ok(now) => return Ok((open, now)),
                Err(_) if broken < POOL => broken += 1,
                Err(error) => return Err(DatabaseError::Query(error)),
            }
        }
    }

    async fn begin_at(&mut self, clock: &Clock) -> Result<Timestamp, sqlx::Error> {
        if clock.is_fixed() {
            sqlx::raw_sql("BEGIN").execute(self.connection()).await?;
            return Ok(clock.now());
        }
        let row = sqlx::raw_sql(BEGIN).fetch_one(self.connection()).await?;
        Ok(clock.relative_to(row.try_get(0)?))
    }

    #[expect(clippy::expect_used, reason = "taken out by `end`, which consumes, and by drop")]
    fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("the connection is there until the transaction ends")
    }

    /// Ends the transaction and gives the connection back, unless that fails.
    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(self.connection()).await?;
        drop(self.0.take());
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
