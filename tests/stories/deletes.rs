//! Who may delete, and where nobody may (T10); rights that ended with their namespace (T23).

use reqwest::Method;
use serde_json::json;

use super::apart::{as_account, bearing, pull, push, until};
use crate::{
    protocol::{
        client::{Client, Login},
        samples::{Algorithm, Blob},
    },
    support::server::{Account, Launch, Portreeve, written},
};

/// The tag, the manifest and the blob of `acme/web:v1`, as paths to delete.
async fn everything(client: &Client) -> [String; 3] {
    assert_eq!(push(client, "acme/web", "v1").await, 201);
    let manifest = client.request(Method::HEAD, "acme/web/manifests/v1").send().await.unwrap();
    let digest = manifest.header("docker-content-digest").unwrap().to_owned();
    let blob = Blob::of(Algorithm::Sha256, "{}").digest;
    ["manifests/v1".to_owned(), format!("manifests/{digest}"), format!("blobs/{blob}")]
        .map(|rest| format!("acme/web/{rest}"))
}

async fn delete(client: &Client, path: &str) -> u16 {
    client.request(Method::DELETE, path).send().await.unwrap().status
}

/// T10: other registries looked at the switch for digests and forgot it for tags.
#[tokio::test]
async fn t10_with_deletes_off_nothing_is_deleted_by_anybody() {
    for switch in ["", ", delete: {enabled: false}"] {
        let registry = Launch::command(|data| {
            let root = data.join("storage").display().to_string();
            let config = format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}{switch}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\nauth: none\n"
            );
            ["registry", "serve", &written(data, "config.yml", &config)].map(str::to_owned).to_vec()
        })
        .start();
        let anybody = Client::new(registry.url().clone(), Login::Open);
        for path in everything(&anybody).await {
            assert_eq!(delete(&anybody, &path).await, 405, "{path}");
        }
        assert_eq!(pull(&anybody, "acme/web/manifests/v1").await, 200);
    }
}

#[tokio::test]
async fn t10_whoever_may_push_may_not_delete_for_it() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let admin = as_account(&portreeve, &portreeve.admin());
    let paths = everything(&admin).await;
    let robot = portreeve.robot("acme", "ci").await;
    portreeve.grant(&robot, "acme/**", "pull,push", None).await;
    let client = as_account(&portreeve, &robot);
    for path in &paths {
        assert_eq!(delete(&client, path).await, 401, "{path}: the token that is given does not have it");
        assert_eq!(delete(&Client::new(portreeve.url().clone(), Login::Anonymous), path).await, 401, "{path}");
    }
    assert_eq!(pull(&client, "acme/web/manifests/v1").await, 200);
    for path in &paths[..2] {
        assert_eq!(delete(&admin, path).await, 202, "{path}");
    }
}

async fn token(portreeve: &Portreeve, account: &Account, scope: &str) -> String {
    let url = portreeve.url().join("/token").unwrap();
    let request = reqwest::Client::new().get(url).query(&[("service", "portreeve"), ("scope", scope)]);
    let answer = request.basic_auth(&account.name, Some(&account.secret)).send().await.unwrap();
    let answer: serde_json::Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// T23: a namespace of the same name is another one, and what was given in the first is not given in it.
#[tokio::test]
async fn t23_a_namespace_that_comes_again_brings_no_old_rights() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    portreeve.private_namespace("other").await;
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    let alice = portreeve.person("alice").await;
    portreeve.grant(&alice, "acme/**", "pull,push", None).await;
    portreeve.grant(&alice, "other/**", "pull,push", None).await;
    let old = token(&portreeve, &alice, "repository:acme/web:pull,push").await;
    assert_eq!(bearing(&portreeve, &old, "/v2/acme/web/manifests/v1").await, 200);

    let made = portreeve.auth(&["token", "create", "--user", "admin", "--api", "write"]).await;
    let remove = reqwest::Client::new().delete(portreeve.url().join("/api/v1/namespaces/acme").unwrap());
    let removed = remove.bearer_auth(made["secret"].as_str().unwrap()).send().await.unwrap();
    assert!(removed.status().is_success(), "{}", removed.status());
    until(401, async || bearing(&portreeve, &old, "/v2/acme/web/manifests/v1").await).await;

    portreeve.private_namespace("acme").await;
    assert_eq!(bearing(&portreeve, &old, "/v2/acme/web/manifests/v1").await, 401, "the old token stays dead");
    let new = token(&portreeve, &alice, "repository:acme/web:pull,push").await;
    assert_eq!(bearing(&portreeve, &new, "/v2/acme/web/manifests/v1").await, 401, "a new one opens nothing");
    let hers = portreeve.auth(&["grant", "list", "--subject", "alice"]).await;
    assert_eq!(hers["items"].as_array().map(Vec::len), Some(1), "{hers}");
    assert_eq!(hers["items"][0]["namespace"], json!("other"));

    // Nor is the source of a mount looked at less than a pull.
    let blob = Blob::of(Algorithm::Sha256, "{}").digest;
    let client = as_account(&portreeve, &alice);
    for (from, expected) in [(Some("acme/web"), 401), (None, 202)] {
        let mount = client.request(Method::POST, "other/web/blobs/uploads/").query("mount", &blob);
        let mount = if let Some(from) = from { mount.query("from", from) } else { mount };
        assert_eq!(mount.send().await.unwrap().status, expected, "{from:?}");
    }
    // Whoever administers everything still does.
    assert_eq!(pull(&as_account(&portreeve, &portreeve.admin()), "acme/web/manifests/v1").await, 200);
}
