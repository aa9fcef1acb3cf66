//! The registry's part of the admin API: who gets in, through which door.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use futures_util::{FutureExt, future::BoxFuture};
use registry::{
    access::{Companion, CompanionUnavailable, Exchanged, VerifiedToken},
    http::admin::{Needs, ROUTES, Route},
};
use serde_json::{Value, json};
use shared::{basic::BasicCredentials, listen::Peer, readable::Readable, revocation::Revocation, scope::Scope};

use crate::client::{Registry, Reply};

const ROOT: u32 = 0;
/// Nobody's number in particular, and not the one that runs the tests.
const STRANGER: u32 = 54_321;

/// A route's path with names where it has places for them.
fn target(route: &Route) -> String {
    let path = route.path.replace("{namespace}", "acme");
    let about_a_repository = route.needs == Needs::Reader || !route.path.contains("{namespace}");
    if about_a_repository { format!("{path}?repository=acme/web") } else { path }
}

fn method(route: &Route) -> Method {
    Method::from_bytes(route.method.to_uppercase().as_bytes()).unwrap()
}

async fn bearing(registry: &Registry, route: &Route, authorization: &str) -> Reply {
    registry.send(method(route), &target(route), &[("authorization", authorization)], Body::empty()).await
}

/// What a refused call looks like, whoever makes it.
fn problem(reply: &Reply) -> u16 {
    assert_eq!(reply.expect("content-type"), "application/problem+json", "{}", reply.text());
    assert_eq!(reply.expect("cache-control"), "no-store");
    let status = reply.status.as_u16();
    assert_eq!(reply.json()["status"], status, "{}", reply.text());
    assert!(!reply.json()["detail"].as_str().unwrap().is_empty());
    status
}

#[tokio::test]
async fn nobody_gets_in_without_showing_something() {
    let registry = Registry::guarded(None).await;
    for route in ROUTES {
        let reply = registry.send(method(route), &target(route), &[], Body::empty()).await;
        assert_eq!((problem(&reply), reply.header("www-authenticate")), (401, Some("Bearer")), "{route:?}");
        for rubbish in ["Bearer nonsense", "Bearer no.such.token", "Basic YWRtaW46YWRtaW4=", "Bearer "] {
            assert_eq!(problem(&bearing(&registry, route, rubbish).await), 401, "{route:?} {rubbish}");
        }
    }
    for nowhere in ["/api/v1/registry", "/api/v1/registry/nowhere"] {
        assert_eq!(problem(&registry.get(nowhere).await), 404, "{nowhere}");
    }
}

/// What `docker login` leaves in a file gets a token like this one; it must not administer, whatever its owner may do.
#[tokio::test]
async fn a_token_for_content_does_not_administer() {
    let registry = Registry::guarded(None).await;
    let content = json!([{"type": "repository", "name": "acme/web", "actions": ["pull", "push", "delete"]},
                         {"type": "registry", "name": "catalog", "actions": ["*"]},
                         {"type": "namespace", "name": "other", "actions": ["read", "admin"]}]);
    for route in ROUTES.iter().filter(|route| route.needs != Needs::Reader) {
        let expected = if route.needs == Needs::Namespace { 404 } else { 403 };
        let refused = problem(&bearing(&registry, route, &registry.bearer(&content)).await);
        assert_eq!(refused, expected, "{route:?}");
    }
}

#[tokio::test]
async fn a_token_says_what_its_holder_administers() {
    let registry = Registry::guarded(None).await;
    let waiting = "/api/v1/registry/garbage";
    let as_one_with = async |actions: &[&str]| {
        let bearer = registry.bearer(&json!([{"type": "registry", "name": "system", "actions": actions}]));
        registry.get_with(waiting, &[("authorization", &bearer)]).await
    };
    let reply = as_one_with(&["read"]).await;
    assert_eq!((reply.status, &reply.json()["trash"]), (StatusCode::OK, &json!({"count": 0, "oldest": null})));
    assert_eq!(as_one_with(&["*"]).await.status, StatusCode::OK);
    assert_eq!(problem(&as_one_with(&["admin"]).await), 403, "each action is signed by its name");
}

#[tokio::test]
async fn the_data_directorys_socket_belongs_to_root_and_to_the_servers_user() {
    for registry in [Registry::guarded(None).await, Registry::open().await] {
        let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        for uid in [ROOT, own] {
            let reply = registry.on_the_socket(uid, Method::GET, "/api/v1/registry/garbage", &Value::Null).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        }
    }
    let registry = Registry::guarded(None).await;
    for route in ROUTES {
        let reply = registry.on_the_socket(STRANGER, method(route), &target(route), &json!({})).await;
        assert_eq!(problem(&reply), 401, "{route:?}");
        // Another socket file has proxies at its other end, and who they run as says nothing about their clients.
        let door = (Peer::Unix { uid: ROOT, gid: 0, pid: None }, registry.router());
        let reply = registry.send_from(door, method(route), &target(route), &[], Body::empty()).await;
        assert_eq!(problem(&reply), 401, "{route:?}");
    }
}

