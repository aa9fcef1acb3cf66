//! Tags that stay where they are, as administrators and clients see them.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{MANIFEST, Registry, Reply, image};

const RULES: &str = "/api/v1/registry/namespaces/acme/immutable";
const ROOT: u32 = 0;

async fn set(registry: &Registry, rules: Value) -> Reply {
    registry.on_the_socket(ROOT, Method::PUT, RULES, &json!({ "rules": rules })).await
}

#[tokio::test]
async fn a_client_is_told_which_rule_keeps_the_tag() {
    let registry = Registry::open().await;
    let (digest, document) = registry.push_image("acme/web", "v1").await;
    let releases = json!([{"name": "releases", "tags": ["v*"], "except": ["*-rc*"]}]);
    let reply = set(&registry, releases.clone()).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({ "rules": releases })));

    let again = registry.put_manifest("/v2/acme/web/manifests/v1", MANIFEST, &document).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.text());
    let config = registry.push_blob("acme/web", b"another").await;
    let another = image(&config, 7, &json!({}));
    let refused = registry.put_manifest("/v2/acme/web/manifests/v1", MANIFEST, &another).await;
    assert_eq!(refused.refused(), (403, "DENIED".to_owned()));
    let sentence = format!(
        "the tag v1 in acme/web is immutable by rule \"releases\" (v*, but not *-rc*) of acme: it stays at {digest}"
    );
    assert_eq!(refused.json()["errors"][0]["message"], sentence);
    assert_eq!(refused.header("www-authenticate"), None, "another token would not help");
    for target in ["/v2/acme/web/manifests/v1".to_owned(), format!("/v2/acme/web/manifests/{digest}")] {
        assert_eq!(registry.delete(&target).await.refused(), (403, "DENIED".to_owned()), "{target}");
    }
    for free in ["latest", "v1-rc1", "v2"] {
        let pushed = registry.put_manifest(&format!("/v2/acme/web/manifests/{free}"), MANIFEST, &another).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{free}: {}", pushed.text());
    }
}

#[tokio::test]
async fn an_administrator_forces_a_tag_out() {
    let registry = Registry::open().await;
    registry.push_image("acme/web", "v1").await;
    set(&registry, json!([{"name": "releases", "tags": ["v*"]}])).await;
    let delete = async |query: &str| {
        let target = format!("/api/v1/registry/tags?repository=acme/web&{query}");
        registry.on_the_socket(ROOT, Method::DELETE, &target, &Value::Null).await
    };
    let kept = delete("tag=v1").await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    assert!(kept.text().contains("immutable by rule"), "{}", kept.text());
    for (query, status) in
        [("", 400), ("tag=a/b", 400), ("tag=v1&force=maybe", 400), ("tag=v1&all=true", 400), ("tag=v2", 404)]
    {
        assert_eq!(delete(query).await.status.as_u16(), status, "{query}");
    }
    assert_eq!(delete("tag=v1&force=true").await.status, StatusCode::NO_CONTENT);
    assert_eq!(registry.get("/v2/acme/web/manifests/v1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn rules_with_a_fault_change_nothing_and_the_fault_is_placed() {
    let registry = Registry::open().await;
    let before = json!([{"name": "releases", "tags": ["v*"]}]);
    set(&registry, before.clone()).await;
    let faulty = json!([{"name": "all", "tags": ["*"]}, {"name": "releases", "tags": ["v*", "pr-[0-9]"]}]);
    let refused = set(&registry, faulty).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("rules[1].tags[1]: character 4, '[', cannot stand in a tag pattern"), "{detail}");
    for strange in [json!({}), json!({"rules": [], "more": 1}), json!([]), json!({"rules": [{"name": "a"}]})] {
        let refused = registry.on_the_socket(ROOT, Method::PUT, RULES, &strange).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{strange}");
    }
    let shown = registry.on_the_socket(ROOT, Method::GET, RULES, &Value::Null).await;
    assert_eq!(shown.json()["rules"], before);
    for target in ["/api/v1/registry/namespaces/acme%2Fweb/immutable", "/api/v1/registry/namespaces/A/immutable"] {
        let nowhere = registry.on_the_socket(ROOT, Method::GET, target, &Value::Null).await;
        assert_eq!(nowhere.status, StatusCode::NOT_FOUND, "{target}");
    }
}

/// To look, who may see the namespace; to change, who administers it.
#[tokio::test]
async fn rules_are_the_namespaces_administrators() {
    let registry = Registry::guarded(None).await;
    let as_one_with = async |method: Method, resource: &str, name: &str, action: &str| {
        let bearer = registry.bearer(&json!([{"type": resource, "name": name, "actions": [action]}]));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if method == Method::PUT { r#"{"rules":[]}"# } else { "" };
        registry.send(method, RULES, &headers, body.into()).await.status.as_u16()
    };
    for (resource, name, action, looks, changes) in [
        ("namespace", "acme", "read", 200, 404),
        ("namespace", "acme", "admin", 404, 200),
        ("namespace", "other", "admin", 404, 404),
        ("registry", "system", "read", 200, 404),
        ("registry", "system", "admin", 404, 200),
        ("repository", "acme/web", "pull", 404, 404),
    ] {
        let found = [Method::GET, Method::PUT].map(|method| as_one_with(method, resource, name, action));
        let [look, change] = found;
        assert_eq!((look.await, change.await), (looks, changes), "{resource} {name} {action}");
    }
    let tag = "/api/v1/registry/tags?repository=acme/web&tag=v1&force=true";
    for (name, action, status) in [("acme", "read", 404), ("other", "admin", 404), ("acme", "admin", 404)] {
        let bearer = registry.bearer(&json!([{"type": "namespace", "name": name, "actions": [action]}]));
        let reply = registry.send(Method::DELETE, tag, &[("authorization", &bearer)], "".into()).await;
        assert_eq!(reply.status.as_u16(), status, "nothing is there, and nobody is told");
    }
}
