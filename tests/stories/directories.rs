//! People of a directory at a running registry, with the clients that they use: a group over there feeds a team here, and who leaves it,
//! or whose mapping goes, is refused.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::apart::{bearing, believing, bundle, companion, registry, text, token};
use crate::{
    protocol::samples::word,
    support::{
        announce,
        containers::Containers,
        docker::Docker,
        server::{Launch, Portreeve, written},
        slapd::Slapd,
    },
};

/// How soon what is known here is felt at a registry: the promise of the feed.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a right password is remembered: so long the directory is not asked.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Auth beside a directory, a registry that believes it, and a namespace that a group of the directory may push to.
struct Firm {
    slapd: Slapd,
    auth: Portreeve,
    registry: Portreeve,
}

impl Firm {
    async fn of(people: &[&str]) -> Self {
        let slapd = Slapd::start(people).await;
        let settings = format!("version: 0.1\nldap: [{}]\n", slapd.settings());
        let auth = Launch::command(|data| {
            let file = written(data, "auth.yml", &settings);
            let words = ["auth", "serve", &file, "--listen", "127.0.0.1:0", "--data", &text(data)];
            words.map(str::to_owned).to_vec()
        })
        .start();
        let join = companion(&auth).await;
        let trust = format!("rootcertbundle: {}", text(&bundle(&auth)));
        let registry = registry(&format!("{}{join}", believing(&auth, &trust)));
        auth.private_namespace("acme").await;
        auth.auth(&["team", "add", "acme/dev"]).await;
        auth.auth(&["team", "map", "acme/dev", "corp", &Slapd::group()]).await;
        auth.auth(&["grant", "add", "team:dev", "acme/**", "contributor"]).await;
        Self { slapd, auth, registry }
    }

    /// A token that somebody keeps who does nothing else.
    async fn token(&self, name: &str) -> String {
        let token = token(&self.auth, &Slapd::person(name), "repository:acme/web:pull").await;
        assert_eq!(bearing(&self.registry, &token, IMAGE).await, 200, "{name} may pull");
        token
    }

    /// How long it opens what it opened.
    async fn refused_after(&self, token: &str) -> Duration {
        let begun = Instant::now();
        while bearing(&self.registry, token, IMAGE).await != 401 {
            assert!(begun.elapsed() < 4 * WITHIN, "it goes on");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }
}

const IMAGE: &str = "/v2/acme/web/manifests/1";

#[tokio::test]
#[ignore = "needs docker, skopeo, slapd"]
async fn a_group_of_the_directory_opens_a_namespace_and_closes_it_again() {
    let mut firm = Firm::of(&["alice", "bob", "carol"]).await;
    // Alice has Docker, which keeps something that stands for her password; Bob has skopeo, which keeps his password.
    let (docker, tools) = (Docker::new(), Containers::new());
    let authority = firm.registry.authority();
    docker.login(&authority, &Slapd::person("alice")).succeeds().await;
    assert!(docker.stored_credentials().contains("identitytoken"));
    tools.login(&authority, &Slapd::person("bob")).succeeds().await;
    let asked = Instant::now();
    let image = firm.registry.image("acme/web:1");
    docker.build(&image).await;
    docker.push(&image).await;
    let remote = format!("docker://{}", firm.registry.image(&format!("acme/{}:1", word())));
    let push = async || tools.skopeo(&["copy", &tools.layout().0, &remote]).run().await;
    assert!(push().await.success);

    // Whoever is in the team by a mapping loses by its end, and has it again when it is there again.
    let token = firm.token("carol").await;
    firm.auth.auth(&["team", "unmap", "acme/dev", "corp", &Slapd::group()]).await;
    let unmapped = firm.refused_after(&token).await;
    firm.auth.auth(&["team", "map", "acme/dev", "corp", &Slapd::group()]).await;

    // Bob leaves the group. His next sign-in that the directory sees says so.
    let (carols, bobs) = (firm.token("carol").await, firm.token("bob").await);
    firm.slapd.leaves("bob").await;
    let left = Instant::now();
    let refused = loop {
        let outcome = push().await;
        if !outcome.success {
            break outcome;
        }
        assert!(left.elapsed() < REMEMBERED + WITHIN, "{:?} after his first sign-in", asked.elapsed());
        sleep(Duration::from_millis(500)).await;
    };
    let signed_in = left.elapsed();
    refused.says("bob may not");
    let kept = firm.refused_after(&bobs).await;
    assert_eq!(bearing(&firm.registry, &carols, IMAGE).await, 200, "the others go on");

    // Alice and Carol leave it, and do nothing at all. A service that starts reads the directory at once.
    for name in ["alice", "carol"] {
        firm.slapd.leaves(name).await;
    }
    assert!(firm.auth.stop().success());
    firm.auth.start_again();
    let read = firm.refused_after(&carols).await;
    let other = firm.registry.image("acme/web:2");
    docker.build(&other).await;
    docker.command(&["push", &other]).fails().await.says("alice may not");

    for (what, after) in [
        ("its mapping is taken away", unmapped),
        ("the next sign-in saw it", kept),
        ("a reading begins (a service that starts)", read),
    ] {
        announce(&format!(
            "a member by a directory's group: {what}: a token is refused after {} ms",
            after.as_millis()
        ));
        assert!(after <= WITHIN, "{what}: {after:?}");
    }
    announce(&format!(
        "skopeo with a directory's password: refused {} s after the group was left",
        signed_in.as_secs()
    ));
}
