//! Stories of the collector, on a stage whose clock moves.

use std::{sync::Arc, time::Duration};

use shared::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::{
    batches::probed,
    stage::{Stage, ada, chunk, digest, name, on_both, pusher, slow},
};
use crate::{
    content::{
        Error, Lives, Promise, TagLimits,
        fixture::{image, push, tag},
        manifests::DeleteManifest,
        uploads::{Chunk, UPLOAD_LIFE},
    },
    gc::{Collector, Settings, Swept},
    metadata::links::PROMISE_LIFE,
    store::{
        Store,
        faulty::{Call, Fault},
    },
};

on_both! {
    an_upload_that_nobody_comes_back_for_is_collected
    an_upload_lives_as_long_as_the_settings_say
    an_upload_that_is_being_written_is_left
    trash_waits_as_long_as_it_is_told
    trash_that_cannot_be_deleted_is_tried_again
    trash_that_stays_does_not_keep_the_rest
    links_that_are_needed_do_not_keep_the_rest
    a_blob_that_no_manifest_names_goes_after_its_promise
    a_promise_keeps_a_blob
    a_promise_that_was_remembered_and_has_ended_is_made_anew
    a_blob_that_a_manifest_names_is_kept
    the_last_link_takes_the_blob_with_it
    a_sweep_takes_batch_after_batch
    events_that_nobody_came_for_are_forgotten
    many_links_go_in_batches_that_hold_nobody_up
    a_stopped_collector_stops
}

const MINUTE: Duration = Duration::from_secs(60);

fn collector(stage: &Stage, settings: Settings) -> Collector {
    let store = Arc::new(stage.store.clone());
    Collector::new(stage.content.metadata.clone(), store, stage.clock.clone(), settings)
}

async fn sweep(stage: &Stage) -> Swept {
    collector(stage, Settings::default()).sweep(&CancellationToken::new()).await.unwrap()
}

async fn files(stage: &Stage) -> usize {
    stage.store.list(None, 10_000).await.unwrap().len()
}

async fn an_upload_that_nobody_comes_back_for_is_collected(stage: &mut Stage) {
    let id = stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("forgotten")).await.unwrap();
    stage.pass(UPLOAD_LIFE - MINUTE);
    assert_eq!(sweep(stage).await, Swept::default());
    stage.pass(2 * MINUTE);
    assert_eq!(sweep(stage).await, Swept { uploads: 1, ..Swept::default() });
    stage.is_consistent().await;
    assert_eq!(files(stage).await, 1, "its bytes wait in the trash");
    stage.pass(61 * MINUTE);
    assert_eq!(sweep(stage).await, Swept { keys: 1, ..Swept::default() });
    assert_eq!((files(stage).await, stage.count("SELECT count(*) FROM trash").await), (0, 0));
}

async fn an_upload_lives_as_long_as_the_settings_say(stage: &mut Stage) {
    stage.restart_with(Lives { upload: 60 * MINUTE, ..Lives::default() }).await;
    let id = stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.pass(59 * MINUTE);
    stage.content.append(&name("acme/web"), id, chunk("each request counts")).await.unwrap();
    stage.pass(59 * MINUTE);
    assert_eq!(sweep(stage).await.uploads, 0);
    stage.pass(2 * MINUTE);
    assert_eq!(sweep(stage).await.uploads, 1);
}

async fn an_upload_that_is_being_written_is_left(stage: &mut Stage) {
    let repository = name("acme/web");
    let id = stage.content.start_upload(&repository, None, &ada()).await.unwrap();
    let (sender, body) = slow();
    let writing = tokio::spawn({
        let (content, repository) = (stage.content.clone(), repository.clone());
        async move { content.append(&repository, id, body).await }
    });
    sender.send(Ok("very ".into())).await.unwrap();
    while sender.capacity() == 0 {
        tokio::task::yield_now().await;
    }
    stage.pass(UPLOAD_LIFE + MINUTE);
    assert_eq!(sweep(stage).await, Swept::default());
    sender.send(Ok("slow".into())).await.unwrap();
    drop(sender);
    assert_eq!(writing.await.unwrap().unwrap(), 9);
    stage.content.finish_upload(&repository, id, digest(b"very slow"), Chunk::empty(), &ada()).await.unwrap();
}

