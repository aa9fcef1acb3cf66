//! Directories as administrators see them: what is listed, and what a test of one tells.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::database::testing::Scratch;

use super::Office;
use crate::{
    identity::ldap::{
        config::{Config, Groups, Nested, Password, Searcher},
        names::Filter,
        tests::{
            config,
            fake::{BIND, Does, Fake, SEARCH, entry, last_page, result},
        },
    },
    settings::Settings,
};

shared::on_both! {
    crate::http::admin::tests::providers::Listed:
    who_oversees_the_system_sees_providers_and_nobody_else_does
    a_test_tells_every_step_and_no_secret
    a_test_tells_what_went_wrong_in_the_servers_words
    a_test_is_asked_for_exactly
}

const SECRET: &str = "the reader's own";
const PROVIDERS: &str = "/api/v1/providers";

/// A server with a directory that knows Alice, in a group that feeds a team.
struct Listed {
    office: Office,
    fake: Fake,
}

impl Listed {
    async fn sqlite() -> Self {
        Self::open(Scratch::sqlite()).await
    }

    async fn postgres() -> Self {
        Self::open(Scratch::postgres()).await
    }

    async fn open(scratch: Scratch) -> Self {
        let fake = Fake::reading(|id, operation, request| Does::Says(said(id, operation, request))).await;
        let settings = Settings { ldap: vec![directory(&fake.url)], ..Settings::default() };
        Self { office: Office::with(scratch, settings).await, fake }
    }

    async fn clear(&self) {
        self.office.clear().await;
    }

    async fn test(&self, provider: &str, body: Value) -> (StatusCode, Value) {
        self.office.local("post", &format!("{PROVIDERS}/{provider}/test"), body).await
    }
}

fn directory(url: &str) -> Config {
    let mut config = config(&[url.to_owned()]);
    config.searcher = Searcher::Account { name: "cn=reader".to_owned(), password: Password::Here(SECRET.into()) };
    config.groups = Some(Groups {
        base: "ou=groups".to_owned(),
        filter: Filter::everything(),
        member_of: false,
        nested: Nested::Walk,
    });
    config
}

/// A password is right unless it says that it is wrong; of a search only its words matter.
fn said(id: u8, operation: u8, request: &[u8]) -> Vec<u8> {
    let has = |word: &str| request.windows(word.len()).any(|part| part == word.as_bytes());
    let alice: [(&str, &[u8]); 2] = [("uid", b"Alice"), ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345")];
    let alice = || [entry(id, "uid=alice,ou=people", &alice), result(id, 0x65, 0)].concat();
    match operation {
        BIND if has("wrong") => result(id, 0x61, 49),
        BIND => result(id, 0x61, 0),
        SEARCH if has("uniqueMember") && has("cn=dev") => [entry(id, "cn=all,ou=groups", &[]), last_page(id)].concat(),
        SEARCH if has("uniqueMember") || has("memberUid") => last_page(id),
        SEARCH if has("member") => [entry(id, "CN=dev,ou=groups", &[]), last_page(id)].concat(),
        SEARCH if has("nobody") => result(id, 0x65, 0),
        _ => alice(),
    }
}

fn step<'s>(seen: &'s Value, name: &str) -> &'s Value {
    seen["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap_or(&Value::Null)
}

