//! A run that only looks changes nothing: not a row, not a byte.

use std::{collections::BTreeMap, fs, path::Path};

use shared::{
    database::Dialect,
    digest::{Algorithm, Digest},
};

use super::cases::{CASES, prepare};
use crate::{
    gc::doctor::{Begin, Depth, Event, Finding, Mode, Order, Rate, Totals},
    stories::stage::{Stage, on_both},
};

on_both! {
    a_run_that_only_looks_leaves_every_row_and_every_byte_as_they_are
    a_deep_run_writes_down_what_it_found_and_nothing_else
}

/// Every table but the one that says how far the doctor has come, and that of the migrations.
pub(super) async fn tables(stage: &Stage) -> Vec<String> {
    let select = match stage.content.metadata.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Dialect::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
    };
    let all = stage.texts(select).await;
    all.into_iter().filter(|name| name != "examination" && !name.starts_with("_sqlx")).collect()
}

/// What every table holds.
async fn rows(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for table in tables(stage).await {
        let row = match stage.content.metadata.dialect() {
            Dialect::Postgres => "t::text".to_owned(),
            Dialect::Sqlite => {
                let columns = format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')");
                stage.texts(columns.leak()).await.join(" || ',' || ")
            }
        };
        let select = format!("SELECT {row} FROM {table} AS t ORDER BY 1");
        rows.insert(table, stage.texts(select.leak()).await);
    }
    rows
}

/// What every file below a directory hashes to.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            let digest = Digest::of(Algorithm::Sha256, &fs::read(&path).unwrap());
            files.insert(path.display().to_string(), digest.to_string());
        }
    }
    files
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
    let before = (rows(stage).await, files(&stage.store_path()));
    assert!(before.0["blob"].len() > 3 && before.1.len() > 3);
    let (findings, _) = examine(stage, Depth::Sizes, Mode::Report, Begin::WhereEnded).await;
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert!((rows(stage).await, files(&stage.store_path())) == before);
    assert_eq!(stage.count("SELECT count(*) FROM examination").await, 1, "but for how far it has come");
}

async fn a_deep_run_writes_down_what_it_found_and_nothing_else(stage: &mut Stage) {
    prepare_broken(stage).await;
    let (mut before, bytes) = (rows(stage).await, files(&stage.store_path()));
    let (findings, _) = examine(stage, Depth::Deep, Mode::Report, Begin::WhereEnded).await;
    assert_eq!(findings.len(), 5, "{findings:?}");
    let mut after = rows(stage).await;
    assert!(before.remove("blob") != after.remove("blob"));
    assert!(after == before && files(&stage.store_path()) == bytes);
    assert_eq!(stage.texts("SELECT digest FROM blob WHERE state = 'damaged'").await.len(), 1);
}
