//! The table of routes, walked by everybody: what each may call answers, and what they may not tells nothing, not even whether it is there.

use axum::http::{HeaderMap, Request, StatusCode, header};

use super::{super::Needs, *};
use shared::openapi::Said;

use crate::permissions::ApiLevel;

/// What somebody is, to the system and to the namespace `acme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Shows nothing that counts here.
    Nobody,
    /// Has an account, and whatever grants there are, and administers nothing of it.
    Stranger,
    /// Administers `acme`.
    Administers,
    /// Looks at everything.
    Audits,
    /// Administers everything.
    Rules,
}

/// Somebody who calls.
struct Role {
    name: String,
    /// The whole `Authorization` field.
    shows: Option<String>,
    level: ApiLevel,
    standing: Standing,
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Refused(StatusCode),
}

impl Role {
    fn nobody(name: &str, shows: Option<String>) -> Self {
        Self { name: name.to_owned(), shows, level: ApiLevel::None, standing: Standing::Nobody }
    }

    fn bearing(name: &str, secret: &str, level: ApiLevel, standing: Standing) -> Self {
        Self { name: format!("{name}, {level:?}"), shows: Some(format!("Bearer {secret}")), level, standing }
    }

    /// The rules of design.md section 4, as docs/api.md tells them.
    fn verdict(&self, route: &Route) -> Verdict {
        // What is asked in a body may change nothing.
        let looks = route.method == "get" || matches!(route.needs, Needs::View | Needs::Inquiry);
        let oversees = self.standing == Standing::Rules || (looks && self.standing == Standing::Audits);
        let enough = if looks { ApiLevel::Read } else { ApiLevel::Write };
        match route.needs {
            Needs::Inquiry if self.name == REGISTRY => Verdict::Allowed,
            _ if self.standing == Standing::Nobody => Verdict::Refused(StatusCode::UNAUTHORIZED),
            _ if self.level < enough => Verdict::Refused(StatusCode::FORBIDDEN),
            Needs::Oneself | Needs::Inquiry => Verdict::Allowed,
            _ if oversees => Verdict::Allowed,
            Needs::View | Needs::Namespace if self.standing == Standing::Administers => Verdict::Allowed,
            Needs::View | Needs::Namespace => Verdict::Refused(StatusCode::NOT_FOUND),
            // That a list is closed may be said; whether somebody's name is on it may not.
            Needs::System if route.path.contains('{') => Verdict::Refused(StatusCode::NOT_FOUND),
            Needs::System => Verdict::Refused(StatusCode::FORBIDDEN),
        }
    }

    async fn call(&self, router: &Router, method: &str, path: &str, body: (&str, String)) -> Answer {
        self.call_if(router, None, (method, path), body).await
    }

