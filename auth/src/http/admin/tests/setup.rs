//! The whole setup over HTTP: who may, what errors say, and that a dry run changes nothing.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Office, added::sign_in};

shared::on_both! {
    crate::http::admin::tests::Office:
    the_whole_setup_is_a_system_administrators
    errors_name_line_and_key_and_nothing_is_applied
    what_is_shown_is_what_is_applied
    secrets_come_beside_the_document_and_never_back
    the_doctor_is_told_by_those_who_rule_the_system
    hashes_of_other_programs_open_the_accounts_they_are_for
    a_secret_that_was_revoked_is_let_in_by_no_setup
}

const SETUP: &str = "/api/v1/setup";

/// Whoever has stolen a key is not let in again because a pipeline applies the same files as every night.
async fn a_secret_that_was_revoked_is_let_in_by_no_setup(office: &Office) {
    let secret = "correct horse battery staple, and then some";
    let setup = "version: 1\nnamespaces:\n  - name: acme\n    robots:\n      - name: ci\n        keys:\n          - {name: build, secret_file: key, api: read}\n";
    let body = json!({ "setup": setup, "secrets": { "key": secret } });
    let (status, made) = office.local("put", SETUP, body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!(sign_in(&office.auth, "robot.acme.ci", secret).await, StatusCode::OK);

    let keys = "/api/v1/namespaces/acme/robots/ci/keys";
    let (_, listed) = office.local("get", keys, Value::Null).await;
    let gone = format!("{keys}/{}", listed["items"][0]["id"]);
    assert_eq!(office.local("delete", &gone, Value::Null).await.0, StatusCode::NO_CONTENT);
    let again = json!({ "name": "again", "secret": secret });
    for (method, path, body, told) in
        [("put", SETUP, body, StatusCode::BAD_REQUEST), ("post", keys, again, StatusCode::CONFLICT)]
    {
        let (status, refused) = office.local(method, path, body).await;
        assert_eq!(status, told, "{path}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains("was revoked"), "{refused}");
    }
    assert_eq!(sign_in(&office.auth, "robot.acme.ci", secret).await, StatusCode::UNAUTHORIZED);
}

fn nothing() -> Value {
    json!({ "setup": "version: 1" })
}

async fn the_whole_setup_is_a_system_administrators(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    let auditor = office.user("audit", "write").await;
    let role = json!({ "system_role": "auditor" });
    office.local("put", "/api/v1/users/audit/system-role", role).await;
    let confined = office.token("admin", json!({ "name": "c", "api": "write", "scope": "acme/**:pull" })).await;
    let reader = office.token("admin", json!({ "name": "r", "api": "read" })).await;
    let admin = office.token("admin", json!({ "name": "w", "api": "write" })).await;
    let (ok, forbidden) = (StatusCode::OK, StatusCode::FORBIDDEN);
    for (who, secret, get, put) in [
        ("a namespace's administrator", &alice, forbidden, forbidden),
        ("an auditor", &auditor, ok, forbidden),
        ("a confined token", &confined, forbidden, forbidden),
        ("a token that may only look", &reader, ok, forbidden),
        ("a system administrator", &admin, ok, ok),
    ] {
        assert_eq!(office.bearing(secret, "get", SETUP, Value::Null).await.0, get, "{who} reads");
        for dry_run in [true, false] {
            let mut body = nothing();
            body["dry_run"] = dry_run.into();
            assert_eq!(office.bearing(secret, "put", SETUP, body).await.0, put, "{who} writes");
        }
    }
    assert_eq!(office.bearing("prt_pat_nobody", "put", SETUP, nothing()).await.0, StatusCode::UNAUTHORIZED);
}

async fn errors_name_line_and_key_and_nothing_is_applied(office: &Office) {
    let (_, before) = office.local("get", SETUP, Value::Null).await;
    for (setup, why) in [
        ("version: 1\nuser: []\n", "setup.yml, line 2: user is unknown; did you mean users?"),
        ("version: 1\nusers:\n  - name: bob\n    role: auditor\n", "setup.yml, line 4: users[0].role is unknown"),
        ("version: 1\nusers:\n  - display_name: Bob\n", "setup.yml, line 3: users[0]: missing field `name`"),
        ("version: 1\nusers:\n  - name: a b\n", "setup.yml, line 3: users[0].name: \"a b\" is not an account name"),
        ("version: 1\nusers:\n  - name: robot.acme.ci\n", "only robots have names that start with"),
        (
            "version: 1\nusers:\n  - name: bob\n    system_role: root\n",
            "setup.yml, line 4: users[0].system_role: unknown variant",
        ),
        ("version: 1\nusers: bob\n", "setup.yml, line 2: users: a list is expected here"),
        ("version: 2\n", "setup.yml, line 1: version: only version 1 is known"),
        ("users: []\n", "version: is required here"),
        ("version: 1\nusers:\n  - {name: bob, name: eve}\n", "line 3: name stands here twice"),
        ("version: 1\nusers: [\n", "not YAML"),
        (
            "version: 1\nusers:\n  - {name: bob}\n  - {name: eve, password_hash: hunter2}\n",
            "setup.yml, line 4: users[1]: password_hash is neither",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\n  - {name: BOB}\n",
            "setup.yml, line 4: users[1]: \"BOB\" stands here twice",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\nnamespaces:\n  - {name: a/b}\n",
            "setup.yml, line 5: namespaces[0].name: \"a/b\" is not a namespace",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\nnamespaces:\n  - name: a\n    grants:\n      - {subject: bob, repositories: 'a/**x', actions: pull}\n",
            "setup.yml, line 7: namespaces[0].grants[0].repositories: '**' stands for whole segments",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\nnamespaces:\n  - name: a\n    grants:\n      - {subject: bob, repositories: 'a/..', actions: pull}\n",
            "setup.yml, line 7: namespaces[0].grants[0]: no repository name can match",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\nnamespaces:\n  - name: a\n    teams:\n      - name: t\n        mappings:\n          - {provider: corp, group: dev}\n",
            "setup.yml, line 9: namespaces[0].teams[0].mappings[0]: ",
        ),
        (
            "version: 1\nusers:\n  - {name: bob}\nnamespaces:\n  - name: a\n    robots:\n      - name: ci\n        keys: [{name: k, networks: [10.0.0.1/8]}]\n",
            "setup.yml, line 8: namespaces[0].robots[0].keys[0].networks: ",
        ),
        ("version: 1\nusers:\n  - {name: bob, secret_file: bob}\n", "secrets has nothing for the secret_file \"bob\""),
    ] {
        for dry_run in [true, false] {
            let body = json!({ "setup": setup, "name": "setup.yml", "dry_run": dry_run });
            let (status, problem) = office.local("put", SETUP, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{setup}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(why), "{setup}\n{detail}\nis not said to be\n{why}");
        }
    }
    let (status, problem) = office.local("put", SETUP, json!({ "setup": "version: 1", "prune": true })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("unknown field `prune`"), "{problem}");
    assert_eq!(office.local("get", SETUP, Value::Null).await.1, before);
}

async fn what_is_shown_is_what_is_applied(office: &Office) {
    let (_, there) = office.local("get", SETUP, Value::Null).await;
    let mut wanted = there.clone();
    wanted["namespaces"] = json!([{ "name": "acme", "visibility": "public" }]);
    let mut body = json!({ "setup": wanted, "missing": "remove", "dry_run": true });
    let (status, shown) = office.local("put", SETUP, body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let expected = json!([{ "change": "create", "kind": "namespace", "name": "acme", "after": "public" }]);
    assert_eq!((&shown["changes"], &shown["applied"]), (&expected, &json!(false)));
    assert_eq!(office.local("get", SETUP, Value::Null).await.1, there, "a dry run changes nothing");

    office.made("/api/v1/namespaces", json!({ "name": "acme" })).await;
    body["dry_run"] = false.into();
    body["seen"] = shown["seen"].clone();
    let (status, problem) = office.local("put", SETUP, body.clone()).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("has changed since"), "{problem}");
    body.as_object_mut().unwrap().remove("seen");
    let (_, made) = office.local("put", SETUP, body.clone()).await;
    assert_eq!((&made["changes"][0]["change"], &made["applied"]), (&json!("change"), &json!(true)));
    let (_, again) = office.local("put", SETUP, body).await;
    assert_eq!(again["changes"], json!([]), "applied twice is applied once");
    let (_, exported) = office.local("get", SETUP, Value::Null).await;
    let (_, same) = office.local("put", SETUP, json!({ "setup": exported, "missing": "remove" })).await;
    assert_eq!((&same["changes"], &same["kept"]), (&json!([]), &json!([])), "what was exported changes nothing");
}

async fn secrets_come_beside_the_document_and_never_back(office: &Office) {
    let (password, key) = ("correct horse battery staple", "chosen elsewhere, and long enough for a key");
    let setup = "
version: 1
users:
  - {name: bob, secret_file: bob.password}
namespaces:
  - name: acme
    robots:
      - {name: ci, keys: [{name: deploy, api: write, secret_file: ci.key}]}
    grants:
      - {subject: robot.acme.ci, repositories: 'acme/**', actions: pull}
";
    let body = |secrets: Value| json!({ "setup": setup, "name": "setup.yml", "secrets": secrets });
    for (secrets, why) in [
        (json!({ "bob.password": password }), "ci.key"),
        (json!({ "ci.key": key }), "bob.password"),
        (
            json!({ "bob.password": password, "ci.key": "too short" }),
            "secret_file ci.key: a chosen secret has 32 characters",
        ),
        (json!({ "bob.password": "short", "ci.key": key }), "at least 8 characters"),
    ] {
        let (status, problem) = office.local("put", SETUP, body(secrets)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
    let secrets = json!({ "bob.password": password, "ci.key": key });
    let (status, made) = office.local("put", SETUP, body(secrets.clone())).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!(office.local("put", SETUP, body(secrets)).await.1["changes"], json!([]));
    let (_, exported) = office.local("get", SETUP, Value::Null).await;
    for secret in [password, key, "argon2", "verifier", "hmac"] {
        assert!(!made.to_string().contains(secret) && !exported.to_string().contains(secret), "{secret}");
    }
    assert!(office.signs_in("bob", password).await);
    assert!(office.signs_in("robot.acme.ci", key).await && !office.signs_in("robot.acme.ci", password).await);
    let another = json!({ "bob.password": "another password", "ci.key": key });
    assert_eq!(
        office.local("put", SETUP, body(another)).await.1["changes"],
        json!([]),
        "a first password is the first"
    );
    assert!(office.signs_in("bob", password).await);
}

async fn the_doctor_is_told_by_those_who_rule_the_system(office: &Office) {
    let alice = office.namespace("acme", "alice").await;
    let admin = office.token("admin", json!({ "name": "w", "api": "write" })).await;
    let (path, asked) = ("/api/v1/doctor", json!({ "service": "portreeve" }));
    assert_eq!(office.bearing(&alice, "post", path, asked.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(office.bearing(&admin, "post", path, json!({})).await.0, StatusCode::BAD_REQUEST);
    let (status, told) = office.bearing(&admin, "post", path, asked).await;
    assert_eq!((status, &told["issuer"], &told["chained"]), (StatusCode::OK, &json!("portreeve"), &json!(true)));
    assert_eq!((&told["services"], &told["fed_at"]), (&json!(["portreeve"]), &Value::Null));
    let issuer = office.auth.app().tokens.issuer();
    let now = office.auth.app().clock.now();
    let ours = issuer.recognise(told["token"].as_str().unwrap(), now).unwrap();
    assert!(ours.access.is_empty() && ours.principal.is_none(), "it grants nothing and is nobody's");
    assert!(issuer.recognise(told["foreign"].as_str().unwrap(), now).is_err());
    let (_, named) = office.bearing(&admin, "post", path, json!({ "service": "portreeve", "issuer": "other" })).await;
    assert!(issuer.recognise(named["token"].as_str().unwrap(), now).is_err(), "under another name it is not ours");
    let (_, strange) = office.bearing(&admin, "post", path, json!({ "service": "s" })).await;
    assert_eq!(strange["token"], Value::Null, "what a registry calls itself is its own word");
}

async fn hashes_of_other_programs_open_the_accounts_they_are_for(office: &Office) {
    let hash = bcrypt::hash("a long password", 4).unwrap();
    let setup = json!({ "version": 1, "users": [{ "name": "carl", "password_hash": hash }] });
    let (status, made) = office.local("put", SETUP, json!({ "setup": setup, "existing": "keep" })).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert!(office.signs_in("carl", "a long password").await);
    assert!(!office.signs_in("carl", "another password").await);
    let other = json!({ "version": 1, "users": [{ "name": "Carl", "password_hash": bcrypt::hash("of a stranger", 4).unwrap() }] });
    let (_, kept) = office.local("put", SETUP, json!({ "setup": other, "existing": "keep" })).await;
    assert_eq!((&kept["changes"], &kept["kept"][0]["name"]), (&json!([]), &json!("carl")));
    assert!(office.signs_in("carl", "a long password").await && !office.signs_in("carl", "of a stranger").await);
}

impl Office {
    /// True if the name with this secret is let in.
    async fn signs_in(&self, name: &str, secret: &str) -> bool {
        use crate::identity::{Attempt, Peer};
        let secret = secret.into();
        let attempt = Attempt { username: Some(name), secret: &secret, service: None, peer: Peer::Unknown };
        self.auth.app().identities.identify(&attempt).await.is_ok()
    }
}
