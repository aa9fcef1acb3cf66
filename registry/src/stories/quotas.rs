//! Stories of namespaces that may have so much and no more.

mod counted;
mod crowds;
mod walk;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shared::digest::Digest;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::stage::{Stage, ada, chunk, cut, digest, name, on_both, slow};
use crate::{
    content::{
        Error, TagLimits,
        fixture::{descriptor, image, push, tag},
        mount::Mounted,
        uploads::{Chunk, UPLOAD_LIFE, UploadId},
    },
    gc::{Collector, Settings},
    metadata::quotas::{self, Change, Exceeded, Measure, SetQuota},
};

on_both! {
    a_namespace_without_a_quota_reserves_nothing
    a_blob_over_the_quota_is_refused_and_leaves_nothing
    a_whole_blob_reserves_its_length_at_once
    an_upload_reserves_in_steps_and_keeps_what_has_arrived
    close_to_the_quota_steps_are_small
    a_chunk_over_the_quota_ends_the_upload
    an_upload_into_a_full_namespace_does_not_begin
    a_mount_counts_what_is_new_to_the_namespace
    bytes_that_the_namespace_has_count_once
    whatever_ends_an_upload_gives_back_what_it_reserved
    a_lost_process_leaves_nothing_reserved
    a_quota_that_comes_while_an_upload_runs_is_kept
    a_quota_that_goes_while_an_upload_runs_lets_it_through
    lowering_a_quota_refuses_new_pushes_alone
    a_manifest_counts_its_payload
    collecting_makes_room
    every_change_of_a_quota_is_an_event
    those_who_watch_are_told_of_the_fullest
}

/// Everything that may be set, at nothing.
const UNCHANGED: Change = Change { bytes: None, tags: None, repositories: None };

/// Sets what the namespace `acme` may have.
async fn set(stage: &Stage, change: Change) {
    let set = SetQuota { namespace: name("acme"), change, actor: "root".to_owned() };
    stage.content.metadata.write(set).await.unwrap();
}

async fn set_bytes(stage: &Stage, bytes: u64) {
    set(stage, Change { bytes: Some(Some(bytes)), ..UNCHANGED }).await;
}

async fn used(stage: &Stage) -> i64 {
    stage.count("SELECT used FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE n.name = 'acme'").await
}

async fn reserved(stage: &Stage) -> i64 {
    stage.count("SELECT reserved FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE n.name = 'acme'").await
}

/// Waits for a request that runs beside the test to reserve so much.
async fn until_reserved(stage: &Stage, bytes: i64) {
    let soon = timeout(Duration::from_secs(30), async {
        while reserved(stage).await != bytes {
            sleep(Duration::from_millis(5)).await;
        }
    });
    if soon.await.is_err() {
        panic!("{} bytes are reserved, not {bytes}", reserved(stage).await);
    }
}

async fn uploads(stage: &Stage) -> i64 {
    stage.count("SELECT count(*) FROM upload").await
}

/// What a refusal says.
fn exceeded<T: std::fmt::Debug>(refused: Result<T, Error>) -> Exceeded {
    match refused {
        Err(Error::QuotaExceeded(exceeded)) => exceeded,
        other => panic!("{other:?}"),
    }
}

/// A refusal of bytes as it should read.
fn bytes_over(quota: u64, used: u64, reserved: u64, asked: u64) -> Exceeded {
    Exceeded { namespace: "acme".to_owned(), of: Measure::Bytes, quota, used, reserved, asked }
}

async fn start(stage: &Stage, repository: &str) -> Result<UploadId, Error> {
    stage.content.start_upload(&name(repository), None, &ada()).await
}

async fn finish(stage: &Stage, id: UploadId, digest: Digest) -> Result<(), Error> {
    stage.content.finish_upload(&name("acme/web"), id, digest, Chunk::empty(), &ada()).await
}

fn of_length(content: &'static str) -> Chunk {
    Chunk { length: Some(content.len() as u64), ..chunk(content) }
}

async fn a_namespace_without_a_quota_reserves_nothing(stage: &mut Stage) {
    stage.push("acme/web", "some bytes").await.unwrap();
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("more bytes")).await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (10, 0));
    assert_eq!(stage.count("SELECT reserved FROM upload").await, 0);
    stage.is_consistent().await;
}

