//! What the one writer of SQLite promises.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    fixture::Fixture,
    story::{Declined, Step, Story},
};
use crate::database::{Database, DatabaseError, Location, WriteError};

type Answer = Result<Vec<i64>, WriteError<Declined>>;

impl Fixture {
    /// Writes the stories in one batch: they are handed over, in order, while the writer is held up.
    async fn write_together(&self, stories: Vec<Story>) -> Vec<Answer> {
        let gate = Arc::new(Notify::new());
        let held = self.hand_over(Story::new("held").relaxed().step(Step::Pass(Arc::clone(&gate)))).await;
        self.journal.expect("run held").await;
        let mut waiting = Vec::new();
        for story in stories {
            waiting.push(self.hand_over(story).await);
        }
        gate.notify_one();
        held.await.unwrap().unwrap();
        let mut answers = Vec::new();
        for answer in waiting {
            answers.push(answer.await.unwrap());
        }
        answers
    }

    /// Starts a write and comes back when the writer's queue has it.
    async fn hand_over(&self, story: Story) -> JoinHandle<Answer> {
        let (database, story) = (self.database.clone(), self.told(story));
        let (sent, is_sent) = tokio::sync::oneshot::channel();
        let write = tokio::spawn(async move {
            let mut write = std::pin::pin!(database.write(story));
            // The queue has room, so the first poll puts the operation into it.
            assert!(futures_poll(write.as_mut()).await.is_none());
            sent.send(()).unwrap();
            write.await
        });
        is_sent.await.unwrap();
        write
    }

    fn path(&self) -> &Path {
        match self.location() {
            Location::Sqlite { path } => path,
            Location::Postgres { .. } => unreachable!("these stories are SQLite's"),
        }
    }

    /// A stranger's connection to the file.
    async fn stranger(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

fn kept(answer: &Answer) -> bool {
    answer.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_commits_together_in_order_and_is_answered_after() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("a").insert(1, "a").look(),
            Story::new("b").insert(2, "b").look(),
            Story::new("c").insert(3, "c").look(),
        ])
        .await;
    let seen: Vec<Vec<i64>> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, [vec![1], vec![1, 2], vec![1, 2, 3]]);
    assert_eq!(
        fixture.journal.take(),
        ["run held", "committed held", "run a", "run b", "run c", "committed a", "committed b", "committed c"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_failures_and_panics_touch_nobody_else_in_the_batch() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("refused first").insert(1, "a").step(Step::Refuse),
            Story::new("kept").insert(2, "a").look(),
            Story::new("taken").insert(3, "c").insert(4, "a"),
            Story::new("again").insert(5, "e").step(Step::AgainUntilRun(2)).look(),
            Story::new("panics").insert(6, "f").step(Step::Panic),
            Story::new("fails").insert(7, "g").step(Step::Fail),
            Story::new("last").insert(8, "c").look(),
        ])
        .await;
    assert!(matches!(answers[0], Err(WriteError::Refused(Declined::OnPurpose))));
    assert_eq!(answers[1].as_ref().unwrap(), &[2]);
    assert!(matches!(answers[2], Err(WriteError::Refused(Declined::NameTaken))));
    assert_eq!(answers[3].as_ref().unwrap(), &[2, 5]);
    assert!(matches!(answers[4], Err(WriteError::Unavailable(DatabaseError::Panicked { .. }))));
    assert!(matches!(answers[5], Err(WriteError::Unavailable(DatabaseError::Query(_)))));
    assert_eq!(answers[6].as_ref().unwrap(), &[2, 5, 8]);
    assert_eq!(fixture.ids().await, [2, 5, 8]);
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Refused,
    Failed,
    Panicked,
    RunAgain,
    FailedUnheard,
}

