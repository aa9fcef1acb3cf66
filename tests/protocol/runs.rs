//! Where the suite runs: our registry in every arrangement, and a stranger that is known to fall short.

use crate::support::{
    announce,
    postgres::Schemas,
    server::{Launch, Portreeve, written},
    stock::StockRegistry,
};

use super::{
    CASES, Suite,
    client::{Client, Login},
    report::Report,
};

const REPOSITORY: &str = "suite/target";
const SOURCE: &str = "suite/source";

#[tokio::test]
async fn every_case_passes_with_tokens_on_sqlite() {
    let portreeve = with_tokens().start();
    every_case_passes(admin(&portreeve), "sqlite, with tokens").await;
}

#[tokio::test]
async fn every_case_passes_anonymously_on_sqlite() {
    let portreeve = open_to_all().start();
    every_case_passes(nobody(&portreeve), "sqlite, anonymous").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_case_passes_with_tokens_on_postgres() {
    let schemas = Schemas::new();
    let portreeve = schemas.for_auth(schemas.for_registry(with_tokens())).start();
    every_case_passes(admin(&portreeve), "postgres, with tokens").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_case_passes_anonymously_on_postgres() {
    let portreeve = Schemas::new().for_registry(open_to_all()).start();
    every_case_passes(nobody(&portreeve), "postgres, anonymous").await;
}

async fn every_case_passes(client: Client, arrangement: &str) {
    let report = walk(client).await;
    announce(&format!("protocol suite: {} ({arrangement})", report.counts()));
    assert_eq!(report.failed(), 0, "{report}");
    assert_eq!(report.cases(), CASES, "cases were lost or added");
}

/// Both services. The sparse cases push images that lack a layer: `references` must be lenient.
fn with_tokens() -> Launch {
    Launch::up().env("REGISTRY_PORTREEVE_REFERENCES", "lenient")
}

/// The registry alone, asking nobody who they are.
fn open_to_all() -> Launch {
    Launch::command(|data| {
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\nportreeve: {{references: lenient}}\n",
            data.join("storage").display(),
        );
        ["registry".to_owned(), "serve".to_owned(), written(data, "config.yml", &config)].to_vec()
    })
}

fn admin(portreeve: &Portreeve) -> Client {
    let admin = portreeve.admin();
    Client::new(portreeve.url().clone(), Login::Account { user: admin.name, password: admin.secret })
}

fn nobody(portreeve: &Portreeve) -> Client {
    Client::new(portreeve.url().clone(), Login::Anonymous)
}

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
