use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{database::Dialect, digest::Digest, reference::Reference};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{DeleteRepository, Error, RestoreRepository};
use crate::{
    content::{
        self, Content, Promise, TagLimits,
        catalog::Cursor,
        fixture::{index, push, tag},
        manifests::DeleteManifest,
        mount::Mounted,
        referrers::ReferrersQuery,
    },
    gc::{Collector, Settings, Swept},
    lifecycle::{Lifecycle, deleted::Deleted, immutable::Immutable, quotas::Change},
    metadata::immutable::Force,
    stories::stage::{Stage, ada, chunk, digest, name, on_both, slow},
};

/// Where a test sends the pieces of a body.
type Body = mpsc::Sender<io::Result<Bytes>>;

on_both! {
    nobody_sees_a_deleted_repository_and_it_comes_back_as_it_was
    a_push_to_the_name_makes_a_new_repository
    a_repository_comes_back_over_another_only_by_force
    the_collector_purges_what_nobody_wants_back
    a_purge_takes_many_steps_and_spares_what_others_hold
    an_upload_ends_with_its_repository
    a_request_that_runs_ends_with_its_repository
    tags_that_have_to_stay_keep_their_repository
    what_can_come_back_is_listed_a_page_at_a_time
    by_hand_a_deleted_repository_goes_at_once
    a_list_looks_at_so_many_of_others_at_a_time
    what_comes_back_is_asked_for_the_quota
    of_two_that_come_back_at_once_the_quota_admits_one
    a_large_purge_gives_others_their_turn_and_can_be_stopped
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const WEB: &str = "acme/web";

fn lifecycle(stage: &Stage) -> Lifecycle {
    Lifecycle::new(stage.content.metadata.clone(), stage.clock.clone(), WEEK)
}

fn collector(stage: &Stage) -> Collector {
    let (metadata, store) = (stage.content.metadata.clone(), Arc::new(stage.store.clone()));
    Collector::new(metadata, store, stage.clock.clone(), Settings::default())
}

async fn sweep(stage: &Stage) -> Swept {
    collector(stage).sweep(&CancellationToken::new()).await.unwrap()
}

async fn delete(stage: &Stage, repository: &str, force: Force) -> Result<(), Error> {
    let delete = DeleteRepository { name: name(repository), force, actor: "grace".to_owned() };
    lifecycle(stage).delete_repository(delete).await
}

async fn restore(stage: &Stage, repository: &str, force: Force) -> Result<i64, Error> {
    let restore = RestoreRepository { name: name(repository), id: None, force, actor: "grace".to_owned() };
    lifecycle(stage).restore_repository(restore).await.map(|id| id.0)
}

/// An image of one blob under a tag.
async fn image(stage: &Stage, repository: &str, tagged: &str, blob: &str) -> Digest {
    stage.push(repository, blob).await.unwrap();
    let image = content::fixture::image(blob, &[]);
    stage.content.put_manifest(push(repository, tag(tagged), &image)).await.unwrap().digest
}

async fn serves(content: &Content, repository: &str, reference: impl Into<Reference>) -> bool {
    content.manifest(&name(repository), &reference.into(), Promise::Nothing).await.is_ok()
}

async fn catalog(stage: &Stage) -> Vec<String> {
    let everything = shared::readable::Readable::everything();
    stage.content.catalog(Some(&everything), &Cursor::Behind(String::new()), 100).await.unwrap().names
}

async fn nobody_sees_a_deleted_repository_and_it_comes_back_as_it_was(stage: &mut Stage) {
    let v1 = image(stage, WEB, "v1", "config").await;
    let blob = digest(b"config");
    // What memory knows must be forgotten.
    assert!(serves(&stage.content, WEB, tag("v1")).await && stage.holds(WEB, &blob).await);
    let rows = "SELECT (SELECT count(*) FROM link) + (SELECT count(*) FROM manifest) + (SELECT count(*) FROM tag)";
    let held = stage.count(rows).await;
    delete(stage, WEB, Force::No).await.unwrap();
    assert!(!serves(&stage.content, WEB, tag("v1")).await && !serves(&stage.content, WEB, v1).await);
    assert!(!stage.holds(WEB, &blob).await);
    assert_eq!(catalog(stage).await, [""; 0]);
    let tags = stage.content.tags(&name(WEB), "", None).await;
    assert!(matches!(tags, Err(content::Error::RepositoryUnknown { .. })), "{tags:?}");
    let referrers =
        ReferrersQuery { repository: name(WEB), subject: v1, artifact_type: None, after: None, limit: None };
    assert!(stage.content.referrers(&referrers).await.unwrap().manifests.is_empty());
    let mounted = stage.content.mount(&name("acme/other"), &name(WEB), &blob, &ada()).await.unwrap();
    assert_ne!(mounted, Mounted::Linked, "nothing is mounted from it");
    let again = delete(stage, WEB, Force::No).await;
    assert!(matches!(again, Err(Error::Unknown(_))), "{again:?}");

    stage.pass(WEEK - Duration::from_secs(60));
    sweep(stage).await;
    assert_eq!(stage.count(rows).await, held, "all of it stays");
    restore(stage, WEB, Force::No).await.unwrap();
    assert!(serves(&stage.content, WEB, tag("v1")).await && serves(&stage.content, WEB, v1).await);
    assert_eq!(stage.pull(WEB, &blob).await.unwrap(), "config");
    assert_eq!(catalog(stage).await, [WEB]);
    let nothing = restore(stage, WEB, Force::Yes).await;
    assert!(matches!(nothing, Err(Error::NotRestorable(_))), "{nothing:?}");
    stage.is_consistent().await;
    let told = "SELECT kind || ' ' || body FROM event WHERE kind LIKE 'repository%' ORDER BY id";
    let told = stage.texts(told).await;
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|event| event.contains("\"grace\"") && event.contains("acme/web")), "{told:?}");
}

