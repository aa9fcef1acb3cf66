//! What tests put into the tables and look for there, behind the back of the operations that they are about.

use std::{convert::Infallible, sync::Arc};

use shared::{
    database::{Connection, Failure, Operation, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
};
use sqlx::AssertSqlSafe;
use tokio::sync::Notify;

use super::{
    BlobId, Metadata,
    blobs::{DAMAGED, LIVE},
    links::{self, NewLink},
    locking,
    quotas::Exceeded,
    repositories, stored_bytes,
};

/// Makes a repository hold a blob that has no bytes, with a promise to its pusher.
pub(crate) struct Hold {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) holder: String,
}

impl Operation for Hold {
    type Output = ();
    type Refusal = Exceeded;
    const NAME: &'static str = "hold";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Exceeded>> {
        let repository = repositories::ensure(tx, &self.repository).await?;
        let upsert = "INSERT INTO blob (digest, size, store, storage_key, state) VALUES ($1, $2, 'files', $1, $3) \
                      ON CONFLICT (digest) DO UPDATE SET size = excluded.size RETURNING id";
        let (digest, size) = (self.digest.to_string(), stored_bytes(self.size));
        let (blob,): (BlobId,) =
            on!(tx, c => sqlx::query_as(upsert).bind(digest).bind(size).bind(LIVE).fetch_one(c).await)?;
        let link = NewLink { repository, blob, size: self.size, holder: &self.holder, covered: 0 };
        links::promise(tx, &link).await
    }
}

/// Marks a blob as damaged.
pub(crate) struct Damage {
    pub(crate) digest: Digest,
}

impl Operation for Damage {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "damage";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let update = "UPDATE blob SET state = $2 WHERE digest = $1";
        let digest = self.digest.to_string();
        on!(tx, c => sqlx::query(update).bind(digest).bind(DAMAGED).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// Makes many repositories `m/<number>` without a manifest, as uploads leave them, in a namespace that is there.
pub(crate) struct EmptyRepositories(pub(crate) i32);

impl Operation for EmptyRepositories {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "empty_repositories";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                      INSERT INTO repository (namespace_id, name, created_at) \
                      SELECT (SELECT min(id) FROM namespace), 'm/' || (100000 + i), 0 FROM n";
        on!(tx, c => sqlx::query(insert).bind(self.0).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// A row that somebody can hold.
pub(crate) enum Row {
    Manifest(Digest),
    /// Of a namespace.
    Usage(&'static str),
}

impl Row {
    /// How it is locked, and the text that it is found by.
    fn lock(&self) -> (&'static str, String) {
        match self {
            Self::Manifest(digest) => ("SELECT id FROM manifest WHERE digest = $1 FOR UPDATE", digest.to_string()),
            Self::Usage(namespace) => (
                "SELECT namespace_id FROM usage WHERE namespace_id = (SELECT id FROM namespace WHERE name = $1) FOR UPDATE",
                (*namespace).to_owned(),
            ),
        }
    }
}

/// Holds a row until somebody waits for it, and asks for another's then, as an operation does that changes both in
/// everybody's order. It fails where whoever waits holds the second one already. For PostgreSQL alone.
pub(crate) struct LockBoth {
    pub(crate) first: Row,
    pub(crate) second: Row,
    /// Told when the first is held.
    pub(crate) held: Arc<Notify>,
}

impl Operation for LockBoth {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "lock_both";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let (lock, first) = self.first.lock();
        let _: (i64,) = on!(tx, c => sqlx::query_as(lock).bind(first).fetch_one(c).await)?;
        self.held.notify_one();
        // Not pg_stat_activity: a transaction sees there the connections of its first look, and whoever comes may have a new one.
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";
        while on!(tx, c => sqlx::query_as::<_, (i64,)>(waiting).fetch_one(c).await)?.0 == 0 {
            tokio::task::yield_now().await;
        }
        let (lock, second) = self.second.lock();
        let lock = format!("{lock} NOWAIT");
        let _: (i64,) = on!(tx, c => sqlx::query_as(AssertSqlSafe(lock)).bind(second).fetch_one(c).await)?;
        Ok(())
    }
}

/// Holds up whoever wants to change an upload: on SQLite every writer, on PostgreSQL those of uploads.
pub(crate) struct HoldUploads {
    /// Told when they are held.
    pub(crate) held: Arc<Notify>,
    /// Lets them go.
    pub(crate) go: Arc<Notify>,
}

impl Operation for HoldUploads {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "hold_uploads";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let lock = locking!(tx, "SELECT id FROM upload", "FOR UPDATE");
        let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(lock).fetch_all(c).await)?;
        self.held.notify_one();
        self.go.notified().await;
        Ok(())
    }
}

/// Changes rows as another release or a careless hand would.
pub(crate) struct Tamper(pub(crate) &'static str);

impl Operation for Tamper {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "tamper";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let sql = self.0;
        on!(tx, c => sqlx::query(sql).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// One number that a query gives.
pub(crate) async fn count(metadata: &Metadata, sql: &'static str) -> i64 {
    let mut reader = metadata.read().await.unwrap();
    let (number,): (i64,) = on!(reader, c => sqlx::query_as(sql).fetch_one(c).await).unwrap();
    number
}

/// The texts that a query gives, in its order.
pub(crate) async fn texts(metadata: &Metadata, sql: &'static str) -> Vec<String> {
    let mut reader = metadata.read().await.unwrap();
    let found: Vec<(String,)> = on!(reader, c => sqlx::query_as(sql).fetch_all(c).await).unwrap();
    found.into_iter().map(|(text,)| text).collect()
}

/// Keys and numbers of bytes that a query gives.
pub(crate) async fn sizes(metadata: &Metadata, sql: &'static str) -> Vec<(String, u64)> {
    let mut reader = metadata.read().await.unwrap();
    let rows: Vec<(String, i64)> = on!(reader, c => sqlx::query_as(sql).fetch_all(c).await).unwrap();
    rows.into_iter().map(|(key, size)| (key, u64::try_from(size).unwrap())).collect()
}

/// How SQLite would run a query, a step a line.
pub(crate) async fn plan(metadata: &Metadata, sql: &str) -> String {
    let mut reader = metadata.read().await.unwrap();
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    let steps: Vec<(i64, i64, i64, String)> = match reader.connection() {
        Connection::Sqlite(c) => sqlx::query_as(AssertSqlSafe(explain)).fetch_all(c).await.unwrap(),
        Connection::Postgres(_) => panic!("asked of SQLite"),
    };
    steps.into_iter().map(|(.., step)| step).collect::<Vec<_>>().join("\n")
}
