//! The image of `make image`, alone and as `docker-compose.yml` runs it: two services apart, with volumes.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;
use url::Url;

use crate::{
    protocol::{
        client::{Client, Login},
        samples::word,
    },
    support::{
        docker::Docker,
        program::Program,
        server::{Account, written},
        stock::free_port,
    },
};

/// How long a container may take until its health check says so.
const PATIENCE: Duration = Duration::from_secs(120);

fn engine() -> String {
    std::env::var("PORTREEVE_TEST_DOCKER_HOST").expect("PORTREEVE_TEST_DOCKER_HOST names an engine")
}

/// A command that has to end whatever became of the test: what it removes may be half there, or gone already.
fn clear_away(command: &mut Command) {
    let _ =
        command.env("DOCKER_HOST", engine()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// An image of this source tree, under a name of its own. Goes with the test.
struct Image(String);

impl Image {
    /// Without optimization, which takes a third of the time. Where `make test` has not built the program before, this takes
    /// minutes.
    fn make() -> Self {
        let name = format!("portreeve-test:{}", word());
        let mut make = Command::new("make");
        make.arg("image").current_dir(env!("CARGO_MANIFEST_DIR")).env("DOCKER_HOST", engine());
        // What Cargo tells its tests about their own package would be news to build scripts that look at it: they, and all
        // that stands on them, would be built anew for every test.
        for (variable, _) in std::env::vars() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| variable.starts_with(prefix)) {
                make.env_remove(variable);
            }
        }
        make.env("IMAGE_PROFILE", "dev").env("PORTREEVE_TEST_IMAGE", "failpoints").env("IMAGE_TAG", &name);
        let made = make.stdin(Stdio::null()).output().unwrap();
        let said = [made.stdout, made.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(made.status.success(), "make image failed:\n{}", said.concat());
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        clear_away(Command::new("docker").args(["image", "rm", "--force", &self.0]));
    }
}

/// Waits until `holds`, and shows the container's log where it never does.
async fn until(container: &str, docker: &Docker, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        if begun.elapsed() > PATIENCE {
            panic!("{container} does not get there:\n{}", docker.command(&["logs", container]).run().await);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A project of Docker Compose: the repository's file, ports and volumes of its own. Goes with the test.
struct Composition {
    docker: Docker,
    project: String,
    settings: TempDir,
    registry: u16,
    auth: u16,
    image: Image,
}

impl Composition {
    fn new() -> Self {
        let (image, settings) = (Image::make(), TempDir::with_prefix("composition-").unwrap());
        let (project, registry, auth) = (format!("portreeve-{}", word()), free_port(), free_port());
        let composition = Self { docker: Docker::new(), project, settings, registry, auth, image };
        composition.set("");
        composition
    }

    /// Writes the `.env`, with `more` at its end.
    fn set(&self, more: &str) {
        let Self { registry, auth, image, .. } = self;
        let text = format!(
            "PORTREEVE_IMAGE={}\nPORTREEVE_REGISTRY_PORT={registry}\nPORTREEVE_AUTH_PORT={auth}\n\
             PORTREEVE_REALM=http://localhost:{auth}/token\n{more}",
            image.0
        );
        written(self.settings.path(), ".env", &text);
    }

    fn words(&self) -> [String; 6] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml").display().to_string();
        let settings = self.settings.path().join(".env").display().to_string();
        ["--project-name", &self.project, "--file", &file, "--env-file", &settings].map(str::to_owned)
    }

    /// `docker-compose WORDS`.
    fn compose(&self, words: &[&str]) -> Program {
        Program::new("docker-compose").args(self.words()).args(words).env("DOCKER_HOST", engine())
    }

    /// Runs a program in the container of a service.
    fn exec(&self, service: &str, words: &[&str]) -> Program {
        self.compose(&["exec", "-T", service]).args(words)
    }

    /// `auth WORDS --json` in auth's container, and what it printed.
    async fn administer(&self, words: &str) -> Value {
        let words: Vec<&str> = ["auth"].into_iter().chain(words.split_whitespace()).chain(["--json"]).collect();
        let outcome = self.exec("auth", &words).succeeds().await;
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"))
    }

    /// Brings it up, and waits until both health checks say so.
    async fn up(&self) {
        self.compose(&["up", "--detach"]).succeeds().await;
        for service in ["auth", "registry"] {
            let container = self.compose(&["ps", "--quiet", service]).succeeds().await.stdout.trim().to_owned();
            let health = ["inspect", "--format", "{{.State.Health.Status}}", &container];
            until(&container, &self.docker, async || {
                self.docker.command(&health).succeeds().await.stdout.trim() == "healthy"
            })
            .await;
        }
    }

    async fn admin(&self) -> Account {
        let password = self.exec("auth", &["cat", "/var/lib/portreeve/admin-password"]).succeeds().await.stdout;
        Account::new("admin", password.trim())
    }

    fn authority(&self) -> String {
        format!("localhost:{}", self.registry)
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.authority())
    }

    /// The status of the catalog, and what it lists for an account.
    async fn catalog(&self, account: &Account) -> (u16, Value) {
        let url = Url::parse(&format!("http://{}/", self.authority())).unwrap();
        let login = Login::Account { user: account.name.clone(), password: account.secret.clone() };
        let answer = Client::new(url, login).request(Method::GET, "_catalog").send().await.unwrap();
        let listed: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, listed["repositories"].clone())
    }
}

