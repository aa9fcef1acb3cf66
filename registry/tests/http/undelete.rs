//! What was deleted, listed and brought back by administrators.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::client::{MANIFEST, Registry, Reply, image};

const ROOT: u32 = 0;
const HISTORY: &str = "/api/v1/registry/tags/history?repository=acme/web&tag=v1";

async fn with_a_window() -> Registry {
    Registry::with(json!({"portreeve": {"undelete": "168h"}}), None).await
}

async fn post(registry: &Registry, what: &str, body: Value) -> Reply {
    let target = format!("/api/v1/registry/{what}:restore?repository=acme/web");
    registry.on_the_socket(ROOT, Method::POST, &target, &body).await
}

#[tokio::test]
async fn a_manifest_comes_back_as_it_was() {
    let registry = with_a_window().await;
    let (digest, document) = registry.push_image("acme/web", "v1").await;
    let target = format!("/v2/acme/web/manifests/{digest}");
    assert_eq!(registry.delete(&target).await.status, StatusCode::ACCEPTED);
    assert_eq!(registry.get("/v2/acme/web/manifests/v1").await.status, StatusCode::NOT_FOUND);
    let reply = post(&registry, "manifests", json!({"digest": digest, "tags": true})).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.json(), json!({"repository": "acme/web", "digest": digest, "tags": ["v1"]}));
    assert_eq!(registry.get("/v2/acme/web/manifests/v1").await.text(), document);
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let registry = with_a_window().await;
    let (old, _) = registry.push_image("acme/web", "v1").await;
    registry.delete(&format!("/v2/acme/web/manifests/{old}")).await;
    let config = registry.push_blob("acme/web", b"another").await;
    let another = image(&config, 7, &json!({}));
    registry.put_manifest("/v2/acme/web/manifests/v1", MANIFEST, &another).await;
    let refused = post(&registry, "manifests", json!({"digest": old, "tags": true})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("the tag v1 points at sha256:"), "{}", refused.text());
    assert_eq!(post(&registry, "tags", json!({"tag": "v1"})).await.status, StatusCode::CONFLICT);
    let forced = post(&registry, "tags", json!({"tag": "v1", "version": 1, "force": true})).await;
    assert_eq!(forced.json()["digest"], old.to_string(), "{}", forced.text());
    let never = format!("sha256:{}", "0".repeat(64));
    for (what, body, status) in [
        ("manifests", json!({"digest": never}), 404),
        ("manifests", json!({"digest": "rubbish"}), 400),
        ("manifests", json!({}), 400),
        ("manifests", json!({"digest": never, "also": 1}), 400),
        ("tags", json!({"tag": "v2"}), 404),
        ("tags", json!({"tag": "v1", "version": 9}), 404),
        ("tags", json!({"tag": "v1", "version": 2}), 400),
        ("tags", json!({"tag": "v1", "version": "1"}), 400),
    ] {
        let refused = post(&registry, what, body.clone()).await;
        assert_eq!(refused.status.as_u16(), status, "{what} {body}: {}", refused.text());
    }
}

#[tokio::test]
async fn a_history_is_read_a_page_at_a_time() {
    let registry = with_a_window().await;
    let (digest, document) = registry.push_image("acme/web", "v1").await;
    for _ in 0..2 {
        registry.delete("/v2/acme/web/manifests/v1").await;
        registry.put_manifest("/v2/acme/web/manifests/v1", MANIFEST, &document).await;
    }
    let read = async |more: &str| {
        let reply = registry.on_the_socket(ROOT, Method::GET, &format!("{HISTORY}{more}"), &Value::Null).await;
        (reply.status.as_u16(), if reply.status == StatusCode::OK { reply.json() } else { Value::Null })
    };
    let versions = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|step| step["version"].as_i64().unwrap()).collect()
    };
    let (_, all) = read("").await;
    assert_eq!((versions(&all), &all["next"]), (vec![5, 4, 3, 2, 1], &Value::Null));
    let newest = json!({"version": 5, "digest": digest, "at": "2026-01-01T00:00:00Z", "actor": "anonymous", "manifest": "living"});
    assert_eq!(all["items"][0], newest);
    assert_eq!((&all["items"][1]["digest"], &all["items"][1]["manifest"]), (&Value::Null, &json!("gone")));
    let (_, first) = read("&limit=2").await;
    assert_eq!((versions(&first), &first["next"]), (vec![5, 4], &json!("4")));
    let (_, last) = read("&limit=3&after=4").await;
    assert_eq!((versions(&last), &last["next"]), (vec![3, 2, 1], &Value::Null), "there is nothing behind the first");
    let (fits, whole) = read("&limit=500").await;
    assert_eq!((fits, versions(&whole)), (200, vec![5, 4, 3, 2, 1]));
    for strange in ["&limit=0", "&limit=501", "&limit=x", "&after=x", "&before=1"] {
        assert_eq!(read(strange).await.0, 400, "{strange}");
    }
}

