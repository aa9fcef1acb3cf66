//! T47: a server that explains every frame and statement (`RUST_LOG=trace`), everything that people and machines show it or are given by
//! it, and afterwards a search for each of these secrets in its log, in its answers that were refusals, and in its audit. (The logs of all
//! other stories are searched too: `support/leaks.rs`.)

use std::os::unix::fs::PermissionsExt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client as Http, RequestBuilder, StatusCode, Url};
use serde_json::{Value, json};

use crate::support::{
    server::{Account, Launch, Portreeve, written},
    slapd::{READERS, Slapd},
};

const HTPASSWD: &str = "carol's own password";
const CHOSEN: &str = "a key that somebody chose, and long enough for one";
const ASKED: [(&str, &str); 3] =
    [("service", "portreeve"), ("offline_token", "true"), ("scope", "repository:acme/web:pull,push")];
const FORM: [(&str, &str); 2] = [("service", "portreeve"), ("client_id", "t")];

/// A directory that nobody can reach.
fn dead(reader: &str) -> String {
    format!(
        "{{name: corp, urls: ['ldaps://127.0.0.1:1'], bind: {{dn: 'cn=reader', passwordfile: '{reader}'}}, \
         users: {{base: 'ou=people,dc=corp'}}}}"
    )
}

/// A server, and what was shown to it or given by it, and what answered to it with a refusal.
struct Story {
    portreeve: Portreeve,
    http: Http,
    secrets: Vec<String>,
    refusals: Vec<String>,
}

/// What was made for people and machines.
struct Given {
    alice: String,
    pat: String,
    administrator: String,
    service: String,
    keys: [String; 2],
}

