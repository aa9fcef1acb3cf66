//! What must not be lost: tags that stay where they are, and what comes back after it was deleted, as skopeo and the command line see it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    apart::{as_account, pull, push},
    lifecycle::Api,
};
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

/// Over the network, with the credentials of those to whom it is delegated. What another namespace's administrator is told of it is what is told of nothing.
#[tokio::test]
async fn a_namespaces_administrator_deletes_and_restores() {
    let portreeve = Portreeve::up();
    let (mut clients, mut apis) = (Vec::new(), Vec::new());
    for (user, namespace) in [("ada", "acme"), ("bob", "other")] {
        portreeve.private_namespace(namespace).await;
        let account = portreeve.person(user).await;
        portreeve.grant(&account, namespace, "admin", None).await;
        clients.push(as_account(&portreeve, &account));
        apis.push(Api::of_user(&portreeve, user, "write").await);
    }
    let (client, own, foreign) = (&clients[0], &apis[0], &apis[1]);
    assert_eq!(push(client, "acme/web", "v1").await, 201);
    let image = digest(client, "v1").await;
    assert_eq!(delete(client, "v1").await, 202);
    for (method, path, body, there) in [
        (Method::POST, "tags:restore?repository=", json!({"tag": "v1"}), 200),
        (Method::POST, "manifests:restore?repository=", json!({"digest": image}), 200),
        (Method::DELETE, "repositories?name=", Value::Null, 404),
        (Method::POST, "repositories:restore?name=", json!({}), 200),
    ] {
        let path = |repository: &str| format!("/api/v1/registry/{path}{repository}");
        let before = pull(client, "acme/web/manifests/v1").await;
        let refused = foreign.send(method.clone(), &path("acme/web"), &body).await;
        assert_eq!(refused.0, 404, "{}", refused.1);
        assert_eq!(refused, foreign.send(method.clone(), &path("acme/never"), &body).await);
        assert_eq!(pull(client, "acme/web/manifests/v1").await, before);
        let (status, answer) = own.send(method, &path("acme/web"), &body).await;
        assert!(status.is_success(), "{status} {answer}");
        assert_eq!(pull(client, "acme/web/manifests/v1").await, there);
    }
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