async fn a_blob_over_the_quota_is_refused_and_leaves_nothing(stage: &mut Stage) {
    set_bytes(stage, 10).await;
    stage.push("acme/web", "12345").await.unwrap();
    assert_eq!(exceeded(stage.push("acme/web", "abcdef").await), bytes_over(10, 5, 0, 6));
    stage.push("acme/api", "abcde").await.unwrap();
    stage.push("other/web", "abcdef").await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await, uploads(stage).await), (10, 0, 0));
    stage.is_consistent().await;
}

async fn a_whole_blob_reserves_its_length_at_once(stage: &mut Stage) {
    set_bytes(stage, 10).await;
    let (sender, body) = slow();
    let (content, whole) = (stage.content.clone(), Chunk { length: Some(8), ..body });
    let first =
        tokio::spawn(async move { content.push_blob(&name("acme/web"), digest(b"12345678"), whole, &ada()).await });
    until_reserved(stage, 8).await;
    let beside = stage.content.push_blob(&name("acme/api"), digest(b"abc"), of_length("abc"), &ada()).await;
    assert_eq!(exceeded(beside), bytes_over(10, 0, 8, 3));
    stage.push("acme/api", "ab").await.unwrap();
    sender.send(Ok(Bytes::from("12345678"))).await.unwrap();
    drop(sender);
    first.await.unwrap().unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (10, 0));
    stage.is_consistent().await;
}

async fn an_upload_reserves_in_steps_and_keeps_what_has_arrived(stage: &mut Stage) {
    const STEP: i64 = 64 << 20;
    set_bytes(stage, 10 << 30).await;
    let id = start(stage, "acme/web").await.unwrap();
    assert_eq!(reserved(stage).await, 0, "one that has not begun to send keeps nobody out");
    let (sender, body) = slow();
    let content = stage.content.clone();
    let appended = tokio::spawn(async move { content.append(&name("acme/web"), id, body).await });
    sender.send(Ok(Bytes::from("12345"))).await.unwrap();
    until_reserved(stage, STEP).await;
    drop(sender);
    assert_eq!(appended.await.unwrap().unwrap(), 5);
    assert_eq!(reserved(stage).await, 5, "what has arrived lies on the disk; the rest is anybody's again");
    stage.is_consistent().await;
    finish(stage, id, digest(b"12345")).await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (5, 0));
    stage.is_consistent().await;
}

async fn close_to_the_quota_steps_are_small(stage: &mut Stage) {
    set_bytes(stage, 1600).await;
    let mut running = Vec::new();
    for number in 0..8 {
        let id = start(stage, "acme/web").await.unwrap();
        let before = reserved(stage).await;
        let (sender, body) = slow();
        let content = stage.content.clone();
        let appended = tokio::spawn(async move { content.append(&name("acme/web"), id, body).await });
        sender.send(Ok(Bytes::from("12345"))).await.unwrap();
        until_reserved(stage, before + (1600 - before) / 16).await;
        running.push((number, sender, appended));
    }
    for (number, sender, appended) in running {
        drop(sender);
        assert_eq!(appended.await.unwrap().unwrap(), 5, "{number}");
    }
    assert_eq!(reserved(stage).await, 40);
    stage.is_consistent().await;
}

async fn a_chunk_over_the_quota_ends_the_upload(stage: &mut Stage) {
    set_bytes(stage, 10).await;
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("123456")).await.unwrap();
    let refused = stage.content.append(&name("acme/web"), id, chunk("78901")).await;
    assert_eq!(exceeded(refused), bytes_over(10, 0, 6, 5));
    assert_eq!((reserved(stage).await, uploads(stage).await), (0, 0), "whoever was refused seldom comes back");
    let gone = stage.content.append(&name("acme/web"), id, chunk("7")).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)), "{gone:?}");

    let id = start(stage, "acme/web").await.unwrap();
    let refused = stage.content.append(&name("acme/web"), id, of_length("12345678901")).await;
    assert_eq!(exceeded(refused), bytes_over(10, 0, 0, 11));
    let id = start(stage, "acme/web").await.unwrap();
    let (content, last) = (&stage.content, chunk("12345678901"));
    let refused = content.finish_upload(&name("acme/web"), id, digest(b"12345678901"), last, &ada()).await;
    assert_eq!(exceeded(refused), bytes_over(10, 0, 0, 11));
    assert_eq!((used(stage).await, reserved(stage).await, uploads(stage).await), (0, 0, 0));
    stage.is_consistent().await;
}