impl Story {
    fn begin(directory: impl FnOnce(&str) -> String) -> Self {
        let portreeve = Launch::command(|data| {
            let lines = format!("carol:{}\n", bcrypt::hash(HTPASSWD, 4).unwrap());
            let (passwords, reader) = (written(data, "users", &lines), written(data, "reader", READERS));
            for file in [&passwords, &reader] {
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            let text = format!(
                "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
                 portreeve: {{auth: {{htpasswd: '{passwords}', ldap: [{}]}}}}\n",
                data.display(),
                directory(&reader),
            );
            ["up", "--config", &written(data, "config.yml", &text)].map(str::to_owned).to_vec()
        })
        .env("RUST_LOG", "trace")
        .start();
        let master = std::fs::read(portreeve.data().join("keys/master")).unwrap();
        let hash = std::fs::read_to_string(portreeve.data().join("users")).unwrap();
        let hash = hash.trim().split_once(':').unwrap().1.to_owned();
        let known = [CHOSEN, HTPASSWD, READERS].map(str::to_owned);
        let secrets = [STANDARD.encode(&master), hex::encode(&master), hash, portreeve.admin().secret];
        Self { portreeve, http: Http::new(), secrets: [&known[..], &secrets].concat(), refusals: Vec::new() }
    }

    fn secret(&mut self, text: impl Into<String>) -> String {
        let text = text.into();
        self.secrets.push(text.clone());
        text
    }

    fn at(&self, path: &str) -> Url {
        self.portreeve.url().join(path).unwrap()
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

    async fn made(&mut self, words: &[&str], member: &str) -> String {
        let made = self.portreeve.auth(words).await;
        self.secret(made[member].as_str().unwrap_or_else(|| panic!("{words:?}: {made}")))
    }

    /// Who is made, and what they are given.
    async fn people_and_machines(&mut self) -> Given {
        let alice = self.made(&["user", "add", "alice"], "password").await;
        self.portreeve.private_namespace("acme").await;
        self.portreeve.auth(&["robot", "add", "acme/ci"]).await;
        let key = self.made(&["robot", "key", "add", "acme/ci"], "secret").await;
        let rotated = self.made(&["robot", "key", "rotate", "acme/ci"], "secret").await;
        let chosen = json!({"name": "chosen", "secret": CHOSEN});
        self.portreeve.ask("/api/v1/namespaces/acme/robots/ci/keys", &chosen).await;
        let token = ["token", "create", "--api", "write", "--user"];
        let pat = self.made(&[&token[..], &["alice"]].concat(), "secret").await;
        let administrator = self.made(&[&token[..], &["admin"]].concat(), "secret").await;
        let service = self.made(&["service", "add", "elsewhere"], "secret").await;
        Given { alice, pat, administrator, service, keys: [key, rotated] }
    }

    /// By GET, by POST, with what is kept instead of a password, and with what was got for it at the registry.
    async fn comes_in(&mut self, name: &str, secret: &str) {
        let by_query = self.http.get(self.at("/token")).query(&ASKED).basic_auth(name, Some(secret));
        assert_eq!(self.send(by_query).await.0, StatusCode::OK, "{name}");
        let form = [("grant_type", "password"), ("access_type", "offline"), ("username", name), ("password", secret)];
        let by_form = self.http.post(self.at("/token")).form(&[&FORM[..], &form].concat());
        let (status, body) = self.send(by_form).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        if let Some(kept) = body["refresh_token"].as_str() {
            let form = [&FORM[..], &[("grant_type", "refresh_token"), ("refresh_token", kept)]].concat();
            let kept = self.http.post(self.at("/token")).form(&form);
            assert_eq!(self.send(kept).await.0, StatusCode::OK, "{name}");
        }
        let token = body["token"].as_str().unwrap();
        let at_the_registry = self.http.get(self.at("/v2/")).bearer_auth(token);
        assert_eq!(self.send(at_the_registry).await.0, StatusCode::OK);
        for shown in [token, &format!("{token}x")] {
            let pull = self.http.get(self.at("/v2/acme/web/manifests/v1")).bearer_auth(shown);
            self.send(pull).await;
        }
        let basic = self.http.get(self.at("/v2/_catalog")).basic_auth(name, Some(secret));
        self.send(basic).await;
    }

    /// The wrong way, at both doors.
    async fn is_turned_away(&mut self, name: &str, guess: &str) {
        let guess = self.secret(guess);
        let request = self.http.get(self.at("/token")).query(&ASKED).basic_auth(name, Some(&guess));
        assert!(!self.send(request).await.0.is_success(), "{name}");
        let request = self.http.get(self.at("/v2/")).basic_auth(name, Some(&guess));
        self.send(request).await;
    }

    /// The API: what it makes, what it refuses, and a feed that is followed.
    async fn administers(&mut self, given: &Given) {
        let made_up = self.secret("prt_pat_made-up-and-still-somebodys");
        for bearer in [&given.pat, &given.administrator, &given.service, &made_up] {
            for path in ["/api/v1/me", "/api/v1/users", "/api/v1/revocations?after=0", "/api/v1/registry/namespaces"] {
                let request = self.http.get(self.at(path)).bearer_auth(bearer);
                self.send(request).await;
            }
        }
        let newer = self.secret("a newer password of alice's");
        let change = |body: Value| self.http.put(self.at("/api/v1/me/password")).bearer_auth(&given.pat).json(&body);
        let unknown = change(json!({"current": given.alice, "new": newer, "unknown": given.alice}));
        let known = change(json!({"current": given.alice, "new": newer}));
        let refused = self.send(unknown).await;
        assert_eq!(refused.0, StatusCode::BAD_REQUEST, "an unknown field is refused by its name: {}", refused.1);
        assert!(self.send(known).await.0.is_success());
        self.portreeve.auth(&["keys", "rotate"]).await;
        let login = self.http.get(self.at("/token")).query(&ASKED).basic_auth("alice", Some(&newer));
        assert_eq!(self.send(login).await.0, StatusCode::OK);
    }

    /// Everything that anybody does here but for a directory's people.
    async fn goes_its_way(&mut self) {
        let given = self.people_and_machines().await;
        for (name, secret) in [
            ("alice", given.alice.as_str()),
            ("alice", &given.pat),
            ("carol", HTPASSWD),
            ("robot.acme.ci", &given.keys[0]),
            ("robot.acme.ci", &given.keys[1]),
            ("robot.acme.ci", CHOSEN),
        ] {
            self.comes_in(name, secret).await;
        }
        // The last has typed her password where her name belongs.
        let names = [("alice", "a guess at alice"), ("carol", "not carol's"), (given.alice.as_str(), "nothing at all")];
        for (name, guess) in names {
            self.is_turned_away(name, guess).await;
        }
        self.administers(&given).await;
    }

    /// Looks for each secret wherever something was said.
    async fn has_told_nobody(self) {
        // What was written down a moment later is written down.
        self.portreeve.says(&["INSERT INTO audit"]).await;
        let audit = self.portreeve.command(&["auth", "audit", "export"]).succeeds().await.stdout;
        assert!(audit.contains("token.issue") && audit.contains("login.fail"), "{audit}");
        let log = self.portreeve.log();
        // No library that is built in has more to say at TRACE today; one that will is heard.
        let loud = log.lines().filter(|line| line.contains("DEBUG") || line.contains("TRACE")).count();
        assert!(loud > 200 && log.len() > 100_000, "it was not at its loudest: {loud} lines, {} bytes", log.len());
        let refusals = self.refusals.join("\n");
        assert!(self.secrets.len() > 40 && self.refusals.len() > 20, "not everything was tried");
        for secret in &self.secrets {
            for (place, text) in [("the log", &log), ("a refusal", &refusals), ("the audit", &audit)] {
                if let Some(line) = text.lines().find(|line| line.contains(secret.as_str())) {
                    panic!("{secret:?} stands in {place}: {line}");
                }
            }
        }
    }
}

#[tokio::test]
async fn t47_no_secret_is_in_the_log_at_its_loudest_nor_in_refusals_nor_in_the_audit() {
    let mut story = Story::begin(dead);
    story.goes_its_way().await;
    story.is_turned_away("ldap-user", "a password for the directory").await;
    story.has_told_nobody().await;
}

/// The reader's bind, users' binds that succeed and that fail, and tests of the directory by command. (The library that speaks to it has
/// warnings and no more to say today.)
#[tokio::test]
#[ignore = "needs slapd"]
async fn t47_what_a_directory_is_shown_is_not_in_the_log_either() {
    let slapd = Slapd::start(&["dora"]).await;
    let mut story = Story::begin(|_| slapd.settings());
    story.goes_its_way().await;
    let Account { name, secret } = Slapd::person("dora");
    story.secret(&secret);
    story.comes_in(&name, &secret).await;
    story.is_turned_away(&name, "not what dora typed").await;
    for (password, well) in [(secret.as_str(), true), ("not what dora typed", false)] {
        for words in [["ldap", "test", "dora"].as_slice(), &["provider", "test", "corp", "--user", "dora"]] {
            let test = story.portreeve.command(&[&["auth"][..], words, &["--password-stdin"]].concat()).input(password);
            let outcome = test.run().await;
            assert_eq!(outcome.success, well, "{outcome}");
            outcome.never_says(&secret).never_says(password).never_says(READERS);
        }
    }
    story.has_told_nobody().await;
}
