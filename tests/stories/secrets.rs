//! T47: a server that explains every frame and statement (`RUST_LOG=trace`), everything that people and machines show it or are given by
//! it, and afterwards a search for each of these secrets in its log, in its answers that were refusals, and in its audit.

use std::os::unix::fs::PermissionsExt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::server::{Launch, Portreeve, written};

const HTPASSWD: &str = "carol's own password";
const DIRECTORY: &str = "what the reader of the directory binds with";
const CHOSEN: &str = "a key that somebody chose, and long enough for one";

/// What was shown, or given, and what answered to it with a refusal.
#[derive(Default)]
struct Heard {
    secrets: Vec<String>,
    refusals: Vec<String>,
}

impl Heard {
    fn secret(&mut self, text: impl Into<String>) -> String {
        let text = text.into();
        self.secrets.push(text.clone());
        text
    }

    /// Remembers the secrets of an answer: the token whole, and its signature, which is what makes one of it.
    async fn send(&mut self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        for member in ["token", "refresh_token", "secret", "password"] {
            let Some(secret) = body[member].as_str() else { continue };
            self.secret(secret);
            self.secrets.extend(secret.rsplit_once('.').map(|(_, signature)| signature.to_owned()));
        }
        if !status.is_success() {
            self.refusals.push(text);
        }
        (status, body)
    }

    async fn made(&mut self, portreeve: &Portreeve, words: &[&str], member: &str) -> String {
        let made = portreeve.auth(words).await;
        self.secret(made[member].as_str().unwrap_or_else(|| panic!("{words:?}: {made}")))
    }
}

fn launch() -> Portreeve {
    Launch::command(|data| {
        let lines = format!("carol:{}\n", bcrypt::hash(HTPASSWD, 4).unwrap());
        let (passwords, reader) = (written(data, "users", &lines), written(data, "reader", DIRECTORY));
        for file in [&passwords, &reader] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let text = format!(
            "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             portreeve: {{auth: {{htpasswd: '{passwords}', ldap: [{{name: corp, urls: ['ldaps://127.0.0.1:1'], \
             bind: {{dn: 'cn=reader', passwordfile: '{reader}'}}, users: {{base: 'ou=people,dc=corp'}}}}]}}}}\n",
            data.display(),
        );
        ["up", "--config", &written(data, "config.yml", &text)].map(str::to_owned).to_vec()
    })
    .env("RUST_LOG", "trace")
    .start()
}

