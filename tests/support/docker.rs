//! The Docker client, with a configuration of its own and the engine that `make test` started.

use tempfile::TempDir;

use super::{
    program::{Outcome, Program},
    server::Account,
    tarball::{Entry, tar},
};
use crate::protocol::samples::word;

/// One person's Docker: what `docker login` leaves behind stays in its own directory.
pub(crate) struct Docker {
    host: String,
    config: TempDir,
}

impl Docker {
    pub(crate) fn new() -> Self {
        let host = std::env::var("PORTREEVE_TEST_DOCKER_HOST").expect("PORTREEVE_TEST_DOCKER_HOST names an engine");
        Self { host, config: TempDir::with_prefix("docker-config-").expect("a temporary directory can be made") }
    }

    /// `docker WORDS`.
    pub(crate) fn command(&self, words: &[&str]) -> Program {
        let program = Program::new("docker").arg("--host").arg(&self.host).arg("--config").arg(self.config.path());
        // The engine of Debian 12 has no BuildKit, and nothing could be pulled for it.
        program.args(words).env("DOCKER_BUILDKIT", "0")
    }

    /// `docker login`, the password on standard input as Docker wants it.
    pub(crate) fn login(&self, registry: &str, account: &Account) -> Program {
        self.command(&["login", "--username", &account.name, "--password-stdin", registry])
            .input(account.secret.as_bytes())
    }

    /// Builds an image of two layers that nobody has seen before, and returns its id.
    pub(crate) async fn build(&self, image: &str) -> String {
        let (first, second) = (word(), word());
        let dockerfile = "FROM scratch\nADD first /\nADD second /\nCMD [\"/first\"]\n";
        let context = tar(&[
            Entry { path: "Dockerfile", mode: 0o644, content: dockerfile.as_bytes() },
            Entry { path: "first", mode: 0o755, content: first.as_bytes() },
            Entry { path: "second", mode: 0o644, content: second.as_bytes() },
        ]);
        self.command(&["build", "--quiet", "--tag", image, "-"]).input(context).succeeds().await;
        self.image_id(image).await
    }

    pub(crate) async fn image_id(&self, image: &str) -> String {
        let outcome = self.command(&["image", "inspect", "--format", "{{.Id}}", image]).succeeds().await;
        outcome.stdout.trim().to_owned()
    }

    pub(crate) async fn push(&self, image: &str) -> Outcome {
        self.command(&["push", image]).succeeds().await
    }

    pub(crate) async fn pull(&self, image: &str) -> Outcome {
        self.command(&["pull", image]).succeeds().await
    }

    /// Forgets the image, so that the next pull has to fetch it.
    pub(crate) async fn remove(&self, image: &str) {
        self.command(&["image", "rm", "--force", image]).succeeds().await;
    }

    /// What `docker login` wrote.
    pub(crate) fn stored_credentials(&self) -> String {
        std::fs::read_to_string(self.config.path().join("config.json")).unwrap_or_default()
    }
}