/// What is about files of the server's machine is nothing for a credential that travels, whoever's it is.
#[tokio::test]
async fn what_is_local_is_answered_on_the_socket_alone() {
    let registry = Registry::guarded(None).await;
    let bearer = registry.bearer(&json!([{"type": "registry", "name": "system", "actions": ["*"]}]));
    let local: Vec<&Route> = ROUTES.iter().filter(|route| route.needs == Needs::Local).collect();
    assert!(!local.is_empty());
    for route in local {
        let refused = bearing(&registry, route, &bearer).await;
        assert_eq!(problem(&refused), 403, "{route:?}");
        assert!(refused.text().contains("socket"), "{}", refused.text());
        let own = registry.on_the_socket(ROOT, method(route), &target(route), &json!({"target": "relative"})).await;
        assert_eq!(own.status, StatusCode::OK, "{}", own.text());
        assert!(own.text().contains("name the whole path"), "{}", own.text());
    }
}

#[tokio::test]
async fn where_nobody_is_asked_who_they_are_only_the_socket_administers() {
    let registry = Registry::open().await;
    for route in ROUTES {
        let reply = registry.send(method(route), &target(route), &[], Body::empty()).await;
        assert_eq!(problem(&reply), 403, "{route:?}");
        assert!(reply.text().contains("socket"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_body_has_at_most_64_kib() {
    const MOST: usize = 64 * 1024;
    let registry = Registry::open().await;
    // Blanks behind the value are part of the body and of nothing else.
    let value = r#"{"dry_run":true}"#;
    let padded = |bytes: usize| Body::from(format!("{value}{}", " ".repeat(bytes - value.len())));
    let socket = registry.socket_router();
    let send = async |bytes: usize| {
        let door = (Peer::Unix { uid: ROOT, gid: 0, pid: None }, &socket);
        let json = [("content-type", "application/json")];
        registry.send_from(door, Method::POST, "/api/v1/registry/garbage-collect", &json, padded(bytes)).await
    };
    let fits = send(MOST).await;
    assert_eq!(fits.status, StatusCode::OK, "{}", fits.text());
    let larger = send(MOST + 1).await;
    assert_eq!(problem(&larger), 413);
    assert!(larger.text().contains("65536"), "{}", larger.text());
}

/// Whoever writes a program for this API reads the page; a route that is not there does not exist for them.
#[test]
fn every_route_stands_in_the_documentation_and_nothing_else_does() {
    let page = include_str!("../../../docs/api.md");
    let told = |route: &Route| page.lines().any(|line| line.starts_with(&line_of(route)));
    for route in ROUTES {
        assert!(told(route), "docs/api.md has no row that begins {:?}", line_of(route));
    }
    let rows = page.lines().filter(|line| line.starts_with("| `/api/v1/registry/")).count();
    assert_eq!(rows, ROUTES.len(), "docs/api.md has rows for routes that are not there");
}

/// How the row of a route begins in docs/api.md.
fn line_of(route: &Route) -> String {
    format!("| `{}` | {} |", route.path, route.method.to_uppercase())
}

/// Knows one API credential, and asks for what a caller has to prove.
struct Acquaintance {
    token: std::sync::OnceLock<String>,
}

impl Companion for Acquaintance {
    fn readable<'a>(
        &'a self,
        _token: &'a VerifiedToken,
        _raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        async { Err(CompanionUnavailable("not asked in this test".into())) }.boxed()
    }

    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        scopes: &'a [Scope],
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        assert_eq!((credentials.username.as_str(), peer), ("", Some("192.0.2.7".parse().unwrap())));
        assert_eq!(scopes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["registry:system:read"]);
        async {
            match credentials.password.expose().as_str() {
                "prt_pat_known" => Ok(Exchanged::Token(self.token.get().unwrap().clone().into())),
                "prt_pat_down" => Err(CompanionUnavailable("it is down".into())),
                "prt_pat_guess" => Ok(Exchanged::Throttled { retry_after: Duration::from_secs(29) }),
                _ => Ok(Exchanged::Refused),
            }
        }
        .boxed()
    }

    fn revocations(&self, _after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

#[tokio::test]
async fn the_companion_exchanges_an_api_credential() {
    let companion = Arc::new(Acquaintance { token: std::sync::OnceLock::new() });
    let registry = Registry::guarded(Some(companion.clone())).await;
    let bearer = registry.bearer(&json!([{"type": "registry", "name": "system", "actions": ["read"]}]));
    companion.token.set(bearer["Bearer ".len()..].to_owned()).unwrap();
    let with = async |credential: &str| {
        let bearer = format!("Bearer {credential}");
        registry.get_with("/api/v1/registry/garbage", &[("authorization", &bearer)]).await
    };
    assert_eq!(with("prt_pat_known").await.status, StatusCode::OK);
    assert_eq!(problem(&with("prt_pat_unknown").await), 401);
    let down = with("prt_pat_down").await;
    assert_eq!((problem(&down), down.expect("retry-after")), (503, "5"));
    let guess = with("prt_pat_guess").await;
    assert_eq!((problem(&guess), guess.expect("retry-after")), (429, "29"));
}
