//! A hundred thousand blobs: a run comes to its end, and writers hardly notice it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{cases::prepare, dry::examine};
use crate::{
    gc::doctor::{Begin, Depth, Mode},
    metadata::fixture::Tamper,
    stories::stage::{Stage, on_both},
};

on_both! { a_hundred_thousand_blobs_hold_nobody_up }

/// Each with a link of one of a hundred repositories, in a store that is not looked at.
const MANY: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO repository (namespace_id, name, created_at)
        SELECT (SELECT id FROM namespace WHERE name = 'acme'), 'acme/many-' || i, 0 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO blob (digest, size, store, storage_key, state, verified_at)
        SELECT 'sha256:0000000000000000000000000000000000000000000000000000000000' || (100000 + i), 3, 'elsewhere', 'many/' || i, 'live', 1
        FROM n;
    INSERT INTO link (repository_id, blob_id, expires_at, leased_until)
        SELECT (SELECT min(id) FROM repository WHERE name LIKE 'acme/many-%') + b.id % 100, b.id, 9000000000, 0 FROM blob b
        WHERE b.store = 'elsewhere';
    INSERT INTO namespace_blob (namespace_id, blob_id, links)
        SELECT (SELECT id FROM namespace WHERE name = 'acme'), id, 1 FROM blob WHERE store = 'elsewhere';
    UPDATE usage SET used = used + 300000 WHERE namespace_id = (SELECT id FROM namespace WHERE name = 'acme')";

/// What a machine that does other things besides may take; on an idle one it is a tenth.
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_WRITE: Duration = Duration::from_secs(2);

async fn a_hundred_thousand_blobs_hold_nobody_up(stage: &mut Stage) {
    prepare(stage).await;
    stage.tamper_behind(MANY).await;
    // As a database does by itself after a while: without statistics PostgreSQL reads whole tables for a page.
    stage.tamper_behind("ANALYZE").await;
    let (metadata, stop) = (stage.content.metadata.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let writer = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while !stopped.is_cancelled() {
            let begun = Instant::now();
            metadata.write(Tamper("UPDATE namespace SET policy = NULL WHERE name = 'acme'")).await.unwrap();
            longest = longest.max(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest
    });
    let begun = Instant::now();
    let (findings, totals) = examine(stage, Depth::Sizes, Mode::Report, Begin::WhereEnded).await;
    let took = begun.elapsed();
    stop.cancel();
    let longest = writer.await.unwrap();
    assert!(findings.is_empty(), "{:?}", &findings[..1]);
    assert!(totals.looked > 300_000, "{totals:?}");
    model::announce(&format!("doctor of {} rows: {took:?}, longest write beside it {longest:?}", totals.looked));
    assert!(took < LONGEST && longest < LONGEST_WRITE, "{took:?}, {longest:?}");
}
