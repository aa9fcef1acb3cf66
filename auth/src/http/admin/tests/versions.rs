//! Changes to what somebody has looked at: `If-Match`, on every route that changes something.

use axum::http::{Request, StatusCode, header};

use super::{walk::everything, *};

shared::on_both! {
    crate::http::admin::tests::Office:
    what_has_changed_meanwhile_is_not_changed
    what_is_as_it_was_seen_is_changed
    of_two_who_have_seen_the_same_one_is_told
    a_password_is_part_of_its_account
    t26_a_grant_is_replaced_within_what_its_writer_may_give
    a_guardrail_that_forbids_more_is_felt_at_once
}

/// As root, if it is as one of these tags says.
async fn matching(office: &Office, tags: &str, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::builder().method(method.to_uppercase().as_str()).uri(path).header(header::IF_MATCH, tags);
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(text));
    let mut request = request.unwrap();
    request.extensions_mut().insert(Peer::Unix { uid: 0, gid: 0, pid: None });
    let answer = office.auth.socket_router().oneshot(request).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The entity tag and the version in the body of what is served by itself.
async fn tag(office: &Office, path: &str) -> String {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer::Unix { uid: 0, gid: 0, pid: None });
    let answer = office.auth.socket_router().oneshot(request).await.unwrap();
    let tag = answer.headers()[header::ETAG].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!(tag, format!("{:?}", body["version"].as_str().unwrap()), "{path}");
    tag
}

/// What a route that changes something is sent, where it reads a body.
fn change(route: &Route) -> Value {
    match (route.method, route.path) {
        ("patch", "/api/v1/namespaces/{namespace}") => json!({ "visibility": "public" }),
        (_, "/api/v1/users/{user}/password") => json!({ "password": "another long password" }),
        (_, "/api/v1/users/{user}/system-role") => json!({ "system_role": "auditor" }),
        ("put", "/api/v1/namespaces/{namespace}/grants/{grant}") => {
            json!({ "subject": "carol", "repositories": "acme/**", "actions": "pull" })
        }
        ("put", "/api/v1/grants/{grant}") => json!({ "repositories": "*/cold", "actions": "push", "effect": "deny" }),
        _ => Value::Null,
    }
}

/// What changes one thing that is there: not what makes one, nor what turns the system's keys, nor the whole setup, whose body says what
/// was seen.
fn changes_one(route: &Route) -> bool {
    let one = ["put", "patch", "delete"].contains(&route.method)
        || route.path.ends_with("suspend")
        || route.path.ends_with("resume");
    one && route.path != "/api/v1/setup"
}

#[test]
fn whatever_changes_something_asks_what_was_seen_of_it() {
    for (route, described) in ROUTES.iter().zip(super::super::described()) {
        assert_eq!(described.has_condition, changes_one(route), "{route:?}");
    }
}

