//! Stories of bytes whose database is lost.

use std::{fs, sync::Arc, time::Duration};

use shared::digest::{Algorithm, Digest};
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, ada, chunk, digest, name, on_both};
use crate::{
    content::fixture::{image, push, tag},
    gc::{
        Collector, Error, Settings,
        reindex::{Became, Event, Holding, Reindexed, reindex},
    },
    metadata::links::PROMISE_LIFE,
    store::{StorageKey, Store},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

on_both! {
    found_bytes_are_held_until_somebody_pushes_them_or_their_time_is_over
    what_a_damaged_blob_is_waiting_for_heals_it
    what_a_row_misses_is_not_put_aside
    what_was_pushed_by_another_digest_comes_back_under_it
    what_cannot_be_read_lies_where_it_lay
    a_quota_that_is_too_small_is_said
}

/// Bytes under a key that no row knows.
async fn find(stage: &Stage, content: &'static str) -> StorageKey {
    let key = StorageKey::fresh();
    stage.store.put(&key, content.into()).await.unwrap();
    key
}

async fn index(stage: &Stage) -> Result<(Reindexed, Vec<Event>), Error> {
    index_by(Algorithm::Sha256, stage).await
}

async fn index_by(algorithm: Algorithm, stage: &Stage) -> Result<(Reindexed, Vec<Event>), Error> {
    let holding = Holding { algorithm, repository: "reindexed/blobs".parse().unwrap(), life: 30 * DAY };
    let mut events = Vec::new();
    let mut tell = |event| events.push(event);
    let reindexed = reindex(&stage.content.metadata, &stage.store, &stage.clock, &holding, &mut tell).await?;
    assert_eq!(events.pop(), Some(Event::Done(reindexed)));
    Ok((reindexed, events))
}

/// Everything that has expired goes, and its bytes with it.
async fn collect(stage: &Stage) {
    let store = Arc::new(stage.store.clone());
    let settings = Settings { trash_wait: Duration::ZERO, ..Settings::default() };
    let collector = Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), settings);
    collector.sweep(&CancellationToken::new()).await.unwrap();
}

async fn found_bytes_are_held_until_somebody_pushes_them_or_their_time_is_over(stage: &mut Stage) {
    let kept = find(stage, "kept").await;
    let nobodys = find(stage, "nobody's").await;
    let (reindexed, events) = index(stage).await.unwrap();
    assert_eq!(reindexed, Reindexed { blobs: 2, bytes: 12, ..Reindexed::default() });
    let (key, size) = (kept.to_string(), 4);
    let told = Event::Indexed { key, digest: digest(b"kept").to_string(), size, became: Became::Blob };
    assert!(events.contains(&told), "{events:?}");
    assert_eq!(index(stage).await.unwrap().0, Reindexed::default(), "they have rows now");
    stage.is_consistent().await;
    assert_eq!(stage.pull("reindexed/blobs", &digest(b"kept")).await.unwrap(), "kept");
    assert!(!stage.holds("acme/web", &digest(b"kept")).await, "whose it was nobody knows");

    // Somebody pushes to the holder itself: what was promised there for longer stays so, and is no fault.
    stage.push("reindexed/blobs", "kept").await.unwrap();
    stage.push("acme/web", "kept").await.unwrap();
    stage.content.put_manifest(push("acme/web", tag("v1"), &image("kept", &[]))).await.unwrap();
    stage.is_consistent().await;
    stage.pass(PROMISE_LIFE + DAY);
    collect(stage).await;
    assert_eq!(stage.pull("reindexed/blobs", &digest(b"nobody's")).await.unwrap(), "nobody's");
    stage.pass(29 * DAY);
    collect(stage).await;
    assert_eq!(stage.store.size(&nobodys).await.unwrap(), None, "nobody has come for it");
    assert_eq!(stage.store.size(&kept).await.unwrap(), Some(4), "the push stored nothing twice");
    assert!(!stage.holds("reindexed/blobs", &digest(b"kept")).await);
    assert_eq!(stage.pull("acme/web", &digest(b"kept")).await.unwrap(), "kept");
    stage.is_consistent().await;
}

async fn what_a_damaged_blob_is_waiting_for_heals_it(stage: &mut Stage) {
    stage.push("acme/web", "lost").await.unwrap();
    stage.push("acme/web", "sound").await.unwrap();
    fs::remove_file(stage.file("SELECT storage_key FROM blob WHERE size = 4").await).unwrap();
    stage.doctor().findings(crate::gc::doctor::Depth::Deep).await.unwrap();
    assert!(!stage.holds("acme/web", &digest(b"lost")).await);
    let lost = find(stage, "lost").await;
    let again = find(stage, "sound").await;
    let (reindexed, _) = index(stage).await.unwrap();
    assert_eq!(reindexed, Reindexed { healed: 1, surplus: 1, ..Reindexed::default() });
    assert_eq!(stage.pull("acme/web", &digest(b"lost")).await.unwrap(), "lost");
    assert_eq!(stage.texts("SELECT storage_key FROM blob WHERE size = 4").await, [lost.as_str()]);
    let quarantine = stage.root().join("quarantine");
    assert_eq!(fs::read(quarantine.join(again.as_str())).unwrap(), b"sound");
    let list = fs::read_to_string(quarantine.join("LIST")).unwrap();
    assert!(list.lines().any(|line| line.ends_with(&written(&again, &digest(b"sound")))), "{list}");
    stage.is_consistent().await;
}

