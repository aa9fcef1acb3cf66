//! Stories of collecting by hand: what was deleted is freed at once, what is being pushed is not, and everything that stays says why.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use shared::{digest::Digest, reference::Reference};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, ada, chunk, name, on_both, pusher};
use crate::{
    content::{
        Error, Promise, Pusher, TagLimits,
        fixture::{index, push as manifest_push, tag},
        manifests::DeleteManifest,
        tags::DeleteTag,
        uploads::UPLOAD_LIFE,
    },
    gc::{
        self, Collector, Settings,
        by_hand::{Deleted, Detail, Event, Mode, Order, Totals, Untagged},
    },
    metadata::{links::PROMISE_LIFE, manifests::MANIFEST_GRACE, uploads::UploadId},
    store::Store,
};

on_both! {
    an_empty_registry_has_nothing_to_collect
    what_was_deleted_is_freed_at_once
    bytes_that_stay_keep_nothing_else
    what_is_being_pushed_stays
    anothers_promise_outlives_my_manifest
    deleted_manifests_stay_where_that_was_asked_for
    untagged_manifests_go_when_asked_and_their_grace_has_passed
    everything_that_stays_says_why
    a_report_says_what_collecting_does_and_changes_nothing
    uploads_and_trash_are_told_with_the_rest
    a_blob_of_two_repositories_goes_with_the_last
    nobody_listening_ends_a_run_that_the_next_one_finishes
}

const MINUTE: Duration = Duration::from_secs(60);
const EVERYTHING: Order =
    Order { mode: Mode::Collect, deleted: Deleted::Purged, untagged: Untagged::Kept, detail: Detail::Everything };

fn collector(stage: &Stage) -> Collector {
    let store = Arc::new(stage.store.clone());
    Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default())
}

async fn collect(stage: &Stage, order: Order) -> (Totals, Vec<Value>) {
    let (events, mut told) = mpsc::channel(8);
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(event) = told.recv().await {
            heard.push(serde_json::to_value::<Event>(event).unwrap());
        }
        heard
    });
    let totals = collector(stage).collect_by_hand(order, events, &CancellationToken::new()).await.unwrap();
    (totals, heard.await.unwrap())
}

/// An image of one blob under a tag, by this pusher.
async fn image(stage: &Stage, repository: &str, tagged: &str, layer: &str, by: &Pusher) -> Digest {
    let content = &stage.content;
    let digest = super::stage::digest(layer.as_bytes());
    content.push_blob(&name(repository), digest, chunk(layer.to_owned()), by).await.unwrap();
    let image = crate::content::fixture::image(layer, &[]);
    let put = manifest_push(repository, tag(tagged), &image);
    content.put_manifest(crate::content::manifests::PutManifest { pusher: by.clone(), ..put }).await.unwrap().digest
}

async fn delete(stage: &Stage, repository: &str, digest: Digest, window: Duration) {
    let delete = DeleteManifest {
        repository: name(repository),
        digest,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: window,
        condition: None,
    };
    stage.content.delete_manifest(delete).await.unwrap();
}

async fn untag(stage: &Stage, repository: &str, tagged: &str) {
    let limits = TagLimits::Everything;
    let delete =
        DeleteTag { repository: name(repository), tag: tag(tagged), limits, actor: "ada".to_owned(), condition: None };
    stage.content.delete_tag(delete).await.unwrap();
}

async fn files(stage: &Stage) -> usize {
    stage.store.list(None, 10_000).await.unwrap().len()
}

