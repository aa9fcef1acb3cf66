//! What PostgreSQL promises beyond what both do. Run with a server that `PORTREEVE_TEST_POSTGRES` names.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::Barrier;

use super::{
    fixture::Fixture,
    story::{Declined, Step, Story},
};
use crate::{
    clock::Clock,
    database::{Database, DatabaseError, Location, WriteError},
    on,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_deadlock_is_resolved_by_running_one_of_them_again() {
    let fixture = Fixture::postgres().await;
    fixture.write(Story::new("both").insert(1, "a").insert(2, "b")).await.unwrap();
    let meeting = Arc::new(Barrier::new(2));
    let crossing = |first, second| {
        let meet = Step::MeetOnce(Arc::clone(&meeting));
        fixture.told(Story::new("crossing").step(Step::Raise(first)).step(meet).step(Step::Raise(second)))
    };
    let (one, other) = (crossing(1, 2), crossing(2, 1));
    let runs = [Arc::clone(&one.runs), Arc::clone(&other.runs)];
    let (one, other) = tokio::join!(fixture.database.write(one), fixture.database.write(other));
    one.unwrap();
    other.unwrap();
    assert!(runs.iter().map(|runs| runs.load(Ordering::SeqCst)).sum::<u32>() > 2);
    assert_eq!((fixture.raised(1).await, fixture.raised(2).await), (2, 2));
    fixture.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_lasting_violation_is_answered_after_five_repeats() {
    let fixture = Fixture::postgres().await;
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let taken = Story::new("two").insert(2, "a");
    let runs = Arc::clone(&taken.runs);
    assert!(matches!(fixture.write(taken).await, Err(WriteError::Refused(Declined::NameTaken))));
    assert_eq!(runs.load(Ordering::SeqCst), 6);
    fixture.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn an_error_that_was_swallowed_is_not_answered_as_success() {
    let fixture = Fixture::postgres().await;
    let answer = fixture.write(Story::new("one").insert(1, "a").step(Step::FailUnheard)).await;
    assert!(matches!(answer, Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{answer:?}");
    assert_eq!(fixture.ids().await, [0; 0]);
    fixture.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_commit_that_fails_leaves_nothing() {
    let fixture = Fixture::postgres().await;
    let answer = fixture.write(Story::new("orphan").insert(1, "a").step(Step::Orphan(99))).await;
    assert!(matches!(answer, Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{answer:?}");
    fixture.write(Story::new("next").insert(2, "b")).await.unwrap();
    assert_eq!(fixture.ids().await, [2]);
    fixture.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_writer_survives_its_connections() {
    let fixture = Fixture::postgres().await;
    let Location::Postgres { url, .. } = fixture.location() else { unreachable!("a PostgreSQL story") };
    let mut surgeon = PgConnection::connect(url.expose()).await.unwrap();
    let pids = fixture.write(Story::new("pid").step(Step::Pragma("SELECT pg_backend_pid()::bigint"))).await.unwrap();
    let (killed,): (bool,) =
        sqlx::query_as("SELECT pg_terminate_backend($1::int)").bind(pids[0]).fetch_one(&mut surgeon).await.unwrap();
    assert!(killed);
    fixture.write(Story::new("after").insert(9, "z")).await.unwrap();
    assert_eq!(fixture.ids().await, [9]);
    fixture.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn replicas_that_start_at_once_make_one_schema() {
    let fixture = Fixture::postgres().await;
    let Location::Postgres { url, schema } = fixture.location() else { unreachable!("a PostgreSQL story") };
    let fresh = Location::Postgres { url: url.clone(), schema: format!("{schema}_b").parse().unwrap() };
    let migrations = super::fixture::with_a_second_step();
    let opens = (0..4).map(|_| {
        let fresh = fresh.clone();
        tokio::spawn(async move { Database::open(&fresh, migrations, Clock::system()).await.map(drop) })
    });
    for open in opens.collect::<Vec<_>>() {
        open.await.unwrap().unwrap();
    }
    let mut connection = PgConnection::connect(url.expose()).await.unwrap();
    let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA \"{schema}_b\" CASCADE"));
    sqlx::query(drop).execute(&mut connection).await.unwrap();
    fixture.clear().await;
}

/// What locks and then looks in a second statement must see what was committed in between, whatever the server's default is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn an_operation_reads_what_is_committed_whatever_the_default_isolation() {
    let fixture = Fixture::postgres().await;
    let Location::Postgres { url, schema } = fixture.location() else { unreachable!("a PostgreSQL story") };
    let mut url = url::Url::parse(url.expose()).unwrap();
    url.query_pairs_mut().append_pair("options[default_transaction_isolation]", "repeatable read");
    let location = Location::Postgres { url: url.as_str().into(), schema: schema.clone() };
    for clock in [Clock::system(), Clock::fixed(crate::clock::Timestamp::from_seconds(1_000))] {
        let database = Database::open(&location, super::fixture::with_a_second_step(), clock).await.unwrap();
        let isolation = "SELECT (current_setting('transaction_isolation') = 'read committed')::int::bigint";
        assert_eq!(database.write(fixture.told(Story::new("level").step(Step::Pragma(isolation)))).await.unwrap(), [1]);
        database.close().await;
    }
    fixture.clear().await;
}

/// A person with a shell who forgot to commit must not keep every writer waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_strangers_lock_is_waited_for_but_not_for_ever() {
    let fixture = Fixture::postgres().await;
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let Location::Postgres { url, schema } = fixture.location() else { unreachable!("a PostgreSQL story") };
    let mut stranger = PgConnection::connect(url.expose()).await.unwrap();
    let lock = sqlx::AssertSqlSafe(format!("BEGIN; SELECT id FROM \"{schema}\".thing WHERE id = 1 FOR UPDATE"));
    sqlx::raw_sql(lock).execute(&mut stranger).await.unwrap();
    let raise = || fixture.write(Story::new("raise").step(Step::Raise(1)));
    let answer = tokio::time::timeout(Duration::from_secs(20), raise()).await.expect("an answer");
    assert!(matches!(answer, Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{answer:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut stranger).await.unwrap();
    raise().await.unwrap();
    fixture.clear().await;
}

/// A reader that lost its index, and a process whose machine vanished, give their connections back by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn readers_end_and_dead_connections_are_noticed() {
    let fixture = Fixture::postgres().await;
    let mut reader = fixture.database.reader().await.unwrap();
    for (setting, expected) in [
        ("statement_timeout", "1min"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ] {
        let (value,): (String,) =
            on!(reader, c => sqlx::query_as("SELECT current_setting($1)").bind(setting).fetch_one(c).await).unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    drop(reader);
    fixture.clear().await;
}
