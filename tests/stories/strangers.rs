//! Our tokens at a stranger's registry: Debian's `docker-registry` 2.8.2, which knows nothing of limits.

use crate::support::{
    containers::Containers,
    server::{Account, Portreeve},
    stock::StockRegistry,
};

#[tokio::test]
#[ignore = "needs docker-registry, skopeo"]
async fn a_stock_registry_takes_our_tokens() {
    let portreeve = Portreeve::up();
    let stock = StockRegistry::trusting(&portreeve).await;
    let tools = Containers::new();
    let remote = format!("docker://{}", stock.image("acme/web:1"));
    tools.login(stock.url().authority(), &portreeve.admin()).succeeds().await;
    let (layout, digest) = tools.layout();
    // It stores an image of ours under docker's own types or OCI's; skopeo asks for what it has.
    tools.skopeo(&["copy", &layout, &remote]).succeeds().await;
    tools.skopeo(&["inspect", &remote]).succeeds().await.says(&digest);

    let stranger = Containers::new();
    stranger.login(stock.url().authority(), &Account::new("admin", "wrong")).fails().await;
    stranger.skopeo(&["inspect", &remote]).fails().await;
}
