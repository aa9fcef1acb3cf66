//! Databases of a test's own, so that every suite of operations is written once and run on both kinds.
//!
//! Behind the feature `testing`, for the tests of the crates that keep tables.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so where it stands")]

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::Location;
use crate::random;

/// A place for one database that nobody else uses.
#[derive(Debug)]
pub struct Scratch {
    location: Location,
    /// Removed with the place.
    _directory: Option<TempDir>,
}

impl Scratch {
    /// A file in a directory of its own.
    ///
    /// # Panics
    /// No directory can be made.
    #[must_use]
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        Self { location: Location::Sqlite { path: directory.path().join("test.db") }, _directory: Some(directory) }
    }

    /// A schema of its own in the database that `PORTREEVE_TEST_POSTGRES` names.
    ///
    /// # Panics
    /// The variable is not set.
    #[must_use]
    pub fn postgres() -> Self {
        let url = std::env::var("PORTREEVE_TEST_POSTGRES").expect("PORTREEVE_TEST_POSTGRES holds a URL");
        let schema = format!("test_{:016x}", u64::from_ne_bytes(random::bytes()));
        let schema = schema.parse().expect("letters and digits are a schema");
        Self { location: Location::Postgres { url: url.into(), schema }, _directory: None }
    }

    /// Where it is.
    #[must_use]
    pub const fn location(&self) -> &Location {
        &self.location
    }

    /// Changes rows as no program would: statements of any kind, without a look at foreign keys, on a connection of their own.
    ///
    /// # Panics
    /// A statement fails.
    pub async fn tamper(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.location {
            Location::Sqlite { path } => {
                let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
                let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statements run");
                connection.close().await.expect("the file closes");
            }
            Location::Postgres { url, schema } => {
                let mut connection = PgConnection::connect(url.expose()).await.expect("the server answers");
                let first = format!("SET search_path = \"{schema}\"; SET session_replication_role = replica");
                sqlx::raw_sql(AssertSqlSafe(first)).execute(&mut connection).await.expect("a superuser may");
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statements run");
            }
        }
    }

    /// Takes the schema away, after the database was closed. A test that failed leaves it to be looked at.
    ///
    /// # Panics
    /// The server does not let it go.
    pub async fn clear(&self) {
        if let Location::Postgres { url, schema } = &self.location {
            let mut connection = PgConnection::connect(url.expose()).await.expect("the server answers");
            let drop = AssertSqlSafe(format!("DROP SCHEMA \"{schema}\" CASCADE"));
            sqlx::query(drop).execute(&mut connection).await.expect("the schema can be dropped");
        }
    }
}

/// Makes two tests of each story, `name::sqlite` and `name::postgres`, on a fixture that has `sqlite()`, `postgres()` and `clear()`:
/// `on_both!(crate::fixture::Fixture: one_story another_story)`.
#[macro_export]
macro_rules! on_both {
    ($fixture:path: $($story:ident)*) => {
        $(mod $story {
            use $fixture as Fixture;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$story(&mut Fixture::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL"]
            async fn postgres() {
                let mut fixture = Fixture::postgres().await;
                super::$story(&mut fixture).await;
                fixture.clear().await;
            }
        })*
    };
}