/// The end of a line about five bytes.
fn written(key: &StorageKey, digest: &Digest) -> String {
    format!(" {key} 5 {digest}")
}

async fn what_a_row_misses_is_not_put_aside(stage: &mut Stage) {
    let digest = stage.push("acme/web", "the only copy").await.unwrap();
    stage.push("acme/web", "another blob").await.unwrap();
    // Nobody has read it since: its row still says that it is there.
    let row = "SELECT storage_key FROM blob WHERE size = 13";
    std::fs::remove_file(stage.file(row).await).unwrap();
    let found = find(stage, "the only copy").await;
    let (reindexed, _) = index(stage).await.unwrap();
    assert_eq!(reindexed, Reindexed { healed: 1, ..Reindexed::default() });
    assert_eq!(stage.store.size(&found).await.unwrap(), Some(13));
    assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "the only copy");
    // With bytes under both keys the row is right, and the others are surplus.
    let surplus = find(stage, "the only copy").await;
    let (reindexed, _) = index(stage).await.unwrap();
    assert_eq!(reindexed, Reindexed { surplus: 1, ..Reindexed::default() });
    assert_eq!(stage.store.size(&surplus).await.unwrap(), None);
}

/// The same bytes may be two blobs, by two digests: each has its own file.
async fn what_was_pushed_by_another_digest_comes_back_under_it(stage: &mut Stage) {
    let long = |content: &str| Digest::of(Algorithm::Sha512, content.as_bytes());
    let push = async |content: &'static str, digest| {
        stage.content.push_blob(&name("acme/web"), digest, chunk(content), &ada()).await.unwrap();
    };
    push("lost", long("lost")).await;
    push("twice", long("twice")).await;
    push("twice", digest(b"twice")).await;
    for row in ["size = 4", "digest LIKE 'sha256:%'"] {
        let select = format!("SELECT storage_key FROM blob WHERE {row}");
        fs::remove_file(stage.file(select.leak()).await).unwrap();
    }
    // One lies elsewhere, one is the only copy of a blob that has another one's bytes, and one is surplus to both.
    for content in ["lost", "twice"] {
        find(stage, content).await;
    }
    assert_eq!(index(stage).await.unwrap().0, Reindexed { healed: 2, ..Reindexed::default() });
    find(stage, "twice").await;
    assert_eq!(index(stage).await.unwrap().0, Reindexed { surplus: 1, ..Reindexed::default() });
    for (content, digest) in [("lost", long("lost")), ("twice", long("twice")), ("twice", digest(b"twice"))] {
        assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), content, "{digest}");
    }
    stage.is_consistent().await;

    // Without a row no file tells by which digest it was pushed; whoever looks after the registry knows.
    find(stage, "nobody's").await;
    let (reindexed, events) = index_by(Algorithm::Sha512, stage).await.unwrap();
    assert_eq!(reindexed.blobs, 1, "{events:?}");
    assert_eq!(stage.pull("reindexed/blobs", &long("nobody's")).await.unwrap(), "nobody's");
    push("nobody's", long("nobody's")).await;
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 3, "the push stored nothing twice");
    stage.is_consistent().await;
}

async fn what_cannot_be_read_lies_where_it_lay(stage: &mut Stage) {
    let directory = stage.root().join("blobs/ab/a-directory");
    fs::create_dir(&directory).unwrap();
    find(stage, "a blob").await;
    let (reindexed, events) = index(stage).await.unwrap();
    assert_eq!((reindexed.blobs, reindexed.unreadable), (1, 1));
    assert!(events.contains(&Event::Unreadable { key: "blobs/ab/a-directory".to_owned() }), "{events:?}");
    assert!(directory.exists());
}

async fn a_quota_that_is_too_small_is_said(stage: &mut Stage) {
    find(stage, "three").await;
    stage.tamper("INSERT INTO namespace (name, quota) VALUES ('reindexed', 4)").await;
    stage.tamper("INSERT INTO usage (namespace_id) SELECT id FROM namespace").await;
    let error = index(stage).await.unwrap_err();
    assert!(matches!(error, Error::DoesNotFit(_)), "{error}");
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 0);
    stage.tamper("UPDATE namespace SET quota = 5").await;
    assert_eq!(index(stage).await.unwrap().0.blobs, 1);
    stage.is_consistent().await;
}