async fn trash_waits_as_long_as_it_is_told(stage: &mut Stage) {
    let id = stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.content.append(&name("acme/web"), id, chunk("rubbish")).await.unwrap();
    stage.content.cancel_upload(&name("acme/web"), id).await.unwrap();
    stage.pass(59 * MINUTE);
    assert_eq!(sweep(stage).await.keys, 0);
    stage.pass(2 * MINUTE);
    let patient = Settings { trash_wait: 48 * 60 * MINUTE, ..Settings::default() };
    let swept = collector(stage, patient).sweep(&CancellationToken::new()).await.unwrap();
    assert_eq!(swept.keys, 0);
    assert_eq!(sweep(stage).await.keys, 1);
    assert_eq!(files(stage).await, 0);
}

async fn trash_that_cannot_be_deleted_is_tried_again(stage: &mut Stage) {
    stage.push("acme/web", "twice").await.unwrap();
    stage.push("acme/web", "twice").await.unwrap();
    stage.pass(61 * MINUTE);
    for fault in [Fault::Error, Fault::LostAnswer] {
        // Together, and then each alone; before the rest is collected, and behind it.
        (0..4).for_each(|_| stage.store.plan(Call::Delete, fault));
        let collector = collector(stage, Settings::default());
        collector.sweep(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(
            stage.count("SELECT count(*) FROM trash").await,
            1,
            "a row stays until its bytes are known to be gone"
        );
    }
    assert_eq!(sweep(stage).await.keys, 1);
    assert_eq!((files(stage).await, stage.count("SELECT count(*) FROM trash").await), (1, 0));
}

async fn trash_that_stays_does_not_keep_the_rest(stage: &mut Stage) {
    stage.push("acme/web", "stuck").await.unwrap();
    stage.push("acme/web", "stuck").await.unwrap();
    let stuck = stage.file("SELECT storage_key FROM trash").await;
    std::fs::remove_file(&stuck).unwrap();
    // Something that no deletion of a file removes, as a damaged directory would be.
    std::fs::create_dir(&stuck).unwrap();
    stage.pass(MINUTE);
    stage.push("acme/web", "stuck").await.unwrap();
    stage.pass(61 * MINUTE);
    assert_eq!(sweep(stage).await.keys, 1);
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 1, "the one that stays is still known");
    stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.pass(UPLOAD_LIFE + MINUTE);
    let swept = collector(stage, Settings::default()).sweep(&CancellationToken::new()).await;
    assert!(matches!(swept, Err(crate::gc::Error::Store(_))), "nothing can be deleted, and that is told: {swept:?}");
    assert_eq!(stage.count("SELECT count(*) FROM upload").await, 0, "what can be collected is");
}

async fn links_that_are_needed_do_not_keep_the_rest(stage: &mut Stage) {
    let needed: Vec<String> = (0..120).map(|number| format!("needed {number}")).collect();
    for content in &needed {
        stage.push("acme/web", content).await.unwrap();
    }
    name_by_manifest(stage, false).await;
    stage.tamper("UPDATE link SET expires_at = 1, leased_until = 1").await;
    let loose = stage.push("acme/web", "loose").await.unwrap();
    stage.pass(PROMISE_LIFE + MINUTE);
    assert_eq!(sweep(stage).await.links, 1);
    assert!(!stage.holds("acme/web", &loose).await);
}

