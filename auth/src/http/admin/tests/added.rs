//! Directories that are added beside those of the settings: who may, what is refused, what is stored, and what other processes make of it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::database::Dialect;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::{
    Office, network,
    providers::{PROVIDERS, SECRET, directory},
};
use crate::{
    accounts::{self, Refusal},
    identity::{
        ldap::tests::{
            fake::{BIND, Does, Fake, entry, last_page, result},
            slapd::{READER, READERS, SUFFIX, Slapd},
        },
        remembered::REMEMBERED_FOR,
    },
    server::{Auth, StartError},
    settings::Settings,
};

shared::on_both! {
    crate::http::admin::tests::Office:
    a_directory_is_asked_as_soon_as_it_is_added
    a_removed_directory_takes_its_accounts_along_and_brings_them_back
    its_secrets_are_sealed_and_never_shown
    secrets_go_over_to_a_new_master_key
    nobody_but_a_system_administrator_adds_or_removes
    what_makes_no_sense_is_refused_by_name
    a_name_is_described_in_one_place
    there_are_eight_directories_at_most
    the_last_administrator_is_not_removed_with_a_directory
    every_process_takes_it_up_within_seconds
}

const CORP: &str = "/api/v1/providers/corp";
/// The control of a search in pages.
const PAGED: &str = "1.2.840.113556.1.4.319";

/// A directory that knows Alice, by every password but a wrong one.
async fn fake() -> Fake {
    Fake::reading(|id, operation, request| {
        let has = |word: &str| request.windows(word.len()).any(|part| part == word.as_bytes());
        let attributes: [(&str, &[u8]); 2] =
            [("uid", b"alice"), ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345")];
        let end = || if has(PAGED) { last_page(id) } else { result(id, 0x65, 0) };
        Does::Says(match operation {
            BIND if has("wrong") => result(id, 0x61, 49),
            BIND => result(id, 0x61, 0),
            _ => [entry(id, "uid=alice,ou=people", &attributes), end()].concat(),
        })
    })
    .await
}

fn corp(url: &str) -> Value {
    json!({ "ldap": {
        "name": "corp",
        "urls": [url],
        "insecure": true,
        "bind": { "dn": "cn=reader", "password": SECRET },
        "users": { "base": "ou=people" },
    } })
}

impl Office {
    async fn removed(&self) -> Value {
        let (status, removed) = self.local("delete", CORP, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{removed}");
        removed
    }

    async fn state_of(&self, user: &str) -> Value {
        self.local("get", &format!("/api/v1/users/{user}"), Value::Null).await.1["state"].clone()
    }

    /// What of the audit has that name.
    async fn events(&self, name: &str) -> Vec<Value> {
        let (_, log) = self.local("get", &format!("/api/v1/audit?what={name}"), Value::Null).await;
        log["items"].as_array().unwrap().clone()
    }
}

/// What somebody's password is answered by a server.
pub(super) async fn sign_in(auth: &Auth, name: &str, password: &str) -> StatusCode {
    let shown = STANDARD.encode(format!("{name}:{password}"));
    let request = Request::get("/token?service=portreeve").header(header::AUTHORIZATION, format!("Basic {shown}"));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(network());
    auth.router().oneshot(request).await.unwrap().status()
}

async fn a_directory_is_asked_as_soon_as_it_is_added(office: &Office) {
    let fake = fake().await;
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::UNAUTHORIZED);
    let added = office.made(PROVIDERS, corp(&fake.url)).await;
    assert_eq!((&added["name"], &added["kind"], &added["source"]), (&json!("corp"), &json!("ldap"), &json!("added")));
    assert_eq!((&added["urls"], &added["directory"]["bind"]), (&json!([fake.url]), &json!("cn=reader")));
    assert_eq!(office.local("get", CORP, Value::Null).await.1, added);
    assert_eq!(sign_in(&office.auth, "alice", "wrong").await, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::OK);
    let (_, seen) = office.local("post", &format!("{CORP}/test"), json!({ "user": "alice" })).await;
    assert_eq!(seen["ok"], true, "{seen}");
    let events = office.events("provider.add").await;
    assert_eq!((&events[0]["target"], &events[0]["actor"]["name"]), (&json!("corp"), &json!("local")));
    assert_eq!(events[0]["details"], json!({ "kind": "ldap", "urls": [fake.url] }));
}

async fn a_removed_directory_takes_its_accounts_along_and_brings_them_back(office: &Office) {
    let fake = fake().await;
    office.made(PROVIDERS, corp(&fake.url)).await;
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::OK);
    let token = office.token("alice", json!({ "name": "ci", "api": "read" })).await;

    let removed = office.removed().await;
    assert_eq!((&removed["accounts"], &removed["disabled"], &removed["mappings"]), (&json!(1), &json!(1), &json!(0)));
    assert!(removed["said"].as_str().unwrap().contains("until a directory called \"corp\""), "{removed}");
    assert_eq!(office.state_of("alice").await, "disabled");
    // Remembered passwords and what was made without one end alike.
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::UNAUTHORIZED);
    assert_eq!(office.bearing(&token, "get", "/api/v1/me", Value::Null).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(office.events("provider.remove").await[0]["details"]["disabled"], 1);
    assert_eq!(office.events("principal.state").await[0]["actor"]["name"], "local");
    let (_, left) = office.local("get", CORP, Value::Null).await;
    assert_eq!((&left["source"], left.get("urls")), (&json!("none"), None), "{left}");
    assert_eq!(office.local("delete", CORP, Value::Null).await.0, StatusCode::NOT_FOUND, "it is removed once");
    let test = office.local("post", &format!("{CORP}/test"), json!({})).await;
    assert_eq!(test.0, StatusCode::NOT_FOUND, "nobody asks it any more");

    assert_eq!(office.made(PROVIDERS, corp(&fake.url)).await["accounts"], 1);
    assert_eq!(office.state_of("alice").await, "disabled", "who is there again is known when it was asked");
    office.auth.app().identities.sync().await;
    assert_eq!(office.state_of("alice").await, "active");
    assert_eq!(office.bearing(&token, "get", "/api/v1/me", Value::Null).await.0, StatusCode::OK);
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::OK);
}

