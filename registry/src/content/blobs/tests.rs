//! Stories of blobs: who sees them, what a yes is worth, and how they go.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::{
    content::{
        TagLimits,
        fixture::{image, only, push, tag},
        manifests::DeleteManifest,
    },
    metadata::links::PROMISE_LIFE,
    stories::stage::{Stage, ada, digest, name, on_both, pusher},
};

on_both! {
    a_blob_is_seen_where_it_is_linked
    a_range_is_read
    a_yes_to_a_pusher_is_a_promise
    a_yes_to_a_reader_writes_nothing
    a_promise_of_several_is_ended_by_none
    a_blob_that_memory_promised_is_not_promised_once_it_is_gone
    a_manifest_ends_its_own_pushers_promise
    t11_a_deleted_blob_is_gone_from_its_repository_only
    a_blob_in_use_is_not_deleted
    a_blob_that_only_a_deleted_manifest_names_is_deleted
    a_blob_pushed_again_is_seen_again
}

const LEASES: &str = "SELECT coalesce(leased_by, 'several') FROM link";
const LEASED_UNTIL: &str = "SELECT leased_until FROM link";

async fn head(stage: &Stage, repository: &str, digest: &Digest, holder: &str) -> Result<Blob, Error> {
    stage.content.stat_blob(&name(repository), digest, Promise::To(&pusher(holder))).await
}

async fn a_blob_is_seen_where_it_is_linked(stage: &mut Stage) {
    let digest = stage.push("acme/web", "cargo").await.unwrap();
    let blob = stage.content.open_blob(&name("acme/web"), &digest).await.unwrap();
    assert_eq!((blob.digest, blob.size), (digest, 5));
    for _ in 0..2 {
        assert!(stage.holds("acme/web", &digest).await);
        assert!(!stage.holds("acme/api", &digest).await, "having the bytes is no right to read them");
        assert!(!stage.holds("acme/web", &self::digest(b"other")).await);
    }
    assert!(matches!(head(stage, "acme/api", &digest, "ada").await, Err(Error::BlobUnknown { .. })));
}

async fn a_range_is_read(stage: &mut Stage) {
    let digest = stage.push("acme/web", "on the quay").await.unwrap();
    let blob = stage.content.open_blob(&name("acme/web"), &digest).await.unwrap();
    let reading = stage.content.read_blob(&blob, 3..6).await.unwrap();
    assert_eq!(http_body::Body::size_hint(&reading).exact(), Some(3));
    assert_eq!(reading.try_collect::<Vec<Bytes>>().await.unwrap().concat(), b"the");
}

async fn a_yes_to_a_pusher_is_a_promise(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    let first = stage.count(LEASED_UNTIL).await;
    stage.pass(PROMISE_LIFE / 2 - Duration::from_secs(60));
    head(stage, "acme/web", &digest, "ada").await.unwrap();
    assert_eq!(stage.count(LEASED_UNTIL).await, first, "more than half of it is left");
    stage.pass(Duration::from_secs(120));
    head(stage, "acme/web", &digest, "ada").await.unwrap();
    let renewed = stage.count(LEASED_UNTIL).await;
    assert!(renewed > first);
    assert_eq!(stage.count("SELECT expires_at FROM link").await, renewed);
    assert_eq!(stage.texts(LEASES).await, ["ada"]);
    stage.pass(2 * PROMISE_LIFE);
    head(stage, "acme/web", &digest, "bob").await.unwrap();
    assert_eq!(stage.texts(LEASES).await, ["bob"], "the old one had run out");
}

async fn a_yes_to_a_reader_writes_nothing(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    let before = stage.count(LEASED_UNTIL).await;
    stage.pass(PROMISE_LIFE * 2);
    assert!(stage.holds("acme/web", &digest).await);
    assert_eq!(stage.count(LEASED_UNTIL).await, before);
}

async fn a_promise_of_several_is_ended_by_none(stage: &mut Stage) {
    let layer = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/web", "config").await.unwrap();
    head(stage, "acme/web", &layer, "bob").await.unwrap();
    assert_eq!(
        stage.texts("SELECT coalesce(leased_by, 'several') FROM link ORDER BY blob_id").await,
        ["several", "ada"]
    );
    let manifest = push("acme/web", tag("v1"), &image("config", &["layer"]));
    stage.content.put_manifest(manifest).await.unwrap();
    let open = "SELECT count(*) FROM link WHERE leased_until > 0";
    assert_eq!(stage.count(open).await, 1, "ada's push ends the promise that was hers alone");
    let shared = stage.count("SELECT max(leased_until) FROM link").await;
    head(stage, "acme/web", &layer, "carol").await.unwrap();
    assert_eq!(stage.count("SELECT max(leased_until) FROM link").await, shared, "nobody can end it, so it covers all");
}