/// Any mixture of fates in any order leaves exactly the rows of those that were kept. The first of a batch goes without a savepoint and one is used
/// again after a refusal, so the order is what could go wrong.
#[test]
fn any_batch_leaves_exactly_what_was_kept() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fate = prop_oneof![
        3 => Just(Fate::Kept),
        2 => Just(Fate::Refused),
        1 => Just(Fate::Failed),
        1 => Just(Fate::Panicked),
        1 => Just(Fate::RunAgain),
        1 => Just(Fate::FailedUnheard),
    ];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    runner
        .run(&prop::collection::vec(fate, 1..12), |fates| {
            runtime.block_on(async {
                let fixture = Fixture::sqlite().await;
                let stories = (1..).zip(&fates).map(|(id, fate)| {
                    let story = Story::new("any").insert(id, &id.to_string());
                    match fate {
                        Fate::Kept => story,
                        Fate::Refused => story.step(Step::Refuse),
                        Fate::Failed => story.step(Step::Fail),
                        Fate::Panicked => story.step(Step::Panic),
                        Fate::RunAgain => story.step(Step::AgainUntilRun(3)),
                        Fate::FailedUnheard => story.step(Step::FailUnheard),
                    }
                });
                let answers = fixture.write_together(stories.collect()).await;
                let expected: Vec<bool> = fates
                    .iter()
                    .map(|fate| matches!(fate, Fate::Kept | Fate::RunAgain | Fate::FailedUnheard))
                    .collect();
                prop_assert_eq!(answers.iter().map(kept).collect::<Vec<_>>(), expected.clone());
                let rows: BTreeSet<i64> = (1..).zip(expected).filter_map(|(id, kept)| kept.then_some(id)).collect();
                prop_assert_eq!(fixture.ids().await.into_iter().collect::<BTreeSet<_>>(), rows);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_commit_fails_only_its_cause_fails() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("a").insert(1, "a"),
            Story::new("orphan").insert(2, "b").step(Step::Orphan(99)),
            Story::new("c").insert(3, "c"),
            Story::new("refused").insert(4, "d").step(Step::Refuse),
        ])
        .await;
    assert!(kept(&answers[0]) && kept(&answers[2]));
    assert!(matches!(answers[1], Err(WriteError::Unavailable(DatabaseError::Query(_)))), "{:?}", answers[1]);
    assert!(matches!(answers[3], Err(WriteError::Refused(Declined::OnPurpose))), "{:?}", answers[3]);
    assert_eq!(fixture.ids().await, [1, 3]);
    let journal = fixture.journal.take();
    assert_eq!(journal.iter().filter(|line| *line == "run a").count(), 2, "{journal:?}");
    assert_eq!(journal.iter().filter(|line| *line == "committed a").count(), 1, "{journal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_disk_is_full_what_fits_is_kept() {
    let fixture = Fixture::sqlite().await;
    fixture.write(Story::new("limit").step(Step::Pragma("PRAGMA max_page_count = 40"))).await.unwrap();
    let large = "x".repeat(1_000_000);
    let answers = fixture
        .write_together(vec![
            Story::new("a").insert(1, "a"),
            Story::new("large").insert(2, "b").insert(3, &large),
            Story::new("c").insert(4, "c"),
        ])
        .await;
    assert!(kept(&answers[0]) && kept(&answers[2]), "{answers:?}");
    let error = answers[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert_eq!(fixture.ids().await, [1, 4]);
    let runs = fixture.journal.take().iter().filter(|line| *line == "run a").count();
    assert_eq!(runs, 2, "SQLite ended the transaction, so everything in it ran again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_relaxed_only_if_all_of_it_is() {
    const FULL: i64 = 2;
    const NORMAL: i64 = 1;
    let fixture = Fixture::sqlite().await;
    let story = || Story::new("s").step(Step::Pragma("PRAGMA synchronous"));
    assert_eq!(fixture.write(story()).await.unwrap(), [FULL]);
    assert_eq!(fixture.write(story().relaxed()).await.unwrap(), [NORMAL]);
    let relaxed = fixture.write_together(vec![story().relaxed(), story().relaxed()]).await;
    assert_eq!(relaxed[1].as_ref().unwrap(), &[NORMAL]);
    let mixed = fixture.write_together(vec![story(), story().relaxed(), story()]).await;
    for answer in mixed {
        assert_eq!(answer.unwrap(), [FULL]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_before_commit_joins_unless_it_must_be_more_durable() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("refused").relaxed().insert(1, "a").step(Step::Refuse),
            Story::new("joins").relaxed().insert(2, "b"),
            Story::new("waits").insert(3, "c"),
            Story::new("waits behind it").relaxed().insert(4, "d"),
        ])
        .await;
    assert_eq!(answers.iter().map(kept).collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(
        fixture.journal.take(),
        [
            "run held",
            "run refused",
            "run joins",
            "committed held",
            "committed joins",
            "run waits",
            "run waits behind it",
            "committed waits",
            "committed waits behind it"
        ]
    );
    assert_eq!(fixture.ids().await, [2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_lock_is_waited_for() {
    let fixture = Fixture::sqlite().await;
    let mut stranger = fixture.stranger().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut stranger).await.unwrap();
    let write = fixture.hand_over(Story::new("patient").insert(1, "a")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!write.is_finished());
    sqlx::raw_sql("ROLLBACK").execute(&mut stranger).await.unwrap();
    write.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_ends_the_transaction_costs_nobody_his_row() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("a").insert(1, "a"),
            Story::new("meddler").step(Step::Pragma("ROLLBACK")),
            Story::new("c").insert(3, "c"),
        ])
        .await;
    assert!(kept(&answers[0]) && !kept(&answers[1]) && kept(&answers[2]), "{answers:?}");
    assert_eq!(fixture.ids().await, [1, 3]);
}

/// The writer serves everybody, so what an operation says about itself is asked for on its caller's side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_panics_before_it_runs_harms_its_caller_alone() {
    let fixture = Fixture::sqlite().await;
    let (database, odd) = (fixture.database.clone(), fixture.told(Story::new("odd").of_no_durability()));
    let harmed = tokio::spawn(async move { database.write(odd).await.map(drop) }).await;
    assert!(harmed.is_err_and(|end| end.is_panic()));
    fixture.write(Story::new("next").insert(1, "a")).await.unwrap();
    assert_eq!(fixture.ids().await, [1]);
}

/// The first of a batch has no savepoint before it, so the second one's could begin a transaction of its own and hide that the first was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_ends_the_transaction_unheard_is_not_answered_as_kept() {
    let fixture = Fixture::sqlite().await;
    let answers = fixture
        .write_together(vec![
            Story::new("meddler").insert(1, "a").step(Step::Unheard("ROLLBACK")),
            Story::new("b").insert(2, "b"),
            Story::new("c").insert(3, "c"),
        ])
        .await;
    assert!(!kept(&answers[0]) && kept(&answers[1]) && kept(&answers[2]), "{answers:?}");
    assert_eq!(fixture.ids().await, [2, 3]);
}

/// Whoever closes any descriptor of a file gives up all locks of the process on it, and then a shell on the file may take the log away.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_again_takes_no_lock_from_what_is_open() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::sqlite().await;
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let place = format!(":{} ", std::fs::metadata(fixture.path()).unwrap().ino());
    let process = format!(" {} ", std::process::id());
    let held = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains(&process) && line.contains(&place)).count()
    };
    assert!(held() > 0);
    let refused =
        Database::open(fixture.location(), super::fixture::with_another_first_step(), crate::clock::Clock::system())
            .await;
    assert!(refused.is_err());
    assert!(held() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_its_owners_and_the_log_is_folded_in_on_closing() {
    let fixture = Fixture::sqlite().await;
    fixture.write(Story::new("one").insert(1, "a")).await.unwrap();
    let wal = fixture.path().with_extension("db-wal");
    for file in [fixture.path(), &wal] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(fixture.ids().await, [1]);
    fixture.database.close().await;
    assert!(!wal.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_lent_up_to_a_number_and_come_back() {
    let fixture = Fixture::sqlite().await;
    let mut lent = Vec::new();
    while let Ok(reader) = tokio::time::timeout(Duration::from_millis(200), fixture.database.reader()).await {
        lent.push(reader.unwrap());
        assert!(lent.len() <= 16);
    }
    assert!(lent.len() >= 4);
    lent.pop();
    fixture.database.reader().await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_is_named() {
    let path = Path::new("/proc/nowhere/things.db").to_path_buf();
    let clock = crate::clock::Clock::system();
    let error =
        Database::open(&Location::Sqlite { path }, super::fixture::with_a_second_step(), clock).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot open the database /proc/nowhere/things.db"), "{error}");
}
