//! The operator's command line: each command on a server that runs and on a data directory that nobody holds, for people and for programs.

mod endings;
mod providers;
mod teams;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    program::Outcome,
    server::{Account, Launch, Portreeve, written},
};

/// A secret that the caller brings, of a vault for example.
const CHOSEN: &str = "chosen elsewhere, and long enough for a key";
const PASSWORD: &str = "correct horse battery staple";

/// What a command prints for people.
async fn said(portreeve: &Portreeve, words: &[&str]) -> Outcome {
    portreeve.command(&[&["auth"], words].concat()).succeeds().await
}

/// A command that is refused says why on standard error, and nothing where its result would stand.
async fn refused(portreeve: &Portreeve, words: &[&str], why: &str) {
    for json in [&["--json"][..], &[]] {
        let outcome = portreeve.command(&[&["auth"], words, json].concat()).fails().await;
        assert!(outcome.stderr.contains(why), "not said why ({why:?}): {outcome}");
        assert_eq!(outcome.stdout, "", "{outcome}");
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a text: {value}")).to_owned()
}

/// Every command once with `--json` and once without; names begin with `own`, so that two walks fit into one data directory.
async fn walk(portreeve: &Portreeve, own: &str) {
    people(portreeve, own).await;
    robots(portreeve, own).await;
    grants(portreeve, own).await;
    services(portreeve, own).await;
    teams::walk(portreeve, own).await;
    providers::walk(portreeve, own).await;
    endings::walk(portreeve, own).await;
}

async fn people(portreeve: &Portreeve, own: &str) {
    let (alice, bob) = (format!("{own}-alice"), format!("{own}-bob"));
    let made = portreeve.auth(&["user", "add", &alice]).await;
    assert_eq!((text(&made, "name"), text(&made, "state")), (alice.clone(), "active".to_owned()));
    assert!(text(&made, "password").len() >= 20, "{made}");
    let add = portreeve.command(&["auth", "user", "add", &bob, "--password-stdin"]).input(format!("{PASSWORD}\n"));
    add.succeeds().await.says(&bob).never_says(PASSWORD);
    refused(portreeve, &["user", "add", &alice.to_uppercase()], "already an account").await;

    let reset = portreeve.auth(&["user", "reset", &alice]).await;
    assert_ne!(text(&reset, "password"), text(&made, "password"));
    said(portreeve, &["user", "reset", &alice]).await.says("password: ").says("shown this once");
    refused(portreeve, &["user", "reset", "nobody"], "there is no user \"nobody\"").await;

    roles(portreeve, &alice).await;
    let token = portreeve.auth(&["token", "create", "--user", "admin", "--api", "write"]).await;
    assert!(text(&token, "secret").starts_with("prt_pat_"), "{token}");
    said(portreeve, &["token", "create", "--user", "admin", "--api", "read"]).await.says("secret: prt_pat_");
    refused(portreeve, &["token", "create", "--user", "admin", "--api", "all"], "unknown variant").await;
    let limited = ["token", "create", "--user", &alice, "--networks", "10.0.0.0/8,192.0.2.0/24"];
    assert_eq!(portreeve.auth(&limited).await["networks"], json!(["10.0.0.0/8", "192.0.2.0/24"]));
    said(portreeve, &["token", "list", "--user", &alice]).await.says("192.0.2.0/24");
    refused(portreeve, &["token", "create", "--user", &alice, "--networks", "10.0.0.1/8"], "is not a network").await;
}

/// A role is given, exchanged and taken away.
async fn roles(portreeve: &Portreeve, name: &str) {
    let role = async || {
        let users = portreeve.auth(&["user", "list"]).await;
        let mut users = users["items"].as_array().expect("a list has items").iter();
        users.find(|user| user["name"] == name).expect("the account is listed")["system_role"].clone()
    };
    for (word, expected) in [("auditor", json!("auditor")), ("administrator", json!("administrator"))] {
        assert_eq!(portreeve.auth(&["user", "role", name, word]).await, json!({}));
        assert_eq!(role().await, expected);
    }
    said(portreeve, &["user", "role", name, "none"]).await.says("done");
    assert_eq!(role().await, Value::Null);
    refused(portreeve, &["user", "role", "nobody", "auditor"], "there is no user \"nobody\"").await;
    refused(portreeve, &["user", "role", name, "root"], "[possible values: administrator, auditor, none]").await;
}

async fn robots(portreeve: &Portreeve, own: &str) {
    let robot = format!("{own}/ci");
    assert_eq!(portreeve.auth(&["namespace", "add", own]).await["visibility"], "private");
    said(portreeve, &["namespace", "add", &format!("{own}-open"), "--visibility", "public"]).await.says("public");
    refused(portreeve, &["namespace", "add", own], "already a namespace").await;
    refused(portreeve, &["robot", "add", "missing/ci"], "there is no namespace \"missing\"").await;
    assert_eq!(portreeve.auth(&["robot", "add", &robot]).await["name"], format!("robot.{own}.ci"));
    said(portreeve, &["robot", "add", &format!("{own}/cd")]).await.says(&format!("robot.{own}.cd"));

    let first = portreeve.auth(&["robot", "key", "add", &robot]).await;
    assert!(text(&first, "secret").starts_with("prt_rbt_"), "{first}");
    let add = ["auth", "robot", "key", "add", &robot, "--name", "chosen", "--secret-stdin"];
    portreeve.command(&add).input(CHOSEN).succeeds().await.says("chosen").never_says(CHOSEN);
    let short = portreeve.command(&add).input("too short").fails().await;
    assert!(short.stderr.contains("32 characters"), "{short}");
    short.never_says("too short");
    let rotated = portreeve.auth(&["robot", "key", "rotate", &robot, "--overlap", "0s"]).await;
    let keys = said(portreeve, &["robot", "key", "rotate", &format!("robot.{own}.ci"), "--name", "newest"]).await;
    keys.says("secret: prt_rbt_");
    let number = rotated["id"].to_string();
    assert_eq!(portreeve.auth(&["robot", "key", "revoke", &robot, &number]).await, json!({}));
    refused(portreeve, &["robot", "key", "revoke", &robot, &number], "no such credential").await;
    refused(portreeve, &["robot", "key", "add", &format!("{own}/none")], "there is no robot").await;
    confined_keys(portreeve, &robot, &format!("{own}/web:pull")).await;
}

/// What a key is confined to is said alike where it is added and where it takes the place of others.
async fn confined_keys(portreeve: &Portreeve, robot: &str, scope: &str) {
    let confined = ["--scope", scope, "--api", "read", "--networks", "10.0.0.0/8", "--expires", "90d"];
    for verb in [&["robot", "key", "add", robot][..], &["robot", "key", "rotate", robot, "--overlap", "0s"]] {
        let key = portreeve.auth(&[verb, &confined].concat()).await;
        assert_eq!((&key["scope"], &key["api"]), (&json!(scope), &json!("read")), "{key}");
        assert_eq!(key["networks"], json!(["10.0.0.0/8"]), "{key}");
        assert!(key["expires_at"].is_string(), "{key}");
        for (option, value, why) in [
            ("--networks", "10.0.0.0", "is not a network"),
            ("--api", "all", "unknown variant"),
            ("--expires", "soon", "is not a span"),
        ] {
            refused(portreeve, &[verb, &[option, value]].concat(), why).await;
        }
    }
    said(portreeve, &["robot", "key", "list", robot]).await.says(scope).says("10.0.0.0/8");
}

async fn grants(portreeve: &Portreeve, own: &str) {
    let (robot, all) = (format!("robot.{own}.ci"), format!("{own}/**"));
    let grant = portreeve.auth(&["grant", "add", &robot, &all, "pull,push", "--tags", "pr-*"]).await["id"].to_string();
    said(portreeve, &["grant", "add", &format!("{own}-alice"), &all, "reader"]).await.says("id: ");
    refused(portreeve, &["grant", "add", "nobody", &all, "reader"], "no account called").await;
    refused(portreeve, &["grant", "add", &robot, "missing/**", "reader"], "there is no namespace \"missing\"").await;

    // Whoever names nothing sees everything.
    let listed = portreeve.auth(&["grant", "list"]).await;
    let items = listed["items"].as_array().expect("a list has items");
    assert_eq!(items.iter().filter(|rule| rule["namespace"] == own).count(), 2, "{listed}");
    let hers = portreeve.auth(&["grant", "list", "--subject", &robot]).await;
    assert_eq!(hers["items"].as_array().map(Vec::len), Some(1), "{hers}");
    said(portreeve, &["grant", "list", "--namespace", own]).await.says("pr-*").says(&robot);

    let scope = format!("repository:{own}/web:pull,push,delete");
    let explained = portreeve.auth(&["explain", &robot, &scope]).await;
    assert_eq!(explained["results"][0]["granted"][0]["limited"][0]["tags"], json!(["pr-*"]), "{explained}");
    let why_not = &explained["results"][0]["why_not"][0];
    assert_eq!((&why_not["action"], &why_not["nearest"]["missing"]), (&json!("delete"), &json!("action")));
    said(portreeve, &["explain", &robot, &scope]).await.says("push: yes").says("only tags pr-*").says("delete: no");
    refused(portreeve, &["explain", "nobody", &scope], "there is no account \"nobody\"").await;
    refused(portreeve, &["explain", &robot, "nonsense"], "type:name:action").await;

    said(portreeve, &["grant", "remove", &grant]).await.says("done");
    refused(portreeve, &["grant", "remove", &grant], "no such grant").await;
    let left = portreeve.auth(&["grant", "list", "--subject", &robot]).await;
    assert_eq!(left["items"], json!([]));
}

async fn services(portreeve: &Portreeve, own: &str) {
    let added = portreeve.auth(&["service", "add", &format!("{own}.example.com")]).await;
    assert!(text(&added, "secret").starts_with("prt_svc_"), "{added}");
    let other = format!("other.{own}.example.com");
    said(portreeve, &["service", "add", &other, "--catalog", "admins"]).await.says("secret: prt_svc_");
    refused(portreeve, &["service", "add", &other], "already a service").await;
}

#[tokio::test]
async fn every_command_works_on_a_server_and_on_its_data_directory() {
    let mut portreeve = Launch::up().env("PORTREEVE_AUTH_LDAP", teams::DIRECTORY).start();
    walk(&portreeve, "acme").await;
    assert!(!portreeve.log().contains(CHOSEN) && !portreeve.log().contains(PASSWORD), "{}", portreeve.log());
    assert!(portreeve.stop().success());
    walk(&portreeve, "zeta").await;

    portreeve.start_again();
    let names = portreeve.auth(&["namespace", "list"]).await;
    let names: Vec<String> = names["items"].as_array().unwrap().iter().map(|space| text(space, "name")).collect();
    assert_eq!(names, ["acme", "acme-open", "zeta", "zeta-open"]);
}

#[tokio::test]
async fn commands_follow_the_configuration_that_up_runs_with() {
    let portreeve = Portreeve::up();
    let (directory, data) = (tempfile::tempdir().unwrap(), portreeve.data().display());
    let both = format!(
        "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{data}'}}}}\n\
         portreeve: {{auth: {{token: {{expiration: 600}}}}}}\n"
    );
    let file = written(directory.path(), "config.yml", &both);
    let list =
        || crate::support::program::Program::new(crate::support::server::program()).args(["auth", "user", "list"]);
    list().args(["--config", &file]).succeeds().await.says("admin");
    let typo = written(directory.path(), "typo.yml", &both.replace("expiration", "expiraton"));
    list().args(["--config", &typo]).fails().await.says("did you mean expiration?");
}

fn http() -> reqwest::Client {
    shared::crypto::install();
    reqwest::Client::new()
}

/// `GET /api/v1/me` with an `Authorization` of somebody's making.
async fn me(portreeve: &Portreeve, authorization: &str) -> StatusCode {
    let url = portreeve.url().join("/api/v1/me").unwrap();
    let request = http().request(Method::GET, url).header("authorization", authorization);
    request.send().await.unwrap().status()
}

fn basic(account: &Account) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    format!("Basic {}", STANDARD.encode(format!("{}:{}", account.name, account.secret)))
}

