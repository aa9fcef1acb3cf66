//! Stories of manifests that name as much as a manifest may: they go in steps, and whoever comes between two of them finds a deleted manifest.

use std::time::{Duration, Instant};

use model::announce;
use serde_json::{Value, json};
use shared::digest::Digest;

use super::{
    batches::{probed, sweep},
    stage::{Stage, name, on_both},
};
use crate::{
    content::{
        Error, Promise, TagLimits,
        fixture::{digest_of, image, push, tag},
        manifest::MAX_DESCRIPTORS,
        manifests::DeleteManifest,
    },
    gc::doctor::{Depth, Fault},
    metadata::manifests::{Due, MANIFEST_GRACE, ManifestId, Purge, Purging},
};

on_both! {
    what_names_ten_thousand_goes_in_steps
    an_index_of_ten_thousand_lets_its_children_go_in_steps
    what_is_half_purged_comes_back_whole
    what_is_half_purged_is_gone_on_with
    a_deletion_without_a_window_leaves_nothing
}

const WEB: &str = "acme/web";
/// All but the config.
const LAYERS: usize = MAX_DESCRIPTORS - 1;
const NAMED: &str = "SELECT (SELECT count(*) FROM manifest_blob) + (SELECT count(*) FROM manifest_child)";
const HELD: &str = "SELECT count(*) FROM link WHERE expires_at IS NULL";

fn layer(number: usize) -> String {
    format!("sha256:{number:064}")
}

/// An image of a config and so many layers, the first of which others share.
fn large(config: &str) -> Value {
    let mut large = image(config, &[]);
    let layer = |number| json!({ "mediaType": "application/octet-stream", "digest": layer(number), "size": 1 });
    large["layers"] = (1..=LAYERS).map(layer).collect();
    large
}

/// The blobs of those layers as rows, as if they had been pushed a while ago: nobody pulls them here.
async fn hold_layers(stage: &Stage) {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
        INSERT INTO blob (digest, size, store, storage_key, state) \
        SELECT 'sha256:' || substr('0000000000000000000000000000000000000000000000000000000000000000', 1, \
            64 - length(CAST(i AS TEXT))) || CAST(i AS TEXT), 1, 'files', 'layer/' || CAST(i AS TEXT), 'live' FROM n";
    stage.tamper_behind(rows).await;
    for rows in [
        "INSERT INTO link (repository_id, blob_id, expires_at, leased_until) \
         SELECT r.id, b.id, 1, 0 FROM repository r, blob b WHERE b.storage_key LIKE 'layer/%'",
        "INSERT INTO namespace_blob (namespace_id, blob_id, links) \
         SELECT n.id, b.id, 1 FROM namespace n, blob b WHERE b.storage_key LIKE 'layer/%'",
        "UPDATE usage SET used = used + 9999",
    ] {
        stage.tamper_behind(rows).await;
    }
}

/// Pushes what names as much as it may.
async fn push_large(stage: &Stage, config: &str) -> Digest {
    stage.push(WEB, config).await.unwrap();
    if stage.count("SELECT count(*) FROM blob WHERE storage_key LIKE 'layer/%'").await == 0 {
        hold_layers(stage).await;
    }
    stage.content.put_manifest(push(WEB, tag("large"), &large(config))).await.unwrap().digest
}

fn deletion(digest: Digest, undelete_window: Duration) -> DeleteManifest {
    let (limits, actor) = (TagLimits::Everything, "ada".to_owned());
    DeleteManifest { repository: name(WEB), digest, condition: None, limits, actor, undelete_window }
}

/// Hides it; its window is over.
async fn delete(stage: &Stage, digest: Digest) -> ManifestId {
    stage.content.delete_manifest(deletion(digest, MANIFEST_GRACE)).await.unwrap();
    stage.pass(2 * MANIFEST_GRACE);
    ManifestId(stage.count("SELECT max(id) FROM manifest WHERE deleted_at IS NOT NULL").await)
}

async fn step(stage: &Stage, manifest: ManifestId, most: i64) -> Purging {
    let metadata = &stage.content.metadata;
    let (grace, remembered) = (MANIFEST_GRACE, metadata.manifests().clone());
    metadata.write(Purge { manifest, due: Due::AfterWindow, grace, most, remembered }).await.unwrap().0
}

/// What the doctor says of rows; the layers have no bytes.
async fn rows_are_sound(stage: &Stage) {
    let mut findings = stage.doctor().findings(Depth::Sizes).await.unwrap();
    findings.retain(|finding| !matches!(finding.fault, Fault::BytesMissing(_)));
    assert!(findings.is_empty(), "{:#?}", &findings[..findings.len().min(3)]);
}

