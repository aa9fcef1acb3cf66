//! What people read who are refused: the rule that fell short, in the words that Docker and skopeo print; and beside each what those read
//! who may not know (docs/auth/refusals.md).

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::robots::robot_for_pull_requests;
use crate::{
    protocol::samples::word,
    support::{
        containers::Containers,
        docker::Docker,
        program::Outcome,
        server::{Account, Launch, Portreeve, written},
    },
};

/// What everybody reads of whom the registry knows nothing that they may know.
const WRONG: &str = "unauthorized: the user name or the secret is wrong";

/// One person at both clients, with an image to push.
struct Person<'a> {
    portreeve: &'a Portreeve,
    name: String,
    docker: Docker,
    tools: Containers,
    image: String,
}

impl<'a> Person<'a> {
    async fn at(portreeve: &'a Portreeve, account: &Account) -> Self {
        let (docker, tools, image) = (Docker::new(), Containers::new(), format!("refusals-{}", word()));
        docker.login(&portreeve.authority(), account).succeeds().await;
        tools.login(&portreeve.authority(), account).succeeds().await;
        docker.build(&image).await;
        Self { portreeve, name: account.name.clone(), docker, tools, image }
    }

    fn remote(&self, name: &str) -> String {
        format!("docker://{}", self.portreeve.image(name))
    }

    async fn pushes(&self, name: &str) {
        self.tools.skopeo(&["copy", &self.tools.layout().0, &self.remote(name)]).succeeds().await;
    }

    /// What both clients print when they may not push.
    async fn is_refused_a_push(&self, name: &str) -> [Outcome; 2] {
        let image = self.portreeve.image(name);
        self.docker.command(&["tag", &self.image, &image]).succeeds().await;
        let docker = self.docker.command(&["push", &image]).fails().await;
        [docker, self.tools.skopeo(&["copy", &self.tools.layout().0, &self.remote(name)]).fails().await]
    }

    /// What both clients print when they may not pull.
    async fn is_refused_a_pull(&self, name: &str) -> [Outcome; 2] {
        let docker = self.docker.command(&["pull", &self.portreeve.image(name)]).fails().await;
        [docker, self.tools.skopeo(&["inspect", &self.remote(name)]).fails().await]
    }

    /// What skopeo prints when it may not delete; Docker has no such command.
    async fn is_refused_a_deletion(&self, name: &str) -> [Outcome; 1] {
        [self.tools.skopeo(&["delete", &self.remote(name)]).fails().await]
    }

    /// The sentence that is the same of what hides itself and of what is not there.
    fn plain(&self, verbs: &str, repository: &str) -> String {
        let (name, namespace) = (&self.name, repository.split('/').next().unwrap_or_default());
        format!(
            "{name} may not {verbs} {repository}: nothing that was granted reaches it, or there is no namespace {namespace}"
        )
    }
}

fn all_say(outcomes: &[Outcome], sentence: &str) {
    for outcome in outcomes {
        outcome.says(sentence);
    }
}

fn none_says(outcomes: &[Outcome], words: &[&str]) {
    for (outcome, word) in outcomes.iter().flat_map(|outcome| words.iter().map(move |word| (outcome, word))) {
        outcome.never_says(word);
    }
}

async fn person<'a>(portreeve: &'a Portreeve, name: &str, grants: &[(&str, &str)]) -> Person<'a> {
    let account = portreeve.person(name).await;
    for (pattern, actions) in grants {
        portreeve.grant(&account, pattern, actions, None).await;
    }
    Person::at(portreeve, &account).await
}

/// A tag outside the pattern; push with a right to read; delete without the maintainer's role; a guardrail. Bob, who has nothing in acme,
/// reads of each that there may be nothing.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn a_rule_that_falls_short_is_named_to_those_it_is_about() {
    let portreeve = Portreeve::up();
    let robot = Person::at(&portreeve, &robot_for_pull_requests(&portreeve).await).await;
    let alice = person(&portreeve, "alice", &[("acme/web", "reader")]).await;
    let dave = person(&portreeve, "dave", &[("acme/**", "contributor")]).await;
    let bob = person(&portreeve, "bob", &[]).await;
    dave.pushes("acme/web:1").await;

    let rule = "robot.acme.ci may push only tags matching pr-* in acme/**; latest does not match";
    all_say(&robot.is_refused_a_push("acme/web:latest").await, rule);
    let rule = "alice may pull acme/web but not push; nearest: role contributor";
    all_say(&alice.is_refused_a_push("acme/web:1").await, rule);
    let rule = "alice may pull only acme/web in acme, not acme/api";
    all_say(&alice.is_refused_a_pull("acme/api:1").await, rule);
    let rule = "dave may pull and push acme/web but not delete; nearest: role maintainer";
    all_say(&dave.is_refused_a_deletion("acme/web:1").await, rule);
    portreeve.auth(&["grant", "forbid", "acme/frozen/**", "push"]).await;
    let rule = "a guardrail forbids everybody to push acme/frozen/web";
    all_say(&dave.is_refused_a_push("acme/frozen/web:1").await, rule);

    let secrets = ["pr-*", "role", "guardrail", "dave", "acme/**"];
    for repository in ["acme/web", "acme/frozen/web", "nowhere/web"] {
        let image = format!("{repository}:latest");
        let pushed = bob.is_refused_a_push(&image).await;
        all_say(&pushed, &bob.plain("pull or push", repository));
        none_says(&pushed, &secrets);
        all_say(&bob.is_refused_a_pull(&image).await, &bob.plain("pull", repository));
        let deleted = bob.is_refused_a_deletion(&image).await;
        none_says(&deleted, &secrets);
    }
}