/// What `docker login` leaves in a file must not administer.
#[tokio::test]
async fn a_printed_token_administers_and_what_logs_in_does_not() {
    let portreeve = Portreeve::up();
    let admin = portreeve.admin();
    let pat = text(&portreeve.auth(&["token", "create", "--user", "admin", "--api", "write"]).await, "secret");
    assert_eq!(me(&portreeve, &format!("Bearer {pat}")).await, StatusCode::OK);
    let plain = text(&portreeve.auth(&["token", "create", "--user", "admin"]).await, "secret");
    assert_eq!(me(&portreeve, &format!("Bearer {plain}")).await, StatusCode::FORBIDDEN);
    for account in [&admin, &Account::new("admin", &pat)] {
        assert_eq!(me(&portreeve, &basic(account)).await, StatusCode::UNAUTHORIZED);
    }

    let url = portreeve.url().join("/token?service=portreeve&offline_token=true&client_id=docker").unwrap();
    let login = http().get(url).header("authorization", basic(&admin)).send().await.unwrap();
    let login: Value = serde_json::from_slice(&login.bytes().await.unwrap()).unwrap();
    for kept in ["refresh_token", "token"] {
        let status = me(&portreeve, &format!("Bearer {}", text(&login, kept))).await;
        assert!([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status), "{kept}: {status}");
    }
}

