//! A namespace with many tags: pages and batches, and how long each holds its locks.

use std::time::Instant;

use model::announce;

use super::*;
use crate::{
    lifecycle::{Lifecycle, quotas::Count},
    metadata::fixture::Tamper,
};

on_both! { a_hundred_thousand_tags_are_judged_a_page_at_a_time }

/// Two thousand tags of one image, `pr-10001` to `pr-12000`, pushed a minute apart, the last one now.
pub(super) async fn many_tags(fixture: &Fixture, repository: &str) {
    fixture.push_image(repository, "latest", "config").await;
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                  INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) \
                  SELECT t.repository_id, 'pr-' || (kind.k * 10000 + n.i), t.manifest_id, 1, t.updated_at - (2000 - n.i) * CAST(60000000 AS BIGINT) \
                  FROM tag t CROSS JOIN n CROSS JOIN (SELECT 1 AS k UNION ALL SELECT 2) AS kind WHERE t.name = 'latest'";
    fixture.content.metadata.write(Tamper(insert)).await.unwrap();
}

const TAGS: u64 = 100_000;

fn counted(counted: u64, more: bool) -> Count {
    Count { counted, more }
}

async fn a_hundred_thousand_tags_are_judged_a_page_at_a_time(fixture: &Fixture) {
    let expiry = expiry(fixture);
    fixture.push_image("acme/web", "latest", "config").await;
    // An hour apart: some four years of builds.
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                  INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) \
                  SELECT t.repository_id, 'build-' || (100000 + n.i), t.manifest_id, 1, t.updated_at - (100000 - n.i) * 3600000000 \
                  FROM tag t CROSS JOIN n WHERE t.name = 'latest'";
    fixture.content.metadata.write(Tamper(insert)).await.unwrap();
    let lifecycle = Lifecycle::new(fixture.content.metadata.clone(), fixture.clock.clone(), WINDOW);
    let shown = lifecycle.standing(&name("acme")).await.unwrap();
    assert_eq!(
        (shown.tags, shown.repositories),
        (counted(TAGS, true), counted(1, false)),
        "nobody counts on for a look"
    );
    let listed = lifecycle.standings("", 10).await.unwrap();
    assert_eq!(listed[0].tags, counted(1_000, true), "and less for each of many");
    // All but the newest thousand of those that are older than 98,000 hours.
    let rules = json!([{"expire": {"tags": "build-*", "not_pushed_for": "3650d"}}, {"keep": {"tags": "build-*", "newest": 1000}}]);
    set(&expiry, &acme(), rules).await;
    let began = Instant::now();
    let progress = run(&expiry).await;
    let took = began.elapsed();
    let expected = TAGS - 3650 * 24;
    assert_eq!((progress.looked, progress.expired, progress.moved), (TAGS + 1, expected, 0));
    let waited = began_beside(fixture, &expiry).await;
    announce(&format!(
        "lifecycle on {:?}: {} tags ranked and judged, {expected} expired in {} ms; a push beside a run of {} tags waited {} ms at most",
        fixture.content.metadata.dialect(),
        TAGS + 1,
        took.as_millis(),
        waited.0,
        waited.1.as_millis()
    ));
}

/// Pushes beside a run that deletes, and how long the slowest of them took.
async fn began_beside(fixture: &Fixture, expiry: &Expiry) -> (u64, Duration) {
    set(expiry, &acme(), json!([{"expire": {"tags": "build-*", "not_pushed_for": "3500d"}}])).await;
    let begun = expiry.begin(&name("acme"), "ada", None).await.unwrap();
    let running = tokio::spawn(async move { begun.go(&CancellationToken::new()).await });
    let (mut slowest, mut pushes) = (Duration::ZERO, 0_u32);
    while !running.is_finished() {
        let began = Instant::now();
        fixture.push_image("acme/api", &format!("v{pushes}"), "config").await;
        slowest = slowest.max(began.elapsed());
        pushes += 1;
    }
    let progress = running.await.unwrap().unwrap();
    assert!(pushes > 1, "nobody pushed beside it");
    (progress.expired, slowest)
}