async fn an_upload_into_a_full_namespace_does_not_begin(stage: &mut Stage) {
    set_bytes(stage, 5).await;
    let held = stage.push("acme/web", "12345").await.unwrap();
    assert_eq!(exceeded(start(stage, "acme/web").await), bytes_over(5, 5, 0, 0));
    assert_eq!(exceeded(start(stage, "acme/new").await), bytes_over(5, 5, 0, 0));
    assert_eq!(stage.count("SELECT count(*) FROM repository").await, 1, "a refused push makes no repository");
    // What is there is pulled as ever.
    assert_eq!(stage.pull("acme/web", &held).await.unwrap(), "12345");
    set_bytes(stage, 0).await;
    assert_eq!(exceeded(start(stage, "acme/web").await), bytes_over(0, 5, 0, 0));
    stage.is_consistent().await;
}

async fn a_mount_counts_what_is_new_to_the_namespace(stage: &mut Stage) {
    set_bytes(stage, 8).await;
    let [inside, outside] = [stage.push("acme/web", "12345").await, stage.push("other/web", "abcd").await];
    let (inside, outside) = (inside.unwrap(), outside.unwrap());
    let (api, content) = (name("acme/api"), &stage.content);
    let refused = content.mount(&api, &name("other/web"), &outside, &ada()).await;
    assert_eq!(exceeded(refused), bytes_over(8, 5, 0, 4));
    set_bytes(stage, 5).await;
    let mounted = content.mount(&api, &name("acme/web"), &inside, &ada()).await.unwrap();
    assert_eq!((mounted, used(stage).await), (Mounted::Linked, 5), "a full namespace shares what it has");
    set_bytes(stage, 9).await;
    assert_eq!(content.mount(&api, &name("other/web"), &outside, &ada()).await.unwrap(), Mounted::Linked);
    assert_eq!(used(stage).await, 9);
    stage.is_consistent().await;
}

async fn bytes_that_the_namespace_has_count_once(stage: &mut Stage) {
    set_bytes(stage, 10).await;
    stage.push("acme/web", "12345").await.unwrap();
    // While they come nobody knows what they are: there has to be room for them.
    stage.push("acme/api", "12345").await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (5, 0));
    stage.push("acme/api", "12345").await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (5, 0));
    set_bytes(stage, 9).await;
    assert_eq!(exceeded(stage.push("acme/new", "12345").await), bytes_over(9, 5, 0, 5));
    stage.is_consistent().await;
}

async fn whatever_ends_an_upload_gives_back_what_it_reserved(stage: &mut Stage) {
    set_bytes(stage, 100).await;
    let repository = name("acme/web");
    let begun = async |content: &'static str| {
        let id = start(stage, "acme/web").await.unwrap();
        stage.content.append(&repository, id, chunk(content)).await.unwrap();
        assert_eq!(reserved(stage).await, i64::try_from(content.len()).unwrap());
        id
    };
    let id = begun("cancelled").await;
    stage.content.cancel_upload(&repository, id).await.unwrap();
    assert_eq!(reserved(stage).await, 0);

    let id = begun("mismatched").await;
    let mismatch = finish(stage, id, digest(b"something else")).await;
    assert!(matches!(mismatch, Err(Error::DigestMismatch { .. })), "{mismatch:?}");
    assert_eq!(reserved(stage).await, 0);

    let id = begun("expired").await;
    stage.pass(UPLOAD_LIFE + Duration::from_secs(1));
    let store = Arc::new(stage.store.clone());
    let collector = Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default());
    assert_eq!(collector.sweep(&CancellationToken::new()).await.unwrap().uploads, 1);
    assert_eq!(reserved(stage).await, 0);
    let gone = stage.content.cancel_upload(&repository, id).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)), "{gone:?}");

    let id = start(stage, "acme/web").await.unwrap();
    let announced = Chunk { length: Some(60), ..cut("cut") };
    let broken = stage.content.append(&repository, id, announced).await;
    assert!(matches!(broken, Err(Error::BodyCut { received: 3 })), "{broken:?}");
    assert_eq!(reserved(stage).await, 3, "what has arrived waits for its client");
    let whole = stage.content.push_blob(&repository, digest(b"cut"), cut("cut"), &ada()).await;
    assert!(matches!(whole, Err(Error::BodyCut { .. })), "{whole:?}");
    assert_eq!((reserved(stage).await, uploads(stage).await), (3, 1));
    assert_eq!(used(stage).await, 0);
    stage.is_consistent().await;
}

