//! Who is let in, and what they are told who are not.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use futures_util::{FutureExt, future::BoxFuture};
use registry::access::{Companion, CompanionUnavailable, Exchanged, VerifiedToken};
use serde_json::{Value, json};
use shared::{basic::BasicCredentials, readable::Readable, revocation::Revocation, scope::Scope};

use crate::client::{INDEX, MANIFEST, Registry, Reply, digest, image};

/// Says that everybody may read `acme/**`.
struct Acquaintance;

impl Companion for Acquaintance {
    fn readable<'a>(
        &'a self,
        token: &'a VerifiedToken,
        raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        assert_eq!(token.raw(), raw);
        let readable = json!({"allow": ["acme/**"], "deny": ["acme/secret"]});
        async move { Ok(serde_json::from_value(readable).unwrap()) }.boxed()
    }

    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        _scopes: &'a [Scope],
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        assert_eq!(peer, Some("192.0.2.7".parse().unwrap()));
        let answer = match credentials.password.expose().as_str() {
            "guess" => Ok(Exchanged::Throttled { retry_after: Duration::from_secs(29) }),
            _ => Err(CompanionUnavailable("down".into())),
        };
        async { answer }.boxed()
    }

    fn revocations(&self, _after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

fn on(name: &str, actions: &[&str]) -> Value {
    json!({"type": "repository", "name": name, "actions": actions})
}

fn everything_on(name: &str) -> Value {
    json!([on(name, &["pull", "push", "delete"])])
}

async fn as_alice(registry: &Registry, access: &Value, method: Method, target: &str) -> Reply {
    let bearer = registry.bearer(access);
    registry.send(method, target, &[("authorization", &bearer)], Body::empty()).await
}

#[tokio::test]
async fn strangers_are_told_where_to_get_a_token_for_what() {
    let registry = Registry::guarded(None).await;
    let version = registry.get("/v2/").await;
    assert_eq!(version.refused(), (401, "UNAUTHORIZED".into()));
    let realm = "Bearer realm=\"http://reg.example:5000/token\",service=\"service\"";
    assert_eq!(version.expect("www-authenticate"), realm);
    let mount = format!("/v2/a/blobs/uploads/?mount={}&from=b", digest(b"x"));
    let refused = registry.post(&mount).await;
    assert_eq!(
        refused.expect("www-authenticate"),
        format!("{realm},scope=\"repository:a:pull,push repository:b:pull\"")
    );
    assert_eq!(
        refused.json()["errors"][0]["detail"],
        json!([
            {"Type": "repository", "Class": "", "Name": "a", "Action": "pull"},
            {"Type": "repository", "Class": "", "Name": "a", "Action": "push"},
            {"Type": "repository", "Class": "", "Name": "b", "Action": "pull"},
        ])
    );
    let catalog = registry.get("/v2/_catalog").await;
    assert_eq!(catalog.expect("www-authenticate"), format!("{realm},scope=\"registry:catalog:*\""));
    let bad = registry.get_with("/v2/", &[("authorization", "Bearer nonsense")]).await;
    assert_eq!(bad.expect("www-authenticate"), format!("{realm},error=\"invalid_token\""));
    let little = as_alice(&registry, &json!([on("a", &["pull"])]), Method::POST, &mount).await;
    assert_eq!(little.status, StatusCode::UNAUTHORIZED, "a mount without rights on its source is never 403");
    assert!(little.expect("www-authenticate").ends_with(",error=\"insufficient_scope\""));
    // HEAD is told the same.
    assert_eq!(registry.head("/v2/").await.expect("www-authenticate"), realm);
}

#[tokio::test]
async fn one_authorization_header_at_most() {
    let registry = Registry::guarded(None).await;
    let bearer = registry.bearer(&json!([]));
    let one = registry.get_with("/v2/", &[("authorization", &bearer)]).await;
    assert_eq!(one.status, StatusCode::OK);
    let two = registry.get_with("/v2/", &[("authorization", &bearer), ("authorization", &bearer)]).await;
    assert_eq!(two.refused(), (400, "UNAUTHORIZED".into()));
    let elsewhere = registry.get(&format!("/v2/?token={}", &bearer[7..])).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
}

/// Docker prints what the challenge says, crane what the body says, and a HEAD has no body.
#[tokio::test]
pub(crate) async fn a_refusal_says_what_the_token_says_of_it_and_allows_nothing_by_it() {
    let registry = Registry::guarded(None).await;
    let why = "alice may pull acme/web but not push; nearest: role contributor";
    let short =
        |actions: Value, why: &str| json!([{"type": "repository", "name": "acme/web", "actions": actions, "why": why}]);
    let pull = json!([{"type": "repository", "name": "acme/web", "actions": ["pull"]}]);
    let ask = async |method: Method, target: &str, bearer: &str| {
        registry.send(method, target, &[("authorization", bearer)], Body::empty()).await
    };
    let uploads = "/v2/acme/web/blobs/uploads/";
    let refused = ask(Method::POST, uploads, &registry.bearer_short_of(&pull, &short(json!(["push"]), why))).await;
    assert_eq!(refused.refused(), (401, "UNAUTHORIZED".into()));
    assert_eq!(refused.json()["errors"][0]["message"], why);
    let described = format!(r#"error="insufficient_scope",error_description="{why}""#);
    assert!(refused.header("www-authenticate").unwrap().ends_with(&described));
    let bearer =
        registry.bearer_short_of(&json!([]), &short(json!(["pull"]), "a \"quoted\"\r\nX-Evil: line of \u{fc}ber"));
    let head = ask(Method::HEAD, "/v2/acme/web/manifests/v1", &bearer).await;
    let challenge = head.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(r#",error_description="a 'quoted'X-Evil: line of ?ber""#), "{challenge}");
    assert_eq!((head.status.as_u16(), head.header("x-evil")), (401, None));

    // About another action or another repository it says nothing, and the plain words stand.
    for (target, actions) in [(uploads, json!(["delete"])), ("/v2/acme/api/blobs/uploads/", json!(["push"]))] {
        let plain = ask(Method::POST, target, &registry.bearer_short_of(&pull, &short(actions, why))).await;
        assert_eq!(plain.json()["errors"][0]["message"], "authentication required");
        assert!(!plain.header("www-authenticate").unwrap().contains("error_description"));
    }
    // What is allowed is allowed, whatever is said of it.
    let contradicted = registry.bearer_short_of(&pull, &short(json!(["pull"]), why));
    assert_eq!(ask(Method::GET, "/v2/acme/web/manifests/v1", &contradicted).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
pub(crate) async fn a_robot_limited_to_pr_tags_cannot_push_latest() {
    let registry = Registry::guarded(None).await;
    let limited = json!([{"type": "repository", "name": "acme/web", "actions": ["pull"],
                          "limited": [{"actions": ["push", "delete"], "tags": ["pr-*"]}]}]);
    let bearer = registry.bearer(&limited);
    let send = async |method: Method, target: String, body: String| {
        let headers = [("authorization", bearer.as_str()), ("content-type", MANIFEST)];
        registry.send(method, &target, &headers, Body::from(body)).await
    };
    let config = digest(b"{}");
    let pushed = send(Method::POST, format!("/v2/acme/web/blobs/uploads/?digest={config}"), "{}".into()).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    let document = image(&config, 2, &json!({}));
    let put = async |tag: &str| send(Method::PUT, format!("/v2/acme/web/manifests/{tag}"), document.clone()).await;
    assert_eq!(put("pr-1").await.status, StatusCode::CREATED);
    let refused = put("latest").await;
    assert_eq!(refused.refused(), (403, "DENIED".into()));
    assert_eq!(refused.header("www-authenticate"), None);
    let sentence = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(sentence, "alice may push only tags matching pr-* in acme/web; latest does not match");
    let both = format!("{}?tag=pr-2&tag=latest", digest(document.as_bytes()));
    assert_eq!(put(&both).await.refused(), (403, "DENIED".into()));
    assert_eq!(send(Method::HEAD, "/v2/acme/web/manifests/pr-2".into(), String::new()).await.status, 404);
    let blob = send(Method::DELETE, format!("/v2/acme/web/blobs/{config}"), String::new()).await;
    assert_eq!(blob.refused(), (403, "DENIED".into()));
    let sentence = "alice may delete only tags matching pr-* in acme/web; a blob is not deleted under a limit to tags";
    assert_eq!(blob.json()["errors"][0]["message"], sentence);
    let tag = send(Method::DELETE, "/v2/acme/web/manifests/pr-1".into(), String::new()).await;
    assert_eq!(tag.status, StatusCode::ACCEPTED);
}

#[tokio::test]
pub(crate) async fn the_companion_answers_catalog_and_mounts() {
    let registry = Registry::guarded(Some(Arc::new(Acquaintance))).await;
    let body = b"{}";
    for repository in ["acme/web", "acme/secret", "other"] {
        let bearer = registry.bearer(&everything_on(repository));
        let headers = [("authorization", bearer.as_str()), ("content-type", INDEX)];
        let target = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(body));
        let pushed = registry.send(Method::POST, &target, &headers[..1], Body::from(body.to_vec())).await;
        assert_eq!(pushed.status, StatusCode::CREATED);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).to_string();
        let target = format!("/v2/{repository}/manifests/v1");
        assert_eq!(registry.send(Method::PUT, &target, &headers, Body::from(index)).await.status, StatusCode::CREATED);
    }
    let filtered = json!([{"type": "registry", "name": "catalog", "actions": [],
                           "limited": [{"actions": ["*"], "readable": true}]}]);
    let list = as_alice(&registry, &filtered, Method::GET, "/v2/_catalog").await;
    assert_eq!(list.json(), json!({"repositories": ["acme/web"]}));
    let whole = json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]);
    let list = as_alice(&registry, &whole, Method::GET, "/v2/_catalog").await;
    assert_eq!(list.json(), json!({"repositories": ["acme/secret", "acme/web", "other"]}));

    let mount = format!("/v2/new/blobs/uploads/?mount={}", digest(body));
    let mounted = as_alice(&registry, &everything_on("new"), Method::POST, &mount).await;
    assert_eq!(mounted.status, StatusCode::CREATED);
    let down = registry.get_with("/v2/", &[("authorization", "Basic YWxpY2U6eA==")]).await;
    assert_eq!(down.refused(), (503, "UNAVAILABLE".into()));
    assert!(down.header("retry-after").is_some());
}

#[tokio::test]
async fn a_throttled_password_is_the_senders_fault_and_no_outage() {
    let registry = Registry::guarded(Some(Arc::new(Acquaintance))).await;
    let guess = registry.get_with("/v2/", &[("authorization", "Basic YWxpY2U6Z3Vlc3M=")]).await;
    assert_eq!(guess.refused(), (429, "TOOMANYREQUESTS".into()));
    assert_eq!(guess.expect("retry-after"), "29");
    assert_eq!(guess.header("www-authenticate"), None, "other credentials would not help");
    // Without a number of the log: faults of ours have one.
    let error = json!({"code": "TOOMANYREQUESTS", "message": "too many passwords were tried; try again in 29 s"});
    assert_eq!(guess.json(), json!({ "errors": [error] }));
}

/// T10: no right, no effect.
#[tokio::test]
async fn deleting_needs_its_own_right() {
    let registry = Registry::guarded(None).await;
    let push = json!([on("a", &["pull", "push"])]);
    for target in ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/blobs/{}", digest(b"x"))] {
        assert_eq!(as_alice(&registry, &push, Method::DELETE, &target).await.status, StatusCode::UNAUTHORIZED);
    }
    let started = as_alice(&registry, &push, Method::POST, "/v2/a/blobs/uploads/").await;
    let location = started.expect("location").to_owned();
    let cancelled = as_alice(&registry, &json!([on("a", &["push"])]), Method::DELETE, &location).await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT, "who may push may give up");
}

