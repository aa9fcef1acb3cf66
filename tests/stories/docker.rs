//! Docker's engine and command line.

use crate::support::{
    containers::Containers,
    docker::Docker,
    server::{Account, Portreeve},
};

/// The main road: one command starts it, a person logs in, pushes, and another client pulls the same bytes.
#[tokio::test]
#[ignore = "needs docker, skopeo"]
async fn a_person_logs_in_pushes_and_pulls_with_another_client() {
    let portreeve = Portreeve::up();
    let (docker, image) = (Docker::new(), portreeve.image("acme/web:1.0"));

    docker.login(&portreeve.authority(), &portreeve.admin()).succeeds().await.says("Login Succeeded");
    let built = docker.build(&image).await;
    let digest = pushed_digest(&docker.push(&image).await.stdout);
    docker.remove(&image).await;
    docker.pull(&image).await;
    assert_eq!(docker.image_id(&image).await, built);

    let other = Containers::new();
    other.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let inspected = other.skopeo(&["inspect", &format!("docker://{image}")]).succeeds().await;
    inspected.says(&digest);
    let target = format!("dir:{}", other.home().join("copy").display());
    other.skopeo(&["copy", &format!("docker://{image}"), &target]).succeeds().await;
}

#[tokio::test]
#[ignore = "needs docker"]
async fn a_wrong_password_logs_nobody_in() {
    let portreeve = Portreeve::up();
    let docker = Docker::new();
    let wrong = Account::new("admin", "not-the-password");
    docker.login(&portreeve.authority(), &wrong).fails().await.says("unauthorized");
    assert_eq!(docker.stored_credentials().find(&portreeve.authority()), None);
    docker.login(&portreeve.authority(), &Account::new("nobody", "at-all")).fails().await.says("unauthorized");
    assert!(!portreeve.log().contains("not-the-password"), "the log repeats a password:\n{}", portreeve.log());
}

/// What `docker login` keeps is not the password.
#[tokio::test]
#[ignore = "needs docker"]
async fn a_login_keeps_an_identity_token_and_not_the_password() {
    let portreeve = Portreeve::up();
    let (docker, admin) = (Docker::new(), portreeve.admin());
    docker.login(&portreeve.authority(), &admin).succeeds().await;
    let stored = docker.stored_credentials();
    assert!(stored.contains("identitytoken"), "{stored}");
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("admin:{}", admin.secret));
    assert!(!stored.contains(&basic) && !stored.contains(&admin.secret), "the password lies in docker's configuration");

    let image = portreeve.image("acme/with-identity-token:1");
    docker.build(&image).await;
    docker.push(&image).await;
}

#[tokio::test]
#[ignore = "needs docker"]
async fn nobody_pushes_or_pulls_without_a_login() {
    let portreeve = Portreeve::up();
    let (owner, image) = (Docker::new(), portreeve.image("acme/private:1"));
    owner.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    owner.build(&image).await;
    owner.push(&image).await;

    let stranger = Docker::new();
    stranger.command(&["pull", &image]).fails().await;
    stranger.command(&["push", &image]).fails().await;
}

#[tokio::test]
#[ignore = "needs docker"]
async fn a_restart_keeps_images_logins_and_passwords() {
    let mut portreeve = Portreeve::up();
    let (docker, image) = (Docker::new(), portreeve.image("acme/kept:1"));
    docker.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let built = docker.build(&image).await;
    docker.push(&image).await;

    let ending = portreeve.stop();
    assert!(ending.success(), "SIGTERM ended it with {ending}:\n{}", portreeve.log());
    portreeve.start_again();

    docker.remove(&image).await;
    docker.pull(&image).await;
    assert_eq!(docker.image_id(&image).await, built);
    Docker::new().login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
}

/// `1.0: digest: sha256:… size: 735`
fn pushed_digest(output: &str) -> String {
    let digest = output.split_whitespace().find(|word| word.starts_with("sha256:"));
    digest.unwrap_or_else(|| panic!("docker push told no digest:\n{output}")).to_owned()
}