    /// The same, if what is to change is as it was seen.
    async fn call_if(
        &self,
        router: &Router,
        seen: Option<&str>,
        (method, path): (&str, &str),
        (media_type, body): (&str, String),
    ) -> Answer {
        let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
        if let Some(seen) = seen {
            request = request.header(header::IF_MATCH, seen);
        }
        if let Some(shows) = &self.shows {
            request = request.header(header::AUTHORIZATION, shows);
        }
        let request = request.header(header::CONTENT_TYPE, media_type).body(Body::from(body));
        let mut request = request.unwrap();
        request.extensions_mut().insert(network());
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

/// All of an answer: what is not there and what is hidden must not differ in a byte.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// Who shows a service credential, which opens nothing to anybody but registries.
const REGISTRY: &str = "a registry's own credential";

/// A member that no body knows.
const STRANGE: &str = "nobody_knows_this";

/// A body with it, in the route's own media type, that asks about what the path would say if it could.
fn strange(route: &Route, said: &Said, namespace: &str) -> (&'static str, String) {
    let grant = json!({ "subject": "carol", "repositories": namespace, "actions": "pull" });
    match said.body.as_ref().map(|body| body.media_type) {
        Some(FORM) => (FORM, format!("token=x&{STRANGE}=true")),
        // The permission hangs on what the body says, so it is read before.
        _ if route.needs == Needs::View && route.method == "post" => {
            let scope = format!("repository:{namespace}/web:pull");
            ("application/json", json!({ "principal": "carol", "scope": scope, "grant": grant }).to_string())
        }
        _ => ("application/json", json!({ STRANGE: true }).to_string()),
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Everybody there is, some with rights over `acme` and most without.
async fn everybody(office: &Office, things: &Things) -> Vec<Role> {
    use ApiLevel::{None, Read, Write};
    use Standing::{Administers, Audits, Rules, Stranger};
    let mut all = those_who_show_nothing(office).await;
    office.user("guest", "none").await;
    for role in ["reader", "contributor", "maintainer"] {
        office.user(role, "none").await;
        let grant = json!({ "subject": role, "repositories": "acme/**", "actions": role });
        office.made("/api/v1/namespaces/acme/grants", grant).await;
    }
    office.namespace("other", "bob").await;
    office.made("/api/v1/users", json!({ "name": "auditor", "system_role": "auditor" })).await;
    let accounts = [
        ("guest", Stranger),
        ("reader", Stranger),
        ("contributor", Stranger),
        ("maintainer", Stranger),
        ("bob", Stranger),
        ("alice", Administers),
        ("auditor", Audits),
        ("admin", Rules),
    ];
    for (account, standing) in accounts {
        for level in [None, Read, Write] {
            let secret = office.token(account, json!({ "name": "walk", "api": level })).await;
            all.push(Role::bearing(account, &secret, level, standing));
        }
    }
    for level in [None, Read, Write] {
        all.push(Role::bearing("robot", &things.key(office, level.as_str()).await, level, Stranger));
    }
    // A credential is confined whatever its owner may: to content, to another namespace, or to this one.
    for (owner, scope, standing) in [
        ("alice", "acme/**:pull,push", Stranger),
        ("alice", "other:admin", Stranger),
        ("admin", "acme/**:pull", Stranger),
        ("admin", "acme:admin", Administers),
        ("auditor", "acme/**:pull", Stranger),
    ] {
        let secret = office.token(owner, json!({ "name": "confined", "api": "write", "scope": scope })).await;
        all.push(Role::bearing(&format!("{owner} within {scope}"), &secret, Write, standing));
    }
    all
}

/// Those who are not let in, whoever they are: what they show is nothing, or not for this API.
async fn those_who_show_nothing(office: &Office) -> Vec<Role> {
    let mut all = vec![Role::nobody("anonymous", None)];
    let write = json!({ "name": "walk", "api": "write" });
    office.made("/api/v1/users", json!({ "name": "gone", "password": "a long password" })).await;
    let suspended = office.token("gone", write.clone()).await;
    assert_eq!(office.local("post", "/api/v1/users/gone/suspend", Value::Null).await.0, StatusCode::NO_CONTENT);
    let revoked = office.made("/api/v1/users/admin/tokens", write).await;
    let path = format!("/api/v1/users/admin/tokens/{}", revoked["id"]);
    assert_eq!(office.local("delete", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    let service = office.made("/api/v1/services", json!({ "name": "elsewhere" })).await;
    for (name, secret) in [
        ("a token of a suspended account", suspended.as_str()),
        ("a revoked token", revoked["secret"].as_str().unwrap()),
        (REGISTRY, service["secret"].as_str().unwrap()),
        ("an administrator's registry token", &registry_token(office).await),
        ("rubbish", "rubbish"),
    ] {
        all.push(Role::nobody(name, Some(format!("Bearer {secret}"))));
    }
    all.push(Role::nobody("Basic", Some(format!("Basic {}", basic(office).await))));
    all
}

/// What an administrator's `docker login` shows.
async fn basic(office: &Office) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let secret = office.token("admin", json!({ "name": "docker", "api": "write" })).await;
    STANDARD.encode(format!("admin:{secret}"))
}

async fn registry_token(office: &Office) -> String {
    let request = Request::get("/token?service=elsewhere&scope=registry:system:*")
        .header(header::AUTHORIZATION, format!("Basic {}", basic(office).await));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(network());
    let answer = office.auth.router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Each route with what its handler's type says.
fn table() -> impl Iterator<Item = (&'static Route, Said)> {
    ROUTES.iter().zip(super::super::described())
}

#[test]
fn t14_each_route_needs_what_its_handler_takes() {
    for (route, said) in table() {
        assert!(route.needs.fits(said.caller), "{route:?}: {:?}", said.caller);
    }
}

/// Whatever changes something knows what it may be told, if that is nothing, too; only who looks is told nothing at all.
#[test]
fn every_route_refuses_what_it_does_not_read() {
    for (route, said) in table() {
        let reads = [said.body.is_some(), said.reads_nothing];
        let expected: &[[bool; 2]] =
            if route.method == "get" { &[[false, false]] } else { &[[true, false], [false, true]] };
        assert!(expected.contains(&reads), "{route:?}: {reads:?}");
    }
}

/// T13: every route as everybody. Who may not call it is answered alike, byte by byte, about what is there and about what is not, and changes nothing.
pub(super) async fn t13_every_route_is_answered_to_those_whom_the_table_names(office: &Office) {
    let things = Things::of(office).await;
    let all = everybody(office, &things).await;
    let before = everything(office, &things).await;
    let router = office.auth.router();
    let mut counts = [0, 0];
    for (route, said) in table() {
        for role in &all {
            let (there, missing) = (things.path(route.path), things.missing(route.path));
            let body = |namespace| strange(route, &said, namespace);
            let tried = format!("{} {there} as {}", route.method, role.name);
            match role.verdict(route) {
                // What is said to it is refused, so that it changes nothing.
                Verdict::Allowed => {
                    let answer = role.call(&router, route.method, &there, body("acme")).await;
                    is_let_in(route, &answer, &tried);
                    counts[0] += 1;
                }
                Verdict::Refused(status) => {
                    let answer = role.call(&router, route.method, &there, body("acme")).await;
                    assert_eq!(answer.status, status, "{tried}: {}", answer.body);
                    let elsewhere = role.call(&router, route.method, &missing, body(NOWHERE)).await;
                    assert_eq!(answer, elsewhere, "{tried}, and {missing}");
                    counts[1] += 1;
                    for seen in conditions(&said) {
                        for (path, namespace) in [(&there, "acme"), (&missing, NOWHERE)] {
                            let again = role.call_if(&router, Some(seen), (route.method, path), body(namespace)).await;
                            assert_eq!(again, answer, "{tried}, {path}, If-Match: {seen}");
                        }
                    }
                }
            }
        }
    }
    assert!(counts[0] > 200 && counts[1] > 1500, "{counts:?}");
    assert_eq!(everything(office, &things).await, before, "what was refused has changed something");
}

/// What somebody may say they have seen, where they are asked: something, anything, and what is not there.
fn conditions(said: &Said) -> &'static [&'static str] {
    if said.has_condition { &["*", "\"x\""] } else { &[] }
}

/// What somebody is answered who may call: the thing, or by name what no body has.
fn is_let_in(route: &Route, answer: &Answer, tried: &str) {
    match route.method {
        "post" if route.needs == Needs::View => assert_eq!(answer.status, StatusCode::OK, "{tried}: {}", answer.body),
        "get" => assert_eq!(answer.status, StatusCode::OK, "{tried}: {}", answer.body),
        _ => {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{tried}: {}", answer.body);
            assert!(answer.body.contains(STRANGE), "{tried}: {}", answer.body);
        }
    }
}

/// T13: whoever administers a namespace gets at nothing of another by naming it inside their own.
pub(super) async fn t13_what_is_elsewhere_is_not_found_inside_ones_own_namespace(office: &Office) {
    let things = Things::of(office).await;
    let bob = office.namespace("other", "bob").await;
    let bob = Role::bearing("bob", &bob, ApiLevel::Write, Standing::Administers);
    let before = everything(office, &things).await;
    let router = office.auth.router();
    let inside = |path: String| path.replace("/acme", "/other");
    let mut tried = 0;
    for (route, said) in table().filter(|(route, _)| route.path.starts_with("/api/v1/namespaces/{namespace}/")) {
        let (theirs, nobodys) = (inside(things.path(route.path)), inside(things.without(route.path)));
        if theirs == nobodys {
            continue;
        }
        let text = said.body.as_ref().map(|_| json!({ "name": "stolen" }).to_string()).unwrap_or_default();
        let body = || ("application/json", text.clone());
        let answer = bob.call(&router, route.method, &theirs, body()).await;
        assert!(answer.status.is_client_error(), "{} {theirs}: {}", route.method, answer.body);
        assert_eq!(answer, bob.call(&router, route.method, &nobodys, body()).await, "{} {theirs}", route.method);
        for seen in conditions(&said) {
            for path in [&theirs, &nobodys] {
                let again = bob.call_if(&router, Some(seen), (route.method, path), body()).await;
                assert_eq!(again, answer, "{} {path}, If-Match: {seen}", route.method);
            }
        }
        tried += 1;
    }
    assert!(tried > 14, "{tried}");
    assert_eq!(everything(office, &things).await, before);
}

/// T13: one's own tokens are the only ones there are: another's number and nobody's are answered alike, whatever one says to have seen of it.
pub(super) async fn t13_what_one_has_seen_does_not_tell_whose_a_number_is(office: &Office) {
    let things = Things::of(office).await;
    let bob = office.namespace("other", "bob").await;
    let bob = Role::bearing("bob", &bob, ApiLevel::Write, Standing::Administers);
    let (_, tokens) = office.local("get", "/api/v1/users/carol/tokens", Value::Null).await;
    let (_, rules) = office.local("get", "/api/v1/grants", Value::Null).await;
    let before = everything(office, &things).await;
    let router = office.auth.router();
    let mut tried = 0;
    for (list, items) in [("/api/v1/me/tokens", &tokens), ("/api/v1/namespaces/other/grants", &rules)] {
        let theirs = |item: &&Value| item["namespace"] != "other";
        for item in items["items"].as_array().unwrap().iter().filter(theirs) {
            // The right one, too: who guesses it learns nothing.
            let version = format!("\"{}\"", item["version"].as_str().unwrap());
            for seen in [None, Some("*"), Some("\"x\""), Some(version.as_str())] {
                let mut answers = Vec::new();
                for id in [item["id"].to_string(), NOTHING.to_owned()] {
                    let path = format!("{list}/{id}");
                    let body = ("application/json", String::new());
                    answers.push(bob.call_if(&router, seen, ("delete", &path), body).await);
                }
                assert_eq!(answers[0].status, StatusCode::NOT_FOUND, "{list} {item}: {:?}", answers[0]);
                assert_eq!(answers[0], answers[1], "{list} {item} {seen:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 20, "{tried}");
    assert_eq!(everything(office, &things).await, before);
}

/// All that root can look at, but when credentials were used.
pub(super) async fn everything(office: &Office, things: &Things) -> Vec<String> {
    let mut seen = Vec::new();
    for route in ROUTES.iter().filter(|route| route.method == "get" && route.needs != Needs::Oneself) {
        let path = things.path(route.path);
        let (status, mut answer) = office.local("get", &path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        for item in answer["items"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            item.retain(|member, _| !member.starts_with("used_"));
        }
        seen.push(format!("{path}: {answer}"));
    }
    seen
}
