//! The table of routes, walked by everybody: what each may call answers, and what they may not tells nothing, not even whether it is there.

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode},
};
use registry::http::admin::{Needs, ROUTES, Route};
use serde_json::{Value, json};
use shared::listen::Peer;

use crate::client::{Registry, Reply};

/// A member that no body knows.
const STRANGE: &str = "nobody_knows_this";

/// Somebody who calls, and what that token says they may.
struct Role {
    name: &'static str,
    /// None shows nothing.
    access: Option<Value>,
    /// Whether that is to pull from `acme/web`.
    pulls: bool,
    /// Whether it is to look at the namespace `acme`, and to administer it.
    acme: (bool, bool),
    /// Whether it is to look at the system, and to administer it.
    system: (bool, bool),
}

const NOTHING: Role = Role { name: "", access: None, pulls: false, acme: (false, false), system: (false, false) };

fn everybody() -> Vec<Role> {
    let on = |kind: &str, name: &str, actions: &[&str]| json!([{"type": kind, "name": name, "actions": actions}]);
    let all = ["pull", "push", "delete"];
    vec![
        Role { name: "anonymous", ..NOTHING },
        Role { name: "a guest", access: Some(json!([])), ..NOTHING },
        Role { name: "a reader", access: Some(on("repository", "acme/web", &["pull"])), pulls: true, ..NOTHING },
        Role { name: "a maintainer", access: Some(on("repository", "acme/web", &all)), pulls: true, ..NOTHING },
        Role { name: "who pushes only", access: Some(on("repository", "acme/web", &["push"])), ..NOTHING },
        Role { name: "a neighbour", access: Some(on("repository", "acme/api", &all)), ..NOTHING },
        Role { name: "who lists all", access: Some(on("registry", "catalog", &["*"])), ..NOTHING },
        Role { name: "other's", access: Some(on("namespace", "other", &["read", "admin"])), ..NOTHING },
        Role { name: "who sees", access: Some(on("namespace", "acme", &["read"])), acme: (true, false), ..NOTHING },
        Role {
            name: "who administers",
            access: Some(on("namespace", "acme", &["read", "admin"])),
            acme: (true, true),
            ..NOTHING
        },
        Role {
            name: "an auditor",
            access: Some(on("registry", "system", &["read"])),
            system: (true, false),
            ..NOTHING
        },
        Role { name: "who rules", access: Some(on("registry", "system", &["*"])), system: (true, true), ..NOTHING },
    ]
}

impl Role {
    /// What somebody is answered who may not; None for who may.
    fn refused(&self, route: &Route) -> Option<StatusCode> {
        let looks = route.method == "get";
        let (system, acme) = if looks { (self.system.0, self.acme.0) } else { (self.system.1, self.acme.1) };
        let allowed = match route.needs {
            Needs::Local => false,
            Needs::System => system,
            Needs::Namespace => system || acme,
            Needs::Reader => system || acme || self.pulls,
        };
        let refused = match route.needs {
            _ if self.access.is_none() => StatusCode::UNAUTHORIZED,
            Needs::Local | Needs::System => StatusCode::FORBIDDEN,
            Needs::Namespace | Needs::Reader => StatusCode::NOT_FOUND,
        };
        (!allowed).then_some(refused)
    }

    async fn call(&self, registry: &Registry, route: &Route, target: &str) -> Reply {
        let bearer = self.access.as_ref().map(|access| registry.bearer(access));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        registry.send(method(route), target, &headers, Body::from(json!({ STRANGE: true }).to_string())).await
    }
}

fn method(route: &Route) -> Method {
    Method::from_bytes(route.method.to_uppercase().as_bytes()).unwrap()
}

/// A route about a namespace and its repository `web`.
fn target(route: &Route, namespace: &str) -> String {
    let path = route.path.replace("{namespace}", namespace);
    match route.path.strip_prefix("/api/v1/registry/").unwrap() {
        "tags" | "tags/history" => format!("{path}?repository={namespace}/web&tag=latest"),
        "repositories" | "repositories:restore" => format!("{path}?name={namespace}/web"),
        "lifecycle" | "tags:restore" | "manifests:restore" => format!("{path}?repository={namespace}/web"),
        _ => path,
    }
}

/// All of an answer but the request's own id.
fn told(reply: &Reply) -> (StatusCode, HeaderMap, String) {
    let mut headers = reply.headers.clone();
    headers.remove("x-request-id");
    (reply.status, headers, reply.text())
}