impl Drop for Composition {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut logs = Command::new("docker-compose");
            // Shown by the test runner beside the failure.
            if let Ok(output) =
                logs.args(self.words()).args(["logs", "--no-color"]).env("DOCKER_HOST", engine()).output()
            {
                eprintln!("--- the composition's logs\n{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        let mut down = Command::new("docker-compose");
        clear_away(down.args(self.words()).args(["down", "--volumes", "--timeout", "5"]));
    }
}

#[tokio::test]
#[ignore = "needs docker, docker-compose"]
async fn a_composition_of_two_services_takes_pushes_and_keeps_them() {
    let services = Composition::new();
    services.up().await;
    let (docker, admin, image) = (Docker::new(), services.admin().await, services.name("acme/web:1.0"));
    docker.login(&services.authority(), &admin).succeeds().await.says("Login Succeeded");
    let built = docker.build(&image).await;
    docker.push(&image).await;

    let robot = robot_for_pull_requests(&services).await;
    let machine = Docker::new();
    machine.login(&services.authority(), &robot).succeeds().await;
    let (allowed, latest) = (services.name("acme/web:pr-1"), services.name("acme/web:latest"));
    for tag in [&allowed, &latest] {
        docker.command(&["tag", &image, tag]).succeeds().await;
    }
    machine.push(&allowed).await;
    machine.command(&["push", &latest]).fails().await.says("only tags matching pr-* in acme/**");

    // New containers: what lasts is what lies in the volumes.
    services.compose(&["down"]).succeeds().await;
    services.up().await;
    for tag in [&image, &allowed, &latest] {
        docker.remove(tag).await;
    }
    docker.pull(&image).await;
    assert_eq!(docker.image_id(&image).await, built);
    machine.pull(&allowed).await;
    machine.command(&["pull", &latest]).fails().await;
    Docker::new().login(&services.authority(), &admin).succeeds().await;
    for tag in [&image, &allowed] {
        docker.remove(tag).await;
    }
}

async fn robot_for_pull_requests(services: &Composition) -> Account {
    services.administer("namespace add acme --visibility private").await;
    services.administer("robot add acme/ci").await;
    services.administer("grant add robot.acme.ci acme/** pull,push --tags pr-*").await;
    let key = services.administer("robot key add acme/ci").await;
    Account::new("robot.acme.ci", key["secret"].as_str().expect("a new key shows its secret"))
}

#[tokio::test]
#[ignore = "needs docker, docker-compose"]
async fn a_composition_keeps_keys_from_the_registry_and_takes_a_companion_later() {
    let services = Composition::new();
    services.up().await;
    for service in ["auth", "registry"] {
        services.exec(service, &["df", "-h"]).succeeds().await.says("/var/lib/portreeve-trust");
        services.exec(service, &["touch", "/bin/new"]).fails().await.says("Read-only file system");
        assert_eq!(services.exec(service, &["id", "-u"]).succeeds().await.stdout.trim(), "65532");
    }
    let trusted = services.exec("registry", &["ls", "-A", "/var/lib/portreeve", "/var/lib/portreeve-trust"]);
    let trusted = trusted.succeeds().await.stdout;
    assert_eq!(trusted.split_whitespace().filter(|word| !word.ends_with(':')).collect::<Vec<_>>(), ["bundle.pem"]);
    services.exec("registry", &["grep", "-c", "PRIVATE", "/var/lib/portreeve-trust/bundle.pem"]).fails().await;
    services.exec("registry", &["touch", "/var/lib/portreeve-trust/new"]).fails().await.says("Read-only file system");

    let (docker, admin, robot) = (Docker::new(), services.admin().await, robot_for_pull_requests(&services).await);
    docker.login(&services.authority(), &admin).succeeds().await;
    for image in ["acme/web:1", "hidden/web:1"].map(|image| services.name(image)) {
        docker.build(&image).await;
        docker.push(&image).await;
        docker.remove(&image).await;
    }
    let everything = serde_json::json!(["acme/web", "hidden/web"]);
    assert_eq!(services.catalog(&admin).await, (200, everything.clone()));
    // Without a companion nobody knows what a robot may list.
    assert_eq!(services.catalog(&robot).await, (200, serde_json::json!([])));

    // As docs/operations.md has it.
    let service = services.administer("service add portreeve").await;
    let credential = service["secret"].as_str().expect("a service that was added shows its credential");
    services.set(&format!(
        "REGISTRY_PORTREEVE_COMPANION_URL=http://auth:5001\nREGISTRY_PORTREEVE_COMPANION_CREDENTIAL={credential}\n"
    ));
    services.up().await;
    assert_eq!(services.catalog(&robot).await, (200, serde_json::json!(["acme/web"])));
    assert_eq!(services.catalog(&admin).await, (200, everything));
}

/// A container with nothing but a volume for its data and a loopback interface. Goes with the test, volume included.
struct Container<'a> {
    docker: &'a Docker,
    name: String,
}

