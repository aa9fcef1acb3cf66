//! Where the suite runs: our registry in every arrangement, and a stranger that is known to fall short.

use crate::support::{announce, stock::StockRegistry};

use super::{
    CASES, Suite,
    client::{Client, Login},
    report::Report,
};

const REPOSITORY: &str = "suite/target";
const SOURCE: &str = "suite/source";

/// A suite that could not fail would pass everywhere. Debian's registry is version 2.8.2: no referrers, no single POST,
/// no order of chunks, no sha512, no tags in a query, and 200 or 202 where 416 is due.
#[tokio::test]
#[ignore = "needs docker-registry"]
async fn the_suite_notices_what_a_stock_registry_lacks() {
    let stock = StockRegistry::open_to_all().await;
    let report = walk(Client::new(stock.url().clone(), Login::Anonymous)).await;
    announce(&format!("protocol suite: {} (a stock registry 2.8, for comparison)", report.counts()));
    assert_eq!(report.cases(), CASES, "cases were lost:\n{report}");
    let lacking = [
        ("empty", "referrers"),
        ("sha256 blobs / post only", "blob-post-only"),
        ("sha256 blobs / chunked out-of-order", "blob-patch-chunked"),
        ("sha256 blobs / mount anonymous", "blob-mount"),
        ("sha256 blobs / range requests", "range 5000-10000"),
        ("sha512 blobs / post+put", "blob-head"),
        ("tag-param-sha256 / push", "manifest-by-digest"),
        ("missing-subject / push", "manifest-by-digest"),
        ("sparse / push", "manifest-by-digest"),
        ("image / delete", "tag-delete"),
    ];
    for (group, name) in lacking {
        assert!(report.has_failure(group, name), "{group} … {name} passed against a registry that cannot do it");
    }
    let sound =
        [("ping", "ping"), ("sha256 blobs / post+put", ""), ("sha256 blobs / stream", ""), ("missing-manifest", "")];
    for (group, name) in sound {
        assert!(!report.has_failure(group, name), "{group} … {name} should pass there:\n{report}");
    }
}

async fn walk(client: Client) -> Report {
    Suite::new(client, REPOSITORY, SOURCE).run().await
}