/// Whoever still has something in the namespace is told of the grant that ended; whoever has nothing any more is not in it.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn an_expired_grant_is_named_to_those_who_are_still_there() {
    const LIFE: Duration = Duration::from_secs(2);
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let alice = person(&portreeve, "alice", &[("acme/web", "reader")]).await;
    let carol = person(&portreeve, "carol", &[]).await;
    for name in ["alice", "carol"] {
        portreeve.auth(&["grant", "add", name, "acme/**", "contributor", "--expires", "2s"]).await;
    }
    sleep(LIFE).await;
    let told = alice.is_refused_a_push("acme/api:1").await;
    all_say(&told, "alice may not pull or push acme/api: the grant on acme/** ended at 20");
    let plain = carol.is_refused_a_push("acme/api:1").await;
    all_say(&plain, &carol.plain("pull or push", "acme/api"));
    none_says(&plain, &["ended", "acme/**"]);
}

/// A token that its owner confined, in somebody else's hands: what it is confined to is told, what its owner may do is not.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn a_confined_credential_says_what_it_is_confined_to_and_nothing_of_its_owner() {
    let portreeve = Portreeve::up();
    for namespace in ["acme", "secret"] {
        portreeve.private_namespace(namespace).await;
    }
    let alice = portreeve.person("alice").await;
    portreeve.grant(&alice, "acme/**", "maintainer", None).await;
    portreeve.grant(&alice, "secret/**", "maintainer", None).await;
    let token = portreeve.auth(&["token", "create", "--user", "alice", "--scope", "acme/web:pull"]).await;
    let narrow = Account::new("alice", token["secret"].as_str().unwrap());
    let holder = Person::at(&portreeve, &narrow).await;
    let confined = |verbs: &str, repository: &str| {
        format!("the credential shown may not {verbs} {repository}: it is confined to acme/web:pull")
    };
    all_say(&holder.is_refused_a_push("acme/web:1").await, &confined("push", "acme/web"));
    // One is her own and full of rights, the other does not exist.
    for repository in ["secret/web", "nowhere/web"] {
        all_say(&holder.is_refused_a_push(&format!("{repository}:1")).await, &confined("pull or push", repository));
    }
}

/// What both clients print when they show this at the door. `skopeo login` prints nothing of what it was told.
async fn shown(portreeve: &Portreeve, account: &Account) -> [Outcome; 2] {
    let tools = Containers::new();
    let (image, credentials) =
        (format!("docker://{}", portreeve.image("acme/web:1")), format!("{}:{}", account.name, account.secret));
    let skopeo = tools.skopeo(&["inspect", "--creds", &credentials, &image]).fails().await;
    [Docker::new().login(&portreeve.authority(), account).fails().await, skopeo]
}

