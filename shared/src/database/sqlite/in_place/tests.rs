use std::time::Duration;

use rusqlite::ffi;
use sqlx::{ConnectOptions, Connection as _, FromRow, error::ErrorKind};

use super::{InPlaceConnection, Options, errors::translate};
use crate::database::DatabaseError;

async fn connect(directory: &tempfile::TempDir) -> InPlaceConnection {
    let path = directory.path().join("things.db");
    // SQLite makes a file of no bytes a database; the driver opens what is there.
    std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    Options::new(&path, Duration::from_secs(1), 16).pragma("journal_mode", "wal").connect().await.unwrap()
}

async fn with_things(directory: &tempfile::TempDir) -> InPlaceConnection {
    let mut connection = connect(directory).await;
    connection.command("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL)").unwrap();
    connection
}

async fn count(connection: &mut InPlaceConnection) -> i64 {
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM thing").fetch_one(connection).await.unwrap();
    count
}

#[test]
fn a_full_disk_is_told_from_a_failing_one() {
    let is_full = |code| {
        let refused = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        DatabaseError::from(translate(refused)).is_out_of_space()
    };
    for full in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
        assert!(is_full(full), "{full}");
    }
    for other in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMMAP, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_BUSY] {
        assert!(!is_full(other), "{other}");
    }
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = connect(&directory).await;
    type Row = (i64, i32, bool, f64, String, Vec<u8>, Option<String>, Option<i64>);
    let row: Row = sqlx::query_as("SELECT $1, $2, $3, $4, $5, $6, $7, $8")
        .bind(i64::MIN)
        .bind(-7_i32)
        .bind(true)
        .bind(0.5)
        .bind("é\0x")
        .bind(&[0_u8, 255][..])
        .bind(None::<String>)
        .bind(Some(3_i64))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(row, (i64::MIN, -7, true, 0.5, "é\0x".to_owned(), vec![0, 255], None, Some(3)));
}

#[tokio::test]
async fn a_value_belongs_to_its_number_wherever_that_stands() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = connect(&directory).await;
    let query = sqlx::query_as("SELECT $3, $1, $3, $2, $4").bind(1_i64).bind(2_i64).bind(3_i64);
    let row: (i64, i64, i64, i64, Option<i64>) = query.fetch_one(&mut connection).await.unwrap();
    assert_eq!(row, (3, 1, 3, 2, None), "what has no value is NULL");
}

#[tokio::test]
async fn a_value_of_another_kind_is_no_value() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = connect(&directory).await;
    let read: Result<(i64,), _> = sqlx::query_as("SELECT 'seven'").fetch_one(&mut connection).await;
    assert!(matches!(read, Err(sqlx::Error::ColumnDecode { .. })), "{read:?}");
    let read: Result<(i32,), _> = sqlx::query_as("SELECT 2147483648").fetch_one(&mut connection).await;
    assert!(matches!(read, Err(sqlx::Error::ColumnDecode { .. })), "{read:?}");
}

#[derive(Debug, FromRow, PartialEq)]
struct Thing {
    id: i64,
    name: String,
}

#[tokio::test]
async fn columns_are_found_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let insert = "INSERT INTO thing (name) VALUES ($1) RETURNING name, id";
    let thing: Thing = sqlx::query_as(insert).bind("a").fetch_one(&mut connection).await.unwrap();
    assert_eq!(thing, Thing { id: 1, name: "a".to_owned() });
    let wrong: Result<Thing, _> = sqlx::query_as("SELECT id FROM thing").fetch_one(&mut connection).await;
    assert!(matches!(wrong, Err(sqlx::Error::ColumnNotFound(name)) if name == "name"));
}

#[tokio::test]
async fn a_change_of_which_one_row_is_wanted_is_made_whole_and_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let insert = "INSERT INTO thing (name) VALUES ('a'), ('b'), ('c') RETURNING id";
    let first: Option<(i64,)> = sqlx::query_as(insert).fetch_optional(&mut connection).await.unwrap();
    assert_eq!(first, Some((1,)));
    assert_eq!(count(&mut connect(&directory).await).await, 3, "another connection sees it");
    let update = sqlx::query("UPDATE thing SET name = name || '!' WHERE id > $1").bind(1_i64);
    assert_eq!(update.execute(&mut connection).await.unwrap().rows_affected(), 2);
}

#[tokio::test]
async fn a_refusal_says_what_it_is_and_leaves_the_connection_usable() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let refusals = [
        ("INSERT INTO thing VALUES (1, 'a'), (2, 'a')", ErrorKind::UniqueViolation),
        ("INSERT INTO thing VALUES (1, NULL)", ErrorKind::NotNullViolation),
        ("INSERT INTO nothing VALUES (1)", ErrorKind::Other),
    ];
    for (sql, kind) in refusals {
        let error = sqlx::query(sql).execute(&mut connection).await.unwrap_err().into_database_error().unwrap();
        assert_eq!(format!("{:?}", error.kind()), format!("{kind:?}"), "{error}");
    }
    assert_eq!(count(&mut connection).await, 0);
}

#[tokio::test]
async fn a_text_of_two_statements_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let two = sqlx::query("INSERT INTO thing (name) VALUES ('a'); INSERT INTO thing (name) VALUES ('b')");
    assert!(two.execute(&mut connection).await.is_err());
    assert_eq!(count(&mut connection).await, 0);
}

#[tokio::test]
async fn a_statement_is_planned_once_whatever_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let select = "SELECT id FROM thing WHERE name > $1 ORDER BY name LIMIT $2";
    for limit in [1_i64, 2, 1, 3] {
        sqlx::query(select).bind("a").bind(limit).fetch_all(&mut connection).await.unwrap();
    }
    assert_eq!(connection.planned_again(select), 0);
}

#[tokio::test]
async fn a_pragma_takes_effect_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = connect(&directory).await;
    // Some pragmas act while they are prepared, and these texts are prepared once.
    for (set, level) in [("FULL", 2), ("NORMAL", 1), ("FULL", 2), ("NORMAL", 1), ("FULL", 2)] {
        let set = match set {
            "FULL" => "PRAGMA synchronous = FULL",
            _ => "PRAGMA synchronous = NORMAL",
        };
        connection.command(set).unwrap();
        let (now,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&mut connection).await.unwrap();
        assert_eq!(now, level);
    }
}

#[tokio::test]
async fn an_open_transaction_is_undone_when_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = with_things(&directory).await;
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO thing (name) VALUES ('a')").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    assert_eq!(count(&mut connection).await, 0);
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO thing (name) VALUES ('b')").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&mut connection).await, 1);
}