async fn a_push_to_the_name_makes_a_new_repository(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    image(stage, WEB, "v1", "another").await;
    delete(stage, WEB, Force::No).await.unwrap();
    let new = image(stage, WEB, "v2", "config").await;
    assert!(serves(&stage.content, WEB, new).await && !serves(&stage.content, WEB, tag("v1")).await);
    assert!(!stage.holds(WEB, &digest(b"another")).await, "it holds what was pushed to it and nothing else");
    assert_eq!(stage.count("SELECT count(*) FROM repository").await, 2);
    let history = stage.content.tag_history(&name(WEB), &tag("v1"), None, 10).await;
    assert!(history.is_err(), "and has no other's history");
    stage.is_consistent().await;
}

async fn a_repository_comes_back_over_another_only_by_force(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    delete(stage, WEB, Force::No).await.unwrap();
    image(stage, WEB, "v2", "another").await;
    let refused = restore(stage, WEB, Force::No).await;
    assert!(matches!(&refused, Err(Error::Occupied(taken)) if *taken == name(WEB)), "{refused:?}");
    assert!(serves(&stage.content, WEB, tag("v2")).await);
    let first = restore(stage, WEB, Force::Yes).await.unwrap();
    assert!(serves(&stage.content, WEB, tag("v1")).await && !serves(&stage.content, WEB, tag("v2")).await);
    let second = restore(stage, WEB, Force::Yes).await.unwrap();
    assert_ne!(first, second, "what made room can come back likewise");
    assert!(serves(&stage.content, WEB, tag("v2")).await);
    stage.is_consistent().await;
}

