//! Each fault by itself.

use std::fs;

use super::cases::{CASES, Case, TWICE, prepare};
use crate::{
    gc::doctor::{Depth, Finding},
    metadata::examine::fault::Fault,
    stories::stage::{Stage, digest, name, on_both},
};
use shared::database::Dialect;

on_both! {
    every_broken_row_is_found_and_nothing_else
    two_rows_of_a_digest_are_found
    bytes_that_are_gone_too_few_or_others_are_found
    a_damaged_blob_is_told_until_it_is_pushed_again
    bytes_that_no_row_knows_are_found
    a_disk_that_is_away_is_no_word_about_a_blob
    what_memory_answers_is_compared
}

/// The names of what was found.
pub(super) fn kinds(findings: &[Finding]) -> Vec<String> {
    let name = |finding: &Finding| {
        let told = serde_json::to_value(finding).unwrap();
        assert!(!told["sentence"].as_str().unwrap().is_empty());
        told["fault"].as_str().unwrap().to_owned()
    };
    let mut kinds: Vec<String> = findings.iter().map(name).collect();
    kinds.sort();
    kinds
}

pub(super) async fn found(stage: &Stage, depth: Depth) -> Vec<String> {
    kinds(&stage.doctor().findings(depth).await.unwrap())
}

pub(super) async fn break_by_hand(stage: &Stage, case: &Case) {
    let sql = match stage.content.metadata.dialect() {
        Dialect::Sqlite => case.sql,
        Dialect::Postgres => case.postgres.unwrap_or(case.sql),
    };
    stage.tamper_behind(sql).await;
    forget(stage);
}

/// What was remembered before is another test's.
fn forget(stage: &Stage) {
    stage.content.metadata.blobs().forget_all();
    stage.content.metadata.manifests().answers.forget_all();
}

/// Takes everything away: a stage of its own for each case would cost more than the case.
pub(super) async fn empty(stage: &Stage) {
    let tables = stage.tables().await;
    let clear: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
    stage.tamper_behind(&clear.join("; ")).await;
    forget(stage);
    for directory in fs::read_dir(stage.store_path().join("blobs")).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

async fn every_broken_row_is_found_and_nothing_else(stage: &mut Stage) {
    for case in CASES {
        empty(stage).await;
        prepare(stage).await;
        stage.is_healthy().await;
        break_by_hand(stage, case).await;
        for depth in [Depth::Sizes, Depth::Deep] {
            assert_eq!(found(stage, depth).await, case.finds, "{}", case.what);
        }
    }
}

async fn two_rows_of_a_digest_are_found(stage: &mut Stage) {
    prepare(stage).await;
    break_by_hand(stage, &TWICE).await;
    assert_eq!(found(stage, Depth::Deep).await, TWICE.finds);
}

pub(super) const LOOSE: &str = "SELECT storage_key FROM blob WHERE size = 15";

async fn bytes_that_are_gone_too_few_or_others_are_found(stage: &mut Stage) {
    prepare(stage).await;
    let file = stage.file(LOOSE).await;
    fs::write(&file, "nobody names IT").unwrap();
    assert_eq!(found(stage, Depth::Sizes).await, [""; 0], "sizes do not tell");
    for other in ["nobody", "nobody names it at all"] {
        fs::write(&file, other).unwrap();
        assert_eq!(found(stage, Depth::Sizes).await, ["bytes_wrong_size"]);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(found(stage, Depth::Sizes).await, ["bytes_missing"]);
    let layer = stage.file("SELECT storage_key FROM blob WHERE size = 7").await;
    fs::remove_file(&layer).unwrap();
    let findings = stage.doctor().findings(Depth::Deep).await.unwrap();
    assert_eq!(kinds(&findings), ["bytes_missing", "bytes_missing"]);
    assert_eq!(found(stage, Depth::Sizes).await, ["damaged", "damaged"], "now it is written down");
    let layer = findings.iter().find(|finding| finding.sentence.contains("named by")).unwrap();
    assert!(layer.sentence.contains("acme/web:latest") && layer.sentence.contains("other/tool:v1"), "{layer:?}");
}

async fn a_damaged_blob_is_told_until_it_is_pushed_again(stage: &mut Stage) {
    prepare(stage).await;
    let file = stage.file(LOOSE).await;
    fs::remove_file(&file).unwrap();
    stage.tamper_behind("UPDATE blob SET state = 'damaged' WHERE size = 15").await;
    stage.content.metadata.blobs().forget_all();
    assert_eq!(found(stage, Depth::Sizes).await, ["damaged"]);
    assert!(!stage.holds("acme/web", &digest(b"nobody names it")).await);
    stage.push("acme/web", "nobody names it").await.unwrap();
    stage.is_healthy().await;
}

async fn a_disk_that_is_away_is_no_word_about_a_blob(stage: &mut Stage) {
    prepare(stage).await;
    let (blobs, away) = (stage.store_path().join("blobs"), stage.store_path().join("away"));
    fs::rename(&blobs, &away).unwrap();
    stage.doctor().findings(Depth::Deep).await.unwrap_err();
    // Where the disk is mounted on `blobs`, what is there without it is an empty directory.
    fs::create_dir(&blobs).unwrap();
    let findings = stage.doctor().findings(Depth::Deep).await.unwrap();
    assert!(findings.iter().any(|finding| matches!(finding.fault, Fault::BytesMissing(_))), "{findings:?}");
    fs::remove_dir(&blobs).unwrap();
    fs::rename(&away, &blobs).unwrap();
    stage.is_healthy().await;
}

async fn bytes_that_no_row_knows_are_found(stage: &mut Stage) {
    prepare(stage).await;
    fs::write(stage.store_path().join("blobs/ab/0123"), "stray").unwrap();
    let findings = stage.doctor().findings(Depth::Sizes).await.unwrap();
    assert_eq!(kinds(&findings), ["stray_bytes"]);
    assert_eq!(findings[0].sentence, "key blobs/ab/0123: 5 bytes that no row knows");
}

/// Beside PostgreSQL nothing is remembered that could be wrong.
async fn what_memory_answers_is_compared(stage: &mut Stage) {
    prepare(stage).await;
    assert!(stage.holds("acme/web", &digest(b"config 1")).await);
    let tagged = crate::content::fixture::tag("v1").into();
    stage.content.manifest(&name("acme/web"), &tagged, crate::content::Promise::Nothing).await.unwrap();
    stage.is_healthy().await;
    stage.tamper_behind("UPDATE repository SET name = 'acme/renamed' WHERE name = 'acme/web'").await;
    let expected: &[&str] = match stage.content.metadata.dialect() {
        Dialect::Sqlite => &["remembered_wrongly", "remembered_wrongly"],
        Dialect::Postgres => &[],
    };
    assert_eq!(found(stage, Depth::Sizes).await, expected);
}