/// A revoked key, one that ended, one for other networks, a suspended account: whoever shows the secret is told. Whoever shows another,
/// or the same beside another name, reads what everybody reads.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn a_right_secret_that_does_not_count_says_why_to_whoever_shows_it() {
    let portreeve = Portreeve::up();
    let suspended = robot_for_pull_requests(&portreeve).await;
    let other = portreeve.robot("acme", "cd").await;
    let (revoked, number) = portreeve.robot_key(&other.name).await;
    portreeve.auth(&["robot", "key", "revoke", &other.name, &number]).await;
    let made = async |body| portreeve.ask("/api/v1/namespaces/acme/robots/cd/keys", &body).await;
    let distant = made(json!({"name": "lab", "networks": ["192.0.2.0/24"]})).await;
    let distant = Account::new(&other.name, distant["secret"].as_str().unwrap());
    portreeve.auth(&["robot", "suspend", "acme/ci"]).await;
    let alice = portreeve.person("alice").await;
    portreeve.auth(&["user", "suspend", "alice"]).await;

    let table = [
        (&revoked, " of robot.acme.cd was revoked at 20"),
        (&distant, " of robot.acme.cd may not be used from 127.0.0.1"),
        (&suspended, "unauthorized: the account robot.acme.ci is suspended"),
        // That a password was right is not said: it may be good elsewhere, too.
        (&alice, WRONG),
    ];
    for (account, sentence) in table {
        let told = shown(&portreeve, account).await;
        all_say(&told, sentence);
        none_says(&told, &["192.0.2", &account.secret]);
        for guess in [Account::new(&account.name, "a guess"), Account::new("robot.acme.nobody", &account.secret)] {
            let plain = shown(&portreeve, &guess).await;
            all_say(&plain, WRONG);
            none_says(&plain, &["revoked", "suspended", "used from"]);
        }
    }
}

/// Full namespaces and tags that stay are told of to those who may push there.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn quotas_and_tags_that_stay_are_named_to_those_who_may_push() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let dave = person(&portreeve, "dave", &[("acme/**", "contributor")]).await;
    let bob = person(&portreeve, "bob", &[]).await;
    dave.pushes("acme/web:v1").await;
    let rules = json!({"rules": [{"name": "releases", "tags": ["v*"]}]}).to_string();
    let file = written(dave.tools.home(), "rules.json", &rules);
    portreeve.command(&["registry", "immutable", "set", "acme", &file]).succeeds().await;
    let told = dave.is_refused_a_push("acme/web:v1").await;
    all_say(&told, "denied: the tag v1 in acme/web is immutable by rule");

    portreeve.command(&["registry", "quota", "set", "acme", "--bytes", "64"]).succeeds().await;
    all_say(&dave.is_refused_a_push("acme/fresh:1").await, "denied: over the quota of namespace acme: of 64 B, ");
    for image in ["acme/web:v1", "acme/fresh:1"] {
        let plain = bob.is_refused_a_push(image).await;
        all_say(&plain, &bob.plain("pull or push", image.split(':').next().unwrap()));
        none_says(&plain, &["immutable", "quota", "releases"]);
    }
}

/// An auditor sees every name, so a name that is none is told to be none; others read what they read of names that hide.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn an_unknown_namespace_is_called_unknown_to_those_who_see_every_name() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let auditor = portreeve.person("olga").await;
    portreeve.auth(&["user", "role", "olga", "auditor"]).await;
    let (auditor, bob) = (Person::at(&portreeve, &auditor).await, person(&portreeve, "bob", &[]).await);
    let told = auditor.is_refused_a_push("nowhere/web:1").await;
    all_say(&told, "olga may not pull or push nowhere/web: there is no namespace nowhere");
    for namespace in ["nowhere", "acme"] {
        let plain = bob.is_refused_a_pull(&format!("{namespace}/web:1")).await;
        all_say(&plain, &bob.plain("pull", &format!("{namespace}/web")));
    }
}

/// Of a wrong password nothing is told but that; after a few, that there were too many, whoever was meant.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn wrong_passwords_are_called_wrong_and_then_too_many() {
    let portreeve = Portreeve::up();
    portreeve.person("alice").await;
    for name in ["alice", "nobody"] {
        let guess = Account::new(name, "guess");
        let plain = shown(&portreeve, &guess).await;
        all_say(&plain, WRONG);
        none_says(&plain, &["too many"]);
        for _ in 0..10 {
            Docker::new().login(&portreeve.authority(), &guess).fails().await;
        }
        let last = Docker::new().login(&portreeve.authority(), &guess).fails().await;
        last.says("too many failed passwords; try again in ");
    }
}

/// A directory that does not answer is no wrong password, and says so; who is known here is not kept waiting for it.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn a_directory_that_is_away_is_no_wrong_password() {
    let portreeve = Launch::command(|data| {
        let text = format!(
            "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             portreeve: {{auth: {{ldap: [{{name: corp, urls: ['ldaps://127.0.0.1:1'], \
             bind: {{dn: 'cn=reader', password: directory-secret}}, users: {{base: 'ou=people,dc=corp'}}}}]}}}}\n",
            data.display(),
        );
        ["up", "--config", &written(data, "config.yml", &text)].map(str::to_owned).to_vec()
    })
    .start();
    let away = shown(&portreeve, &Account::new("ldap-user", "anything")).await;
    away[0].says("503");
    none_says(&away, &["wrong", "directory-secret", "127.0.0.1:1"]);
    all_say(&shown(&portreeve, &Account::new("admin", "a guess")).await, WRONG);
}