async fn a_lost_process_leaves_nothing_reserved(stage: &mut Stage) {
    set_bytes(stage, 100).await;
    let id = start(stage, "acme/web").await.unwrap();
    let (sender, body) = slow();
    let (content, announced) = (stage.content.clone(), Chunk { length: Some(60), ..body });
    let lost = tokio::spawn(async move { content.append(&name("acme/web"), id, announced).await });
    until_reserved(stage, 60).await;
    // Its task never comes to an end, and its database goes away under it.
    stage.restart().await;
    assert_eq!(reserved(stage).await, 60);
    stage.is_consistent().await;
    stage.pass(UPLOAD_LIFE + Duration::from_secs(1));
    let store = Arc::new(stage.store.clone());
    let collector = Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default());
    collector.sweep(&CancellationToken::new()).await.unwrap();
    assert_eq!((reserved(stage).await, uploads(stage).await), (0, 0));
    stage.is_consistent().await;
    drop(sender);
    lost.await.unwrap().unwrap_err();
}

async fn a_quota_that_comes_while_an_upload_runs_is_kept(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&repository, id, chunk("123456")).await.unwrap();
    let (sender, body) = slow();
    let content = stage.content.clone();
    let running =
        tokio::spawn(
            async move { content.finish_upload(&name("acme/web"), id, digest(b"12345678"), body, &ada()).await },
        );
    sender.send(Ok(Bytes::from("78"))).await.unwrap();
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    set_bytes(stage, 7).await;
    drop(sender);
    assert_eq!(exceeded(running.await.unwrap()), bytes_over(7, 0, 0, 8));
    assert_eq!((used(stage).await, uploads(stage).await), (0, 0));

    set(stage, Change { bytes: Some(None), ..UNCHANGED }).await;
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&repository, id, chunk("123456")).await.unwrap();
    set_bytes(stage, 6).await;
    assert_eq!(exceeded(stage.content.append(&repository, id, chunk("7")).await), bytes_over(6, 0, 0, 7));
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&repository, id, chunk("123456")).await.unwrap();
    assert_eq!(reserved(stage).await, 6);
    finish(stage, id, digest(b"123456")).await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (6, 0));
    stage.is_consistent().await;
}

async fn a_quota_that_goes_while_an_upload_runs_lets_it_through(stage: &mut Stage) {
    set_bytes(stage, 10).await;
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("1234567890")).await.unwrap();
    set(stage, Change { bytes: Some(None), ..UNCHANGED }).await;
    stage.content.append(&name("acme/web"), id, chunk("abc")).await.unwrap();
    finish(stage, id, digest(b"1234567890abc")).await.unwrap();
    assert_eq!((used(stage).await, reserved(stage).await), (13, 0));
    stage.is_consistent().await;
}

async fn lowering_a_quota_refuses_new_pushes_alone(stage: &mut Stage) {
    set_bytes(stage, 10_000).await;
    let config = stage.push("acme/web", "config").await.unwrap();
    let manifest = image("config", &[]);
    stage.content.put_manifest(push("acme/web", tag("v1"), &manifest)).await.unwrap();
    let id = start(stage, "acme/web").await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("running")).await.unwrap();
    let before = used(stage).await;
    set_bytes(stage, 3).await;
    assert_eq!(stage.pull("acme/web", &config).await.unwrap(), "config");
    stage.content.put_manifest(push("acme/web", tag("v2"), &manifest)).await.unwrap();
    assert_eq!(used(stage).await, before, "another tag for what is there brings no bytes");
    let refused = exceeded(start(stage, "acme/web").await);
    assert_eq!((refused.quota, refused.used, refused.reserved), (3, u64::try_from(before).unwrap(), 7));
    finish(stage, id, digest(b"running")).await.unwrap();
    assert_eq!(used(stage).await, before + 7, "what was reserved is a promise");
    set_bytes(stage, 10_000).await;
    start(stage, "acme/web").await.unwrap();
    stage.is_consistent().await;
}

