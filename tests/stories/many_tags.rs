//! A repository with a hundred thousand tags: what a preview and a run of its rules hold in memory.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::apart::{as_account, push};
use crate::support::{
    announce,
    program::Outcome,
    server::{Launch, Portreeve},
};

const TAGS: u64 = 100_000;

/// How much more the server may hold at any moment. All of the tags at once, with what rules decide by, are some sixty MiB.
const MEMORY_KIB: u64 = 32 * 1024;

/// All but the newest thousand, and of those that are left what is older than ten years.
const RULES: &str = r#"{"rules": [{"name": "old", "expire": {"tags": "build-*", "not_pushed_for": "3650d"}},
    {"keep": {"tags": "build-*", "newest": 1000}}, {"keep": {"semver": "*", "newest": 1000}}]}"#;

/// Tags of what `latest` points at, somewhat more than ten years of builds, the last one now.
async fn make_tags(portreeve: &Portreeve) {
    let file = SqliteConnectOptions::new().filename(portreeve.data().join("registry.db"));
    let mut database = SqliteConnection::connect_with(&file).await.unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                  INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) \
                  SELECT t.repository_id, 'build-' || (100000 + n.i), t.manifest_id, 1, t.updated_at - (100000 - n.i) * 3200000000 \
                  FROM tag t CROSS JOIN n WHERE t.name = 'latest'";
    assert_eq!(sqlx::query(insert).execute(&mut database).await.unwrap().rows_affected(), TAGS);
    database.close().await.unwrap();
}

/// What comes of it, and the most that the server held of its own meanwhile, in KiB. (Pages of files that it reads are the kernel's.)
async fn watched(portreeve: &Portreeve, work: impl Future<Output = Outcome>) -> (Outcome, u64) {
    let (mut work, mut most) = (Box::pin(work), 0);
    loop {
        most = most.max(portreeve.memory("RssAnon"));
        tokio::select! {
            outcome = &mut work => return (outcome, most),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_over_a_hundred_thousand_tags_hold_a_page_at_a_time() {
    let mut portreeve = Launch::up().quiet().start();
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "latest").await, 201);
    let file = portreeve.data().join("rules.json");
    std::fs::write(&file, RULES).unwrap();
    let lifecycle =
        |portreeve: &Portreeve, words: &[&str]| portreeve.command(&[&["registry", "lifecycle"], words].concat());
    lifecycle(&portreeve, &["set", "acme", file.to_str().unwrap()]).succeeds().await;
    assert!(portreeve.stop().success());
    make_tags(&portreeve).await;
    portreeve.start_again();

    let before = portreeve.memory("RssAnon");
    let begun = Instant::now();
    let (preview, previewing) = watched(&portreeve, lifecycle(&portreeve, &["preview", "acme"]).succeeds()).await;
    preview.says("acme/web:build-100001 by old (acme): pushed at ");
    let previewed = begun.elapsed();
    let (run, running) = watched(&portreeve, lifecycle(&portreeve, &["run", "acme", "--json"]).succeeds()).await;
    let done: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(done["looked"], TAGS + 1, "{done}");
    let expired = done["expired"].as_u64().unwrap();
    assert!((1..TAGS / 10).contains(&expired), "{done}");
    let [previewing, running] = [previewing, running].map(|most| most.saturating_sub(before));
    announce(&format!(
        "{} tags: previewed in {} ms with {previewing} KiB more memory, {expired} of them gone in {} ms with {running} KiB",
        TAGS + 1,
        previewed.as_millis(),
        (begun.elapsed() - previewed).as_millis(),
    ));
    assert!(previewing.max(running) < MEMORY_KIB, "{previewing} and {running} KiB more than {before}");
}
