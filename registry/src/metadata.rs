//! Facts about bytes, in SQL: the registry's doors, its tables, and every query on them.
//!
//! `metadata.read()` is the only way to read and `metadata.write(operation)` the only way to change. Operations and the small functions they share stand
//! in the modules below, by what they are about. Locks are taken in one order everywhere (design.md section 6): repository, upload, blob by id, link by
//! blob id, manifest by id, tag by name, namespace_blob, usage.

use shared::{
    clock::Clock,
    database::{Database, DatabaseError, Dialect, Location, Migrations, Operation, Reader, WriteError},
    digest::Digest,
    on,
};
use sqlx::migrate::Migrator;

use self::{
    blobs::HotBlobs,
    manifests::Remembered,
    pace::{Batch, Paces},
    uploads::writers::Writers,
};

pub mod backup;
pub mod blobs;
pub mod catalog;
pub mod deleted;
pub mod events;
pub mod examine;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hot;
pub mod immutable;
pub mod keys;
pub mod links;
pub mod manifests;
pub mod pace;
pub mod pulls;
pub mod quotas;
pub mod referrers;
pub mod reindex;
pub mod repair;
pub mod repositories;
pub mod rules;
pub mod survey;
pub mod tags;
pub mod timings;
pub mod trash;
pub mod uploads;
pub mod usage;
pub mod waiting;

static SQLITE: Migrator = sqlx::migrate!("../migrations/registry/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/registry/postgres");

/// How many links are remembered, about 300 bytes each.
const HOT_BLOBS: u64 = 20_000;

/// The registry's database behind its two doors, with what this process keeps beside it. Clones share it.
#[derive(Clone, Debug)]
pub struct Metadata {
    database: Database,
    blobs: HotBlobs,
    manifests: Remembered,
    writers: Writers,
    paces: Paces,
}

impl Metadata {
    /// Opens the database, made and brought up to date where needed.
    ///
    /// # Errors
    /// It cannot be reached, made or brought up to date.
    pub async fn open(location: &Location, clock: Clock) -> Result<Self, DatabaseError> {
        let migrations = Migrations { sqlite: &SQLITE, postgres: &POSTGRES };
        let database = Database::open(location, migrations, clock).await?;
        let blobs = HotBlobs::new(database.dialect(), HOT_BLOBS, |_, _| 1);
        let manifests = Remembered::new(database.dialect());
        Ok(Self { database, blobs, manifests, writers: Writers::default(), paces: Paces::default() })
    }

    /// Lends a connection that can only read.
    ///
    /// # Errors
    /// The database cannot be reached, or every connection stayed busy.
    pub async fn read(&self) -> Result<Reader, DatabaseError> {
        self.database.reader().await
    }

    /// Runs an operation; its answer, a refusal too, comes after COMMIT.
    ///
    /// # Errors
    /// The operation's own refusal, or the database failed.
    pub async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, WriteError<O::Refusal>> {
        self.database.write(operation).await
    }

    /// Runs a batch of something that is taken away; the next one is as large as this one was quick.
    ///
    /// # Errors
    /// The operation's own refusal, or the database failed.
    pub async fn collect<O: Batch>(&self, operation: O) -> Result<O::Output, WriteError<O::Refusal>> {
        self.database.write(self.paces.follow(operation)).await
    }

    /// How large batches are, and how long they took.
    pub const fn paces(&self) -> &Paces {
        &self.paces
    }

    /// Ready if the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ready(&self) -> Result<(), DatabaseError> {
        let mut reader = self.read().await?;
        Ok(on!(reader, c => sqlx::query("SELECT 1").execute(c).await.map(drop))?)
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// What is remembered about blobs.
    pub(crate) const fn blobs(&self) -> &HotBlobs {
        &self.blobs
    }

    /// What is remembered about manifests.
    pub(crate) const fn manifests(&self) -> &Remembered {
        &self.manifests
    }

    /// Who writes uploads in this process.
    pub(crate) const fn writers(&self) -> &Writers {
        &self.writers
    }

    /// Ends what runs and closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// The id of a row in `repository`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, utoipa::ToSchema)]
#[sqlx(transparent)]
pub struct RepositoryId(pub i64);

/// The id of a row in `namespace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, utoipa::ToSchema)]
#[sqlx(transparent)]
pub struct NamespaceId(pub i64);

/// The id of a row in `blob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, utoipa::ToSchema)]
#[sqlx(transparent)]
pub struct BlobId(pub i64);

/// A query that locks what it finds: PostgreSQL gets the clause, SQLite has one writer and needs none.
macro_rules! locking {
    ($tx:expr, $sql:literal, $clause:literal) => {
        match $tx.dialect() {
            ::shared::database::Dialect::Sqlite => $sql,
            ::shared::database::Dialect::Postgres => concat!($sql, " ", $clause),
        }
    };
}
pub(crate) use locking;

/// A digest as a row holds it.
///
/// # Errors
/// Somebody else wrote the row.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, sqlx::Error> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A count of bytes as a row holds it; none is negative.
pub(crate) fn parse_bytes(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A count of bytes for a row. What exceeds 63 bits is far above every limit.
pub(crate) fn stored_bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A page that a query has gathered into one JSON text: a row for each entry would cost more than reading it.
///
/// # Errors
/// The query does not give what its reader expects.
pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Values as one JSON array, the form in which both databases take a list of any length as one parameter.
pub(crate) fn json_list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    serde_json::Value::from_iter(values.into_iter().map(|value| value.to_string())).to_string()
}
