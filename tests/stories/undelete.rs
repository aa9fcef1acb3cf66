//! What must not be lost: tags that stay where they are, and what comes back after it was deleted, as skopeo and the command line see it.

use reqwest::Method;
use serde_json::{Value, json};

use super::apart::{as_account, pull, push};
use crate::{
    protocol::client::Client,
    support::{
        containers::Containers,
        program::Outcome,
        server::{Portreeve, written},
    },
};

async fn run(portreeve: &Portreeve, arguments: &[&str]) -> Outcome {
    portreeve.command(&[&["registry"], arguments].concat()).succeeds().await
}

async fn answer(portreeve: &Portreeve, arguments: &[&str]) -> Value {
    let outcome = run(portreeve, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"))
}

async fn digest(client: &Client, tag: &str) -> String {
    let head = client.request(Method::HEAD, &format!("acme/web/manifests/{tag}")).send().await.unwrap();
    head.header("docker-content-digest").unwrap().to_owned()
}

async fn delete(client: &Client, reference: &str) -> u16 {
    client.request(Method::DELETE, &format!("acme/web/manifests/{reference}")).send().await.unwrap().status
}

/// Every command once beside the server, and once where none runs.
#[tokio::test]
async fn what_was_deleted_comes_back_by_command() {
    let mut portreeve = Portreeve::up();
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    let image = digest(&admin, "v1").await;
    assert_eq!(delete(&admin, &image).await, 202);
    let listed = answer(&portreeve, &["deleted", "acme"]).await;
    assert_eq!(
        (&listed["items"][0]["digest"], &listed["items"][0]["tags"]),
        (&json!(image), &json!(["v1"])),
        "{listed}"
    );
    run(&portreeve, &["deleted", "acme"]).await.says(&format!("manifest acme/web@{image} (v1): deleted "));
    let restore = run(&portreeve, &["manifest", "restore", "acme/web", &image, "--tags"]).await;
    restore.says(&format!("restored acme/web:v1 at {image}"));
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);

    assert_eq!(delete(&admin, "v1").await, 202);
    run(&portreeve, &["tag", "history", "acme/web", "v1"]).await.says("4 ").says(" deleted by admin");
    run(&portreeve, &["tag", "restore", "acme/web", "v1"]).await.says(&format!("restored acme/web:v1 at {image}"));
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);

    run(&portreeve, &["repository", "delete", "acme/web"]).await.says("deleted acme/web");
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 404);
    assert!(portreeve.stop().success());
    run(&portreeve, &["repository", "restore", "acme/web"]).await.says("restored acme/web");
    let history = answer(&portreeve, &["tag", "history", "acme/web", "v1"]).await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(5), "{history}");
    assert_eq!((&history["items"][0]["actor"], &history["items"][4]["actor"]), (&json!("local"), &json!("admin")));
    portreeve.start_again();
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);
    let nothing = portreeve.command(&["registry", "repository", "restore", "acme/web"]).fails().await;
    nothing.says("there is no deleted repository acme/web that can come back");
}

/// skopeo prints why, as it stands.
#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_is_told_which_rule_keeps_a_tag() {
    let portreeve = Portreeve::up();
    let tools = Containers::new();
    tools.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let (layout, image) = tools.layout();
    let remote = |name: &str| format!("docker://{}", portreeve.image(name));
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    let kept = digest(&admin, "v1").await;
    let rules = json!({"rules": [{"name": "releases", "tags": ["v*"], "except": ["*-rc*"]}]});
    let file = written(tools.home(), "rules.json", &rules.to_string());
    run(&portreeve, &["immutable", "set", "acme", &file]).await.says("releases: v*, but not *-rc* in all of acme");
    assert_eq!(answer(&portreeve, &["immutable", "show", "acme"]).await, rules);

    let sentence = format!(
        "the tag v1 in acme/web is immutable by rule \"releases\" (v*, but not *-rc*) of acme: it stays at {kept}"
    );
    // skopeo's log line quotes the sentence.
    let quoted = sentence.replace('"', "\\\"");
    tools.skopeo(&["copy", &layout, &remote("acme/web:v1")]).fails().await.says(&quoted);
    tools.skopeo(&["delete", &remote("acme/web:v1")]).fails().await.says("is immutable by rule");
    for free in ["v1-rc1", "v2"] {
        tools.skopeo(&["copy", &layout, &remote(&format!("acme/web:{free}"))]).succeeds().await;
    }
    tools.skopeo(&["copy", &layout, &remote("acme/web:v2")]).succeeds().await;
    tools.skopeo(&["inspect", &remote("acme/web:v2")]).succeeds().await.says(&image);

    let refused = portreeve.command(&["registry", "tag", "delete", "acme/web", "v1"]).fails().await;
    refused.says("is immutable by rule");
    run(&portreeve, &["tag", "delete", "acme/web", "v1", "--force"]).await.says("deleted acme/web:v1");
    tools.skopeo(&["copy", &layout, &remote("acme/web:v1")]).succeeds().await;
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_pulls_what_came_back() {
    let portreeve = Portreeve::up();
    let tools = Containers::new();
    tools.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let (layout, image) = tools.layout();
    let remote = format!("docker://{}", portreeve.image("acme/web:v1"));
    let copy = format!("oci:{}:back", tools.home().join("back").display());
    tools.skopeo(&["copy", &layout, &remote]).succeeds().await;
    tools.skopeo(&["delete", &remote]).succeeds().await;
    tools.skopeo(&["copy", &remote, &copy]).fails().await;
    run(&portreeve, &["tag", "restore", "acme/web", "v1"]).await.says(&image);
    tools.skopeo(&["copy", &remote, &copy]).succeeds().await;
    run(&portreeve, &["repository", "delete", "acme/web"]).await;
    tools.skopeo(&["copy", &remote, &copy]).fails().await;
    run(&portreeve, &["repository", "restore", "acme/web"]).await;
    tools.skopeo(&["copy", &remote, &copy]).succeeds().await;
    tools.skopeo(&["inspect", &remote]).succeeds().await.says(&image);
}
