//! A registry that everything was done to has nothing wrong.

use std::time::Duration;

use super::{cases::prepare, dry::examine};
use crate::{
    content::{
        TagLimits,
        fixture::{image, index, push, tag},
        manifests::DeleteManifest,
        tags::DeleteTag,
    },
    gc::doctor::{Begin, Check, Depth, Event, Mode, Order, Rate},
    lifecycle::{Lifecycle, repositories::DeleteRepository},
    metadata::{
        RepositoryId,
        immutable::Force,
        repositories::deletion::{PurgeRepository, RepositoryDue, Step},
    },
    stories::stage::{Stage, chunk, digest, name, on_both, pusher, slow},
};

on_both! {
    a_registry_that_everything_was_done_to_is_healthy
    a_run_tells_what_it_looked_at
    a_repository_that_is_being_purged_is_no_fault
}

/// Pushes an image of a config and one layer.
pub(super) async fn push_image(stage: &Stage, repository: &str, tagged: &str, config: &str) -> serde_json::Value {
    let manifest = image(config, &["a layer"]);
    for content in [config, "a layer"] {
        stage.push(repository, content).await.unwrap();
    }
    stage.content.put_manifest(push(repository, tag(tagged), &manifest)).await.unwrap();
    manifest
}

async fn a_registry_that_everything_was_done_to_is_healthy(stage: &mut Stage) {
    stage.is_healthy().await;
    let first = push_image(stage, "acme/web", "v1", "config 1").await;
    push_image(stage, "acme/web", "latest", "config 1").await;
    push_image(stage, "acme/web", "latest", "config 2").await;
    push_image(stage, "other/tool", "v1", "config 1").await;
    stage.content.put_manifest(push("acme/web", tag("all"), &index(&[&first]))).await.unwrap();
    stage.push("acme/web", "nobody names it").await.unwrap();
    let started = stage.content.start_upload(&name("acme/web"), None, &pusher("ada")).await.unwrap();
    stage.content.append(&name("acme/web"), started, chunk("half of it")).await.unwrap();
    let (limits, actor) = (TagLimits::Everything, "ada".to_owned());
    let gone = digest(image("config 2", &["a layer"]).to_string().as_bytes());
    let window = Duration::from_secs(60);
    let delete = DeleteManifest {
        repository: name("acme/web"),
        digest: gone,
        condition: None,
        limits: limits.clone(),
        actor: actor.clone(),
        undelete_window: window,
    };
    stage.content.delete_manifest(delete).await.unwrap();
    let delete = DeleteTag { repository: name("other/tool"), tag: tag("v1"), condition: None, limits, actor };
    stage.content.delete_tag(delete).await.unwrap();
    assert!(stage.holds("acme/web", &digest(b"config 1")).await, "and is remembered");
    let (_open, _chunk) = slow();
    stage.is_healthy().await;
}

async fn a_run_tells_what_it_looked_at(stage: &mut Stage) {
    push_image(stage, "acme/web", "v1", "config 1").await;
    // The clocks of program and database differ a little.
    stage.pass(Duration::from_secs(1));
    let (listener, mut told) = tokio::sync::mpsc::channel(1000);
    let order =
        Order { depth: Depth::Deep, mode: Mode::Report, begin: Begin::Aside, rate: Rate::ALL, actor: String::new() };
    let totals = stage.doctor().examine(order, listener, &tokio_util::sync::CancellationToken::new()).await.unwrap();
    let mut looked = Vec::new();
    while let Some(event) = told.recv().await {
        match event {
            Event::Checked { check, looked: rows, findings: 0 } => looked.push((check, rows)),
            Event::Done(done) => assert_eq!(done, totals),
            other => panic!("{other:?}"),
        }
    }
    for (check, rows) in [(Check::Blobs, 2), (Check::Strays, 2), (Check::Manifests, 1), (Check::Bytes, 2)] {
        assert!(looked.contains(&(check, rows)), "{looked:?}");
    }
    assert_eq!(looked.len(), Check::ALL.len());
}

/// Between two steps of a purge, however long that is, nothing is found and nothing put back.
async fn a_repository_that_is_being_purged_is_no_fault(stage: &mut Stage) {
    prepare(stage).await;
    let repository = RepositoryId(stage.count("SELECT id FROM repository WHERE name = 'acme/web'").await);
    let lifecycle = Lifecycle::new(stage.content.metadata.clone(), stage.clock.clone(), Duration::from_secs(60));
    let delete = DeleteRepository { name: name("acme/web"), force: Force::No, actor: "ada".to_owned() };
    lifecycle.delete_repository(delete).await.unwrap();
    stage.is_healthy().await;
    let mut steps = 0;
    loop {
        let purge = PurgeRepository { repository, due: RepositoryDue::AtOnce, batch: 1 };
        let step = stage.content.metadata.write(purge).await.unwrap();
        stage.is_healthy().await;
        let (findings, _) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
        assert!(findings.is_empty(), "{step:?}: {findings:#?}");
        if !matches!(step, Step::Removed { .. }) {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10, "tags, histories and manifests, one at a time: {steps}");
    assert_eq!(
        stage
            .count(
                "SELECT count(*) FROM tag_history h JOIN repository r ON r.id = h.repository_id AND r.name = 'acme/web'"
            )
            .await,
        0
    );
}
