//! The doors, on both databases where the promise is the same, and apart where it is one database's own.

mod fixture;
mod postgres;
mod sqlite;
mod story;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use self::{
    fixture::{Fixture, on_both},
    story::{Declined, Step, Story},
};
use super::{DatabaseError, Took, WriteError};
use crate::{clock::Timestamp, on};

on_both! {
    a_write_is_seen_by_the_next_reader
    a_refused_operation_leaves_nothing
    a_failed_query_is_the_operations_own_failure
    a_row_already_there_is_the_operations_own_refusal
    an_operation_that_asks_is_run_again_but_not_for_ever
    an_operation_that_panics_leaves_nothing_and_the_door_open
    a_panic_after_commit_does_not_undo_the_change
    committed_runs_before_the_answer_and_only_after_success
    an_operation_that_asks_is_told_how_long_its_commit_took
    a_caller_that_goes_away_loses_only_the_answer
    readers_cannot_write
    operations_run_one_by_one_on_what_they_share
    the_time_is_the_injected_clocks
    closing_ends_what_runs_and_refuses_what_comes
    a_database_can_be_opened_again_and_by_the_release_before
}

async fn a_write_is_seen_by_the_next_reader(fixture: &Fixture) {
    let seen = fixture.write(Story::new("one").insert(1, "a").look()).await.unwrap();
    assert_eq!(seen, [1]);
    assert_eq!(fixture.ids().await, [1]);
}

async fn a_refused_operation_leaves_nothing(fixture: &Fixture) {
    let refused = fixture.write(Story::new("one").insert(1, "a").step(Step::Refuse)).await;
    assert!(matches!(refused, Err(WriteError::Refused(Declined::OnPurpose))), "{refused:?}");
    assert_eq!(fixture.ids().await, [0; 0]);
}

