//! The admin API as its callers see it, on both databases.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use shared::{
    clock::{Clock, Timestamp},
    database::{Location, testing::Scratch},
    listen::Peer,
};
use tempfile::TempDir;
use tower::ServiceExt;

use super::{Needs, ROUTES, Route};
use crate::{
    accounts::providers::ProviderKind,
    server::{Auth, StartError},
    settings::Settings,
};

mod added;
mod credentials;
mod document;
mod holders;
mod introspection;
mod limits;
mod paging;
mod providers;
mod setup;
mod supposed;
mod versions;
mod walk;

use walk::{
    t13_every_route_is_answered_to_those_whom_the_table_names,
    t13_what_is_elsewhere_is_not_found_inside_ones_own_namespace,
    t13_what_one_has_seen_does_not_tell_whose_a_number_is,
};

shared::on_both! {
    crate::http::admin::tests::Office:
    a_robot_for_pull_requests_is_made_granted_explained_and_rotated
    t13_every_route_is_answered_to_those_whom_the_table_names
    t13_what_is_elsewhere_is_not_found_inside_ones_own_namespace
    t13_what_one_has_seen_does_not_tell_whose_a_number_is
    a_namespaces_administrator_lets_a_directorys_group_feed_a_team
    the_log_is_read_by_those_whom_it_concerns
    only_bearer_credentials_with_a_level_are_let_in
    t26_nobody_gives_what_they_do_not_have
    t15_what_is_not_asked_for_exactly_is_refused
    a_password_is_changed_by_its_owner_and_the_first_ones_file_goes
    a_confined_token_makes_no_other
    what_is_bounded_makes_nothing_without_bounds
    every_answer_of_this_api_is_a_problem_or_json
    pages_are_followed_by_their_next
    the_last_administrator_stays
}

struct Office {
    auth: Auth,
    data: TempDir,
    scratch: Scratch,
}

impl Office {
    async fn sqlite() -> Self {
        Self::open(Scratch::sqlite()).await
    }

    async fn postgres() -> Self {
        Self::open(Scratch::postgres()).await
    }

    async fn open(scratch: Scratch) -> Self {
        Self::with(scratch, Settings::default()).await
    }

    async fn with(scratch: Scratch, settings: Settings) -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let auth = Auth::build(&over(&scratch, settings), data.path(), clock).await.unwrap();
        Self { auth, data, scratch }
    }

    /// Another process over the same accounts and keys.
    async fn another(&self, settings: Settings) -> Result<Auth, StartError> {
        Auth::build(&over(&self.scratch, settings), self.data.path(), self.auth.app().clock.clone()).await
    }

    async fn clear(&self) {
        self.auth.app().accounts.close().await;
        self.scratch.clear().await;
    }

    fn pass(&self, time: Duration) {
        self.auth.app().clock.advance(time);
    }

    /// As root, on the data directory's socket.
    async fn local(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let peer = Peer::Unix { uid: 0, gid: 0, pid: None };
        ask(self.auth.socket_router(), method, path, body, None, peer).await
    }

    /// With a bearer credential, from the network.
    async fn bearing(&self, secret: &str, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        ask(self.auth.router(), method, path, body, Some(&format!("Bearer {secret}")), network()).await
    }

    /// Makes something as root and answers what was made.
    async fn made(&self, path: &str, body: Value) -> Value {
        let (status, made) = self.local("post", path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {made}");
        made
    }

    /// A user with a token of that level.
    async fn user(&self, name: &str, api: &str) -> String {
        self.made("/api/v1/users", json!({ "name": name, "password": "a long password" })).await;
        self.token(name, json!({ "name": "test", "api": api })).await
    }

    async fn token(&self, user: &str, wanted: Value) -> String {
        let made = self.made(&format!("/api/v1/users/{user}/tokens"), wanted).await;
        made["secret"].as_str().unwrap().to_owned()
    }

    /// A namespace with an administrator, and their token.
    async fn namespace(&self, name: &str, admin: &str) -> String {
        let token = self.user(admin, "write").await;
        self.made("/api/v1/namespaces", json!({ "name": name })).await;
        let grant = json!({ "subject": admin, "repositories": name, "actions": "admin" });
        self.made(&format!("/api/v1/namespaces/{name}/grants"), grant).await;
        token
    }
}