async fn a_blob_that_no_manifest_names_goes_after_its_promise(stage: &mut Stage) {
    let digest = stage.push("acme/web", "loose").await.unwrap();
    stage.pass(PROMISE_LIFE - MINUTE);
    assert_eq!(sweep(stage).await, Swept::default());
    assert!(stage.holds("acme/web", &digest).await);
    stage.pass(2 * MINUTE);
    assert_eq!(sweep(stage).await.links, 1);
    assert!(!stage.holds("acme/web", &digest).await, "memory has forgotten it too");
    assert_eq!(stage.count("SELECT used FROM usage").await, 0);
    stage.is_consistent().await;
    stage.pass(61 * MINUTE);
    sweep(stage).await;
    assert_eq!(files(stage).await, 0);
}

async fn a_promise_keeps_a_blob(stage: &mut Stage) {
    let digest = stage.push("acme/web", "wanted").await.unwrap();
    stage.pass(PROMISE_LIFE - MINUTE);
    let (repository, bob) = (name("acme/web"), pusher("bob"));
    stage.content.stat_blob(&repository, &digest, Promise::To(&bob)).await.unwrap();
    stage.pass(2 * MINUTE);
    assert_eq!(sweep(stage).await, Swept::default());
    stage.pass(PROMISE_LIFE);
    assert_eq!(sweep(stage).await.links, 1);
    let gone = stage.content.stat_blob(&repository, &digest, Promise::To(&bob)).await;
    assert!(matches!(gone, Err(Error::BlobUnknown { .. })));
}

/// Rows as a push of a manifest makes them, without the manifest's own rules.
async fn name_by_manifest(stage: &Stage, deleted: bool) {
    stage.tamper("INSERT INTO manifest (repository_id, digest, media_type, size, pushed_at) \
                  SELECT id, 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 'm', 0, 0 FROM repository")
        .await;
    if deleted {
        stage.tamper("UPDATE manifest SET deleted_at = 1, expires_at = 9000000000000000").await;
    }
    stage
        .tamper(
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) \
                  SELECT m.repository_id, b.digest, m.id FROM manifest m, blob b",
        )
        .await;
}

async fn a_promise_that_was_remembered_and_has_ended_is_made_anew(stage: &mut Stage) {
    let repository = name("acme/web");
    let layer = stage.push("acme/web", "layer").await.unwrap();
    stage.push("acme/web", "config").await.unwrap();
    let ada = ada();
    let look = || stage.content.stat_blob(&repository, &layer, Promise::To(&ada));
    look().await.unwrap();
    let stored = stage.content.put_manifest(push("acme/web", tag("v1"), &image("config", &["layer"]))).await.unwrap();
    // The manifest has ended the promise, and only the manifest keeps the blob: a yes now must be a promise again.
    look().await.unwrap();
    let delete = DeleteManifest {
        repository: repository.clone(),
        digest: stored.digest,
        condition: None,
        limits: TagLimits::Everything,
        actor: ada.actor.clone(),
        undelete_window: Duration::ZERO,
    };
    stage.content.delete_manifest(delete).await.unwrap();
    stage.tamper("UPDATE link SET expires_at = 1").await;
    assert_eq!(sweep(stage).await.links, 1, "the config, about which nobody asked");
    assert_eq!(stage.pull("acme/web", &layer).await.unwrap(), "layer");
}

async fn a_blob_that_a_manifest_names_is_kept(stage: &mut Stage) {
    let digest: Digest = stage.push("acme/web", "layer").await.unwrap();
    name_by_manifest(stage, true).await;
    stage.pass(2 * PROMISE_LIFE);
    assert_eq!(sweep(stage).await.links, 0, "a deleted manifest can be undeleted");
    assert_eq!(stage.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 1);
    assert!(stage.holds("acme/web", &digest).await);
}