/// A registry in which `acme` has one of everything.
async fn furnished() -> Registry {
    let registry = Registry::guarded(None).await;
    let push = registry.bearer(&json!([{"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}]));
    let index = json!({"schemaVersion": 2, "mediaType": crate::client::INDEX, "manifests": []}).to_string();
    let headers = [("authorization", push.as_str()), ("content-type", crate::client::INDEX)];
    let pushed = registry.send(Method::PUT, "/v2/acme/web/manifests/latest", &headers, Body::from(index)).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    let rules = json!({"rules": [{"name": "releases", "tags": ["v*"]}]});
    let quota = json!({"bytes": 1_000_000});
    for (path, body) in [("immutable", rules), ("quota", quota)] {
        let target = format!("/api/v1/registry/namespaces/acme/{path}");
        let set = registry.on_the_socket(0, Method::PUT, &target, &body).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.text());
    }
    registry
}

/// All that root can look at.
async fn everything(registry: &Registry) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for route in ROUTES.iter().filter(|route| route.method == "get") {
        let target = target(route, "acme");
        let reply = registry.on_the_socket(0, Method::GET, &target, &Value::Null).await;
        assert_eq!(reply.status, StatusCode::OK, "{target}: {}", reply.text());
        seen.push((target, reply.text()));
    }
    seen
}

/// T13: every route as everybody. Who may not call it is answered alike, byte by byte, about what is there and about what is not, and changes nothing.
#[tokio::test]
pub(crate) async fn t13_every_registry_route_is_answered_to_those_whom_the_table_names() {
    let registry = furnished().await;
    let before = everything(&registry).await;
    let mut counts = [0, 0];
    for route in ROUTES {
        for role in &everybody() {
            let there = target(route, "acme");
            let tried = format!("{} {there} as {}", route.method, role.name);
            if let Some(status) = role.refused(route) {
                let reply = role.call(&registry, route, &there).await;
                assert_eq!(reply.status, status, "{tried}: {}", reply.text());
                let missing = role.call(&registry, route, &target(route, "none")).await;
                assert_eq!(told(&reply), told(&missing), "{tried}");
                counts[1] += 1;
            } else {
                is_let_in(&role.call(&registry, route, &there).await, route, &tried);
                counts[0] += 1;
            }
        }
    }
    assert!(counts[0] > 50 && counts[1] > 150, "{counts:?}");
    assert_eq!(everything(&registry).await, before, "what was refused has changed something");
}

/// What somebody is answered who may call: the thing, or by name what no body has.
fn is_let_in(reply: &Reply, route: &Route, tried: &str) {
    if route.method == "get" {
        assert_eq!(reply.status, StatusCode::OK, "{tried}: {}", reply.text());
    } else {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{tried}: {}", reply.text());
        assert!(reply.text().contains(STRANGE), "{tried}: {}", reply.text());
    }
}

/// Members that nobody knows are refused by name on the data directory's socket, too, where more is asked for.
#[tokio::test]
pub(crate) async fn what_no_body_knows_is_refused_by_name() {
    let registry = furnished().await;
    let socket = registry.socket_router();
    for route in ROUTES.iter().filter(|route| route.method != "get") {
        let door = (Peer::Unix { uid: 0, gid: 0, pid: None }, &socket);
        let json = [("content-type", "application/json")];
        let body = Body::from(json!({ STRANGE: true }).to_string());
        let reply = registry.send_from(door, method(route), &target(route, "acme"), &json, body).await;
        is_let_in(&reply, route, route.path);
    }
}

/// T13: whoever administers a namespace gets at nothing of another by naming it inside their own.
#[tokio::test]
pub(crate) async fn t13_what_is_another_namespaces_is_not_found_inside_ones_own() {
    let registry = furnished().await;
    let before = everything(&registry).await;
    let bearer = registry.bearer(&json!([{"type": "namespace", "name": "other", "actions": ["read", "admin"]}]));
    let headers = [("content-type", "application/json"), ("authorization", &bearer)];
    let within = |path: &str| format!("/api/v1/registry/namespaces/other/{path}");
    let deleted = |repository: &str| (Method::GET, within(&format!("deleted?repository={repository}")), Value::Null);
    let tags = |repository: &str| {
        let body = json!({"pattern": "*", "repositories": [repository], "confirm": true});
        (Method::POST, within("tags:delete"), body)
    };
    for (theirs, nobodys) in [(deleted("acme/web"), deleted("acme/none")), (tags("acme/web"), tags("acme/none"))] {
        let mut answers = Vec::new();
        for (method, target, body) in [theirs, nobodys] {
            let reply = registry.send(method, &target, &headers, Body::from(body.to_string())).await;
            answers.push(told(&reply));
        }
        assert_eq!(answers[0], answers[1]);
    }
    assert_eq!(everything(&registry).await, before);
}