async fn what_has_changed_meanwhile_is_not_changed(office: &Office) {
    let things = Things::of(office).await;
    let before = everything(office, &things).await;
    let of_others = |route: &&Route| changes_one(route) && route.needs != Needs::Oneself;
    let mut tried = 0;
    for route in ROUTES.iter().filter(of_others) {
        for stale in ["\"000000000000000000000000\"", "W/\"*\"", "*x", "", "\"a\", \"b\"", "\"unfinished"] {
            let path = things.path(route.path);
            let (status, answer) = matching(office, stale, route.method, &path, &change(route)).await;
            assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{} {path} {stale}: {answer}", route.method);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    // One's own password and tokens, too.
    let carol = office.token("carol", json!({ "name": "own", "api": "write" })).await;
    let change = json!({ "current": "a long password", "new": "another long password" });
    for (method, path, body) in [
        ("PUT", "/api/v1/me/password".to_owned(), change),
        ("DELETE", format!("/api/v1/me/tokens/{}", things.token["id"]), Value::Null),
    ] {
        let request = Request::builder().method(method).uri(path).header(header::IF_MATCH, "\"0\"");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {carol}"));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = request.body(Body::from(text)).unwrap();
        request.extensions_mut().insert(network());
        let status = office.auth.router().oneshot(request).await.unwrap().status();
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    }
    let (_, tokens) = office.local("get", "/api/v1/users/carol/tokens", Value::Null).await;
    let own = tokens["items"].as_array().unwrap().last().unwrap()["id"].clone();
    office.local("delete", &format!("/api/v1/users/carol/tokens/{own}"), Value::Null).await;
    let after = everything(office, &things).await;
    // The token that was made and revoked here has left its two lines.
    let of_state =
        |seen: &Vec<String>| seen.iter().filter(|line| !line.contains("/audit")).cloned().collect::<Vec<_>>();
    assert_eq!(of_state(&after), of_state(&before));
}

async fn what_is_as_it_was_seen_is_changed(office: &Office) {
    let things = Things::of(office).await;
    let (user, team) = ("/api/v1/users/carol", "/api/v1/namespaces/acme/teams/dev");
    let seen = tag(office, user).await;
    let suspend = format!("{user}/suspend");
    let (status, _) = matching(office, &format!("\"other\", {seen}"), "post", &suspend, &Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_ne!(tag(office, user).await, seen);
    let (status, _) = matching(office, &seen, "delete", user, &Value::Null).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(matching(office, "*", "post", &format!("{user}/resume"), &Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(tag(office, user).await, seen, "what was changed back is what it was");

    // A team is what administrators have put into it.
    let mut before = tag(office, team).await;
    for (method, part) in [
        ("put", "members/alice"),
        ("delete", "members/alice"),
        ("delete", "members/carol"),
        ("put", "mappings/corp/cn=all"),
        ("delete", "mappings/corp/cn=dev,dc=corp"),
    ] {
        let part = format!("{team}/{part}");
        assert_eq!(matching(office, &before, method, &part, &Value::Null).await.0, StatusCode::NO_CONTENT, "{part}");
        let after = tag(office, team).await;
        assert_ne!(after, before, "{part}");
        assert_eq!(matching(office, &before, method, &part, &Value::Null).await.0, StatusCode::PRECONDITION_FAILED);
        before = after;
    }
    // Lists say the versions of what is in them.
    for (list, item) in [
        ("/api/v1/users", "/api/v1/users/admin".to_owned()),
        ("/api/v1/namespaces", "/api/v1/namespaces/acme".to_owned()),
        ("/api/v1/namespaces/acme/teams", team.to_owned()),
        ("/api/v1/namespaces/acme/robots", "/api/v1/namespaces/acme/robots/ci".to_owned()),
        ("/api/v1/grants", "/api/v1/grants/1".to_owned()),
        ("/api/v1/providers", "/api/v1/providers/corp".to_owned()),
    ] {
        let (_, page) = office.local("get", list, Value::Null).await;
        assert_eq!(format!("{:?}", page["items"][0]["version"].as_str().unwrap()), tag(office, &item).await, "{list}");
    }
    for (list, id) in [
        ("/api/v1/namespaces/acme/robots/ci/keys", &things.key["id"]),
        ("/api/v1/users/carol/tokens", &things.token["id"]),
    ] {
        let (_, page) = office.local("get", list, Value::Null).await;
        let item = page["items"].as_array().unwrap().iter().find(|item| item["id"] == *id).unwrap();
        let seen = format!("{:?}", item["version"].as_str().unwrap());
        let (status, _) = matching(office, &seen, "delete", &format!("{list}/{id}"), &Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{list}");
    }
}

async fn of_two_who_have_seen_the_same_one_is_told(office: &Office) {
    let things = Things::of(office).await;
    let grant = format!("/api/v1/namespaces/acme/grants/{}", things.grant["id"]);
    for round in 0..5 {
        let seen = tag(office, &grant).await;
        let rule = |name: &str| json!({ "subject": "robot.acme.ci", "repositories": format!("acme/{name}-{round}"), "actions": "pull" });
        let (one, other) = (rule("one"), rule("other"));
        let (one, other) =
            tokio::join!(matching(office, &seen, "put", &grant, &one), matching(office, &seen, "put", &grant, &other));
        let mut statuses = [one.0, other.0];
        statuses.sort();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::PRECONDITION_FAILED], "{one:?} {other:?}");
        let won = if one.0 == StatusCode::OK { one.1 } else { other.1 };
        assert_eq!(office.local("get", &grant, Value::Null).await.1, won);
    }
}

/// Two administrators reset a password that both have seen as it was: one is told, and does not hand over what does not work.
async fn a_password_is_part_of_its_account(office: &Office) {
    Things::of(office).await;
    let user = "/api/v1/users/carol";
    let seen = tag(office, user).await;
    let reset = format!("{user}/password");
    let (status, told) = matching(office, &seen, "put", &reset, &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let after = tag(office, user).await;
    assert_ne!(after, seen);
    assert_eq!(after, format!("{:?}", told["version"].as_str().unwrap()), "who has changed it knows what it is now");
    for (method, path, body) in [
        ("put", &reset, json!({})),
        ("post", &format!("{user}/suspend"), Value::Null),
        ("delete", &user.to_owned(), Value::Null),
    ] {
        assert_eq!(matching(office, &seen, method, path, &body).await.0, StatusCode::PRECONDITION_FAILED, "{path}");
    }
    // One's own account has one version, whoever looks; a token that was made changes nothing of it.
    let token = office.token("carol", json!({ "name": "own", "api": "write" })).await;
    let (_, me) = office.bearing(&token, "get", "/api/v1/me", Value::Null).await;
    assert_eq!(after, format!("{:?}", me["version"].as_str().unwrap()));
    assert_eq!(tag(office, user).await, after);
    let (_, page) = office.local("get", "/api/v1/users", Value::Null).await;
    let listed = page["items"].as_array().unwrap().iter().find(|user| user["name"] == "carol").unwrap();
    assert_eq!(listed["version"], me["version"]);
}

async fn a_guardrail_that_forbids_more_is_felt_at_once(office: &Office) {
    let rail = |actions: &str| json!({ "repositories": "*/frozen", "actions": actions, "effect": "deny" });
    let id = office.made("/api/v1/grants", rail("push")).await["id"].clone();
    let path = format!("/api/v1/grants/{id}");
    let accounts = &office.auth.app().accounts;
    for (actions, felt) in [("push,delete", true), ("push,delete", false), ("delete", false), ("push", true)] {
        let before = accounts.epoch().await.unwrap();
        let (status, told) = office.local("put", &path, rail(actions)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert_eq!(accounts.epoch().await.unwrap() > before, felt, "{actions}");
    }
    let (status, told) = office
        .local("put", &path, json!({ "subject": "everyone", "repositories": "*/frozen", "actions": "pull" }))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "a guardrail stays one: {told}");
}

/// T26: what may not be given may not be made of what was given, either.
async fn t26_a_grant_is_replaced_within_what_its_writer_may_give(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    office.namespace("base", "bob").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let grants = "/api/v1/namespaces/acme/grants";
    let rule = |actions: &str| json!({ "subject": "bob", "repositories": "acme/**", "actions": actions });
    let id = office.made(grants, rule("pull")).await["id"].clone();
    let grant = format!("{grants}/{id}");
    let put = async |body: Value| office.bearing(&alice, "put", &grant, body).await;
    for (refused, expected) in [
        (json!({ "subject": "alice", "repositories": "base/**", "actions": "pull" }), StatusCode::BAD_REQUEST),
        (json!({ "subject": "alice", "repositories": "**", "actions": "pull" }), StatusCode::BAD_REQUEST),
        (json!({ "effect": "deny", "repositories": "acme/**", "actions": "push" }), StatusCode::BAD_REQUEST),
        (json!({ "subject": "everyone", "repositories": "acme", "actions": "admin" }), StatusCode::FORBIDDEN),
        (json!({ "subject": "robot.acme.ci", "repositories": "acme", "actions": "admin" }), StatusCode::FORBIDDEN),
        (rule("admin"), StatusCode::FORBIDDEN),
        (rule("push"), StatusCode::FORBIDDEN),
        (json!({ "subject": "bob", "repositories": "acme/**", "actions": "pull", "id": 7 }), StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = put(refused.clone()).await;
        assert_eq!(status, expected, "{refused}: {answer}");
    }
    let accounts = &office.auth.app().accounts;
    let rows = async || accounts.epoch().await.unwrap();
    let before = rows().await;
    assert_eq!(put(rule("pull")).await.0, StatusCode::OK, "what is the same changes nothing");
    assert_eq!(put(rule("pull,push")).await.0, StatusCode::OK);
    assert_eq!(rows().await, before, "who widens interrupts nobody");
    let tagged =
        |tags: &str| json!({ "subject": "bob", "repositories": "acme/**", "actions": "pull,push", "tags": tags });
    for (narrower, why) in [
        (tagged("pr-*,rc-*"), "tags"),
        (tagged("pr-*"), "fewer tags"),
        (rule("pull"), "actions"),
        (json!({ "subject": "bob", "repositories": "acme/web", "actions": "pull" }), "repositories"),
        (json!({ "subject": "robot.acme.ci", "repositories": "acme/web", "actions": "pull" }), "subject"),
    ] {
        let before = rows().await;
        let (status, answer) = put(narrower).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(rows().await > before, "tokens that say more are refused: {why}");
        if why == "fewer tags" {
            let before = rows().await;
            assert_eq!(put(tagged("pr-*,v*")).await.0, StatusCode::OK);
            assert_eq!(rows().await, before, "one more tag interrupts nobody");
        }
    }
    let (_, log) = office.local("get", "/api/v1/audit?what=grant.change", Value::Null).await;
    assert_eq!(log["items"].as_array().unwrap().len(), 7);
    assert_eq!(log["items"][0]["details"]["after"]["pattern"], "acme/web");
    assert_eq!(log["items"][0]["actor"]["name"], "alice");
    // A grant of one namespace is not moved into another, nor made a guardrail, by whoever it is.
    let rail = json!({ "repositories": "*/x", "actions": "push", "effect": "deny" });
    let (status, _) = office.local("put", &format!("/api/v1/grants/{id}"), rail).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
