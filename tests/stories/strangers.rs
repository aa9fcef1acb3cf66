//! Our tokens at a stranger's registry, which knows nothing of limits. Debian's 2.8.2 here; the present release, which
//! Go builds, tells the same stories in `needs_go::distribution`.

use super::robots::robot_for_pull_requests;
use crate::support::{
    containers::Containers,
    server::{Account, Portreeve},
    stock::{Edition, StockRegistry},
};

#[tokio::test]
#[ignore = "needs docker-registry, skopeo"]
async fn a_stock_registry_takes_our_tokens() {
    takes_our_tokens(Edition::Two).await;
}

/// A registry that does not know limits must not be talked into ignoring them.
#[tokio::test]
#[ignore = "needs docker-registry, skopeo"]
async fn a_stock_registry_refuses_every_push_of_a_limited_robot() {
    refuses_every_push_of_a_limited_robot(Edition::Two).await;
}

pub(super) async fn takes_our_tokens(edition: Edition) {
    let portreeve = Portreeve::up();
    let stock = StockRegistry::trusting(&portreeve, edition).await;
    let tools = Containers::new();
    let remote = format!("docker://{}", stock.image("acme/web:1"));
    tools.login(stock.url().authority(), &portreeve.admin()).succeeds().await;
    let (layout, digest) = tools.layout();
    // It stores an image of ours under docker's own types or OCI's; skopeo asks for what it has.
    tools.skopeo(&["copy", &layout, &remote]).succeeds().await;
    tools.skopeo(&["inspect", &remote]).succeeds().await.says(&digest);

    let stranger = Containers::new();
    stranger
        .login(stock.url().authority(), &Account::new("admin", "wrong"))
        .fails()
        .await
        .says("invalid username/password");
    stranger.skopeo(&["inspect", &remote]).fails().await.says("authentication required");
}

pub(super) async fn refuses_every_push_of_a_limited_robot(edition: Edition) {
    let portreeve = Portreeve::up();
    let robot = robot_for_pull_requests(&portreeve).await;
    let stock = StockRegistry::trusting(&portreeve, edition).await;
    let (admin, tools) = (Containers::new(), Containers::new());
    let remote = |tag: &str| format!("docker://{}", stock.image(&format!("acme/web:{tag}")));
    admin.login(stock.url().authority(), &portreeve.admin()).succeeds().await;
    admin.skopeo(&["copy", &admin.layout().0, &remote("v1")]).succeeds().await;

    tools.login(stock.url().authority(), &robot).succeeds().await;
    for tag in ["latest", "pr-123"] {
        let refused = tools.skopeo(&["copy", &tools.layout().0, &remote(tag)]).fails().await;
        refused.says("initiating layer upload").says("authentication required");
    }
    // It is the limit that the stranger refuses, not the robot: pulls are never limited.
    tools.skopeo(&["inspect", &remote("v1")]).succeeds().await;
}