async fn a_blob_that_memory_promised_is_not_promised_once_it_is_gone(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    head(stage, "acme/web", &digest, "ada").await.unwrap();
    stage.content.delete_blob(&name("acme/web"), &digest, &TagLimits::Everything).await.unwrap();
    assert!(matches!(head(stage, "acme/web", &digest, "ada").await, Err(Error::BlobUnknown { .. })));
    // It comes back under somebody else's promise, which is none of hers.
    stage.push_as("acme/web", "layer", "bob").await.unwrap();
    assert_eq!(stage.texts(LEASES).await, ["bob"]);
    head(stage, "acme/web", &digest, "ada").await.unwrap();
    assert_eq!(stage.texts(LEASES).await, ["several"]);
}

#[tokio::test]
async fn a_promise_that_runs_is_repeated_without_the_database() {
    let stage = Stage::sqlite().await;
    let digest = stage.push("acme/web", "layer").await.unwrap();
    head(&stage, "acme/web", &digest, "ada").await.unwrap();
    stage.content.metadata.close().await;
    head(&stage, "acme/web", &digest, "ada").await.unwrap();
    assert!(head(&stage, "acme/web", &digest, "bob").await.is_err(), "to him it is a new one");
    stage.pass(PROMISE_LIFE / 2 + Duration::from_secs(60));
    assert!(head(&stage, "acme/web", &digest, "ada").await.is_err(), "less than half of it is left");
}

async fn a_manifest_ends_its_own_pushers_promise(stage: &mut Stage) {
    let layer = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/web", "config").await.unwrap();
    stage.content.put_manifest(push("acme/web", tag("v1"), &image("config", &["layer"]))).await.unwrap();
    assert_eq!(stage.count("SELECT max(leased_until) FROM link").await, 0);
    assert_eq!(stage.count("SELECT count(*) FROM link WHERE expires_at IS NOT NULL").await, 0);
    // A new look is a new promise, and a blob that a manifest names still does not expire.
    head(stage, "acme/web", &layer, "ada").await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM link WHERE leased_until > 0 AND expires_at IS NULL").await, 1);
}

async fn t11_a_deleted_blob_is_gone_from_its_repository_only(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/api", "layer").await.unwrap();
    assert!(stage.holds("acme/web", &digest).await, "and memory knows it");
    stage.content.delete_blob(&name("acme/web"), &digest, &TagLimits::Everything).await.unwrap();
    assert!(!stage.holds("acme/web", &digest).await);
    let again = stage.content.delete_blob(&name("acme/web"), &digest, &TagLimits::Everything).await;
    assert!(matches!(again, Err(Error::BlobUnknown { .. })));
    assert_eq!(stage.pull("acme/api", &digest).await.unwrap(), "layer");
    assert_eq!(stage.count("SELECT used FROM usage").await, 5);
    stage.content.delete_blob(&name("acme/api"), &digest, &TagLimits::Everything).await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 0);
    assert_eq!(stage.count("SELECT used FROM usage").await, 0);
    stage.is_consistent().await;
}

async fn a_blob_in_use_is_not_deleted(stage: &mut Stage) {
    let layer = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/web", "config").await.unwrap();
    let stored = stage.content.put_manifest(push("acme/web", tag("v1"), &image("config", &["layer"]))).await.unwrap();
    let refused = stage.content.delete_blob(&name("acme/web"), &layer, &TagLimits::Everything).await;
    assert!(matches!(refused, Err(Error::BlobInUse { manifest }) if manifest == stored.digest), "{refused:?}");
    assert!(stage.holds("acme/web", &layer).await);
}

async fn a_blob_that_only_a_deleted_manifest_names_is_deleted(stage: &mut Stage) {
    let layer = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/web", "config").await.unwrap();
    let stored = stage.content.put_manifest(push("acme/web", tag("v1"), &image("config", &["layer"]))).await.unwrap();
    let delete = DeleteManifest {
        condition: None,
        repository: name("acme/web"),
        digest: stored.digest,
        limits: TagLimits::Everything,
        actor: ada().actor,
        undelete_window: Duration::from_secs(7 * 24 * 3600),
    };
    assert!(stage.content.delete_manifest(DeleteManifest { limits: only(&["pr-*"]), ..delete.clone() }).await.is_err());
    stage.content.delete_manifest(delete).await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM manifest").await, 1, "it could still come back");
    stage.content.delete_blob(&name("acme/web"), &layer, &TagLimits::Everything).await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM manifest").await, 0, "without its layer it could not");
    assert!(!stage.holds("acme/web", &layer).await);
    stage.is_consistent().await;
}

async fn a_blob_pushed_again_is_seen_again(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    for _ in 0..3 {
        assert!(stage.holds("acme/web", &digest).await);
        stage.content.delete_blob(&name("acme/web"), &digest, &TagLimits::Everything).await.unwrap();
        assert!(!stage.holds("acme/web", &digest).await);
        stage.push("acme/web", "layer").await.unwrap();
        assert_eq!(stage.pull("acme/web", &digest).await.unwrap(), "layer");
    }
    stage.is_consistent().await;
}