async fn the_collector_purges_what_nobody_wants_back(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    stage.push(WEB, "promised to a push").await.unwrap();
    delete(stage, WEB, Force::No).await.unwrap();
    stage.pass(WEEK + Duration::from_secs(1));
    let late = restore(stage, WEB, Force::No).await;
    assert!(matches!(late, Err(Error::NotRestorable(_))), "the purge may come at any moment: {late:?}");
    let swept = sweep(stage).await;
    assert_eq!((swept.repositories, swept.links), (1, 0), "links go with their repository");
    for table in [
        "SELECT count(*) FROM repository",
        "SELECT count(*) FROM link",
        "SELECT count(*) FROM blob",
        "SELECT count(*) FROM manifest",
        "SELECT count(*) FROM manifest_payload",
        "SELECT count(*) FROM manifest_blob",
        "SELECT count(*) FROM tag",
        "SELECT count(*) FROM tag_history",
        "SELECT CAST(sum(used) AS BIGINT) FROM usage",
    ] {
        assert_eq!(stage.count(table).await, 0, "{table}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 2);
    stage.is_consistent().await;
}

async fn a_purge_takes_many_steps_and_spares_what_others_hold(stage: &mut Stage) {
    let kept = image(stage, "acme/other", "v1", "shared").await;
    image(stage, WEB, "v1", "shared").await;
    let child = content::fixture::image("shared", &[]);
    stage.content.put_manifest(push(WEB, tag("list"), &index(&[&child]))).await.unwrap();
    for number in 0..150 {
        image(stage, WEB, &format!("pr-{number}"), &format!("blob {number}")).await;
    }
    let gone = image(stage, WEB, "gone", "deleted before").await;
    let before = DeleteManifest {
        repository: name(WEB),
        digest: gone,
        condition: None,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: 2 * WEEK,
    };
    stage.content.delete_manifest(before).await.unwrap();
    delete(stage, WEB, Force::No).await.unwrap();
    stage.pass(WEEK + Duration::from_secs(1));
    assert_eq!(sweep(stage).await.repositories, 1);
    assert_eq!(stage.count("SELECT count(*) FROM manifest").await, 1);
    assert!(serves(&stage.content, "acme/other", kept).await);
    assert_eq!(stage.pull("acme/other", &digest(b"shared")).await.unwrap(), "shared");
    stage.is_consistent().await;
}

async fn an_upload_ends_with_its_repository(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    let upload = stage.content.start_upload(&name(WEB), None, &ada()).await.unwrap();
    stage.content.append(&name(WEB), upload, chunk("part")).await.unwrap();
    delete(stage, WEB, Force::No).await.unwrap();
    let gone = stage.content.append(&name(WEB), upload, chunk("more")).await;
    assert!(matches!(gone, Err(content::Error::UploadUnknown)), "{gone:?}");
    assert_eq!(sweep(stage).await.uploads, 1, "and its bytes are garbage at once");
    restore(stage, WEB, Force::No).await.unwrap();
    stage.is_consistent().await;
}

/// Three requests whose bodies do not end: two go on with an upload, one brings a blob whole. Each has been read from.
async fn run_requests(stage: &Stage) -> (Vec<Body>, JoinSet<Result<u64, content::Error>>) {
    let (mut bodies, mut running) = (Vec::new(), JoinSet::new());
    for number in 0..3 {
        let (body, chunk) = slow();
        let upload = stage.content.start_upload(&name(WEB), None, &ada()).await.unwrap();
        let (content, whole) = (stage.content.clone(), digest(b"never"));
        running.spawn(async move {
            match number {
                0 => content.append(&name(WEB), upload, chunk).await,
                1 => content.finish_upload(&name(WEB), upload, whole, chunk, &ada()).await.map(|()| 0),
                _ => content.push_blob(&name(WEB), whole, chunk, &ada()).await.map(|()| 0),
            }
        });
        // The second fits once the first was taken out.
        for part in ["a body", "that goes on"] {
            body.send(Ok(part.into())).await.unwrap();
        }
        bodies.push(body);
    }
    (bodies, running)
}

async fn a_request_that_runs_ends_with_its_repository(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    let (bodies, mut running) = run_requests(stage).await;
    delete(stage, WEB, Force::No).await.unwrap();
    let ended = async {
        while let Some(answer) = running.join_next().await {
            let answer = answer.unwrap();
            assert!(matches!(answer, Err(content::Error::UploadUnknown)), "{answer:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("no client had to end its body");
    drop(bodies);
    let left = stage.texts("SELECT CAST(received AS TEXT) FROM upload").await;
    assert_eq!(left, ["0"], "the upload that was opened and never written; the others are gone with their requests");
    assert_eq!(sweep(stage).await.uploads, 1);
    restore(stage, WEB, Force::No).await.unwrap();
    stage.is_consistent().await;
}

async fn tags_that_have_to_stay_keep_their_repository(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    image(stage, "acme/other", "v1", "config").await;
    let rules = r#"{"rules":[{"name":"releases","repositories":["acme/web"],"tags":["v*"]}]}"#;
    let rules: Immutable = serde_json::from_str(rules).unwrap();
    lifecycle(stage).set_immutable(name("acme"), rules, "ada".to_owned()).await.unwrap();
    let refused = delete(stage, WEB, Force::No).await.unwrap_err().to_string();
    assert!(refused.contains("the tag v1 in acme/web is immutable by rule \"releases\""), "{refused}");
    assert!(serves(&stage.content, WEB, tag("v1")).await);
    delete(stage, "acme/other", Force::No).await.unwrap();
    delete(stage, WEB, Force::Yes).await.unwrap();
    assert!(!serves(&stage.content, WEB, tag("v1")).await);
}

async fn what_can_come_back_is_listed_a_page_at_a_time(stage: &mut Stage) {
    for repository in ["acme/a", "acme/b", "acme/c", "other/a"] {
        image(stage, repository, "v1", "config").await;
        image(stage, repository, "v2", "another").await;
    }
    let digest = content::fixture::digest_of(&content::fixture::image("config", &[]));
    for repository in ["acme/b", "acme/c", "other/a"] {
        let delete = DeleteManifest {
            repository: name(repository),
            digest,
            condition: None,
            limits: TagLimits::Everything,
            actor: "ada".to_owned(),
            undelete_window: WEEK,
        };
        stage.content.delete_manifest(delete).await.unwrap();
        stage.pass(Duration::from_secs(60));
    }
    delete(stage, "acme/a", Force::No).await.unwrap();
    let (lifecycle, acme) = (lifecycle(stage), name("acme"));
    let told = |one: &Deleted| match one {
        Deleted::Repository(one) => format!("{} by {}", one.name, one.gone.by.as_deref().unwrap()),
        Deleted::Manifest(one) => {
            assert_eq!((one.digest, one.gone.until), (digest, one.gone.at + WEEK));
            format!("{} {:?} by {}", one.repository, one.tags, one.gone.by.as_deref().unwrap())
        }
    };
    let all = ["acme/a by grace", "acme/b [\"v1\"] by ada", "acme/c [\"v1\"] by ada"];
    for limit in 1..=4 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = lifecycle.deleted(&acme, None, after, limit).await.unwrap();
            assert!(page.found.len() <= limit as usize);
            seen.extend(page.found.iter().map(told));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all, "{limit} at a time");
    }
    let one = lifecycle.deleted(&acme, Some(&name("acme/c")), None, 10).await.unwrap();
    assert_eq!(one.found.iter().map(told).collect::<Vec<_>>(), all[2..]);
    stage.pass(WEEK);
    let late = lifecycle.deleted(&acme, None, None, 10).await.unwrap();
    assert_eq!((late.found.len(), late.next), (0, None), "their windows are over");
}

async fn a_list_looks_at_so_many_of_others_at_a_time(stage: &mut Stage) {
    image(stage, "other/web", "v1", "config").await;
    let manifests = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
        INSERT INTO manifest (repository_id, digest, media_type, size, pushed_at, deleted_at, expires_at) \
        SELECT m.repository_id, 'sha256:' || substr('0000000000000000000000000000000000000000000000000000000000' || (100000 + n.i), -64), \
            m.media_type, 0, m.pushed_at, m.pushed_at, m.pushed_at + 86400000000 + n.i / 3 FROM manifest m CROSS JOIN n";
    let manifests = match stage.content.metadata.dialect() {
        Dialect::Sqlite => manifests.to_owned(),
        Dialect::Postgres => manifests.replace(
            "substr('0000000000000000000000000000000000000000000000000000000000' || (100000 + n.i), -64)",
            "lpad((100000 + n.i)::text, 64, '0')",
        ),
    };
    stage.tamper_behind(&manifests).await;
    image(stage, WEB, "v1", "config").await;
    let digest = content::fixture::digest_of(&content::fixture::image("config", &[]));
    let delete = DeleteManifest {
        repository: name(WEB),
        digest,
        condition: None,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: WEEK,
    };
    stage.content.delete_manifest(delete).await.unwrap();
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = lifecycle(stage).deleted(&name("acme"), None, after, 10).await.unwrap();
        pages.push(page.found.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 1], "twelve thousand of somebody else's lie before");
    let mut others = 0;
    loop {
        let page = lifecycle(stage).deleted(&name("other"), None, after, 500).await.unwrap();
        others += page.found.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(others, 12_000, "none is left out where pages end");
}

async fn by_hand_a_deleted_repository_goes_at_once(stage: &mut Stage) {
    use crate::gc::by_hand::{Deleted, Detail, Event, Mode, Order, Untagged};
    image(stage, WEB, "v1", "config").await;
    image(stage, "acme/other", "v1", "config").await;
    stage.push(WEB, "promised").await.unwrap();
    delete(stage, WEB, Force::No).await.unwrap();
    let order = |mode, deleted| Order { mode, deleted, untagged: Untagged::Kept, detail: Detail::Everything };
    let run = async |order| {
        let (events, mut told) = tokio::sync::mpsc::channel(64);
        let collector = collector(stage);
        let totals =
            tokio::spawn(
                async move { collector.collect_by_hand(order, events, &CancellationToken::new()).await.unwrap() },
            );
        let mut whys = Vec::new();
        while let Some(event) = told.recv().await {
            if let Event::Kept { repository: Some(repository), why, .. } = event {
                whys.push(format!("{repository}: {why}"));
            }
        }
        (totals.await.unwrap(), whys)
    };
    let (kept, whys) = run(order(Mode::Collect, Deleted::Kept)).await;
    assert_eq!((kept.manifests, kept.links), (0, 0));
    assert!(whys.iter().any(|why| why.starts_with("acme/web: in its undelete window until")), "{whys:?}");
    let (reported, _) = run(order(Mode::Report, Deleted::Purged)).await;
    let (done, _) = run(order(Mode::Collect, Deleted::Purged)).await;
    for totals in [reported, done] {
        assert_eq!((totals.manifests, totals.links, totals.blobs), (1, 2, 1), "{totals:?}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM repository").await, 1);
    assert_eq!(stage.pull("acme/other", &digest(b"config")).await.unwrap(), "config");
    let gone = restore(stage, WEB, Force::Yes).await;
    assert!(matches!(gone, Err(Error::NotRestorable(_))), "{gone:?}");
    stage.is_consistent().await;
}

async fn bound(stage: &Stage, tags: Option<u64>, repositories: Option<u64>) {
    let change = Change { bytes: None, tags: Some(tags), repositories: Some(repositories) };
    lifecycle(stage).set_quota(name("acme"), change, "root".to_owned()).await.unwrap();
}

fn exceeded(refused: Result<i64, Error>) -> String {
    match refused {
        Err(Error::QuotaExceeded(exceeded)) => exceeded.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn what_comes_back_is_asked_for_the_quota(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    image(stage, WEB, "v2", "config").await;
    delete(stage, WEB, Force::No).await.unwrap();
    image(stage, "acme/api", "v1", "config").await;
    bound(stage, Some(2), Some(2)).await;
    let refused = exceeded(restore(stage, WEB, Force::No).await);
    assert_eq!(refused, "over the quota of namespace acme: it has 1 of 2 tags, and 2 more do not fit");
    assert!(!serves(&stage.content, WEB, tag("v1")).await, "nobody sees any of it");
    bound(stage, Some(3), Some(1)).await;
    let refused = exceeded(restore(stage, WEB, Force::No).await);
    assert_eq!(refused, "over the quota of namespace acme: it has 1 of 1 repositories, and 1 more do not fit");
    bound(stage, Some(3), Some(2)).await;
    restore(stage, WEB, Force::No).await.unwrap();
    // Without an image it counts nowhere.
    stage.push("acme/empty", "blob").await.unwrap_err();
    bound(stage, None, None).await;
    stage.push("acme/empty", "blob").await.unwrap();
    delete(stage, "acme/empty", Force::No).await.unwrap();
    bound(stage, Some(0), Some(0)).await;
    restore(stage, "acme/empty", Force::No).await.unwrap();
    // What makes room by going is not counted against what comes.
    delete(stage, WEB, Force::No).await.unwrap();
    bound(stage, None, None).await;
    image(stage, WEB, "v3", "another").await;
    bound(stage, Some(3), Some(2)).await;
    restore(stage, WEB, Force::Yes).await.unwrap();
    stage.is_consistent().await;
}

async fn of_two_that_come_back_at_once_the_quota_admits_one(stage: &mut Stage) {
    for round in 0..10 {
        let both = [format!("acme/a{round}"), format!("acme/b{round}")];
        for repository in &both {
            image(stage, repository, "v1", "config").await;
            delete(stage, repository, Force::No).await.unwrap();
        }
        bound(stage, None, Some(1)).await;
        let [first, second] = &both;
        let came = tokio::join!(restore(stage, first, Force::No), restore(stage, second, Force::No));
        assert!(came.0.is_ok() != came.1.is_ok(), "{came:?}");
        bound(stage, None, None).await;
        for repository in both {
            let _ = delete(stage, &repository, Force::No).await;
        }
    }
}

async fn a_large_purge_gives_others_their_turn_and_can_be_stopped(stage: &mut Stage) {
    image(stage, WEB, "v1", "config").await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) \
                INSERT INTO tag_history (repository_id, name, version, digest, at, actor) \
                SELECT h.repository_id, h.name, n.i, h.digest, h.at, h.actor FROM tag_history h CROSS JOIN n";
    stage.tamper(many).await;
    let left = "SELECT count(*) FROM tag_history";
    delete(stage, WEB, Force::No).await.unwrap();
    stage.pass(WEEK + Duration::from_secs(1));
    let stop = CancellationToken::new();
    stop.cancel();
    collector(stage).sweep(&stop).await.unwrap();
    assert_eq!(stage.count(left).await, 150_000, "one that is told to stop begins nothing");
    let (mut swept, mut rows) = (sweep(stage).await, 150_000);
    assert!(swept.halfway, "{swept:?}");
    while swept.halfway {
        assert_eq!(swept.repositories, 0, "{swept:?}");
        let now = stage.count(left).await;
        assert!(now < rows, "each sweep goes on where the last one was: {now}");
        rows = now;
        swept = sweep(stage).await;
    }
    assert_eq!((swept.repositories, stage.count(left).await), (1, 0));
    stage.is_consistent().await;
}
