//! Stories of what one transaction of a collector takes on, and of queues that nobody blocks for those behind.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use shared::{
    database::{Failure, Operation, Took, Transaction},
    on,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, ada, name, on_both};
use crate::{
    content::uploads::UPLOAD_LIFE,
    gc::{Collector, Settings, Spread, Swept},
    metadata::{
        Metadata, RepositoryId,
        fixture::{LockBoth, Row},
        repositories::deletion::{PurgeRepository, RepositoryDue, Step},
        uploads::writers::Turn,
    },
};

on_both! {
    uploads_give_back_what_they_reserved_in_each_namespace
    a_purge_removes_so_many_rows_at_a_time
    uploads_that_are_written_keep_none_behind_them
    repositories_that_are_held_keep_none_behind_them
}

const MINUTE: Duration = Duration::from_secs(60);

/// How long transactions took, by the operation's name.
type Timings = Vec<(&'static str, Spread)>;

/// What a sweep did, and how long the transactions took until then.
pub(super) async fn sweep(stage: &Stage) -> (Swept, Timings) {
    let store = Arc::new(stage.store.clone());
    let collector = Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default());
    let swept = collector.sweep(&CancellationToken::new()).await.unwrap();
    (swept, collector.timings())
}

/// How long transactions took, in a line.
pub(super) fn told(timings: &[(&'static str, Spread)]) -> String {
    let all = timings.iter().fold(Spread::default(), |all, (_, spread)| all.and(spread));
    let Some((name, longest)) = timings.iter().max_by_key(|(_, spread)| spread.longest) else {
        return "nothing was collected".to_owned();
    };
    let within = all.within().find(|(bound, _)| *bound == LIMIT).map_or(0, |(_, count)| count);
    format!(
        "{} transactions of collectors, {within} of them within {LIMIT:?}, the longest {:?} ({name})",
        all.count, longest.longest
    )
}

/// What a transaction of a collector may take.
const LIMIT: Duration = Duration::from_millis(50);

/// A transaction of next to nothing: how long it takes is how busy the machine is.
#[derive(Clone, Default)]
pub(super) struct Probe(Arc<Mutex<Spread>>);

impl Operation for Probe {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "probe";
    const TIMED: bool = true;

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        Ok(on!(tx, c => sqlx::query("UPDATE namespace SET quota = quota WHERE id = 0").execute(c).await.map(drop))?)
    }

    fn took(&self, (): &(), took: Took) {
        let mut spread = self.0.lock().unwrap();
        *spread = spread.and(&[took.held].into_iter().collect());
    }
}

impl Probe {
    /// Looks again and again until `stop`.
    pub(super) async fn beside(self, metadata: Metadata, stop: CancellationToken) {
        while !stop.is_cancelled() {
            metadata.write(self.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn mean(&self) -> Duration {
        let spread = *self.0.lock().unwrap();
        spread.sum.checked_div(u32::try_from(spread.count).unwrap()).expect("somebody has looked")
    }

    /// Of the transactions of each operation nine in ten are within twice the limit, or what a busy machine makes of it.
    ///
    /// The limit is for a machine that serves a registry. Here everything is built without optimisation and shares two cores with all other tests, or with a
    /// dozen tasks of a stress run: any transaction may be put to sleep for longer than it works, and the longest of a thousand says how busy the machine
    /// was. How busy that is says a transaction that does nothing; a batch is twenty statements or so. What nobody paces is seen all the same: ten thousand
    /// rows at once take ten times the limit on an idle machine, and as much longer on a busy one. A few transactions are no tenth of anything, and are left
    /// out.
    pub(super) fn nobody_was_held_up(&self, timings: &[(&'static str, Spread)]) {
        let allowed = 2 * LIMIT + 20 * self.mean();
        for (operation, spread) in timings.iter().filter(|(_, spread)| spread.count >= 10) {
            let within = spread.within().find(|(bound, _)| *bound >= allowed).map_or(spread.count, |(_, count)| count);
            assert!(within * 10 >= spread.count * 9, "{operation}: {allowed:?} are allowed, {spread:?}");
        }
    }
}

/// What `work` comes to, with somebody who looks meanwhile how busy the machine is.
pub(super) async fn probed<T>(stage: &Stage, work: impl Future<Output = T>) -> (T, Probe) {
    let (probe, stop) = (Probe::default(), CancellationToken::new());
    let looking = tokio::spawn(probe.clone().beside(stage.content.metadata.clone(), stop.clone()));
    let done = work.await;
    stop.cancel();
    looking.await.unwrap();
    (done, probe)
}

/// Expired uploads of two namespaces; the repositories are in the other order than their namespaces.
async fn reserve_in_two_namespaces(stage: &Stage) {
    for repository in ["acme/first", "beta/web", "acme/web", "acme/web"] {
        stage.content.start_upload(&name(repository), None, &ada()).await.unwrap();
    }
    stage.tamper("UPDATE upload SET reserved = 7").await;
    stage.tamper("UPDATE usage SET reserved = 7 * (SELECT count(*) FROM upload p JOIN repository r ON r.id = p.repository_id WHERE r.namespace_id = usage.namespace_id)").await;
    stage.tamper("UPDATE upload SET expires_at = 9000000000000000 WHERE repository_id = (SELECT id FROM repository WHERE name = 'acme/first')").await;
    stage.pass(UPLOAD_LIFE + MINUTE);
}

async fn uploads_give_back_what_they_reserved_in_each_namespace(stage: &mut Stage) {
    reserve_in_two_namespaces(stage).await;
    assert_eq!(sweep(stage).await.0.uploads, 3);
    let left = "SELECT n.name || ' ' || CAST(u.reserved AS TEXT) FROM usage u JOIN namespace n ON n.id = u.namespace_id ORDER BY n.name";
    assert_eq!(stage.texts(left).await, ["acme 7", "beta 0"], "one upload of acme lives");
    stage.is_consistent().await;
}

/// Whoever holds the first namespace's usage can always have the second's: nobody waits for the first who holds the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn uploads_of_many_namespaces_give_back_in_everybodys_order() {
    let stage = Stage::postgres().await;
    reserve_in_two_namespaces(&stage).await;
    let held = Arc::new(Notify::new());
    let both = LockBoth { first: Row::Usage("acme"), second: Row::Usage("beta"), held: Arc::clone(&held) };
    let sweeping = async {
        held.notified().await;
        sweep(&stage).await.0
    };
    let both = async { tokio::join!(stage.content.metadata.write(both), sweeping) };
    let (locked, swept) = timeout(Duration::from_secs(60), both).await.expect("the sweep waits for acme's row");
    locked.expect("whoever waits for acme holds nothing that comes behind it");
    assert_eq!(swept.uploads, 3);
    stage.clear().await;
}

/// Five manifests of a deleted repository as pushes would leave them: one that names thousands of blobs, two large ones, two small ones.
async fn delete_with_manifests(stage: &Stage) -> RepositoryId {
    stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage
        .tamper(
            "INSERT INTO manifest (repository_id, digest, media_type, size, pushed_at) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) \
             SELECT (SELECT id FROM repository), 'sha256:' || CAST(i AS TEXT), 'm', \
                 CASE WHEN i = 1 THEN 1000000 WHEN i < 4 THEN 100000 ELSE 1000 END, 0 FROM n",
        )
        .await;
    stage
        .tamper(
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) \
             SELECT m.repository_id, 'sha256:b' || CAST(i AS TEXT), m.id FROM manifest m, n WHERE i < m.size / 100",
        )
        .await;
    stage.tamper("UPDATE usage SET used = (SELECT sum(size) FROM manifest)").await;
    stage.tamper("UPDATE repository SET deleted_at = 1, expires_at = 2").await;
    RepositoryId(stage.count("SELECT id FROM repository").await)
}

/// What those manifests name.
const REFERENCES: u64 = 9_000 + 2 * 999 + 2 * 9;

/// All of them in one statement would be one transaction, with every row that falls with them.
async fn a_purge_removes_so_many_rows_at_a_time(stage: &mut Stage) {
    let repository = delete_with_manifests(stage).await;
    let mut removed = Vec::new();
    loop {
        let purge = PurgeRepository { repository, due: RepositoryDue::AfterWindow, batch: 2_000 };
        let Step::Removed { rows, manifests, bytes } = stage.content.metadata.write(purge).await.unwrap() else {
            break;
        };
        assert!(rows < 2 * 2_000, "{rows}");
        removed.push((rows, manifests, bytes));
    }
    let all = removed.iter().fold((0, 0, 0), |all, step| (all.0 + step.0, all.1 + step.1, all.2 + step.2));
    assert_eq!(all, (REFERENCES + 5, 5, 1_202_000), "{removed:?}");
    assert_eq!(removed.len(), 7, "{removed:?}");
    let left =
        "SELECT (SELECT count(*) FROM manifest) + (SELECT count(*) FROM manifest_blob) + (SELECT used FROM usage)";
    assert_eq!(stage.count(left).await, 0);
}

/// Starts uploads, one in each of the repositories, as if a request were writing each of them.
async fn write_slowly(stage: &Stage, repositories: impl Iterator<Item = String>) -> Vec<Turn> {
    let mut turns = Vec::new();
    for repository in repositories {
        let id = stage.content.start_upload(&name(&repository), None, &ada()).await.unwrap();
        turns.push(stage.content.metadata.writers().try_enter(id).unwrap());
    }
    turns
}

async fn uploads_that_are_written_keep_none_behind_them(stage: &mut Stage) {
    let turns = write_slowly(stage, (0..230).map(|_| "acme/web".to_owned())).await;
    stage.pass(MINUTE);
    stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.pass(UPLOAD_LIFE + MINUTE);
    assert_eq!(sweep(stage).await.0.uploads, 1, "the youngest, behind pages of others");
    drop(turns);
    assert_eq!(sweep(stage).await.0.uploads, 230);
}

async fn repositories_that_are_held_keep_none_behind_them(stage: &mut Stage) {
    let turns = write_slowly(stage, (0..205).map(|number| format!("acme/held{number}"))).await;
    stage.content.start_upload(&name("acme/free"), None, &ada()).await.unwrap();
    stage.tamper("UPDATE repository SET deleted_at = 1, expires_at = 1 + id").await;
    stage.pass(UPLOAD_LIFE + MINUTE);
    let (swept, _) = sweep(stage).await;
    assert_eq!(swept, Swept { uploads: 1, repositories: 1, ..Swept::default() }, "the youngest");
    assert_eq!(sweep(stage).await.0, Swept::default(), "and nobody goes round and round for the others");
    drop(turns);
    let (mut uploads, mut repositories, mut halfway) = (0, 0, true);
    while halfway {
        let (swept, _) = sweep(stage).await;
        (uploads, repositories, halfway) = (uploads + swept.uploads, repositories + swept.repositories, swept.halfway);
    }
    assert_eq!((uploads, repositories), (205, 205));
}
