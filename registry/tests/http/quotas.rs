//! Quotas, as administrators set them and clients meet them.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::client::{MANIFEST, Registry, Reply, image};

const QUOTA: &str = "/api/v1/registry/namespaces/acme/quota";
const LIST: &str = "/api/v1/registry/namespaces";
const ROOT: u32 = 0;

async fn set(registry: &Registry, quota: &Value) -> Reply {
    registry.on_the_socket(ROOT, Method::PUT, QUOTA, quota).await
}

async fn start(registry: &Registry) -> Reply {
    registry.send(Method::POST, "/v2/acme/web/blobs/uploads/", &[], Body::empty()).await
}

#[tokio::test]
async fn a_push_over_the_quota_is_told_what_is_used() {
    let registry = Registry::open().await;
    let reply = set(&registry, &json!({"bytes": 10})).await;
    let standing = json!({"namespace": "acme", "bytes": {"quota": 10, "used": 0, "reserved": 0},
                          "tags": {"quota": null, "used": 0}, "repositories": {"quota": null, "used": 0}});
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, standing));
    registry.push_blob("acme/web", b"12345").await;

    let digest = shared::digest::Digest::of(shared::digest::Algorithm::Sha256, b"abcdef");
    let whole = format!("/v2/acme/web/blobs/uploads/?digest={digest}");
    let refused = registry.send(Method::POST, &whole, &[("content-length", "6")], Body::from("abcdef")).await;
    assert_eq!(refused.refused(), (403, "DENIED".to_owned()));
    let error = &refused.json()["errors"][0];
    assert_eq!(error["message"], "over the quota of namespace acme: of 10 B, 5 B are used; 6 B more do not fit");
    let detail = json!({"namespace": "acme", "of": "bytes", "quota": 10, "used": 5, "reserved": 0, "asked": 6});
    assert_eq!(error["detail"], detail);
    assert_eq!(refused.header("www-authenticate"), None, "another token would not help");

    let upload = start(&registry).await.expect("location").to_owned();
    let chunk = registry.send(Method::PATCH, &upload, &[], Body::from("abcdef")).await;
    assert_eq!(chunk.refused(), (403, "DENIED".to_owned()));
    let gone = registry.send(Method::PATCH, &upload, &[], Body::from("a")).await;
    assert_eq!(gone.refused(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    let upload = start(&registry).await.expect("location").to_owned();
    let last = registry.send(Method::PUT, &format!("{upload}?digest={digest}"), &[], Body::from("abcdef")).await;
    assert_eq!(last.refused(), (403, "DENIED".to_owned()));

    set(&registry, &json!({"bytes": 5})).await;
    assert_eq!(start(&registry).await.refused(), (403, "DENIED".to_owned()));
    let elsewhere = registry.push_blob("other/web", b"mount me").await;
    let mount = format!("/v2/acme/web/blobs/uploads/?mount={elsewhere}&from=other/web");
    let refused = registry.send(Method::POST, &mount, &[], Body::empty()).await;
    assert_eq!(refused.refused(), (403, "DENIED".to_owned()));
}

#[tokio::test]
async fn tags_and_repositories_are_bounded_at_the_manifest() {
    let registry = Registry::open().await;
    let (_, document) = registry.push_image("acme/web", "v1").await;
    set(&registry, &json!({"tags": 1})).await;
    let put = async |target: &str| registry.put_manifest(target, MANIFEST, &document).await;
    let refused = put("/v2/acme/web/manifests/v2").await;
    assert_eq!(refused.refused(), (403, "DENIED".to_owned()));
    let detail = json!({"namespace": "acme", "of": "tags", "quota": 1, "used": 1, "reserved": 0, "asked": 1});
    assert_eq!(refused.json()["errors"][0]["detail"], detail);
    set(&registry, &json!({"tags": null, "repositories": 1})).await;
    assert_eq!(put("/v2/acme/web/manifests/v2").await.status, StatusCode::CREATED);
    let refused = registry.send(Method::POST, "/v2/acme/api/blobs/uploads/", &[], Body::empty()).await;
    assert_eq!(refused.refused(), (403, "DENIED".to_owned()));
    assert_eq!(refused.json()["errors"][0]["detail"]["of"], "repositories");
    let config = registry.push_blob("other/web", b"config").await;
    let other = registry.put_manifest("/v2/other/web/manifests/v1", MANIFEST, &image(&config, 6, &json!({}))).await;
    assert_eq!(other.status, StatusCode::CREATED, "another namespace has its own: {}", other.text());
}

#[tokio::test]
async fn what_is_not_named_stays_and_nonsense_is_refused() {
    let registry = Registry::open().await;
    set(&registry, &json!({"bytes": 7, "tags": 2})).await;
    let reply = set(&registry, &json!({"tags": null, "repositories": 3})).await.json();
    let quotas = [&reply["bytes"]["quota"], &reply["tags"]["quota"], &reply["repositories"]["quota"]];
    assert_eq!(quotas, [&json!(7), &Value::Null, &json!(3)]);
    for nonsense in [
        json!({}),
        json!({"bytes": -1}),
        json!({"bytes": "10GiB"}),
        json!({"bytes": 1.5}),
        json!({"bytes": 9_223_372_036_854_775_808_u64}),
        json!({"byte": 1}),
    ] {
        assert_eq!(set(&registry, &nonsense).await.status, StatusCode::BAD_REQUEST, "{nonsense}");
    }
    for name in ["ACME", "a%2Fb", "a..b", "%FF"] {
        let path = format!("/api/v1/registry/namespaces/{name}/quota");
        let reply = registry.on_the_socket(ROOT, Method::PUT, &path, &json!({"bytes": 1})).await;
        assert_eq!(reply.expect("content-type"), "application/problem+json", "{name}");
        assert!(reply.status.is_client_error(), "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn namespaces_are_listed_a_page_at_a_time() {
    let registry = Registry::open().await;
    for namespace in ["c", "a", "b"] {
        registry.push_blob(&format!("{namespace}/web"), namespace.as_bytes()).await;
    }
    let list =
        async |query: &str| registry.on_the_socket(ROOT, Method::GET, &format!("{LIST}{query}"), &Value::Null).await;
    let page = list("?limit=2").await.json();
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["namespace"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&page), &page["next"]), (vec!["a".to_owned(), "b".to_owned()], &json!("b")));
    assert_eq!(page["items"][0]["bytes"], json!({"quota": null, "used": 1, "reserved": 0}));
    let rest = list("?limit=2&after=b").await.json();
    assert_eq!((names(&rest), rest.get("next")), (vec!["c".to_owned()], None));
    for fits in ["?limit=1", "?limit=500"] {
        assert_eq!(list(fits).await.status, StatusCode::OK, "{fits}");
    }
    for nonsense in ["?limit=0", "?limit=501", "?page=2"] {
        assert_eq!(list(nonsense).await.status, StatusCode::BAD_REQUEST, "{nonsense}");
    }
}

/// A namespace's administrator sees the bound and does not lift it.
#[tokio::test]
async fn only_a_system_administrator_sets_a_quota() {
    let registry = Registry::guarded(None).await;
    let as_one_with = async |access: Value, method: Method, target: &str| {
        let bearer = registry.bearer(&json!([access]));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if method == Method::PUT { Body::from(r#"{"bytes": 1}"#) } else { Body::empty() };
        registry.send(method, target, &headers, body).await.status.as_u16()
    };
    let system = |actions: &[&str]| json!({"type": "registry", "name": "system", "actions": actions});
    let namespace = |name: &str, actions: &[&str]| json!({"type": "namespace", "name": name, "actions": actions});
    for (access, read, write, list) in [
        (system(&["*"]), 200, 200, 200),
        (system(&["read"]), 200, 403, 200),
        (namespace("acme", &["read", "admin"]), 200, 403, 403),
        (namespace("acme", &["read"]), 200, 403, 403),
        (namespace("other", &["read", "admin"]), 404, 403, 403),
    ] {
        assert_eq!(as_one_with(access.clone(), Method::GET, QUOTA).await, read, "{access}");
        assert_eq!(as_one_with(access.clone(), Method::PUT, QUOTA).await, write, "{access}");
        assert_eq!(as_one_with(access.clone(), Method::GET, LIST).await, list, "{access}");
    }
}