async fn the_last_link_takes_the_blob_with_it(stage: &mut Stage) {
    let digest = stage.push("acme/web", "layer").await.unwrap();
    stage.pass(PROMISE_LIFE / 2);
    stage.push("other/app", "layer").await.unwrap();
    stage.pass(PROMISE_LIFE / 2 + MINUTE);
    assert_eq!(sweep(stage).await.links, 1);
    assert!(!stage.holds("acme/web", &digest).await);
    assert_eq!(stage.pull("other/app", &digest).await.unwrap(), "layer");
    stage.is_consistent().await;
    stage.pass(PROMISE_LIFE);
    assert_eq!(sweep(stage).await.links, 1);
    assert_eq!(stage.count("SELECT count(*) FROM blob").await, 0);
    stage.is_consistent().await;
}

async fn a_sweep_takes_batch_after_batch(stage: &mut Stage) {
    for n in 0..205 {
        stage.content.start_upload(&name(&format!("acme/web{}", n % 3)), None, &ada()).await.unwrap();
    }
    stage.pass(UPLOAD_LIFE + MINUTE);
    assert_eq!(sweep(stage).await.uploads, 205);
}

async fn events_that_nobody_came_for_are_forgotten(stage: &mut Stage) {
    stage
        .tamper(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2005) \
             INSERT INTO event (at, kind, body) SELECT i, 'told', '{}' FROM n",
        )
        .await;
    // Of the year 2100.
    stage.tamper("INSERT INTO event (at, kind, body) VALUES (4102444800000000, 'told', '{}')").await;
    sweep(stage).await;
    assert_eq!(stage.count("SELECT count(*) FROM event").await, 1);
    assert_eq!(stage.count("SELECT count(*) FROM event WHERE at = 4102444800000000").await, 1);
}

/// No link of these was ever pushed, so that there can be many.
async fn many_links_go_in_batches_that_hold_nobody_up(stage: &mut Stage) {
    let kept = stage.push("acme/web", "kept").await.unwrap();
    stage
        .tamper(
            "INSERT INTO blob (digest, size, store, storage_key, state) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
             SELECT 'sha256:' || substr('0000000000000000000000000000000000000000000000000000000000000000', 1, \
                 64 - length(CAST(i AS TEXT))) || CAST(i AS TEXT), 1, 'files', 'loose/' || CAST(i AS TEXT), 'live' FROM n",
        )
        .await;
    stage
        .tamper(
            "INSERT INTO link (repository_id, blob_id, expires_at, leased_until) \
             SELECT (SELECT min(id) FROM repository), id, 1, 0 FROM blob WHERE storage_key LIKE 'loose/%'",
        )
        .await;
    stage
        .tamper(
            "INSERT INTO namespace_blob (namespace_id, blob_id, links) \
             SELECT (SELECT min(id) FROM namespace), id, 1 FROM blob WHERE storage_key LIKE 'loose/%'",
        )
        .await;
    stage.tamper("UPDATE usage SET used = used + 5000").await;
    let collector = collector(stage, Settings::default());
    let (swept, probe) = probed(stage, collector.sweep(&CancellationToken::new())).await;
    assert_eq!(swept.unwrap().links, 5000);
    let timings = collector.timings();
    let (_, spread) = timings.iter().find(|(operation, _)| *operation == "collect_links").unwrap();
    assert!(spread.count >= 5000 / 128, "{spread:?}");
    probe.nobody_was_held_up(&timings);
    assert!(stage.holds("acme/web", &kept).await);
    assert_eq!(stage.count("SELECT count(*) FROM trash").await, 5000);
    assert_eq!(stage.count("SELECT CAST(sum(used) AS BIGINT) FROM usage").await, 4);
}

async fn a_stopped_collector_stops(stage: &mut Stage) {
    stage.content.start_upload(&name("acme/web"), None, &ada()).await.unwrap();
    stage.pass(UPLOAD_LIFE + MINUTE);
    let (stop, collector) = (CancellationToken::new(), collector(stage, Settings::default()));
    let running = tokio::spawn(collector.run(stop.clone()));
    while stage.count("SELECT count(*) FROM upload").await > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
}
