//! Everything that takes something away, and how soon a registry refuses a token that was made before it: in one process and in two.
//! What gives something interrupts nobody: `running_pushes`.

use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::apart::{as_account, auth, bearing, believing, bundle, companion, push, registry, text};
use crate::support::{
    announce,
    server::{Account, Portreeve},
};

/// The promise.
const WITHIN: Duration = Duration::from_secs(5);

/// What was changed, and how long it took to be felt.
type Felt = Vec<(&'static str, Duration)>;

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
    async fn refused_after<T>(
        &self,
        holder: Option<&Account>,
        namespace: &str,
        change: impl Future<Output = T>,
    ) -> Duration {
        let token = self.token(holder, &format!("repository:{namespace}/web:pull")).await;
        let image = format!("/v2/{namespace}/web/manifests/v1");
        assert_eq!(bearing(self.registry, &token, &image).await, 200, "before the change in {namespace}");
        change.await;
        let begun = Instant::now();
        while bearing(self.registry, &token, &image).await != 401 {
            assert!(begun.elapsed() < 2 * WITHIN, "the change in {namespace} is not felt");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    /// What becomes of secrets, and of those whose they are.
    async fn accounts(&self) -> Felt {
        let (auth, mut felt) = (self.auth, Felt::new());
        for name in ["credential", "robot", "person", "role"] {
            self.namespace(name, "private").await;
        }
        auth.auth(&["robot", "add", "credential/ci"]).await;
        let (robot, key) = auth.robot_key("robot.credential.ci").await;
        self.granted(&robot.name, "credential").await;
        let revoke = ["robot", "key", "revoke", "credential/ci", &key];
        felt.push(("a key is revoked", self.refused_after(Some(&robot), "credential", auth.auth(&revoke)).await));

        let robot = auth.robot("robot", "ci").await;
        self.granted(&robot.name, "robot").await;
        let suspend = ["robot", "suspend", "robot/ci"];
        felt.push(("a robot is suspended", self.refused_after(Some(&robot), "robot", auth.auth(&suspend)).await));

        let alice = auth.person("alice").await;
        self.granted("alice", "person").await;
        let suspend = ["user", "suspend", "alice"];
        felt.push(("a person is suspended", self.refused_after(Some(&alice), "person", auth.auth(&suspend)).await));

        let carol = auth.person("carol").await;
        auth.auth(&["user", "role", "carol", "administrator"]).await;
        let role = ["user", "role", "carol", "none"];
        felt.push(("a system role is taken away", self.refused_after(Some(&carol), "role", auth.auth(&role)).await));
        self.granted("carol", "role").await;
        let reset = ["user", "reset", "carol"];
        felt.push(("a password is replaced", self.refused_after(Some(&carol), "role", auth.auth(&reset)).await));
        felt
    }

    /// What is granted, to one, to a team and to everybody.
    async fn grants(&self, bob: &Account) -> Felt {
        let (auth, mut felt) = (self.auth, Felt::new());
        for name in ["grant", "narrowed", "everyone", "rail"] {
            self.namespace(name, "private").await;
        }
        let grant = self.granted("bob", "grant").await;
        let remove = ["grant", "remove", &grant];
        felt.push(("a grant is taken away", self.refused_after(Some(bob), "grant", auth.auth(&remove)).await));
        let grant = self.granted("bob", "narrowed").await;
        let elsewhere = json!({"subject": "bob", "repositories": "narrowed/api/**", "actions": "pull"});
        let path = format!("/api/v1/namespaces/narrowed/grants/{grant}");
        let narrow = auth.put(&path, &elsewhere);
        felt.push(("a grant is narrowed", self.refused_after(Some(bob), "narrowed", narrow).await));
        let grant = self.granted("everyone", "everyone").await;
        let remove = ["grant", "remove", &grant];
        felt.push(("everyone's grant is taken away", self.refused_after(None, "everyone", auth.auth(&remove)).await));
        self.granted("bob", "rail").await;
        let forbid = ["grant", "forbid", "rail/**", "pull"];
        felt.push(("a guardrail is set", self.refused_after(Some(bob), "rail", auth.auth(&forbid)).await));
        felt
    }

    async fn teams(&self, bob: &Account) -> Felt {
        let (auth, mut felt) = (self.auth, Felt::new());
        for name in ["member", "team"] {
            self.namespace(name, "private").await;
            auth.auth(&["team", "add", &format!("{name}/dev")]).await;
            auth.auth(&["team", "join", &format!("{name}/dev"), "bob"]).await;
        }
        self.granted("team:dev", "member").await;
        let leave = ["team", "leave", "member/dev", "bob"];
        felt.push(("a member leaves a team", self.refused_after(Some(bob), "member", auth.auth(&leave)).await));
        let grant = self.granted("team:dev", "team").await;
        let remove = ["grant", "remove", &grant];
        felt.push(("a team's grant is taken away", self.refused_after(Some(bob), "team", auth.auth(&remove)).await));
        self.granted("team:dev", "team").await;
        let delete = ["team", "delete", "team/dev"];
        felt.push(("a team is deleted", self.refused_after(Some(bob), "team", auth.auth(&delete)).await));
        felt
    }

    async fn namespaces(&self, bob: &Account) -> Felt {
        let (auth, mut felt) = (self.auth, Felt::new());
        for (name, visibility) in [("closed", "public"), ("inner", "internal"), ("gone", "private")] {
            self.namespace(name, visibility).await;
        }
        let close = ["namespace", "visibility", "closed", "private"];
        felt.push(("a namespace is made private", self.refused_after(None, "closed", auth.auth(&close)).await));
        let close = ["namespace", "visibility", "inner", "private"];
        felt.push((
            "a namespace is closed to who signs in",
            self.refused_after(Some(bob), "inner", auth.auth(&close)).await,
        ));
        self.granted("bob", "gone").await;
        let delete = ["namespace", "delete", "gone"];
        felt.push(("a namespace is deleted", self.refused_after(Some(bob), "gone", auth.auth(&delete)).await));
        felt
    }

    /// What a key has signed; the next key's tokens count.
    async fn keys(&self, bob: &Account) -> Felt {
        self.namespace("signed", "private").await;
        self.granted("bob", "signed").await;
        let keys = self.auth.auth(&["keys", "list"]).await;
        let active = keys["items"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
        let revoke = ["keys", "revoke", active["id"].as_str().unwrap()];
        let after = self.refused_after(Some(bob), "signed", self.auth.auth(&revoke)).await;
        let anew = self.token(Some(bob), "repository:signed/web:pull").await;
        assert_eq!(bearing(self.registry, &anew, "/v2/signed/web/manifests/v1").await, 200, "the next one signs");
        vec![("a signing key is revoked", after)]
    }

    /// Every kind of change, each in a namespace of its own.
    async fn all(&self) -> Felt {
        let bob = self.auth.person("bob").await;
        [
            self.accounts().await,
            self.grants(&bob).await,
            self.teams(&bob).await,
            self.namespaces(&bob).await,
            self.keys(&bob).await,
        ]
        .concat()
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