impl<'a> Container<'a> {
    /// `docker run --detach --network none OPTIONS`, the image and its arguments among them.
    async fn run(docker: &'a Docker, options: &[&str]) -> Self {
        let container = Self { docker, name: format!("portreeve-{}", word()) };
        let always =
            ["run", "--detach", "--network", "none", "--read-only", "--cap-drop", "ALL", "--name", &container.name];
        docker.command(&always).args(options).succeeds().await;
        container
    }

    fn exec(&self, words: &[&str]) -> Program {
        self.docker.command(&["exec", &self.name]).args(words)
    }

    /// Waits until a URL answers inside.
    async fn answers(&self, url: &str) {
        until(&self.name, self.docker, async || self.exec(&["wget", "-q", "-O", "-", url]).run().await.success).await;
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        clear_away(Command::new("docker").args(["rm", "--force", "--volumes", &self.name]));
    }
}

/// What tests kill at every step is nothing to run by mistake.
#[test]
fn nobody_but_a_test_gets_a_program_with_failpoints_into_an_image() {
    for what in ["image", "program"] {
        let mut build = Command::new("image/build.sh");
        build.arg(what).current_dir(env!("CARGO_MANIFEST_DIR"));
        let refused = build.env("IMAGE_PROFILE", "dev").env_remove("PORTREEVE_TEST_IMAGE").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("has the points of tests in it"), "{what}: {said}");
    }
}

#[tokio::test]
#[ignore = "needs docker"]
async fn the_image_runs_as_any_user_on_a_root_that_is_read_only() {
    let (docker, image) = (Docker::new(), Image::make());
    for user in ["65532:65532", "12345:12345", "1000770000:0", "0:0"] {
        let stock = Container::run(&docker, &["--user", user, &image.0]).await;
        stock.answers("http://127.0.0.1:5000/v2/").await;
        stock.exec(&["df", "-h", "/var/lib/registry"]).succeeds().await;
        stock.exec(&["touch", "/etc/new"]).fails().await.says("Read-only file system");
        assert_eq!(stock.exec(&["id", "-u"]).succeeds().await.stdout.trim(), user.split(':').next().unwrap());
    }
    let both = ["up", "--data", "/var/lib/registry", "--listen", ":5000", "--insecure"];
    let options = ["--user", "12345:12345", "--entrypoint", "portreeve", &image.0];
    let both = Container::run(&docker, &[&options[..], &both].concat()).await;
    both.answers("http://127.0.0.1:5000/readyz").await;
    both.exec(&["portreeve", "auth", "user", "list", "--data", "/var/lib/registry"]).succeeds().await.says("admin");
    let bundle = "http://127.0.0.1:5000/certs/bundle.pem";
    both.exec(&["wget", "-q", "-O", "-", bundle]).succeeds().await.says("BEGIN CERTIFICATE");
}

/// Where version 2 of the stock registry's image has its configuration, and where version 3 has it.
#[tokio::test]
#[ignore = "needs docker"]
async fn the_image_takes_a_configuration_where_the_stock_images_take_it() {
    let (docker, image, directory) = (Docker::new(), Image::make(), TempDir::with_prefix("config-").unwrap());
    // Whatever uid the container runs as reads it.
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: ':5055'}\n";
    let config = written(directory.path(), "config.yml", text);
    let directory = directory.path().display();
    for mount in [
        format!("{config}:/etc/docker/registry/config.yml:ro"),
        format!("{config}:/etc/distribution/config.yml:ro"),
        format!("{directory}:/etc/docker/registry:ro"),
        format!("{directory}:/etc/distribution:ro"),
    ] {
        let registry = Container::run(&docker, &["--volume", &mount, &image.0]).await;
        registry.answers("http://127.0.0.1:5055/v2/").await;
    }
    for (name, word) in [("registry", "serve"), ("auth", "robot"), ("portreeve", "up"), ("htpasswd", "bcrypt")] {
        docker
            .command(&["run", "--rm", "--network", "none", "--entrypoint", name, &image.0, "--help"])
            .run()
            .await
            .says(word);
    }
}