async fn what_names_ten_thousand_goes_in_steps(stage: &mut Stage) {
    let whole = push_large(stage, "at once").await;
    let whole = delete(stage, whole).await;
    let begun = Instant::now();
    assert!(matches!(step(stage, whole, 20_000).await, Purging::Gone(_)));
    let at_once = begun.elapsed();
    let large = push_large(stage, "in steps").await;
    delete(stage, large).await;
    let ((swept, timings), probe) = probed(stage, sweep(stage)).await;
    assert_eq!(swept.manifests, 1);
    let (_, spread) = timings.iter().find(|(operation, _)| *operation == "purge_manifest").unwrap();
    announce(&format!(
        "purge of a manifest of {MAX_DESCRIPTORS} on {:?}: {} steps, the longest {:?}; at once {at_once:?}",
        stage.content.metadata.dialect(),
        spread.count,
        spread.longest,
    ));
    assert!(spread.count >= (MAX_DESCRIPTORS / 2_000) as u64, "{spread:?}");
    // On the same machine in the same minute, however busy it is.
    assert!(spread.sum / u32::try_from(spread.count).unwrap() < at_once / 3, "{spread:?}, at once {at_once:?}");
    probe.nobody_was_held_up(&timings);
    assert_eq!((stage.count(NAMED).await, stage.count(HELD).await), (0, 0));
    rows_are_sound(stage).await;
}

async fn an_index_of_ten_thousand_lets_its_children_go_in_steps(stage: &mut Stage) {
    stage.push(WEB, "config").await.unwrap();
    let child = image("config", &[]);
    stage.content.put_manifest(push(WEB, digest_of(&child), &child)).await.unwrap();
    let listed = |number| json!({ "mediaType": child["mediaType"], "digest": layer(number), "size": 1 });
    let mut children: Vec<Value> = (1..MAX_DESCRIPTORS).map(listed).collect();
    children
        .push(json!({ "mediaType": child["mediaType"], "digest": digest_of(&child), "size": child.to_string().len() }));
    let index =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children });
    let index = stage.content.put_manifest(push(WEB, tag("list"), &index)).await.unwrap().digest;
    let index = delete(stage, index).await;
    let held = "SELECT count(*) FROM manifest WHERE deleted_at IS NULL AND expires_at IS NULL";
    let (mut steps, mut was_held) = (1, stage.count(held).await);
    assert_eq!(was_held, 1, "a deleted index is kept");
    while let Purging::Begun(_) = step(stage, index, 1_500).await {
        let is_held = stage.count(held).await;
        assert!(is_held <= was_held, "what was let go stays so");
        (steps, was_held) = (steps + 1, is_held);
        rows_are_sound(stage).await;
    }
    assert_eq!((steps, stage.count(NAMED).await, stage.count(held).await), (7, 1, 0), "the child's config is left");
    rows_are_sound(stage).await;
}

async fn what_is_half_purged_comes_back_whole(stage: &mut Stage) {
    let digest = push_large(stage, "config").await;
    let manifest = delete(stage, digest).await;
    assert!(matches!(step(stage, manifest, 6_000).await, Purging::Begun(_)));
    assert_eq!((stage.count(NAMED).await, stage.count(HELD).await), (4_000, 4_000));
    let seen = stage.content.manifest(&name(WEB), &digest.into(), Promise::Nothing).await;
    assert!(matches!(seen, Err(Error::ManifestUnknown { .. })), "{seen:?}");
    rows_are_sound(stage).await;
    stage.content.put_manifest(push(WEB, tag("again"), &large("config"))).await.unwrap();
    assert_eq!((stage.count(NAMED).await, stage.count(HELD).await), (10_000, 10_000), "all of it is held again");
    assert_eq!(step(stage, manifest, 6_000).await, Purging::Left);
    assert!(stage.content.manifest(&name(WEB), &tag("again").into(), Promise::Nothing).await.is_ok());
    rows_are_sound(stage).await;
}

async fn what_is_half_purged_is_gone_on_with(stage: &mut Stage) {
    let digest = push_large(stage, "config").await;
    let manifest = delete(stage, digest).await;
    assert!(matches!(step(stage, manifest, 6_000).await, Purging::Begun(_)));
    stage.restart().await;
    let (swept, _) = sweep(stage).await;
    assert_eq!((swept.manifests, stage.count(NAMED).await), (1, 0));
    let used = stage.count("SELECT used FROM usage").await;
    assert_eq!(used, 9_999 + "config".len() as i64, "blobs that wait for the collector, and no payload");
    rows_are_sound(stage).await;
}

async fn a_deletion_without_a_window_leaves_nothing(stage: &mut Stage) {
    let digest = push_large(stage, "config").await;
    let deleted = stage.content.delete_manifest(deletion(digest, Duration::ZERO)).await.unwrap();
    assert_eq!(deleted.tags, [tag("large")]);
    assert_eq!((stage.count(NAMED).await, stage.count("SELECT count(*) FROM manifest").await), (0, 0));
    let told = stage.count("SELECT count(*) FROM event WHERE kind = 'manifest_deleted'").await;
    assert_eq!(told, 1, "it is told once");
    rows_are_sound(stage).await;
}