/// Panics when it is asked, as a fault of ours would.
struct Broken;

impl Companion for Broken {
    fn readable<'a>(
        &'a self,
        _token: &'a VerifiedToken,
        _raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        async { panic!("the secret is 42") }.boxed()
    }

    fn exchange<'a>(
        &'a self,
        _credentials: &'a BasicCredentials,
        _scopes: &'a [Scope],
        _peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        async { panic!("the secret is 42") }.boxed()
    }

    fn revocations(&self, _after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

#[tokio::test]
async fn a_panic_costs_its_own_request_and_tells_its_number_alone() {
    let registry = Registry::guarded(Some(Arc::new(Broken))).await;
    let headers = [("authorization", "Basic YWxpY2U6eA=="), ("x-request-id", "seen-by-a-proxy-1")];
    let failed = registry.get_with("/v2/", &headers).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.expect("x-request-id"), "seen-by-a-proxy-1");
    let expected =
        json!({"errors": [{"code": "UNKNOWN", "message": "unknown error", "detail": {"id": "seen-by-a-proxy-1"}}]});
    assert_eq!(failed.json(), expected);
    let own = registry.get_with("/v2/", &headers[..1]).await;
    assert_eq!(own.json()["errors"][0]["detail"]["id"], own.expect("x-request-id"), "one number, also if it is ours");
    let bearer = registry.bearer(&json!([]));
    assert_eq!(registry.get_with("/v2/", &[("authorization", &bearer)]).await.status, StatusCode::OK);
}