async fn its_secrets_are_sealed_and_never_shown(office: &Office) {
    let fake = fake().await;
    let mut told = office.made(PROVIDERS, corp(&fake.url)).await.to_string();
    for path in [PROVIDERS, CORP, "/api/v1/audit"] {
        told += &office.local("get", path, Value::Null).await.1.to_string();
    }
    told += &office.local("post", &format!("{CORP}/test"), json!({})).await.1.to_string();
    assert!(!told.contains(SECRET), "{told}");

    let app = office.auth.app();
    let (stored, _) = app.accounts.added_directories().await.unwrap();
    let secret = stored[0].secret.clone().unwrap();
    assert_eq!(secret.master_id, app.identities.keys().current().id());
    assert!(!stored[0].settings.contains(SECRET) && stored[0].settings.contains(&fake.url), "{}", stored[0].settings);
    assert!(!secret.sealed.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    let opens = |place| app.identities.keys().current().open_sealed(place, &secret.sealed);
    assert!(opens("provider/corp").is_ok() && opens("provider/other").is_err());
    office.removed().await;
    assert_eq!(app.accounts.added_directories().await.unwrap().0, [], "nothing of it is kept");
}

async fn secrets_go_over_to_a_new_master_key(office: &Office) {
    let fake = fake().await;
    office.made(PROVIDERS, corp(&fake.url)).await;
    let keys = office.data.path().join("keys");
    std::fs::rename(keys.join("master"), keys.join("master.previous")).unwrap();
    let renewed = office.another(Settings::default()).await.unwrap();
    let app = renewed.app();
    let (stored, _) = app.accounts.added_directories().await.unwrap();
    assert_eq!(stored[0].secret.as_ref().unwrap().master_id, app.identities.keys().current().id());
    assert_eq!(sign_in(&renewed, "alice", "a password").await, StatusCode::OK);
    app.identities.look_for_directories().await.unwrap();
    assert_eq!(sign_in(&renewed, "alice", "a password").await, StatusCode::OK, "as it is sealed now");
    app.accounts.close().await;
}

async fn nobody_but_a_system_administrator_adds_or_removes(office: &Office) {
    let fake = fake().await;
    let auditor = json!({ "name": "eve", "password": "a long password", "system_role": "auditor" });
    office.made("/api/v1/users", auditor).await;
    let auditor = office.token("eve", json!({ "name": "audit", "api": "write" })).await;
    let alice = office.namespace("acme", "alice").await;
    let reads = office.token("admin", json!({ "name": "reads", "api": "read" })).await;
    let confined = office.token("admin", json!({ "name": "c", "api": "write", "scope": "acme:admin" })).await;
    for secret in [&auditor, &alice, &reads, &confined] {
        let (status, problem) = office.bearing(secret, "post", PROVIDERS, corp(&fake.url)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    }
    assert_eq!(office.local("get", PROVIDERS, Value::Null).await.1["items"], json!([]));
    office.made(PROVIDERS, corp(&fake.url)).await;
    for secret in [&auditor, &alice, &confined] {
        for path in [CORP, "/api/v1/providers/none"] {
            let (status, problem) = office.bearing(secret, "delete", path, Value::Null).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
        }
    }
    assert_eq!(office.bearing(&reads, "delete", CORP, Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::UNAUTHORIZED, "a local account's name");
    assert_eq!(office.local("get", CORP, Value::Null).await.1["source"], "added");
    let admin = office.token("admin", json!({ "name": "w", "api": "write" })).await;
    assert_eq!(office.bearing(&admin, "delete", CORP, Value::Null).await.0, StatusCode::OK);
    assert_eq!(office.local("get", CORP, Value::Null).await.0, StatusCode::NOT_FOUND, "nothing hung on it");
}

/// `corp` with one member more, or another.
fn with(member: &str, value: Value) -> Value {
    let mut body = corp("ldaps://dc1.corp.test");
    body["ldap"][member] = value;
    body
}

async fn what_makes_no_sense_is_refused_by_name(office: &Office) {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let nine: Vec<String> = (0..9).map(|number| format!("ldaps://dc{number}")).collect();
    for (body, named) in [
        (json!({}), "single key"),
        (json!({ "oauth": {} }), "oauth"),
        (with("urlz", json!([])), "urlz"),
        (with("users", json!({ "base": "dc=x", "bse": "dc=y" })), "bse"),
        (with("groups", json!({ "base": "dc=x", "deep": true })), "deep"),
        (with("bind", json!({ "dn": "cn=x", "secret": "x" })), "secret"),
        (with("name", json!("htpasswd")), "ldap.name"),
        (with("name", json!("local")), "ldap.name"),
        (with("name", json!("")), "ldap.name"),
        (with("urls", json!([])), "ldap.urls"),
        (with("urls", json!(nine)), "ldap.urls"),
        (with("urls", json!(["http://dc1"])), "ldap.urls"),
        (with("urls", json!(["ldaps://dc1/dc=corp"])), "ldap.urls"),
        (with("urls", json!(["ldaps://admin:hunter2@dc1"])), "ldap.urls"),
        (with("users", json!({})), "ldap.users.base"),
        (with("users", json!({ "base": "dc=x", "filter": "uid=*)(" })), "ldap.users.filter"),
        (with("groups", json!({ "base": "nowhere" })), "ldap.groups.base"),
        (with("bind", json!({ "dn": "cn=x" })), "ldap.bind"),
        (with("bind", json!({ "dn": "cn=x", "passwordfile": "/etc/hostname" })), "ldap.bind.passwordfile"),
        (with("template", json!("uid=x")), "ldap.template"),
        // What stands at a path of this machine is not looked at.
        (with("ca", json!("/etc/hostname")), "the authority"),
        (with("ca", json!(pem)), "the authority"),
        (with("certificate", json!(pem)), "ldap.certificate"),
    ] {
        let (status, problem) = office.local("post", PROVIDERS, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(named), "{named}: {problem}");
        assert!(!detail.contains("hunter2") && !detail.contains(SECRET), "{problem}");
    }
    assert_eq!(office.local("get", PROVIDERS, Value::Null).await.1["items"], json!([]));
    assert_eq!(office.events("provider.add").await, [Value::Null; 0]);
}

async fn a_name_is_described_in_one_place(office: &Office) {
    let fake = fake().await;
    let corp = corp(&fake.url);
    office.made(PROVIDERS, corp.clone()).await;
    let (status, problem) = office.local("post", PROVIDERS, corp.clone()).await;
    assert_eq!(
        (status, problem["detail"].as_str()),
        (StatusCode::CONFLICT, Some("there is already a provider \"corp\""))
    );
    let settings = || Settings { ldap: vec![directory(&fake.url)], ..Settings::default() };
    let both = office.another(settings()).await.err().unwrap();
    assert!(
        matches!(&both, StartError::Accounts(accounts::Error::Refused(Refusal::ProviderAdded(name))) if name == "corp")
    );

    office.removed().await;
    let described = office.another(settings()).await.unwrap();
    let peer = shared::listen::Peer::Unix { uid: 0, gid: 0, pid: None };
    for (method, path, body) in [("post", PROVIDERS, corp), ("delete", CORP, Value::Null)] {
        let (status, problem) = super::ask(described.socket_router(), method, path, body, None, peer).await;
        assert_eq!(status, StatusCode::CONFLICT, "{method}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("described in the server's settings"), "{problem}");
    }
    described.app().accounts.close().await;
}

async fn there_are_eight_directories_at_most(office: &Office) {
    for number in 0..8 {
        office.made(PROVIDERS, with("name", json!(format!("dir{number}")))).await;
    }
    let (status, problem) = office.local("post", PROVIDERS, with("name", json!("ninth"))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("at most 8 directories"), "{problem}");
    assert_eq!(office.local("delete", "/api/v1/providers/dir3", Value::Null).await.0, StatusCode::OK);
    office.made(PROVIDERS, with("name", json!("ninth"))).await;
}

async fn the_last_administrator_is_not_removed_with_a_directory(office: &Office) {
    let fake = fake().await;
    office.made(PROVIDERS, corp(&fake.url)).await;
    assert_eq!(sign_in(&office.auth, "alice", "a password").await, StatusCode::OK);
    let role = json!({ "system_role": "administrator" });
    let (status, problem) = office.local("put", "/api/v1/users/alice/system-role", role).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
    assert_eq!(office.local("post", "/api/v1/users/admin/suspend", Value::Null).await.0, StatusCode::NO_CONTENT);
    let (status, problem) = office.local("delete", CORP, Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert_eq!(office.state_of("alice").await, "active");
    assert_eq!(office.local("post", "/api/v1/users/admin/resume", Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(office.removed().await["disabled"], 1);
}

/// Another process over the same accounts, with what it does beside requests. SQLite has one process at a time: there it is the next one.
async fn every_process_takes_it_up_within_seconds(office: &Office) {
    let fake = fake().await;
    if office.auth.app().accounts.dialect() == Dialect::Sqlite {
        office.made(PROVIDERS, corp(&fake.url)).await;
        office.auth.app().accounts.close().await;
        let next = office.another(Settings::default()).await.unwrap();
        assert_eq!(sign_in(&next, "alice", "a password").await, StatusCode::OK);
        return next.app().accounts.close().await;
    }
    let other = office.another(Settings::default()).await.unwrap();
    let identities = other.app().identities.clone();
    let following = tokio::spawn(async move { identities.follow_added().await });
    let until = async |is_asked: bool| {
        let begun = Instant::now();
        while other.app().identities.directory("corp").is_some() != is_asked {
            assert!(begun.elapsed() < Duration::from_secs(20), "still not {is_asked}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    office.made(PROVIDERS, corp(&fake.url)).await;
    until(true).await;
    assert_eq!(sign_in(&other, "alice", "a password").await, StatusCode::OK);
    office.removed().await;
    assert_eq!(
        sign_in(&other, "alice", "a password").await,
        StatusCode::UNAUTHORIZED,
        "at once, whatever it still asks"
    );
    until(false).await;
    following.abort();
    other.app().accounts.close().await;
}

/// A real directory, with an authority of its own that is sent along.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_real_directory_is_added_with_its_authority_asked_and_removed() {
    let slapd = Slapd::start(&["alice"], "");
    let office = Office::sqlite().await;
    let pem = |name: &str| std::fs::read_to_string(slapd.file(name)).unwrap();
    let described = |ca: &str| {
        json!({ "ldap": {
            "name": "corp",
            "urls": [slapd.tls()],
            "ca": pem(ca),
            "bind": { "dn": READER, "password": READERS },
            "users": { "base": format!("ou=people,{SUFFIX}"), "login": ["uid", "mail"] },
        } })
    };
    let password = "alice's password";
    office.made(PROVIDERS, described("stranger.pem")).await;
    assert_eq!(
        sign_in(&office.auth, "alice", password).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "nobody vouches for it"
    );
    office.removed().await;

    office.made(PROVIDERS, described("ca.pem")).await;
    let (_, seen) =
        office.local("post", &format!("{CORP}/test"), json!({ "user": "alice", "password": password })).await;
    assert_eq!(seen["ok"], true, "{seen}");
    assert_eq!(sign_in(&office.auth, "alice", "a guess").await, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&office.auth, "alice@corp.test", password).await, StatusCode::OK);
    assert_eq!(office.removed().await["disabled"], 1);
    assert_eq!(sign_in(&office.auth, "alice", password).await, StatusCode::UNAUTHORIZED);

    // The reader's certificate says who searches: its key is sent, sealed, and works.
    let mut described = described("ca.pem");
    described["ldap"]["bind"] = json!({ "external": true });
    described["ldap"]["certificate"] = json!(pem("reader.pem"));
    described["ldap"]["key"] = json!(pem("reader.key"));
    // A password that is remembered revives nobody: the directory has to be asked.
    office.pass(REMEMBERED_FOR + Duration::from_secs(1));
    let added = office.made(PROVIDERS, described).await;
    assert!(!added.to_string().contains("PRIVATE KEY"), "{added}");
    let (stored, _) = office.auth.app().accounts.added_directories().await.unwrap();
    assert!(!stored[0].settings.contains("PRIVATE KEY") && stored[0].secret.is_some());
    assert_eq!(sign_in(&office.auth, "alice", password).await, StatusCode::OK, "and she is back");
    assert_eq!(office.state_of("alice").await, "active");
    office.clear().await;
}
