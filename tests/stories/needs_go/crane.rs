//! crane, and with it cosign, kaniko, ko and Flux, which share its library.

use tempfile::TempDir;

use crate::{
    protocol::samples::word,
    stories::{
        robots::robot_for_pull_requests,
        tls::{root, up_with_tls},
    },
    support::{
        program::Program,
        server::{Account, Portreeve},
        tarball::{Entry, tar},
    },
};

/// One person's crane.
struct Crane {
    home: TempDir,
}

impl Crane {
    fn new() -> Self {
        Self { home: TempDir::with_prefix("crane-").unwrap() }
    }

    fn command(&self, words: &[&str]) -> Program {
        Program::new("crane").args(words).env("DOCKER_CONFIG", self.home.path())
    }

    fn login(&self, registry: &str, account: &Account) -> Program {
        let words = ["auth", "login", "--username", &account.name, "--password-stdin", registry];
        self.command(&words).input(account.secret.as_bytes())
    }

    /// Pushes an image of one layer that nobody has seen before.
    fn push(&self, image: &str) -> Program {
        let layer = self.home.path().join("layer.tar");
        std::fs::write(&layer, tar(&[Entry { path: "hello", mode: 0o644, content: word().as_bytes() }])).unwrap();
        self.command(&["append", "--new_layer", &layer.display().to_string(), "--new_tag", image])
    }
}

#[tokio::test]
#[ignore = "needs go"]
async fn crane_pushes_lists_pulls_and_deletes() {
    let portreeve = Portreeve::up();
    let (crane, image) = (Crane::new(), portreeve.image("acme/crane:1"));
    crane.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    crane.push(&image).succeeds().await;
    let digest = crane.command(&["digest", &image]).succeeds().await.stdout.trim().to_owned();
    crane.command(&["tag", &image, "second"]).succeeds().await;
    let repository = portreeve.image("acme/crane");
    assert_eq!(crane.command(&["ls", &repository]).succeeds().await.stdout, "1\nsecond\n");

    let tarball = crane.home.path().join("pulled.tar").display().to_string();
    crane.command(&["pull", &image, &tarball]).succeeds().await;
    crane.command(&["validate", "--remote", &image]).succeeds().await;
    crane.command(&["copy", &image, &portreeve.image("acme/elsewhere:1")]).succeeds().await;
    crane.command(&["catalog", &portreeve.authority()]).succeeds().await.says("acme/crane").says("acme/elsewhere");

    crane.command(&["delete", &format!("{repository}@{digest}")]).succeeds().await;
    crane.command(&["digest", &image]).fails().await.says("MANIFEST_UNKNOWN");
}

#[tokio::test]
#[ignore = "needs go"]
async fn crane_with_a_wrong_password_is_refused() {
    let portreeve = Portreeve::up();
    let crane = Crane::new();
    // Its login asks nobody; the first request does.
    crane.login(&portreeve.authority(), &Account::new("admin", "wrong")).succeeds().await;
    crane.push(&portreeve.image("acme/crane:1")).fails().await.says("UNAUTHORIZED");
}

/// What docker and skopeo print (`refusals`), crane prints too: the rule that fell short, and at the door why a right secret does not count.
#[tokio::test]
#[ignore = "needs go"]
async fn crane_prints_the_rule_that_fell_short() {
    let portreeve = Portreeve::up();
    let crane = async |account: &Account| {
        let crane = Crane::new();
        crane.login(&portreeve.authority(), account).succeeds().await;
        crane
    };
    let (robot, image) = (robot_for_pull_requests(&portreeve).await, portreeve.image("acme/web:latest"));
    let alice = portreeve.person("alice").await;
    portreeve.grant(&alice, "acme/web", "reader", None).await;
    let refused = crane(&robot).await.push(&image).fails().await;
    refused.says("robot.acme.ci may push only tags matching pr-* in acme/**; latest does not match");
    let refused = crane(&alice).await.push(&image).fails().await;
    refused.says("alice may pull acme/web but not push; nearest: role contributor");
    let refused = crane(&alice).await.command(&["digest", &portreeve.image("nowhere/web:1")]).fails().await;
    refused
        .says("alice may not pull nowhere/web: nothing that was granted reaches it, or there is no namespace nowhere");

    let (revoked, number) = portreeve.robot_key(&robot.name).await;
    portreeve.auth(&["robot", "key", "revoke", &robot.name, &number]).await;
    let refused = crane(&revoked).await.push(&image).fails().await;
    refused.says(" of robot.acme.ci was revoked at 20").never_says(&revoked.secret);
}

/// Go reads what it believes from the variable of OpenSSL's name.
#[tokio::test]
#[ignore = "needs go"]
async fn crane_works_over_tls_once_it_believes_the_development_authority() {
    let portreeve = up_with_tls();
    let (crane, image) = (Crane::new(), portreeve.image("acme/crane:1"));
    let believing = |program: Program| program.env("SSL_CERT_FILE", root(&portreeve));
    crane.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    crane.push(&image).fails().await.says("x509");
    believing(crane.push(&image)).succeeds().await;
    believing(crane.command(&["validate", "--remote", &image])).succeeds().await;
    assert_eq!(believing(crane.command(&["ls", &portreeve.image("acme/crane")])).succeeds().await.stdout, "1\n");
}
