//! A database to tell stories on.

use std::sync::{Arc, LazyLock};

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::story::{Declined, Journal, Story};
use crate::{
    clock::{Clock, Timestamp},
    database::{Database, DatabaseError, Location, Migrations, WriteError, testing::Scratch},
    on,
};

/// Makes two tests of each story, one on each database.
macro_rules! on_both {
    ($($story:ident)*) => { $crate::on_both!(crate::database::tests::fixture::Fixture: $($story)*); };
}
pub(super) use on_both;

const FIRST: &str = "
    CREATE TABLE thing (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, at BIGINT NOT NULL, raised BIGINT NOT NULL DEFAULT 0);
    CREATE TABLE child (thing_id BIGINT NOT NULL REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED);";

fn steps(texts: &'static [&'static str]) -> Migrator {
    let steps = (1..).zip(texts).map(|(version, text)| {
        Migration::new(version, "step".into(), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

fn first_step() -> Migrations {
    static STEPS: LazyLock<Migrator> = LazyLock::new(|| steps(&[FIRST]));
    Migrations { sqlite: &STEPS, postgres: &STEPS }
}

/// What the next release brings.
pub(super) fn with_a_second_step() -> Migrations {
    static STEPS: LazyLock<Migrator> = LazyLock::new(|| steps(&[FIRST, "ALTER TABLE thing ADD COLUMN more BIGINT"]));
    Migrations { sqlite: &STEPS, postgres: &STEPS }
}

/// A mistake: a step that was released and then changed.
pub(super) fn with_another_first_step() -> Migrations {
    static STEPS: LazyLock<Migrator> = LazyLock::new(|| steps(&["CREATE TABLE thing (id BIGINT)"]));
    Migrations { sqlite: &STEPS, postgres: &STEPS }
}

pub(super) struct Fixture {
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    scratch: Arc<Scratch>,
}

impl Fixture {
    pub(super) async fn sqlite() -> Self {
        Self::at(Arc::new(Scratch::sqlite())).await
    }

    pub(super) async fn postgres() -> Self {
        Self::at(Arc::new(Scratch::postgres())).await
    }

    pub(super) fn location(&self) -> &Location {
        self.scratch.location()
    }

    async fn at(scratch: Arc<Scratch>) -> Self {
        let clock = Clock::system();
        let database = Database::open(scratch.location(), first_step(), clock.clone()).await.unwrap();
        Self { database, clock, journal: Journal::default(), scratch }
    }

    /// Another handle on the same place, as after a restart.
    pub(super) async fn open_again(&self) -> Self {
        Self::at(Arc::clone(&self.scratch)).await
    }

    pub(super) async fn open_with(&self, migrations: Migrations) -> Result<Database, DatabaseError> {
        Database::open(self.location(), migrations, Clock::system()).await
    }

    /// Another handle whose clock stands still.
    pub(super) async fn open_again_at(&self, now: Timestamp) -> Database {
        Database::open(self.location(), first_step(), Clock::fixed(now)).await.unwrap()
    }

    /// The story, written into this fixture's journal.
    pub(super) fn told(&self, mut story: Story) -> Story {
        story.journal = self.journal.clone();
        story
    }

    pub(super) async fn write(&self, story: Story) -> Result<Vec<i64>, WriteError<Declined>> {
        self.database.write(self.told(story)).await
    }

    pub(super) async fn ids(&self) -> Vec<i64> {
        let mut reader = self.database.reader().await.unwrap();
        let ids: Vec<(i64,)> =
            on!(reader, c => sqlx::query_as("SELECT id FROM thing ORDER BY id").fetch_all(c).await).unwrap();
        ids.into_iter().map(|(id,)| id).collect()
    }

    pub(super) async fn raised(&self, id: i64) -> i64 {
        let mut reader = self.database.reader().await.unwrap();
        let (raised,): (i64,) = on!(reader, c => {
            sqlx::query_as("SELECT raised FROM thing WHERE id = $1").bind(id).fetch_one(c).await
        })
        .unwrap();
        raised
    }

    pub(super) async fn written_at(&self, id: i64) -> Timestamp {
        let mut reader = self.database.reader().await.unwrap();
        let (at,): (Timestamp,) =
            on!(reader, c => sqlx::query_as("SELECT at FROM thing WHERE id = $1").bind(id).fetch_one(c).await).unwrap();
        at
    }

    /// Takes the schema away. A test that failed leaves it to be looked at.
    pub(super) async fn clear(self) {
        self.database.close().await;
        self.scratch.clear().await;
    }
}