async fn serves(stage: &Stage, repository: &str, digest: Digest) -> bool {
    match stage.content.manifest(&name(repository), &Reference::Digest(digest), Promise::Nothing).await {
        Ok(_) => true,
        Err(Error::ManifestUnknown { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Why things stay, a line each, in the order of the survey.
fn whys(events: &[Value]) -> Vec<String> {
    let kept = events.iter().filter(|event| event["event"] == "kept");
    kept.map(|event| format!("{}: {}", event["kind"].as_str().unwrap(), event["why"].as_str().unwrap())).collect()
}

async fn an_empty_registry_has_nothing_to_collect(stage: &mut Stage) {
    let (totals, events) = collect(stage, EVERYTHING).await;
    assert_eq!(totals, Totals::default());
    let last = events.last().unwrap();
    assert_eq!((events.len(), &last["event"], &last["bytes"]), (2, &json!("done"), &json!(0)));
}

async fn what_was_deleted_is_freed_at_once(stage: &mut Stage) {
    let deleted = image(stage, "acme/web", "pr-1", "old layer", &ada()).await;
    image(stage, "acme/web", "v1", "new layer", &ada()).await;
    delete(stage, "acme/web", deleted, 7 * 24 * 60 * MINUTE).await;
    let (totals, _) = collect(stage, EVERYTHING).await;
    assert_eq!((totals.manifests, totals.links, totals.blobs, totals.files), (1, 1, 1, 1));
    assert_eq!((totals.bytes, files(stage).await), ("old layer".len() as u64, 1), "no trash waits");
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 0);
    stage.is_consistent().await;
    assert_eq!(collect(stage, EVERYTHING).await.0, Totals::default());
}

async fn bytes_that_stay_keep_nothing_else(stage: &mut Stage) {
    let deleted = image(stage, "acme/web", "v1", "layer", &ada()).await;
    stage.push("acme/web", "layer").await.unwrap();
    let stuck = stage.file("SELECT storage_key FROM trash").await;
    std::fs::remove_file(&stuck).unwrap();
    // Something that no deletion of a file removes, as a damaged directory would be.
    std::fs::create_dir(&stuck).unwrap();
    delete(stage, "acme/web", deleted, MINUTE).await;
    stage.tamper("UPDATE link SET leased_until = 1").await;
    let (totals, _) = collect(stage, EVERYTHING).await;
    assert_eq!((totals.manifests, totals.blobs, totals.files), (1, 1, 1));
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 1, "the one that stays is still known");
}

async fn what_is_being_pushed_stays(stage: &mut Stage) {
    let pushed = stage.push("acme/web", "pushed, and named by nothing yet").await.unwrap();
    let upload = stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.content.append(&name("acme/web"), upload, chunk("half")).await.unwrap();
    stage.pass(PROMISE_LIFE - MINUTE);
    let (totals, events) = collect(stage, EVERYTHING).await;
    assert_eq!(totals, Totals::default());
    assert!(whys(&events)[0].starts_with("blob: promised to a push until 20"), "{events:?}");
    assert!(stage.holds("acme/web", &pushed).await);
    assert_eq!(stage.content.append(&name("acme/web"), upload, chunk(" and half")).await.unwrap(), 13);
}

/// The holder of a promise ends it with its own manifest only; so a collection by hand cannot take what another was told.
async fn anothers_promise_outlives_my_manifest(stage: &mut Stage) {
    let mine = image(stage, "acme/web", "mine", "shared layer", &ada()).await;
    let shared = super::stage::digest(b"shared layer");
    let bob = pusher("bob");
    stage.content.stat_blob(&name("acme/web"), &shared, Promise::To(&bob)).await.unwrap();
    delete(stage, "acme/web", mine, Duration::ZERO).await;
    let (totals, _) = collect(stage, EVERYTHING).await;
    assert_eq!(totals.blobs, 0, "bob was told that it is here");
    image(stage, "acme/web", "bobs", "shared layer", &bob).await;
    stage.is_consistent().await;
}

async fn deleted_manifests_stay_where_that_was_asked_for(stage: &mut Stage) {
    let deleted = image(stage, "acme/web", "v1", "layer", &ada()).await;
    delete(stage, "acme/web", deleted, 60 * MINUTE).await;
    let keeping = Order { deleted: Deleted::Kept, ..EVERYTHING };
    let (totals, events) = collect(stage, keeping).await;
    assert_eq!(totals, Totals::default());
    let whys = whys(&events);
    assert!(whys[0].starts_with("manifest: in its undelete window until 20"), "{whys:?}");
    assert_eq!(whys[1], format!("blob: named by {deleted}"));
    stage.pass(61 * MINUTE);
    assert_eq!(collect(stage, keeping).await.0.blobs, 1, "its window has passed");
}

async fn untagged_manifests_go_when_asked_and_their_grace_has_passed(stage: &mut Stage) {
    let untagged = image(stage, "acme/web", "v1", "layer", &ada()).await;
    assert!(serves(stage, "acme/web", untagged).await, "and it is remembered");
    untag(stage, "acme/web", "v1").await;
    let too = Order { untagged: Untagged::Purged, ..EVERYTHING };
    let (totals, events) = collect(stage, too).await;
    assert_eq!(totals, Totals::default());
    assert!(whys(&events)[0].starts_with("manifest: untagged, in its grace until 20"), "{events:?}");
    stage.pass(MANIFEST_GRACE + MINUTE);
    let (totals, events) = collect(stage, EVERYTHING).await;
    assert_eq!(totals, Totals::default(), "people pull by digest");
    assert!(whys(&events)[0].contains("--delete-untagged"), "{events:?}");
    let (totals, events) = collect(stage, too).await;
    assert_eq!((totals.manifests, totals.blobs, files(stage).await), (1, 1, 0));
    assert!(events.contains(&json!({"event": "marked", "kept": 0, "blobs": 1, "manifests": 1})), "{events:?}");
    assert!(!serves(stage, "acme/web", untagged).await, "memory has forgotten it too");
    let told = stage.count("SELECT count(*) FROM event WHERE kind = 'manifest_deleted' AND body LIKE '%collector%'");
    assert_eq!(told.await, 1);
    stage.is_consistent().await;
}

async fn everything_that_stays_says_why(stage: &mut Stage) {
    let content = &stage.content;
    stage.push("acme/web", "config").await.unwrap();
    let child = crate::content::fixture::image("config", &[]);
    let put = async |reference: Reference, manifest: &Value| {
        content.put_manifest(manifest_push("acme/web", reference, manifest)).await.unwrap().digest
    };
    let child_digest = put(crate::content::fixture::digest_of(&child).into(), &child).await;
    let parent = put(tag("latest").into(), &index(&[&child])).await;
    put(tag("v1").into(), &index(&[&child])).await;
    let mut signature = crate::content::fixture::image("config", &[]);
    let size = child.to_string().len();
    signature["subject"] = json!({"mediaType": child["mediaType"], "digest": child_digest, "size": size});
    put(crate::content::fixture::digest_of(&signature).into(), &signature).await;
    let (totals, events) = collect(stage, EVERYTHING).await;
    assert_eq!(totals, Totals::default());
    let mut whys = whys(&events);
    whys.sort();
    let mut expected = vec![
        format!("manifest: about {child_digest}"),
        format!("manifest: child of {parent}"),
        "manifest: tag latest in acme/web, and 1 more".to_owned(),
    ];
    expected.sort();
    assert_eq!(whys[1..], expected);
    assert!(whys[0].starts_with("blob: named by sha256:"), "{whys:?}");
    let swept = events.iter().find(|event| event["event"] == "swept").unwrap();
    let held = stage.count("SELECT CAST(sum(used) AS BIGINT) FROM usage").await;
    assert_eq!((&swept["bytes"], &swept["freed"]), (&json!(held), &json!(0)));
}

async fn a_report_says_what_collecting_does_and_changes_nothing(stage: &mut Stage) {
    for number in 0..3 {
        let deleted = image(stage, "acme/web", "pr", &format!("layer {number}"), &ada()).await;
        delete(stage, "acme/web", deleted, 60 * MINUTE).await;
    }
    image(stage, "acme/web", "v1", "layer 0", &ada()).await;
    image(stage, "other/app", "v1", "layer 1", &ada()).await;
    stage.push("acme/web", "twice").await.unwrap();
    stage.push("acme/web", "twice").await.unwrap();
    let (before, lying) = ((stage.rows().await, stage.bytes()), files(stage).await);
    let (reported, foretold) = collect(stage, Order { mode: Mode::Report, ..EVERYTHING }).await;
    assert!((stage.rows().await, stage.bytes()) == before, "a row or a byte is another");
    let (collected, told) = collect(stage, EVERYTHING).await;
    assert!(reported.dry_run && !collected.dry_run);
    assert_eq!(Totals { dry_run: false, ..reported }, collected);
    assert_eq!(foretold[..foretold.len() - 1], told[..told.len() - 1]);
    assert_eq!((collected.manifests, collected.links, collected.blobs), (2, 2, 1));
    assert_eq!(collected.files, (lying - files(stage).await) as u64, "surplus uploads too");
    stage.is_consistent().await;
}

async fn uploads_and_trash_are_told_with_the_rest(stage: &mut Stage) {
    let content = &stage.content;
    let begin = async |repository: &str, half: &'static str| {
        let upload = content.start_upload(&name(repository), None, &ada()).await.unwrap();
        content.append(&name(repository), upload, chunk(half)).await.unwrap();
        upload
    };
    let (abandoned, busy) = (begin("acme/web", "nobody comes back").await, begin("acme/web", "slow").await);
    stage.pass(UPLOAD_LIFE + MINUTE);
    let (goes_on, with_its_repository) = (begin("acme/web", "half").await, begin("acme/old", "as well").await);
    stage.tamper("UPDATE repository SET deleted_at = 1, expires_at = 2 WHERE name = 'acme/old'").await;
    for _ in 0..2 {
        stage.push("acme/web", "twice").await.unwrap();
    }
    stage.tamper("INSERT INTO trash (storage_key, store, since) VALUES ('far/away', 'elsewhere', 1)").await;
    let writing = stage.content.metadata.writers().enter(busy).await.unwrap();
    let (reported, foretold) = collect(stage, Order { mode: Mode::Report, ..EVERYTHING }).await;
    let of = |event: &Value| event["upload"].as_str().map(str::to_owned);
    let gone: BTreeSet<_> = foretold.iter().filter(|event| event["event"] == "upload").filter_map(of).collect();
    assert_eq!(gone, [abandoned, with_its_repository].map(|id| id.to_string()).into());
    let why = |id: UploadId| {
        let kept = foretold.iter().find(|event| event["event"] == "kept" && of(event) == Some(id.to_string()));
        kept.unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert!(why(goes_on).starts_with("unfinished: its client may go on until 20"), "{}", why(goes_on));
    assert_eq!(why(busy), "its time is over, and a request writes it");
    let files: Vec<_> = foretold.iter().filter(|event| event["event"] == "file").map(|file| &file["size"]).collect();
    assert_eq!(files, [&json!(5)], "the surplus copy");
    let far = json!({"event": "kept", "kind": "file", "key": "far/away", "size": 0, "why": "in the store elsewhere, which this registry does not use"});
    assert!(foretold.contains(&far), "{foretold:?}");
    let (collected, told) = collect(stage, EVERYTHING).await;
    assert_eq!(Totals { dry_run: false, ..reported }, collected);
    assert_eq!(foretold[..foretold.len() - 1], told[..told.len() - 1]);
    assert_eq!(
        (collected.files, collected.bytes),
        (3, ("nobody comes back".len() + "as well".len() + "twice".len()) as u64)
    );
    drop(writing);
    assert_eq!(collect(stage, EVERYTHING).await.0.files, 1, "nobody writes it any more");
    stage.tamper("DELETE FROM trash").await;
    stage.is_consistent().await;
}

async fn a_blob_of_two_repositories_goes_with_the_last(stage: &mut Stage) {
    for repository in ["acme/web", "other/app"] {
        let deleted = image(stage, repository, "v1", "shared", &ada()).await;
        delete(stage, repository, deleted, Duration::ZERO).await;
    }
    let (totals, events) = collect(stage, EVERYTHING).await;
    assert_eq!(
        (totals.links, totals.blobs, totals.bytes),
        (2, 1, 12),
        "the surplus upload of the second push lay in the trash"
    );
    let marked = events.iter().find(|event| event["event"] == "marked").unwrap();
    assert_eq!(marked["blobs"], 1, "it is counted where it goes");
    stage.is_consistent().await;
}

async fn nobody_listening_ends_a_run_that_the_next_one_finishes(stage: &mut Stage) {
    let deleted = image(stage, "acme/web", "v1", "layer", &ada()).await;
    delete(stage, "acme/web", deleted, Duration::ZERO).await;
    let (events, told) = mpsc::channel(1);
    drop(told);
    let ended = collector(stage).collect_by_hand(EVERYTHING, events, &CancellationToken::new()).await;
    assert!(matches!(ended, Err(gc::Error::Stopped)), "{ended:?}");
    assert_eq!(collect(stage, EVERYTHING).await.0.blobs, 1);
    stage.is_consistent().await;
}
