//! Everything that takes something away, and how soon a registry refuses a token that was made before it: in one process and in two.
//! And everything that gives something, which interrupts nobody.

use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::Value;
use tokio::time::sleep;

use super::apart::{as_account, auth, bearing, believing, bundle, companion, push, registry, text};
use crate::support::{
    announce,
    server::{Account, Portreeve},
};

/// The promise.
const WITHIN: Duration = Duration::from_secs(5);

/// An auth service, a registry that believes it, and what it is called there.
struct Pair<'p> {
    auth: &'p Portreeve,
    registry: &'p Portreeve,
    service: &'p str,
}

impl Pair<'_> {
    /// A token that its holder keeps; None is anonymous.
    async fn token(&self, account: Option<&Account>, scope: &str) -> String {
        let request = Http::new().get(self.auth.url().join("/token").unwrap());
        let request = request.query(&[("service", self.service), ("scope", scope)]);
        let request = match account {
            Some(account) => request.basic_auth(&account.name, Some(&account.secret)),
            None => request,
        };
        let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// A namespace with an image in it.
    async fn namespace(&self, name: &str, visibility: &str) {
        self.auth.auth(&["namespace", "add", name, "--visibility", visibility]).await;
        let admin = as_account(self.registry, &self.auth.admin());
        assert_eq!(push(&admin, &format!("{name}/web"), "v1").await, 201);
    }

    async fn granted(&self, subject: &str, namespace: &str) -> String {
        let added = self.auth.auth(&["grant", "add", subject, &format!("{namespace}/**"), "pull"]).await;
        added["id"].to_string()
    }

    /// How long the holder of a token that could pull still can, once the change was answered.
    async fn refused_after(&self, holder: Option<&Account>, namespace: &str, change: &[&str]) -> Duration {
        let token = self.token(holder, &format!("repository:{namespace}/web:pull")).await;
        let image = format!("/v2/{namespace}/web/manifests/v1");
        assert_eq!(bearing(self.registry, &token, &image).await, 200, "before {change:?}");
        self.auth.auth(change).await;
        let begun = Instant::now();
        while bearing(self.registry, &token, &image).await != 401 {
            assert!(begun.elapsed() < 2 * WITHIN, "{change:?} is not felt");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    /// Every kind of change, each in a namespace of its own.
    async fn all(&self) -> Vec<(&'static str, Duration)> {
        let mut felt = Vec::new();
        for name in ["credential", "robot", "person", "grant", "member", "team", "closed", "gone", "rail", "everyone"] {
            self.namespace(name, if name == "closed" { "public" } else { "private" }).await;
        }
        let auth = self.auth;

        auth.auth(&["robot", "add", "credential/ci"]).await;
        let (robot, key) = auth.robot_key("robot.credential.ci").await;
        self.granted(&robot.name, "credential").await;
        let change = ["robot", "key", "revoke", "credential/ci", &key];
        felt.push(("a key is revoked", self.refused_after(Some(&robot), "credential", &change).await));

        let robot = auth.robot("robot", "ci").await;
        self.granted(&robot.name, "robot").await;
        let change = ["robot", "suspend", "robot/ci"];
        felt.push(("a robot is suspended", self.refused_after(Some(&robot), "robot", &change).await));

        let alice = auth.person("alice").await;
        self.granted("alice", "person").await;
        let change = ["user", "suspend", "alice"];
        felt.push(("a person is suspended", self.refused_after(Some(&alice), "person", &change).await));

        let bob = auth.person("bob").await;
        let grant = self.granted("bob", "grant").await;
        let change = ["grant", "remove", &grant];
        felt.push(("a grant is taken away", self.refused_after(Some(&bob), "grant", &change).await));

        for team in ["member/dev", "team/dev"] {
            auth.auth(&["team", "add", team]).await;
            auth.auth(&["team", "join", team, "bob"]).await;
        }
        self.granted("team:dev", "member").await;
        let change = ["team", "leave", "member/dev", "bob"];
        felt.push(("a member leaves a team", self.refused_after(Some(&bob), "member", &change).await));
        let grant = self.granted("team:dev", "team").await;
        let change = ["grant", "remove", &grant];
        felt.push(("a team's grant is taken away", self.refused_after(Some(&bob), "team", &change).await));
        self.granted("team:dev", "team").await;
        let change = ["team", "delete", "team/dev"];
        felt.push(("a team is deleted", self.refused_after(Some(&bob), "team", &change).await));

        let change = ["namespace", "visibility", "closed", "private"];
        felt.push(("a namespace is made private", self.refused_after(None, "closed", &change).await));
        let grant = self.granted("everyone", "everyone").await;
        let change = ["grant", "remove", &grant];
        felt.push(("everyone's grant is taken away", self.refused_after(None, "everyone", &change).await));
        self.granted("bob", "rail").await;
        let change = ["grant", "forbid", "rail/**", "pull"];
        felt.push(("a guardrail is set", self.refused_after(Some(&bob), "rail", &change).await));
        self.granted("bob", "gone").await;
        let change = ["namespace", "delete", "gone"];
        felt.push(("a namespace is deleted", self.refused_after(Some(&bob), "gone", &change).await));

        let keys = auth.auth(&["keys", "list"]).await;
        let active = keys["items"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
        let change = ["keys", "revoke", active["id"].as_str().unwrap()];
        self.granted("bob", "robot").await;
        felt.push(("a signing key is revoked", self.refused_after(Some(&bob), "robot", &change).await));
        let anew = self.token(Some(&bob), "repository:robot/web:pull").await;
        assert_eq!(bearing(self.registry, &anew, "/v2/robot/web/manifests/v1").await, 200, "the next one signs");
        felt
    }
}

fn told(how: &str, felt: &[(&str, Duration)]) {
    for (what, after) in felt {
        announce(&format!("{how}: {what}: refused after {} ms", after.as_millis()));
    }
    assert!(felt.iter().all(|(_, after)| *after <= WITHIN), "{felt:?}");
}

async fn apart() -> (Portreeve, Portreeve) {
    let auth = auth();
    let join = companion(&auth).await;
    let trust = format!("rootcertbundle: {}", text(&bundle(&auth)));
    let registry = registry(&format!("{}{join}", believing(&auth, &trust)));
    (auth, registry)
}

#[tokio::test]
async fn what_is_taken_away_is_refused_within_seconds_in_one_process() {
    let up = Portreeve::up();
    let pair = Pair { auth: &up, registry: &up, service: "portreeve" };
    told("in one process", &pair.all().await);
}

#[tokio::test]
async fn what_is_taken_away_is_refused_within_seconds_in_another_process() {
    let (auth, registry) = apart().await;
    let pair = Pair { auth: &auth, registry: &registry, service: "registry.test" };
    told("two processes", &pair.all().await);
}

/// A push that runs goes on under its one token, whatever is given to whomever meanwhile.
#[tokio::test]
async fn what_is_given_interrupts_nobody() {
    let (auth, registry) = apart().await;
    let pair = Pair { auth: &auth, registry: &registry, service: "registry.test" };
    pair.namespace("acme", "private").await;
    let robot = auth.robot("acme", "ci").await;
    auth.grant(&robot, "acme/**", "pull,push", None).await;
    auth.auth(&["team", "add", "acme/dev"]).await;
    auth.person("alice").await;
    let token = pair.token(Some(&robot), "repository:acme/web:pull,push").await;
    let changes: [&[&str]; 10] = [
        &["grant", "add", "robot.acme.ci", "acme/**", "pull,delete"],
        &["grant", "add", "everyone", "acme/public/**", "pull"],
        &["grant", "add", "authenticated", "acme/inner/**", "pull"],
        &["grant", "add", "team:dev", "acme/**", "pull"],
        &["team", "join", "acme/dev", "alice"],
        &["namespace", "visibility", "acme", "public"],
        &["robot", "key", "add", "acme/ci"],
        &["user", "role", "alice", "auditor"],
        &["namespace", "add", "other"],
        &["keys", "rotate"],
    ];
    let uploads = registry.url().join("/v2/acme/web/blobs/uploads/").unwrap();
    for change in changes {
        auth.auth(change).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            let begins = Http::new().post(uploads.clone()).bearer_auth(&token).send().await.unwrap();
            assert_eq!(begins.status(), 202, "after {change:?}");
            assert_eq!(bearing(&registry, &token, "/v2/acme/web/manifests/v1").await, 200, "after {change:?}");
        }
    }
}
