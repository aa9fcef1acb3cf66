//! A run that only looks changes nothing: not a row, not a byte.

use std::fs;

use super::cases::{CASES, prepare};
use crate::{
    gc::doctor::{Begin, Depth, Event, Finding, Mode, Order, Rate, Totals},
    stories::stage::{Stage, on_both},
};

on_both! {
    a_run_that_only_looks_leaves_every_row_and_every_byte_as_they_are
    a_deep_run_writes_down_what_it_found_and_nothing_else
}

/// Runs, and gives what it found.
pub(super) async fn examine(stage: &Stage, depth: Depth, mode: Mode, begin: Begin) -> (Vec<Finding>, Totals) {
    let order = Order { depth, mode, begin, rate: Rate::ALL, actor: "ada".to_owned() };
    let (listener, mut told) = tokio::sync::mpsc::channel(10_000);
    let never = tokio_util::sync::CancellationToken::new();
    let totals = stage.doctor().examine(order, listener, &never).await.unwrap();
    let mut findings = Vec::new();
    while let Some(event) = told.recv().await {
        if let Event::Finding(finding) = event {
            findings.push(*finding);
        }
    }
    (findings, totals)
}

/// Breaks a little of everything.
async fn prepare_broken(stage: &Stage) {
    prepare(stage).await;
    for case in
        CASES.iter().filter(|case| ["used bytes", "a tag at nothing", "a link that cannot expire"].contains(&case.what))
    {
        stage.tamper_behind(case.sql).await;
    }
    fs::write(stage.file(super::broken::LOOSE).await, "nobody names IT").unwrap();
    fs::write(stage.store_path().join("blobs/ab/0123"), "stray").unwrap();
}

async fn a_run_that_only_looks_leaves_every_row_and_every_byte_as_they_are(stage: &mut Stage) {
    prepare_broken(stage).await;
    let before = (stage.rows().await, stage.bytes());
    assert!(before.0["blob"].len() > 3 && before.1.len() > 3);
    let (findings, _) = examine(stage, Depth::Sizes, Mode::Report, Begin::WhereEnded).await;
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert!((stage.rows().await, stage.bytes()) == before);
    assert_eq!(stage.count("SELECT count(*) FROM examination").await, 1, "but for how far it has come");
}

async fn a_deep_run_writes_down_what_it_found_and_nothing_else(stage: &mut Stage) {
    prepare_broken(stage).await;
    let (mut before, bytes) = (stage.rows().await, stage.bytes());
    let (findings, _) = examine(stage, Depth::Deep, Mode::Report, Begin::WhereEnded).await;
    assert_eq!(findings.len(), 5, "{findings:?}");
    let mut after = stage.rows().await;
    assert!(before.remove("blob") != after.remove("blob"));
    assert!(after == before && stage.bytes() == bytes);
    assert_eq!(stage.texts("SELECT digest FROM blob WHERE state = 'damaged'").await.len(), 1);
}