async fn a_failed_query_is_the_operations_own_failure(fixture: &Fixture) {
    let failed = fixture.write(Story::new("one").insert(1, "a").step(Step::Fail)).await;
    assert!(matches!(failed, Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{failed:?}");
    fixture.write(Story::new("two").insert(2, "b")).await.unwrap();
    assert_eq!(fixture.ids().await, [2]);
}

async fn a_row_already_there_is_the_operations_own_refusal(fixture: &Fixture) {
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let taken = fixture.write(Story::new("two").insert(2, "b").insert(3, "a")).await;
    assert!(matches!(taken, Err(WriteError::Refused(Declined::NameTaken))), "{taken:?}");

    let unnamed = fixture.write(Story::new("three").insert(3, "a").without_a_word_for_it()).await;
    assert!(matches!(unnamed, Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{unnamed:?}");
    assert_eq!(fixture.ids().await, [1]);
}

async fn an_operation_that_asks_is_run_again_but_not_for_ever(fixture: &Fixture) {
    let twice = Story::new("twice").insert(1, "a").step(Step::AgainUntilRun(3)).look();
    let runs = Arc::clone(&twice.runs);
    assert_eq!(fixture.write(twice).await.unwrap(), [1], "the first two runs were undone");
    assert_eq!(runs.load(Ordering::SeqCst), 3);

    let always = Story::new("always").insert(2, "b").step(Step::AgainUntilRun(u32::MAX));
    let runs = Arc::clone(&always.runs);
    let tired = fixture.write(always).await;
    assert!(
        matches!(tired, Err(WriteError::Unavailable(DatabaseError::Contended { operation: "story", attempts: 6 }))),
        "{tired:?}"
    );
    assert_eq!(runs.load(Ordering::SeqCst), 6);
    assert_eq!(fixture.ids().await, [1]);
}

async fn an_operation_that_panics_leaves_nothing_and_the_door_open(fixture: &Fixture) {
    let panicked = fixture.write(Story::new("one").insert(1, "a").step(Step::Panic)).await;
    assert!(
        matches!(panicked, Err(WriteError::Unavailable(DatabaseError::Panicked { operation: "story" }))),
        "{panicked:?}"
    );
    for id in 2..40 {
        fixture.write(Story::new("next").insert(id, &format!("thing {id}"))).await.unwrap();
    }
    assert_eq!(fixture.ids().await, (2..40).collect::<Vec<i64>>());
}

async fn an_operation_that_asks_is_told_how_long_its_commit_took(fixture: &Fixture) {
    let gate = Arc::new(Notify::new());
    let slow = Story::new("slow").step(Step::AgainUntilRun(2)).insert(1, "a").step(Step::Pass(Arc::clone(&gate)));
    let told = Arc::clone(&slow.took);
    let open = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.notify_one();
    };
    let (written, ()) = tokio::join!(fixture.write(slow), open);
    written.unwrap();
    let took = told.lock().unwrap().clone();
    let [Took { run, held }] = took[..] else { panic!("once, for the run that was kept: {took:?}") };
    assert!(Duration::from_millis(30) < run && run <= held, "{run:?} of {held:?}");
    let refused = Story::new("refused").insert(2, "b").step(Step::Refuse);
    let told = Arc::clone(&refused.took);
    fixture.write(refused).await.unwrap_err();
    assert_eq!(told.lock().unwrap()[..], [], "what left nothing held nobody up for long");
}

async fn a_panic_after_commit_does_not_undo_the_change(fixture: &Fixture) {
    let mut story = Story::new("one").insert(1, "a").look();
    story.panics_when_committed = true;
    assert_eq!(fixture.write(story).await.unwrap(), [1]);
    fixture.write(Story::new("two").insert(2, "b")).await.unwrap();
    assert_eq!(fixture.ids().await, [1, 2]);
}

async fn committed_runs_before_the_answer_and_only_after_success(fixture: &Fixture) {
    fixture.write(Story::new("kept").insert(1, "a")).await.unwrap();
    assert_eq!(fixture.journal.take(), ["run kept", "committed kept"]);
    let _ = fixture.write(Story::new("refused").step(Step::Refuse)).await;
    let _ = fixture.write(Story::new("failed").step(Step::Fail)).await;
    assert_eq!(fixture.journal.take(), ["run refused", "run failed"]);
}

async fn a_caller_that_goes_away_loses_only_the_answer(fixture: &Fixture) {
    let gate = Arc::new(Notify::new());
    let story = Story::new("orphan").insert(1, "a").step(Step::Pass(Arc::clone(&gate))).insert(2, "b");
    let running = fixture.journal.expect("run orphan");
    tokio::select! {
        _ = fixture.write(story) => unreachable!("the gate is shut"),
        () = running => {}
    }
    // The caller is gone, in the middle of the operation.
    gate.notify_one();
    fixture.journal.expect("committed orphan").await;
    assert_eq!(fixture.ids().await, [1, 2]);
}

async fn readers_cannot_write(fixture: &Fixture) {
    let mut reader = fixture.database.reader().await.unwrap();
    let refused = on!(reader, c => {
        sqlx::query("INSERT INTO thing (id, name, at) VALUES (1, 'a', 0)").execute(c).await.map(|done| done.rows_affected())
    });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("read-only") || error.contains("readonly"), "{error}");
}

async fn operations_run_one_by_one_on_what_they_share(fixture: &Fixture) {
    fixture.write(Story::new("first").insert(1, "a")).await.unwrap();
    let writes: Vec<_> = (0..60)
        .map(|_| {
            let (database, story) = (fixture.database.clone(), fixture.told(Story::new("raise").step(Step::Raise(1))));
            tokio::spawn(async move { database.write(story).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(fixture.raised(1).await, 60);
}

async fn the_time_is_the_injected_clocks(fixture: &Fixture) {
    fixture.clock.advance(Duration::from_secs(3_600));
    let before = Timestamp::from(SystemTime::now()) + Duration::from_secs(3_600);
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let late = fixture.written_at(1).await.since(before);
    assert!(late < Duration::from_secs(60), "{late:?}");
    assert!(fixture.written_at(1).await >= before - Duration::from_secs(1));

    let stopped = fixture.open_again_at(Timestamp::from_seconds(1_000)).await;
    stopped.write(fixture.told(Story::new("two").insert(2, "b"))).await.unwrap();
    assert_eq!(fixture.written_at(2).await, Timestamp::from_seconds(1_000));
    stopped.close().await;
}

async fn closing_ends_what_runs_and_refuses_what_comes(fixture: &Fixture) {
    let gate = Arc::new(Notify::new());
    let story = fixture.told(Story::new("last").insert(1, "a").step(Step::Pass(Arc::clone(&gate))));
    let running = fixture.journal.expect("run last");
    let last = tokio::spawn({
        let database = fixture.database.clone();
        async move { database.write(story).await }
    });
    running.await;
    let closing = tokio::spawn({
        let database = fixture.database.clone();
        async move { database.close().await }
    });
    gate.notify_one();
    last.await.unwrap().unwrap();
    closing.await.unwrap();
    let refused = fixture.write(Story::new("late").insert(2, "b")).await;
    assert!(matches!(refused, Err(WriteError::Unavailable(DatabaseError::Closed))), "{refused:?}");
    assert!(matches!(fixture.database.reader().await, Err(DatabaseError::Closed)));
    assert_eq!(fixture.open_again().await.ids().await, [1]);
}

async fn a_database_can_be_opened_again_and_by_the_release_before(fixture: &Fixture) {
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let next_release = fixture.open_with(fixture::with_a_second_step()).await.unwrap();
    next_release.close().await;
    let release_before = fixture.open_again().await;
    assert_eq!(release_before.ids().await, [1]);

    let rewritten = fixture.open_with(fixture::with_another_first_step()).await;
    assert!(matches!(rewritten, Err(DatabaseError::Migrate { .. })), "{rewritten:?}");
}