/// Settings with accounts that lie there.
fn over(scratch: &Scratch, settings: Settings) -> Settings {
    let database = match scratch.location() {
        Location::Sqlite { .. } => None,
        Location::Postgres { url, schema } => Some((url.clone(), schema.clone())),
    };
    Settings { database, ..settings }
}

fn network() -> Peer {
    Peer::Tcp("192.0.2.1:4711".parse().unwrap())
}

async fn ask(
    router: Router,
    method: &str,
    path: &str,
    body: Value,
    authorization: Option<&str>,
    peer: Peer,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if !body.is_null() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(peer);
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    let media_type = response.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    if status.is_client_error() {
        assert_eq!(media_type.unwrap(), "application/problem+json", "{method} {path}: {status}");
    }
    document::is_as_documented(method, path, status, &bytes);
    let answer = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    (status, answer)
}

async fn a_robot_for_pull_requests_is_made_granted_explained_and_rotated(office: &Office) {
    let admin = office.namespace("acme", "alice").await;
    let robots = "/api/v1/namespaces/acme/robots";
    let (status, robot) = office.bearing(&admin, "post", robots, json!({ "name": "ci" })).await;
    assert_eq!((status, robot["name"].as_str()), (StatusCode::CREATED, Some("robot.acme.ci")));
    let grant =
        json!({ "subject": "robot.acme.ci", "repositories": "acme/**", "actions": "pull,push", "tags": "pr-*" });
    let (status, grant) = office.bearing(&admin, "post", "/api/v1/namespaces/acme/grants", grant).await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");

    let question = "/api/v1/explain?principal=robot.acme.ci&scope=repository:acme/web:pull,push,delete";
    let (_, explained) = office.bearing(&admin, "get", question, Value::Null).await;
    let result = &explained["results"][0];
    assert_eq!(result["granted"][0]["actions"], json!(["pull"]));
    assert_eq!(result["granted"][0]["limited"], json!([{ "actions": ["push"], "tags": ["pr-*"] }]));
    assert_eq!(result["why"][1]["rule"]["grant"], grant["id"]);
    assert_eq!(result["why"][1]["tags"], "pr-*");
    assert_eq!(result["why_not"][0]["nearest"]["missing"], "action");

    let keys = format!("{robots}/ci/keys");
    let (_, first) = office.bearing(&admin, "post", &keys, json!({ "name": "first" })).await;
    assert!(first["secret"].as_str().unwrap().starts_with("prt_rbt_"));
    let chosen = "chosen elsewhere, and long enough for that";
    let (status, second) = office
        .bearing(&admin, "post", &keys, json!({ "name": "second", "secret": chosen, "others_end_after": 60 }))
        .await;
    assert_eq!((status, second.get("secret")), (StatusCode::CREATED, None), "who chose it knows it");
    let (_, listed) = office.bearing(&admin, "get", &keys, Value::Null).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains("verifier"));
    office.auth.app().clock.advance(Duration::from_secs(60));
    let (_, listed) = office.bearing(&admin, "get", &keys, Value::Null).await;
    assert_eq!(listed["items"][0]["id"], second["id"]);
    let (status, _) = office.bearing(&admin, "delete", &format!("{keys}/{}", second["id"]), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);

    for (body, why) in [
        (json!({ "name": "x", "secret": "too short" }), "32 characters"),
        (json!({ "name": "x", "secret": "prt_rbt_looks-like-one-of-ours-but-is-none" }), "does not begin"),
        (json!({ "name": "x", "secrets": chosen }), "unknown field"),
        (json!({ "name": "x", "expires_at": "2001-01-01T00:00:00Z" }), "past"),
    ] {
        let (status, problem) = office.bearing(&admin, "post", &keys, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
}

/// What there is to be found: a namespace `acme` with one of everything in it, a user, and what is the system's.
struct Things {
    key: Value,
    grant: Value,
    system_grant: Value,
    token: Value,
    signing_key: Value,
}

/// What stands in a path for something that is not there.
const NOWHERE: &str = "none";
/// The same where a number stands.
const NOTHING: &str = "987654321";

impl Things {
    async fn of(office: &Office) -> Self {
        office.namespace("acme", "alice").await;
        office.user("carol", "write").await;
        office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
        office.made("/api/v1/namespaces/acme/teams", json!({ "name": "dev" })).await;
        office.auth.app().accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
        for inside in ["members/carol", "mappings/corp/cn=dev,dc=corp"] {
            let path = format!("/api/v1/namespaces/acme/teams/dev/{inside}");
            assert_eq!(office.local("put", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
        }
        let key = office.made("/api/v1/namespaces/acme/robots/ci/keys", json!({ "name": "k" })).await;
        let rule = json!({ "subject": "robot.acme.ci", "repositories": "acme/**", "actions": "maintainer" });
        let grant = office.made("/api/v1/namespaces/acme/grants", rule).await;
        let rail = json!({ "repositories": "*/frozen", "actions": "push", "effect": "deny" });
        let system_grant = office.made("/api/v1/grants", rail).await;
        let token = office.made("/api/v1/users/carol/tokens", json!({ "name": "t" })).await;
        let (_, keys) = office.local("get", "/api/v1/keys", Value::Null).await;
        Self { key, grant, system_grant, token, signing_key: keys["items"][0].clone() }
    }

    /// A route to what is there.
    fn path(&self, route: &str) -> String {
        let system_wide = |name: &str, own: &Value, other: &Value| {
            let one = if route.starts_with("/api/v1/namespaces/") { own } else { other };
            one[name].as_str().map_or_else(|| one[name].to_string(), str::to_owned)
        };
        let path = route
            .replace("{namespace}", "acme")
            .replace("{robot}", "ci")
            .replace("{team}", "dev")
            .replace("{member}", "carol")
            .replace("{provider}", "corp")
            .replace("{group}", "cn=dev,dc=corp")
            .replace("{user}", "carol")
            .replace("{key}", &system_wide("id", &self.key, &self.signing_key))
            .replace("{grant}", &system_wide("id", &self.grant, &self.system_grant))
            .replace("{token}", &self.token["id"].to_string());
        assert!(!path.contains('{'), "what does {route} name?");
        match route {
            "/api/v1/audit" => format!("{path}?namespace=acme"),
            "/api/v1/explain" => format!("{path}?principal=carol&scope=repository:acme/web:pull"),
            _ => path,
        }
    }

    /// The same route to what is not there, in no namespace that there is.
    fn missing(&self, route: &str) -> String {
        let nowhere = route.replace("{namespace}", NOWHERE).replace("/providers/{provider}", "/providers/none");
        let missing = self.without(&nowhere);
        missing.replace("=acme", &format!("={NOWHERE}")).replace("carol", NOWHERE).replace(":acme/", ":none/")
    }

    /// The same route to what is not there, in the namespace that is.
    fn without(&self, route: &str) -> String {
        let mut missing = route.to_owned();
        for name in ["{robot}", "{team}", "{user}"] {
            missing = missing.replace(name, NOWHERE);
        }
        for number in ["{grant}", "{token}", "{key}"] {
            missing = missing.replace(number, NOTHING);
        }
        self.path(&missing)
    }

    /// A key of the robot with that level.
    async fn key(&self, office: &Office, api: &str) -> String {
        let key = json!({ "name": api, "api": api });
        let made = office.made("/api/v1/namespaces/acme/robots/ci/keys", key).await;
        made["secret"].as_str().unwrap().to_owned()
    }
}

/// Whoever writes a program for this API reads the page; a route that is not there does not exist for them, and who may call it is what it says there.
#[test]
fn t14_every_route_stands_in_the_documentation_and_nothing_else_does() {
    let page = include_str!("../../../../docs/api.md");
    for route in ROUTES {
        let who = match route.needs {
            Needs::Oneself => "anybody",
            Needs::View => "by what is asked",
            Needs::Inquiry => "whoever shows something",
            Needs::Namespace => "namespace",
            Needs::System => "system",
        };
        let row = format!("| `{}` | {} | {who}", route.path, route.method.to_uppercase());
        assert!(page.lines().any(|line| line.starts_with(&row)), "docs/api.md has no row that begins {row:?}");
    }
    let ours = |line: &&str| line.starts_with("| `/api/v1/") && !line.starts_with("| `/api/v1/registry/");
    let listed = page.lines().filter(ours).count();
    // The feed and the readable names are for registries, and no administrator's.
    assert_eq!(listed, ROUTES.len() + 2, "docs/api.md has rows for routes that are not there");
}

async fn a_namespaces_administrator_lets_a_directorys_group_feed_a_team(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    office.made("/api/v1/namespaces/acme/teams", json!({ "name": "dev" })).await;
    office.auth.app().accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
    let mappings = "/api/v1/namespaces/acme/teams/dev/mappings";
    let mapping = format!("{mappings}/corp/CN=Dev%5C,%20all,%20OU=a%2Fb");
    for (method, path, expected) in [
        ("put", &mapping, StatusCode::NO_CONTENT),
        ("put", &mapping, StatusCode::NO_CONTENT),
        ("put", &format!("{mappings}/corp/dev"), StatusCode::BAD_REQUEST),
        ("put", &format!("{mappings}/nowhere/cn=dev"), StatusCode::BAD_REQUEST),
        ("delete", &format!("{mappings}/corp/cn=dev"), StatusCode::NOT_FOUND),
    ] {
        let (status, answer) = office.bearing(&alice, method, path, Value::Null).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    let (_, listed) = office.bearing(&alice, "get", mappings, Value::Null).await;
    assert_eq!(listed["items"], json!([{ "provider": "corp", "group": "cn=dev\\, all,ou=a/b" }]));
    let (status, _) = office.bearing(&alice, "delete", &mapping.replace("CN=Dev", "cn=DEV"), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "in any spelling");
    let (_, listed) = office.bearing(&alice, "get", mappings, Value::Null).await;
    assert_eq!(listed["items"], json!([]));
}

async fn the_log_is_read_by_those_whom_it_concerns(office: &Office) {
    let (alice, mallory) = (office.namespace("acme", "alice").await, office.namespace("beta", "mallory").await);
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let auditor = json!({ "name": "eve", "password": "a long password", "system_role": "auditor" });
    office.made("/api/v1/users", auditor).await;
    let auditor = office.token("eve", json!({ "name": "audit", "api": "read" })).await;
    let confined = office.token("eve", json!({ "name": "some", "api": "read", "scope": "acme/**:pull" })).await;
    let read = async |secret: &str, query: &str| {
        let path = format!("/api/v1/audit{query}");
        let (status, answer) = office.bearing(secret, "get", &path, Value::Null).await;
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        (status.as_u16(), items.iter().map(|item| item["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (status, own) = read(&alice, "?namespace=acme&what=robot.,namespace.").await;
    assert_eq!((status, own), (200, vec!["robot.acme.ci".to_owned(), "acme".to_owned()]));
    assert_eq!(read(&mallory, "?namespace=acme").await, (404, Vec::new()), "another's");
    assert_eq!(read(&mallory, "?namespace=nowhere").await, (404, Vec::new()), "told apart by nothing");
    assert_eq!(read(&alice, "").await.0, 403);
    assert_eq!(read(&confined, "").await.0, 403, "an auditor with a credential that is confined");
    let (status, all) = read(&auditor, "?limit=500").await;
    assert_eq!(status, 200);
    assert!(all.contains(&"eve".to_owned()) && all.contains(&"acme".to_owned()), "{all:?}");
    for (query, why) in [("?what=sabotage", "no event"), ("?limit=501", "limit"), ("?by=alice", "unknown field")] {
        let (status, answer) = office.bearing(&auditor, "get", &format!("/api/v1/audit{query}"), Value::Null).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer["detail"].as_str().unwrap().contains(why), "{query}: {answer}");
    }

    let trail = "/api/v1/audit/trail";
    office.auth.app().sealing.seal().await.unwrap();
    assert_eq!(office.bearing(&alice, "get", trail, Value::Null).await.0, StatusCode::FORBIDDEN);
    let (status, part) = office.bearing(&auditor, "get", trail, Value::Null).await;
    assert_eq!((status, &part["unsealed"]["events"]), (StatusCode::OK, &json!(0)));
    assert_eq!(part["known"]["seq"], part["items"].as_array().unwrap().last().unwrap()["checkpoint"]["last"]);

    // The name's next owner is told nothing of its last one.
    office.local("delete", "/api/v1/namespaces/acme", Value::Null).await;
    office.made("/api/v1/namespaces", json!({ "name": "acme" })).await;
    let grant = json!({ "subject": "mallory", "repositories": "acme", "actions": "admin" });
    office.made("/api/v1/namespaces/acme/grants", grant).await;
    let (_, heard) = read(&mallory, "?namespace=acme&what=namespace.,robot.").await;
    assert_eq!(heard, ["acme"]);
    assert_eq!(read(&auditor, "?namespace=acme&what=namespace.,robot.").await.1.len(), 4, "both lives");
}

async fn only_bearer_credentials_with_a_level_are_let_in(office: &Office) {
    let (none, read, write) =
        (office.user("none", "none").await, office.user("reader", "read").await, office.user("writer", "write").await);
    let me = "/api/v1/me";
    assert_eq!(office.bearing(&none, "get", me, Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(office.bearing(&read, "get", me, Value::Null).await.0, StatusCode::OK);
    let wanted = json!({ "name": "more" });
    assert_eq!(office.bearing(&read, "post", "/api/v1/me/tokens", wanted.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(office.bearing(&write, "post", "/api/v1/me/tokens", wanted).await.0, StatusCode::CREATED);

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let basic = format!("Basic {}", STANDARD.encode("writer:a long password"));
    let two_words = format!("Bearer {write} {write}");
    for authorization in [None, Some(basic.as_str()), Some("Bearer "), Some("Bearer wrong"), Some(two_words.as_str())] {
        let (status, _) = ask(office.auth.router(), "get", me, Value::Null, authorization, network()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{authorization:?}");
    }
    // The kernel's word about a socket counts on the data directory's only, and there for root and the server's user.
    for (router, uid) in [(office.auth.router(), 0), (office.auth.socket_router(), 65_534)] {
        let (status, _) = ask(router, "get", me, Value::Null, None, Peer::Unix { uid, gid: 0, pid: None }).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{uid}");
    }
    let (status, _) = ask(office.auth.socket_router(), "get", me, Value::Null, None, network()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

async fn a_confined_token_makes_no_other(office: &Office) {
    office.namespace("acme", "alice").await;
    office.made("/api/v1/namespaces", json!({ "name": "base" })).await;
    let admin = json!({ "subject": "alice", "repositories": "base", "actions": "admin" });
    office.made("/api/v1/namespaces/base/grants", admin).await;
    let confined =
        office.token("alice", json!({ "name": "t", "api": "write", "scope": "acme:admin acme/**:pull" })).await;
    let (status, _) = office.bearing(&confined, "post", "/api/v1/me/tokens", json!({ "name": "more" })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(office.bearing(&confined, "get", "/api/v1/namespaces/acme", Value::Null).await.0, StatusCode::OK);
    assert_eq!(office.bearing(&confined, "get", "/api/v1/namespaces/base", Value::Null).await.0, StatusCode::NOT_FOUND);
    let root = office.token("admin", json!({ "name": "t", "api": "write", "scope": "acme:admin" })).await;
    assert_eq!(office.bearing(&root, "get", "/api/v1/users", Value::Null).await.0, StatusCode::FORBIDDEN);
}

/// Who stole a token that ends tomorrow, or that counts in the office only, must not make of it one that does neither.
async fn what_is_bounded_makes_nothing_without_bounds(office: &Office) {
    office.user("alice", "write").await;
    let end = office.auth.app().clock.now() + Duration::from_secs(86_400);
    let bounded = async |bounds: Value| {
        let mut wanted = json!({ "name": "bounded", "api": "write" });
        wanted.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        office.token("alice", wanted).await
    };
    let tokens = "/api/v1/me/tokens";
    let ending = bounded(json!({ "expires_at": end })).await;
    let (status, made) = office.bearing(&ending, "post", tokens, json!({ "name": "silent" })).await;
    assert_eq!((status, &made["expires_at"]), (StatusCode::CREATED, &json!(end)));
    for (at, expected) in [(end, StatusCode::CREATED), (end + Duration::from_secs(1), StatusCode::BAD_REQUEST)] {
        let wanted = json!({ "name": "asked", "expires_at": at });
        assert_eq!(office.bearing(&ending, "post", tokens, wanted).await.0, expected);
    }
    for bounds in [json!({ "networks": ["0.0.0.0/0"] }), json!({ "scope": "acme/**:pull" })] {
        let confined = bounded(bounds.clone()).await;
        assert_eq!(office.bearing(&confined, "get", "/api/v1/me", Value::Null).await.0, StatusCode::OK, "{bounds}");
        let (status, _) = office.bearing(&confined, "post", tokens, json!({ "name": "free" })).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{bounds}");
    }
}

/// T26, at the edge: the delegation rules themselves are the permissions' tests' matter.
async fn t26_nobody_gives_what_they_do_not_have(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    office.namespace("base", "bob").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let grants = "/api/v1/namespaces/acme/grants";
    for (path, body, expected) in [
        (grants, json!({ "subject": "alice", "repositories": "base/**", "actions": "pull" }), StatusCode::BAD_REQUEST),
        (grants, json!({ "subject": "alice", "repositories": "**", "actions": "pull" }), StatusCode::BAD_REQUEST),
        (grants, json!({ "subject": "everyone", "repositories": "acme", "actions": "admin" }), StatusCode::FORBIDDEN),
        (
            grants,
            json!({ "subject": "robot.acme.ci", "repositories": "acme", "actions": "admin" }),
            StatusCode::FORBIDDEN,
        ),
        (grants, json!({ "subject": "bob", "repositories": "acme/**", "actions": "admin" }), StatusCode::FORBIDDEN),
        (grants, json!({ "subject": "bob", "repositories": "acme/**", "actions": "push" }), StatusCode::FORBIDDEN),
        (grants, json!({ "effect": "deny", "repositories": "acme/**", "actions": "push" }), StatusCode::BAD_REQUEST),
        (
            grants,
            json!({ "subject": "team:base/dev", "repositories": "acme/**", "actions": "pull" }),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/api/v1/grants",
            json!({ "subject": "alice", "repositories": "**", "actions": "pull" }),
            StatusCode::FORBIDDEN,
        ),
        ("/api/v1/users", json!({ "name": "x", "system_role": "administrator" }), StatusCode::FORBIDDEN),
        ("/api/v1/namespaces", json!({ "name": "mine" }), StatusCode::FORBIDDEN),
    ] {
        let (status, answer) = office.bearing(&alice, "post", path, body.clone()).await;
        assert_eq!(status, expected, "{body}: {answer}");
    }
    let (status, _) = office
        .bearing(&alice, "put", "/api/v1/users/alice/system-role", json!({ "system_role": "administrator" }))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let admin = json!({ "subject": "bob", "repositories": "acme", "actions": "admin" });
    assert_eq!(office.bearing(&alice, "post", grants, admin).await.0, StatusCode::CREATED);
}

async fn every_answer_of_this_api_is_a_problem_or_json(office: &Office) {
    for (method, path, expected) in [
        ("get", "/api/v1", StatusCode::NOT_FOUND),
        ("get", "/api/v1/nowhere", StatusCode::NOT_FOUND),
        ("patch", "/api/v1/users", StatusCode::METHOD_NOT_ALLOWED),
        ("put", "/api/v1/me", StatusCode::METHOD_NOT_ALLOWED),
        ("post", "/api/v1/readable", StatusCode::METHOD_NOT_ALLOWED),
        ("delete", "/api/v1/revocations", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, problem) = office.local(method, path, json!({})).await;
        assert_eq!(status, expected, "{method} {path}");
        assert_eq!(problem["status"], expected.as_u16(), "{method} {path}: {problem}");
    }
}

/// T15: nothing is set that the request's type does not name.
async fn t15_what_is_not_asked_for_exactly_is_refused(office: &Office) {
    for (path, body) in [
        ("/api/v1/users", json!({ "name": "x", "has_admin_role": true })),
        ("/api/v1/users", json!({ "name": "x", "id": 1 })),
        ("/api/v1/users", json!({ "name": "robot.acme.ci" })),
        ("/api/v1/users", json!({ "name": "x", "password": "short" })),
        ("/api/v1/users", json!([])),
        ("/api/v1/namespaces", json!({ "name": "Acme" })),
        ("/api/v1/namespaces", json!({ "name": "acme", "visibility": "open" })),
        ("/api/v1/services", json!({ "name": "s", "token_seconds": 59 })),
    ] {
        assert_eq!(office.local("post", path, body.clone()).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let limits = [
        ("limit=0", 400),
        ("limit=501", 400),
        ("limit=500", 200),
        ("limit=x", 400),
        ("q=password", 400),
        ("sort=id", 400),
    ];
    for (query, expected) in limits {
        let (status, _) = office.local("get", &format!("/api/v1/users?{query}"), Value::Null).await;
        assert_eq!(status.as_u16(), expected, "{query}");
    }
    let large = json!({ "name": "x".repeat(crate::http::input::MAX_BODY_BYTES) });
    assert_eq!(office.local("post", "/api/v1/users", large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(office.local("get", "/api/v1/nothing", Value::Null).await.0, StatusCode::NOT_FOUND);
    office.made("/api/v1/users", json!({ "name": "Alice" })).await;
    assert_eq!(office.local("post", "/api/v1/users", json!({ "name": "alice" })).await.0, StatusCode::CONFLICT);
}

async fn a_password_is_changed_by_its_owner_and_the_first_ones_file_goes(office: &Office) {
    let file = office.data.path().join("admin-password");
    let first = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
    let token = office.token("admin", json!({ "name": "t", "api": "write" })).await;
    let change = |current: &str| json!({ "current": current, "new": "something better" });
    let (status, _) = office.bearing(&token, "put", "/api/v1/me/password", change("a guess")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(file.exists());
    // A token is no password, not even one's own.
    let (status, _) = office.bearing(&token, "put", "/api/v1/me/password", change(&token)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, answer) = office.bearing(&token, "put", "/api/v1/me/password", change(&first)).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    assert!(!file.exists());
    let (_, reset) = office.local("put", "/api/v1/users/admin/password", json!({})).await;
    assert!(reset["password"].as_str().unwrap().len() >= 20);
}

async fn pages_are_followed_by_their_next(office: &Office) {
    for name in ["c", "a", "b", "d"] {
        office.made("/api/v1/namespaces", json!({ "name": name })).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = office.local("get", &format!("/api/v1/namespaces?limit=3&after={after}"), Value::Null).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

async fn the_last_administrator_stays(office: &Office) {
    let (status, _) = office.local("post", "/api/v1/users/admin/suspend", Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = office.local("delete", "/api/v1/users/admin", Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
}
