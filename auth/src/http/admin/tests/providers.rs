//! Directories as administrators see them: what is listed, and what a test of one tells.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::database::testing::Scratch;

use super::Office;
use crate::{
    identity::{
        ldap::{
            config::{Config, Groups, Nested, Password, Searcher},
            names::Filter,
            tests::{
                config,
                fake::{BIND, Does, Fake, SEARCH, entry, last_page, result},
            },
        },
        throttle::PER_ACCOUNT,
    },
    settings::Settings,
};

shared::on_both! {
    crate::http::admin::tests::providers::Listed:
    who_oversees_the_system_sees_providers_and_nobody_else_does
    a_test_tells_every_step_and_no_secret
    a_test_tells_what_went_wrong_in_the_servers_words
    a_test_is_asked_for_exactly
    a_test_names_accounts_and_nobody_else_and_no_file
    a_test_tries_no_more_passwords_than_a_sign_in
}

pub(super) const SECRET: &str = "the reader's own";
pub(super) const PROVIDERS: &str = "/api/v1/providers";

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

pub(super) fn directory(url: &str) -> Config {
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
pub(super) fn said(id: u8, operation: u8, request: &[u8]) -> Vec<u8> {
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
    let details = &log["items"][0]["details"];
    assert!(details["password"] == true && details["user"].as_str().unwrap().starts_with("unknown:"), "{details}");
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

/// L3 and L4 of what a hostile reader found: a name that is typed may be a password, and a path is nobody's who is not here.
async fn a_test_names_accounts_and_nobody_else_and_no_file(listed: &Listed) {
    let Listed { office, .. } = listed;
    for (typed, written) in [("ADMIN", Some("admin")), ("hunter2, typed where names belong", None)] {
        assert_eq!(listed.test("corp", json!({ "user": typed })).await.0, StatusCode::OK);
        let (_, log) = office.local("get", "/api/v1/audit?what=provider.test", Value::Null).await;
        let user = log["items"][0]["details"]["user"].as_str().unwrap();
        assert!(written.map_or_else(|| user.starts_with("unknown:"), |written| user == written), "{user}");
        assert!(!log.to_string().contains("hunter2"), "{log}");
    }
    let file = office.data.path().join("reader's password");
    std::fs::write(&file, "a password").unwrap();
    let mut config = directory(&listed.fake.url);
    config.searcher = Searcher::Account { name: "cn=reader".to_owned(), password: Password::File(file.clone()) };
    let settings = Settings { ldap: vec![Config { name: "files".parse().unwrap(), ..config }], ..Settings::default() };
    let other = office.another(settings).await.unwrap();
    std::fs::remove_file(file).unwrap();
    let seen =
        other.app().identities.examine("files", None, None, crate::identity::Peer::Socket).await.unwrap().unwrap();
    let said = seen.steps.iter().find_map(|step| step.said.as_ref().err()).unwrap();
    assert!(said.contains("stands in the server's log") && !said.contains("reader"), "{said}");
    other.app().accounts.close().await;
}

async fn a_test_tries_no_more_passwords_than_a_sign_in(listed: &Listed) {
    let Listed { office, .. } = listed;
    let admin = office.token("admin", json!({ "name": "guess", "api": "write" })).await;
    let mut last = StatusCode::OK;
    for _ in 0..=PER_ACCOUNT.burst {
        let body = json!({ "user": "alice", "password": "wrong" });
        last = office.bearing(&admin, "post", &format!("{PROVIDERS}/corp/test"), body).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        listed.test("corp", json!({ "user": "alice", "password": "wrong" })).await.0,
        StatusCode::OK,
        "root may"
    );
}