async fn a_manifest_counts_its_payload(stage: &mut Stage) {
    stage.push("acme/web", "config").await.unwrap();
    let manifest = image("config", &[]);
    let length = manifest.to_string().len() as u64;
    set_bytes(stage, 6 + length - 1).await;
    let refused = stage.content.put_manifest(push("acme/web", tag("v1"), &manifest)).await;
    assert_eq!(exceeded(refused), bytes_over(6 + length - 1, 6, 0, length));
    assert_eq!(stage.count("SELECT count(*) FROM manifest").await + stage.count("SELECT count(*) FROM tag").await, 0);
    set_bytes(stage, 6 + length).await;
    stage.content.put_manifest(push("acme/web", tag("v1"), &manifest)).await.unwrap();
    let other = serde_json::json!({"schemaVersion": 2, "mediaType": manifest["mediaType"], "layers": [],
        "config": descriptor("application/json", b"config"), "annotations": {"a": "b"}});
    exceeded(stage.content.put_manifest(push("acme/web", tag("v1"), &other)).await);
    assert_eq!(
        stage.texts("SELECT m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id").await,
        [digest(manifest.to_string().as_bytes()).to_string()]
    );
    stage.is_consistent().await;
}

async fn collecting_makes_room(stage: &mut Stage) {
    set_bytes(stage, 5).await;
    let held = stage.push("acme/web", "12345").await.unwrap();
    exceeded(stage.push("acme/web", "abc").await);
    stage.content.delete_blob(&name("acme/web"), &held, &TagLimits::Everything).await.unwrap();
    assert_eq!(used(stage).await, 0);
    stage.push("acme/web", "abc").await.unwrap();
    stage.pass(UPLOAD_LIFE);
    let store = Arc::new(stage.store.clone());
    let collector = Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), Settings::default());
    assert_eq!(collector.sweep(&CancellationToken::new()).await.unwrap().links, 1);
    assert_eq!(used(stage).await, 0);
    stage.push("acme/web", "12345").await.unwrap();
    stage.is_consistent().await;
}

async fn every_change_of_a_quota_is_an_event(stage: &mut Stage) {
    set(stage, Change { bytes: Some(Some(7)), tags: Some(Some(2)), repositories: None }).await;
    set(stage, Change { bytes: Some(None), tags: None, repositories: Some(Some(3)) }).await;
    assert_eq!(
        stage.texts("SELECT body FROM event WHERE kind = 'quota_set' ORDER BY id").await,
        [
            r#"{"event":"quota_set","namespace":"acme","bytes":7,"tags":2,"repositories":null,"actor":"root"}"#,
            r#"{"event":"quota_set","namespace":"acme","bytes":null,"tags":2,"repositories":3,"actor":"root"}"#,
        ]
    );
}

async fn those_who_watch_are_told_of_the_fullest(stage: &mut Stage) {
    let told = async |most: i64| {
        let mut reader = stage.content.metadata.read().await.unwrap();
        let bounded = quotas::bounded(&mut reader, most).await.unwrap();
        (bounded.count, bounded.fullest.into_iter().map(|standing| standing.namespace).collect::<Vec<_>>())
    };
    stage.push("free/web", "1234567890").await.unwrap();
    assert_eq!(told(10).await, (0, vec![]));
    let bounds =
        [("half", Some(10), "12345"), ("full", Some(5), "12345"), ("shut", Some(0), ""), ("tags", None, "12345")];
    for (namespace, bytes, content) in bounds {
        if !content.is_empty() {
            stage.push(&format!("{namespace}/web"), content).await.unwrap();
        }
        let change = Change { bytes: Some(bytes), tags: Some(Some(1)), repositories: None };
        let set = SetQuota { namespace: name(namespace), change, actor: "root".to_owned() };
        stage.content.metadata.write(set).await.unwrap();
    }
    assert_eq!(told(10).await, (4, ["full", "half", "shut", "tags"].map(str::to_owned).to_vec()));
    assert_eq!(told(3).await, (4, ["full", "half", "shut"].map(str::to_owned).to_vec()));
    assert_eq!(told(2).await, (4, ["full", "shut"].map(str::to_owned).to_vec()));
}
