//! The registry's tables, read and changed beside it, and what its own doctor says of them and of the files.

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use crate::support::{program::Program, server::program};

/// Where the tables lie.
pub(super) enum Facts {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
}

/// What runs on whichever database there is.
macro_rules! with {
    ($facts:expr, $connection:ident => $body:expr) => {
        match $facts {
            Facts::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(30));
                let mut $connection = SqliteConnection::connect_with(&options).await.unwrap();
                $body
            }
            Facts::Postgres { url, schema } => {
                let options = PgConnectOptions::from_str(url).unwrap().options([("search_path", schema)]);
                let mut $connection = PgConnection::connect_with(&options).await.unwrap();
                $body
            }
        }
    };
}

impl Facts {
    /// The texts that a query gives.
    pub(super) async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows: Vec<(String,)> = with!(self, database => {
            let rows = sqlx::query_as(sql).fetch_all(&mut database).await.unwrap();
            database.close().await.unwrap();
            rows
        });
        rows.into_iter().map(|(text,)| text).collect()
    }

    /// Changes rows as a careless hand would; answers how many.
    pub(super) async fn change(&self, sql: &'static str) -> u64 {
        with!(self, database => {
            let changed = sqlx::query(sql).execute(&mut database).await.unwrap().rows_affected();
            database.close().await.unwrap();
            changed
        })
    }
}

/// What `portreeve registry doctor --deep` finds in the running registry below `root`: every invariant of rows, files and memory, every byte hashed.
pub(super) async fn findings(root: &Path) -> Vec<String> {
    let doctor =
        Program::new(program()).args(["registry", "doctor", "--deep", "--restart", "--rate", "100%", "--json"]);
    let outcome = doctor.arg("--data").arg(root).run().await;
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    let events: Vec<Value> = outcome.stdout.lines().map(event).collect();
    let done = events.last().filter(|last| last["event"] == "done").unwrap_or_else(|| panic!("no end: {outcome}"));
    assert!(done["looked"].as_u64() > Some(0), "it has looked at something: {outcome}");
    let found: Vec<String> = events.iter().filter(|event| event["event"] == "finding").map(Value::to_string).collect();
    assert_eq!(
        (outcome.status, done["findings"].as_u64()),
        (Some(i32::from(!found.is_empty())), Some(found.len() as u64))
    );
    found
}