/// A key that somebody chose logs in under its robot's name, and under no other.
#[tokio::test]
async fn a_robots_chosen_secret_logs_in() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    for name in ["ci", "cd"] {
        portreeve.auth(&["robot", "add", &format!("acme/{name}")]).await;
    }
    portreeve.command(&["auth", "robot", "key", "add", "acme/ci", "--secret-stdin"]).input(CHOSEN).succeeds().await;
    let url = portreeve.url().join("/token?service=portreeve").unwrap();
    for (name, expected) in [("robot.acme.ci", StatusCode::OK), ("robot.acme.cd", StatusCode::UNAUTHORIZED)] {
        let login = http().get(url.clone()).header("authorization", basic(&Account::new(name, CHOSEN)));
        assert_eq!(login.send().await.unwrap().status(), expected, "{name}");
    }
    portreeve.says(&["login failed peer=127.0.0.1 reason="]).await;
    assert!(!portreeve.log().contains(CHOSEN), "{}", portreeve.log());
}

/// A mistyped `--data` must not begin new accounts beside the ones that are meant.
#[tokio::test]
async fn a_command_refuses_a_directory_that_no_server_ever_had() {
    let home = tempfile::tempdir().unwrap();
    let list = |data: &std::path::Path| {
        let program = crate::support::program::Program::new(crate::support::server::program());
        program.args(["auth", "user", "list", "--data"]).arg(data)
    };
    let mistyped = home.path().join("dta");
    for data in [mistyped.as_path(), home.path()] {
        let refused = list(data).fails().await;
        refused.says("is no data directory of Portreeve").says(&data.display().to_string());
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was made");

    let registry = super::apart::registry("auth: none\n");
    let alone = registry.data().join("registry");
    let mut registry = registry;
    assert!(registry.stop().success());
    list(&alone).fails().await.says("has no accounts: auth was never started there");
    assert!(!alone.join("auth.db").exists() && !alone.join("keys").exists());
}

/// skopeo, podman and buildah want that variable set; `up` in the same shell has nothing to say to it.
#[tokio::test]
async fn a_variable_of_skopeo_is_no_setting() {
    let home = tempfile::tempdir().unwrap();
    let kept = written(home.path(), "auth.json", r#"{"auths": {"localhost:5000": {"auth": "c2VjcmV0"}}}"#);
    let portreeve =
        crate::support::server::Launch::up().env("REGISTRY_AUTH_FILE", &kept).env("REGISTRY_AUTHFILE", &kept).start();
    assert!(portreeve.log().contains("REGISTRY_AUTHFILE is unknown"), "{}", portreeve.log());
    assert!(!portreeve.log().contains("REGISTRY_AUTH_FILE"), "{}", portreeve.log());
    assert_eq!(portreeve.auth(&["user", "list"]).await["items"][0]["name"], "admin");
}