async fn who_oversees_the_system_sees_providers_and_nobody_else_does(listed: &Listed) {
    let Listed { office, fake } = listed;
    let (status, page) = office.local("get", PROVIDERS, Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let corp = &page["items"][0];
    assert_eq!((&corp["name"], &corp["kind"], &corp["source"]), (&json!("corp"), &json!("ldap"), &json!("settings")));
    assert_eq!((&corp["accounts"], &corp["mappings"], &corp["urls"]), (&json!(0), &json!(0), &json!([fake.url])));
    let (_, shown) = office.local("get", &format!("{PROVIDERS}/corp"), Value::Null).await;
    assert_eq!(&shown, corp);
    assert_eq!(shown["directory"]["bind"], "cn=reader");
    assert!(!page.to_string().contains(SECRET), "{page}");

    let auditor = json!({ "name": "eve", "password": "a long password", "system_role": "auditor" });
    office.made("/api/v1/users", auditor).await;
    let auditor = office.token("eve", json!({ "name": "audit", "api": "write" })).await;
    let alice = office.namespace("acme", "alice").await;
    let test = "/api/v1/providers/corp/test";
    for (secret, method, path, expected) in [
        (&auditor, "get", PROVIDERS, StatusCode::OK),
        (&auditor, "get", "/api/v1/providers/corp", StatusCode::OK),
        (&auditor, "post", test, StatusCode::NOT_FOUND),
        (&alice, "get", PROVIDERS, StatusCode::FORBIDDEN),
        (&alice, "get", "/api/v1/providers/corp", StatusCode::NOT_FOUND),
        (&alice, "get", "/api/v1/providers/none", StatusCode::NOT_FOUND),
        (&alice, "post", test, StatusCode::NOT_FOUND),
        (&alice, "post", "/api/v1/providers/none/test", StatusCode::NOT_FOUND),
    ] {
        let body = if method == "get" { Value::Null } else { json!({}) };
        let (status, answer) = office.bearing(secret, method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    assert!(fake.seen().is_empty(), "who may not ask has nobody asked");
}

async fn a_test_tells_every_step_and_no_secret(listed: &Listed) {
    let Listed { office, .. } = listed;
    office.namespace("acme", "root").await;
    office.made("/api/v1/namespaces/acme/teams", json!({ "name": "dev" })).await;
    let mapping = "/api/v1/namespaces/acme/teams/dev/mappings/corp/cn=dev,ou=groups";
    assert_eq!(office.local("put", mapping, Value::Null).await.0, StatusCode::NO_CONTENT);

    let (status, seen) = listed.test("corp", json!({ "user": "alice", "password": "a password" })).await;
    assert_eq!((status, &seen["ok"]), (StatusCode::OK, &json!(true)), "{seen}");
    let order: Vec<&str> =
        seen["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let expected = "connect tls bind users groups nesting user password member account teams";
    assert_eq!(order.join(" "), expected);
    for (name, words) in [
        ("tls", "everybody on the way can read passwords"),
        ("bind", "as cn=reader"),
        ("nesting", "walk"),
        ("user", "7b1e5e2a-0000-1040-8000-abcdef012345"),
        ("password", "is right"),
        ("member", "is in 2 groups"),
        ("account", "none yet: the first sign-in makes alice"),
        ("teams", "acme/dev"),
    ] {
        assert!(step(&seen, name)["said"].as_str().unwrap().contains(words), "{name}: {seen}");
    }
    let groups = json!([
        { "group": "cn=all,ou=groups", "by": "nested 1", "teams": [] },
        { "group": "cn=dev,ou=groups", "by": "member", "teams": ["acme/dev"] },
    ]);
    assert_eq!((&seen["groups"], &seen["teams"]), (&groups, &json!(["acme/dev"])));
    for secret in [SECRET, "a password"] {
        assert!(!seen.to_string().contains(secret), "{seen}");
    }
    let (_, log) = office.local("get", "/api/v1/audit?what=provider.test", Value::Null).await;
    assert_eq!(log["items"][0]["details"], json!({ "user": "alice", "password": true }));
    assert_eq!(log["items"][0]["actor"]["name"], "local");
    let (_, users) = office.local("get", "/api/v1/users", Value::Null).await;
    assert!(!users.to_string().contains("alice"), "a test makes no account: {users}");
}

async fn a_test_tells_what_went_wrong_in_the_servers_words(listed: &Listed) {
    let Listed { office, .. } = listed;
    let (_, seen) = listed.test("corp", json!({ "user": "alice", "password": "wrong" })).await;
    assert_eq!(seen["ok"], false);
    assert_eq!(step(&seen, "password")["ok"], false);
    let said = step(&seen, "password")["said"].as_str().unwrap();
    assert!(said.contains("invalidCredentials (result code 49)") && said.contains("as you wish"), "{said}");
    assert_eq!(step(&seen, "teams")["ok"], true, "the groups are asked by the reader: {seen}");

    let (_, seen) = listed.test("corp", json!({ "user": "nobody" })).await;
    assert_eq!((&seen["ok"], &step(&seen, "user")["ok"]), (&json!(false), &json!(false)), "{seen}");
    let (_, seen) = listed.test("corp", json!({ "user": "alice", "password": "" })).await;
    assert!(step(&seen, "password")["said"].as_str().unwrap().contains("before a byte is sent"), "{seen}");

    office.made("/api/v1/users", json!({ "name": "Alice", "password": "a long password" })).await;
    let (_, seen) = listed.test("corp", json!({ "user": "alice" })).await;
    assert_eq!(step(&seen, "account")["ok"], false, "a local account owns its name: {seen}");
}

async fn a_test_is_asked_for_exactly(listed: &Listed) {
    for (provider, body, expected) in [
        ("corp", json!({ "password": "a password" }), StatusCode::BAD_REQUEST),
        ("corp", json!({ "user": " " }), StatusCode::BAD_REQUEST),
        ("corp", json!({ "username": "alice" }), StatusCode::BAD_REQUEST),
        ("corp", json!({}), StatusCode::OK),
        ("none", json!({}), StatusCode::NOT_FOUND),
        ("htpasswd", json!({}), StatusCode::NOT_FOUND),
    ] {
        let (status, answer) = listed.test(provider, body.clone()).await;
        assert_eq!(status, expected, "{provider} {body}: {answer}");
    }
}