#[tokio::test]
async fn t47_no_secret_is_in_the_log_at_its_loudest_nor_in_refusals_nor_in_the_audit() {
    let portreeve = launch();
    let (http, mut heard) = (reqwest::Client::new(), Heard::default());
    let at = |path: &str| portreeve.url().join(path).unwrap();
    let master = std::fs::read(portreeve.data().join("keys/master")).unwrap();
    heard.secrets.extend([
        STANDARD.encode(&master),
        hex::encode(&master),
        CHOSEN.into(),
        HTPASSWD.into(),
        DIRECTORY.into(),
    ]);
    let hashes = std::fs::read_to_string(portreeve.data().join("users")).unwrap();
    heard.secret(hashes.trim().split_once(':').unwrap().1);
    heard.secret(portreeve.admin().secret);

    // Who is made, and what they are given.
    let alice = heard.made(&portreeve, &["user", "add", "alice"], "password").await;
    portreeve.private_namespace("acme").await;
    portreeve.auth(&["robot", "add", "acme/ci"]).await;
    let key = heard.made(&portreeve, &["robot", "key", "add", "acme/ci"], "secret").await;
    let rotated = heard.made(&portreeve, &["robot", "key", "rotate", "acme/ci"], "secret").await;
    portreeve.ask("/api/v1/namespaces/acme/robots/ci/keys", &json!({"name": "chosen", "secret": CHOSEN})).await;
    let words = ["token", "create", "--user", "alice", "--api", "write"];
    let pat = heard.made(&portreeve, &words, "secret").await;
    let administrator =
        heard.made(&portreeve, &["token", "create", "--user", "admin", "--api", "write"], "secret").await;
    let service = heard.made(&portreeve, &["service", "add", "elsewhere"], "secret").await;

    // Every way in, and at each the wrong way, too.
    let accounts = [
        ("alice", alice.as_str()),
        ("alice", &pat),
        ("carol", HTPASSWD),
        ("robot.acme.ci", &key),
        ("robot.acme.ci", &rotated),
        ("robot.acme.ci", CHOSEN),
    ];
    let asked = [("service", "portreeve"), ("offline_token", "true"), ("scope", "repository:acme/web:pull,push")];
    for (name, secret) in accounts {
        let (status, _) = heard.send(http.get(at("/token")).query(&asked).basic_auth(name, Some(secret))).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        let form =
            [("grant_type", "password"), ("service", "portreeve"), ("client_id", "t"), ("access_type", "offline")];
        let form = http.post(at("/token")).form(&[&form[..], &[("username", name), ("password", secret)]].concat());
        let (status, body) = heard.send(form).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        if let Some(kept) = body["refresh_token"].as_str() {
            let form = [
                ("grant_type", "refresh_token"),
                ("service", "portreeve"),
                ("client_id", "t"),
                ("refresh_token", kept),
            ];
            assert_eq!(heard.send(http.post(at("/token")).form(&form)).await.0, StatusCode::OK, "{name}");
        }
        let token = body["token"].as_str().unwrap();
        assert_eq!(heard.send(http.get(at("/v2/")).bearer_auth(token)).await.0, StatusCode::OK);
        heard.send(http.get(at("/v2/acme/web/manifests/v1")).bearer_auth(token)).await;
        heard.send(http.get(at("/v2/acme/web/manifests/v1")).bearer_auth(format!("{token}x"))).await;
        heard.send(http.get(at("/v2/_catalog")).basic_auth(name, Some(secret))).await;
    }
    let guesses = [
        ("alice", "a guess at alice"),
        ("ldap-user", "a password for the directory"),
        ("carol", "not carol's"),
        (alice.as_str(), "x"),
    ];
    for (name, guess) in guesses {
        heard.secret(guess);
        let (status, _) = heard.send(http.get(at("/token")).query(&asked).basic_auth(name, Some(guess))).await;
        assert!(!status.is_success(), "{name}");
        heard.send(http.get(at("/v2/")).basic_auth(name, Some(guess))).await;
    }
    heard.secrets.retain(|secret| secret.len() > 1);

    // The API: what it makes, what it refuses, and a feed that is followed.
    let made_up = heard.secret("prt_pat_made-up-and-still-somebodys");
    for bearer in [&pat, &administrator, &service, &made_up] {
        for path in ["/api/v1/me", "/api/v1/users", "/api/v1/revocations?after=0", "/api/v1/registry/namespaces"] {
            heard.send(http.get(at(path)).bearer_auth(bearer)).await;
        }
    }
    let newer = heard.secret("a newer password of alice's");
    let change = json!({"current": alice, "new": newer, "unknown": alice});
    let refused = heard.send(http.put(at("/api/v1/me/password")).bearer_auth(&pat).json(&change)).await;
    assert_eq!(refused.0, StatusCode::BAD_REQUEST, "an unknown field is refused by its name: {}", refused.1);
    let change = json!({"current": alice, "new": newer});
    assert!(heard.send(http.put(at("/api/v1/me/password")).bearer_auth(&pat).json(&change)).await.0.is_success());
    portreeve.auth(&["keys", "rotate"]).await;
    let login = http.get(at("/token")).query(&asked).basic_auth("alice", Some(&newer));
    assert_eq!(heard.send(login).await.0, StatusCode::OK);

    // What was written down a moment later is written down.
    portreeve.says(&["INSERT INTO audit"]).await;
    let audit = portreeve.command(&["auth", "audit", "export"]).succeeds().await.stdout;
    assert!(audit.contains("token.issue") && audit.contains("login.fail"), "{audit}");
    let log = portreeve.log();
    // No library that is built in has more to say at TRACE today; one that will is heard.
    let loud = log.lines().filter(|line| line.contains("DEBUG") || line.contains("TRACE")).count();
    assert!(loud > 200 && log.len() > 100_000, "it was not at its loudest: {loud} lines, {} bytes", log.len());
    let refusals = heard.refusals.join("\n");
    assert!(heard.secrets.len() > 40 && heard.refusals.len() > 20, "not everything was tried");
    for secret in &heard.secrets {
        for (place, text) in [("the log", &log), ("a refusal", &refusals), ("the audit", &audit)] {
            if let Some(line) = text.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{secret:?} stands in {place}: {line}");
            }
        }
    }
}
