//! What a repair does about each fault, and what it leaves.

use std::{fs, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    broken::{LOOSE, break_by_hand, empty, found, kinds},
    cases::{CASES, TWICE, prepare},
    dry::examine,
};
use crate::{
    gc::doctor::{Begin, Depth, Mode, Outcome},
    metadata::{fixture::HoldUploads, uploads::UploadId},
    stories::stage::{Stage, digest, on_both},
};

on_both! {
    what_a_repair_can_put_right_is_right_afterwards
    strays_go_to_quarantine_with_a_line_each
    a_blob_that_nobody_holds_goes_to_quarantine
    damaged_bytes_are_marked_and_a_push_heals_them
    bytes_that_are_back_are_readable_again
    an_upload_is_ended_in_its_turn
}

/// Links that expire though a manifest of their repository names their blob.
const EXPIRE_NAMED: &str = "SELECT count(*) FROM link l JOIN blob b ON b.id = l.blob_id WHERE l.expires_at IS NOT NULL AND EXISTS \
    (SELECT 1 FROM manifest_blob n WHERE n.repository_id = l.repository_id AND n.digest = b.digest)";

async fn what_a_repair_can_put_right_is_right_afterwards(stage: &mut Stage) {
    for case in CASES.iter().chain([&TWICE]) {
        empty(stage).await;
        prepare(stage).await;
        break_by_hand(stage, case).await;
        let before = stage.count("SELECT count(*) FROM event").await;
        let (findings, totals) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
        assert_ne!(totals.findings, 0, "{}", case.what);
        assert_eq!(found(stage, Depth::Deep).await, case.left, "{}: {findings:#?}", case.what);
        assert_eq!(stage.count(EXPIRE_NAMED).await, 0, "{}: what a manifest names does not expire", case.what);
        let events = stage.count("SELECT count(*) FROM event").await - before;
        assert_eq!(events.unsigned_abs(), totals.repaired, "{}: each repair is an event", case.what);
        let left =
            findings.iter().filter(|finding| matches!(&finding.outcome, Outcome::Left { left } if !left.is_empty()));
        assert_eq!(left.count() as u64, totals.findings - totals.repaired, "{}: {findings:#?}", case.what);
    }
}

async fn an_upload_is_ended_in_its_turn(stage: &mut Stage) {
    prepare(stage).await;
    stage.tamper_behind("UPDATE upload SET received = 1000").await;
    let id = UploadId::stored(stage.count("SELECT id FROM upload").await);
    let writers = stage.content.metadata.writers().clone();
    let writing = writers.enter(id).await.unwrap();
    let (findings, _) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
    assert_eq!(findings[0].outcome, Outcome::Left { left: "somebody writes it now".to_owned() });
    assert!(!writing.ended().is_cancelled());
    drop(writing);

    // The repair waits for the database: whoever wants to write meanwhile waits for the repair.
    let (held, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let metadata = stage.content.metadata.clone();
    let hold = HoldUploads { held: Arc::clone(&held), go: Arc::clone(&go) };
    let holding = tokio::spawn(async move { metadata.write(hold).await });
    held.notified().await;
    let in_turn = async {
        while !writers.is_busy(id) {
            sleep(Duration::from_millis(1)).await;
        }
        go.notify_one();
    };
    let repair = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside);
    let both = async { tokio::join!(repair, in_turn) };
    let ((findings, _), ()) = timeout(Duration::from_secs(60), both).await.expect("the repair has the upload's turn");
    holding.await.unwrap().unwrap();
    assert!(matches!(findings[0].outcome, Outcome::Repaired { .. }), "{findings:?}");
    stage.is_healthy().await;
}

async fn strays_go_to_quarantine_with_a_line_each(stage: &mut Stage) {
    prepare(stage).await;
    for round in 0..2 {
        fs::write(stage.store_path().join("blobs/ab/0123"), "stray").unwrap();
        let (findings, _) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
        assert_eq!(kinds(&findings), ["stray_bytes"], "{round}");
        stage.is_healthy().await;
    }
    let quarantine = stage.store_path().join("quarantine");
    assert_eq!(fs::read_to_string(quarantine.join("blobs/ab/0123")).unwrap(), "stray");
    assert_eq!(fs::read_to_string(quarantine.join("blobs/ab/0123.1")).unwrap(), "stray", "nothing is written over");
    let list = fs::read_to_string(quarantine.join("LIST")).unwrap();
    let line = format!(" blobs/ab/0123 5 {}", digest(b"stray"));
    assert_eq!(list.lines().filter(|written| written.ends_with(&line)).count(), 2, "{list}");
    assert!(list.starts_with("# Files that"), "{list}");
    let body = stage.texts("SELECT body FROM event WHERE kind = 'repaired'").await;
    assert!(
        body[0].contains("stray_bytes") && body[0].contains("blobs/ab/0123") && body[0].contains("ada"),
        "{body:?}"
    );
}

async fn a_blob_that_nobody_holds_goes_to_quarantine(stage: &mut Stage) {
    prepare(stage).await;
    let key = stage.texts(LOOSE).await.remove(0);
    let orphan = CASES.iter().find(|case| case.what == "a blob without its only link").unwrap();
    break_by_hand(stage, orphan).await;
    examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
    stage.is_healthy().await;
    let aside = fs::read_to_string(stage.store_path().join("quarantine").join(key)).unwrap();
    assert_eq!(aside, "nobody names it");
}

async fn damaged_bytes_are_marked_and_a_push_heals_them(stage: &mut Stage) {
    prepare(stage).await;
    let loose = digest(b"nobody names it");
    fs::write(stage.file(LOOSE).await, "nobody names IT").unwrap();
    assert!(stage.holds("acme/web", &loose).await, "nobody knows yet");
    assert_eq!(found(stage, Depth::Deep).await, ["bytes_differ"]);
    assert!(!stage.holds("acme/web", &loose).await, "a client that asks is told to push");
    assert_eq!(found(stage, Depth::Deep).await, ["bytes_differ"], "it stays until somebody does");
    let (findings, totals) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
    assert_eq!((kinds(&findings), totals.repaired), (vec!["damaged".to_owned()], 0));
    stage.push("acme/web", "nobody names it").await.unwrap();
    stage.is_healthy().await;
    assert_eq!(stage.pull("acme/web", &loose).await.unwrap(), "nobody names it");
}

async fn bytes_that_are_back_are_readable_again(stage: &mut Stage) {
    prepare(stage).await;
    let file = stage.file(LOOSE).await;
    fs::rename(&file, file.with_extension("away")).unwrap();
    let away = ["bytes_missing", "stray_bytes"];
    assert_eq!(found(stage, Depth::Deep).await, away);
    fs::rename(file.with_extension("away"), &file).unwrap();
    assert!(!stage.holds("acme/web", &digest(b"nobody names it")).await);
    assert_eq!(found(stage, Depth::Deep).await, ["sound_again"]);
    assert!(stage.holds("acme/web", &digest(b"nobody names it")).await);
    stage.is_healthy().await;
}