/// Whoever pulls may know what a tag pointed at; who pushed it, whoever sees the namespace.
#[tokio::test]
async fn a_history_tells_names_to_those_who_see_the_namespace() {
    let registry = Registry::guarded(None).await;
    let push = registry.bearer(&json!([{"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}]));
    registry.push_image_with(&[("authorization", &push)], "acme/web", "v1").await;
    for (access, status, actor) in [
        (json!({"type": "repository", "name": "acme/web", "actions": ["pull"]}), 200, Value::Null),
        (json!({"type": "repository", "name": "acme/other", "actions": ["pull"]}), 404, Value::Null),
        (json!({"type": "repository", "name": "acme/web", "actions": ["delete"]}), 404, Value::Null),
        (json!({"type": "namespace", "name": "acme", "actions": ["read"]}), 200, json!("alice")),
        (json!({"type": "namespace", "name": "other", "actions": ["read"]}), 404, Value::Null),
        (json!({"type": "registry", "name": "system", "actions": ["read"]}), 200, json!("alice")),
    ] {
        let bearer = registry.bearer(&json!([access]));
        let reply = registry.get_with(HISTORY, &[("authorization", &bearer)]).await;
        assert_eq!(reply.status.as_u16(), status, "{access}");
        if status == 200 {
            assert_eq!(reply.json()["items"][0]["actor"], actor, "{access}");
        }
    }
}

/// To restore is the namespace's administrators' alone.
#[tokio::test]
async fn whoever_may_push_may_not_restore() {
    let registry = Registry::guarded(None).await;
    let body = json!({"tag": "v1"}).to_string();
    for (resource, name, actions, status) in [
        ("repository", "acme/web", json!(["pull", "push", "delete"]), 404),
        ("namespace", "acme", json!(["read"]), 404),
        ("namespace", "other", json!(["read", "admin"]), 404),
        ("namespace", "acme", json!(["admin"]), 404),
        ("registry", "system", json!(["admin"]), 404),
    ] {
        let bearer = registry.bearer(&json!([{"type": resource, "name": name, "actions": actions}]));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let target = "/api/v1/registry/tags:restore?repository=acme/web";
        let reply = registry.send(Method::POST, target, &headers, body.clone().into()).await;
        assert_eq!(reply.status.as_u16(), status);
        let may = reply.text().contains("never had a tag v1");
        assert_eq!(may, actions == json!(["admin"]), "{resource} {name} {actions}: {}", reply.text());
    }
}

#[tokio::test]
async fn a_repository_goes_and_comes_back() {
    let registry = with_a_window().await;
    let (_, document) = registry.push_image("acme/web", "v1").await;
    let on_the_socket = async |method: Method, target: &str, body: Value| {
        registry.on_the_socket(ROOT, method, &format!("/api/v1/registry/{target}"), &body).await
    };
    let gone = on_the_socket(Method::DELETE, "repositories?name=acme/web", Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text());
    for target in ["/v2/acme/web/manifests/v1", "/v2/acme/web/tags/list"] {
        assert_eq!(registry.get(target).await.status, StatusCode::NOT_FOUND, "{target}");
    }
    let list = on_the_socket(Method::GET, "namespaces/acme/deleted", Value::Null).await.json();
    let one = &list["items"][0];
    assert_eq!(
        (&one["kind"], &one["repository"], &one["deleted_by"]),
        (&json!("repository"), &json!("acme/web"), &json!("local"))
    );
    assert_eq!((&one["deleted_at"], &one["until"]), (&json!("2026-01-01T00:00:00Z"), &json!("2026-01-08T00:00:00Z")));

    registry.push_image("acme/web", "v2").await;
    let taken = on_the_socket(Method::POST, "repositories:restore?name=acme/web", json!({})).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert!(taken.text().contains("there is a repository acme/web again"), "{}", taken.text());
    let wanted = json!({"id": one["id"], "force": true});
    let back = on_the_socket(Method::POST, "repositories:restore?name=acme/web", wanted).await;
    assert_eq!((back.status, back.json()), (StatusCode::OK, json!({"repository": "acme/web", "id": one["id"]})));
    assert_eq!(registry.get("/v2/acme/web/manifests/v1").await.text(), document);
    for (method, target, body, status) in [
        (Method::DELETE, "repositories?name=acme/never", Value::Null, 404),
        (Method::DELETE, "repositories", Value::Null, 400),
        (Method::DELETE, "repositories?name=acme/web&all=true", Value::Null, 400),
        (Method::POST, "repositories:restore?name=acme/web", json!({"id": 4711}), 404),
        (Method::POST, "repositories:restore?name=acme/web", json!({"id": one["id"]}), 404),
        (Method::GET, "namespaces/acme/deleted?after=rubbish", Value::Null, 400),
        (Method::GET, "namespaces/acme/deleted?limit=0", Value::Null, 400),
    ] {
        let refused = on_the_socket(method.clone(), target, body).await;
        assert_eq!(refused.status.as_u16(), status, "{method} {target}: {}", refused.text());
    }
}

/// `push` and `delete` are about what is in a repository; the repository itself is the namespace's administrators'.
#[tokio::test]
async fn whoever_may_delete_images_may_not_delete_repositories() {
    let registry = Registry::guarded(None).await;
    for (resource, name, actions, deletes, lists) in [
        ("repository", "acme/web", json!(["pull", "push", "delete"]), 404, 404),
        ("namespace", "acme", json!(["read"]), 404, 200),
        ("namespace", "other", json!(["read", "admin"]), 404, 404),
        ("namespace", "acme", json!(["admin"]), 404, 404),
        ("registry", "system", json!(["read", "admin"]), 404, 200),
    ] {
        let bearer = registry.bearer(&json!([{"type": resource, "name": name, "actions": actions}]));
        let headers = [("authorization", bearer.as_str())];
        let target = "/api/v1/registry/repositories?name=acme/web";
        let reply = registry.send(Method::DELETE, target, &headers, Body::empty()).await;
        assert_eq!(reply.status.as_u16(), deletes);
        // Who may is told what is not there; all others hear what everybody hears.
        let may = reply.text().contains("there is no repository acme/web");
        assert_eq!(
            may,
            name != "other" && actions.as_array().unwrap().contains(&json!("admin")),
            "{resource} {name} {actions}"
        );
        let list = registry.get_with("/api/v1/registry/namespaces/acme/deleted", &headers).await;
        assert_eq!(list.status.as_u16(), lists, "{resource} {name} {actions}");
    }
}

/// Whoever administers a namespace brings back what was deleted there, with a credential that travels. To the administrators of another one nothing of
/// it exists: what they are answered is, byte for byte, what they are answered about what was never there, and it changes nothing.
#[tokio::test]
pub(crate) async fn a_namespaces_administrators_bring_back_what_was_deleted() {
    let settings =
        json!({"auth": {"token": {"issuer": "issuer", "service": "service"}}, "portreeve": {"undelete": "168h"}});
    let registry = Registry::with(settings, None).await;
    let bearer = |kind: &str, name: &str, actions: &[&str]| {
        registry.bearer(&json!([{"type": kind, "name": name, "actions": actions}]))
    };
    let content = bearer("repository", "acme/web", &["pull", "push", "delete"]);
    let (own, foreign) = (bearer("namespace", "acme", &["admin"]), bearer("namespace", "other", &["read", "admin"]));
    let call = async |shown: &str, (method, what): (&Method, &str), repository: &str, body: &Value| {
        let target = format!("/api/v1/registry/{what}{}name={repository}", if what.contains('?') { '&' } else { '?' });
        let headers = [("authorization", shown), ("content-type", "application/json")];
        registry.send(method.clone(), &target, &headers, body.to_string().into()).await
    };
    let pulls = async || registry.get_with("/v2/acme/web/manifests/v1", &[("authorization", &content)]).await.status;
    let removed = async |reference: &str| {
        let target = format!("/v2/acme/web/manifests/{reference}");
        registry.send(Method::DELETE, &target, &[("authorization", &content)], Body::empty()).await.status
    };
    let (image, _) = registry.push_image_with(&[("authorization", &content)], "acme/web", "v1").await;

    for (reference, method, what, body) in [
        (Some("v1"), Method::POST, "tags:restore", json!({"tag": "v1"})),
        (Some(&*image.to_string()), Method::POST, "manifests:restore", json!({"digest": image, "tags": true})),
        (None, Method::DELETE, "repositories", Value::Null),
        (None, Method::POST, "repositories:restore", json!({})),
    ] {
        if let Some(reference) = reference {
            assert_eq!(removed(reference).await, StatusCode::ACCEPTED);
        }
        let before = pulls().await;
        let refused = call(&foreign, (&method, what), "acme/web", &body).await;
        let missing = call(&foreign, (&method, what), "acme/never", &body).await;
        let seen = |reply: &Reply| {
            let mut headers = reply.headers.clone();
            headers.remove("x-request-id");
            (reply.status, headers, reply.text())
        };
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{what}");
        assert_eq!(seen(&refused), seen(&missing), "{what}");
        assert_eq!(pulls().await, before, "{what}: nothing happened");
        let done = call(&own, (&method, what), "acme/web", &body).await;
        assert!(done.status.is_success(), "{what}: {}", done.text());
        let now = if method == Method::DELETE { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(pulls().await, now, "{what}");
    }
    let steps = registry.get_with(HISTORY, &[("authorization", &bearer("namespace", "acme", &["read"]))]).await.json();
    let actors: Vec<&Value> = steps["items"].as_array().unwrap().iter().map(|step| &step["actor"]).collect();
    assert_eq!(actors, [&json!("alice"); 5], "{steps}");
}
