//! A robot with a key that pushes `pr-*` tags and nothing else.

use crate::support::{
    containers::{Containers, layout},
    docker::Docker,
    server::{Account, Portreeve},
};

/// What everybody's client must print: who was refused, and what would have been allowed.
const REFUSAL: [&str; 2] = ["denied: robot.acme.ci may", "only tags matching pr-* in acme/**"];

pub(super) async fn robot_for_pull_requests(portreeve: &Portreeve) -> Account {
    portreeve.private_namespace("acme").await;
    let robot = portreeve.robot("acme", "ci").await;
    assert_eq!(robot.name, "robot.acme.ci");
    portreeve.grant(&robot, "acme/**", "pull,push", Some("pr-*")).await;
    robot
}

#[tokio::test]
#[ignore = "needs docker"]
async fn robot_limited_to_pr_tags_cannot_push_latest_with_docker() {
    let portreeve = Portreeve::up();
    let robot = robot_for_pull_requests(&portreeve).await;
    let docker = Docker::new();
    docker.login(&portreeve.authority(), &robot).succeeds().await.says("Login Succeeded");

    let (allowed, latest) = (portreeve.image("acme/web:pr-123"), portreeve.image("acme/web:latest"));
    let built = docker.build(&allowed).await;
    docker.push(&allowed).await;
    docker.command(&["tag", &allowed, &latest]).succeeds().await;
    docker.command(&["push", &latest]).fails().await.says(REFUSAL[0]).says(REFUSAL[1]);

    docker.remove(&allowed).await;
    docker.remove(&latest).await;
    docker.pull(&allowed).await;
    assert_eq!(docker.image_id(&allowed).await, built);
    docker.command(&["pull", &latest]).fails().await.says("manifest unknown");
    assert!(!portreeve.log().contains(&robot.secret), "the log repeats a robot's key:\n{}", portreeve.log());
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn robot_limited_to_pr_tags_cannot_push_latest_with_skopeo() {
    let portreeve = Portreeve::up();
    let robot = robot_for_pull_requests(&portreeve).await;
    let tools = Containers::new();
    tools.login(&portreeve.authority(), &robot).succeeds().await;
    let (image, digest) = tools.layout();
    let remote = |name: &str| format!("docker://{}", portreeve.image(name));

    tools.skopeo(&["copy", &image, &remote("acme/web:pr-123")]).succeeds().await;
    tools.skopeo(&["inspect", &remote("acme/web:pr-123")]).succeeds().await.says(&digest);
    let refused = tools.skopeo(&["copy", &image, &remote("acme/web:latest")]).fails().await;
    refused.says(REFUSAL[0]).says(REFUSAL[1]).never_says(&robot.secret);
    // Another namespace is closed altogether, and so is deleting: the grant gave neither.
    let elsewhere = tools.skopeo(&["copy", &image, &remote("other/web:pr-123")]).fails().await;
    elsewhere.says("denied: robot.acme.ci may not pull or push other/web: nothing that was granted reaches it");
    let kept = tools.skopeo(&["delete", &remote("acme/web:pr-123")]).fails().await;
    kept.says("UNAUTHORIZED").says("robot.acme.ci may pull and push acme/web but not delete; nearest: role maintainer");
    tools.skopeo(&["list-tags", &remote("acme/web")]).succeeds().await.says("pr-123");
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn a_deleted_pr_image_takes_nothing_else_along() {
    let portreeve = Portreeve::up();
    let (admin, tools) = (Containers::new(), Containers::new());
    let robot = robot_for_pull_requests(&portreeve).await;
    portreeve.grant(&robot, "acme/**", "pull,delete", Some("pr-*")).await;
    admin.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    tools.login(&portreeve.authority(), &robot).succeeds().await;
    let remote = |tag: &str| format!("docker://{}:{tag}", portreeve.image("acme/web"));
    let (released, _) = layout(admin.home());
    admin.skopeo(&["copy", &released, &remote("v1")]).succeeds().await;
    admin.skopeo(&["copy", &remote("v1"), &remote("pr-1")]).succeeds().await;
    tools.skopeo(&["copy", &tools.layout().0, &remote("pr-2")]).succeeds().await;

    // skopeo deletes by digest: the first one also carries v1.
    let kept = tools.skopeo(&["delete", &remote("pr-1")]).fails().await;
    kept.says("DENIED").says("may push and delete only tags matching pr-* in acme/**; v1 does not match");
    tools.skopeo(&["delete", &remote("pr-2")]).succeeds().await;
    admin.skopeo(&["inspect", &remote("v1")]).succeeds().await;
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn a_robots_keys_overlap_while_they_are_rotated() {
    let portreeve = Portreeve::up();
    let robot = robot_for_pull_requests(&portreeve).await;
    let (second, number) = portreeve.robot_key(&robot.name).await;
    for account in [&robot, &second] {
        Containers::new().login(&portreeve.authority(), account).succeeds().await;
    }
    portreeve.auth(&["robot", "key", "revoke", &robot.name, &number]).await;
    Containers::new().login(&portreeve.authority(), &second).fails().await.says("invalid username/password");
    Containers::new().login(&portreeve.authority(), &robot).succeeds().await;
}

/// The same answer that a person gets who wonders.
#[tokio::test]
async fn explain_names_the_grant_and_what_it_lacked() {
    let portreeve = Portreeve::up();
    let robot = robot_for_pull_requests(&portreeve).await;
    let explained = portreeve.command(&["auth", "explain", &robot.name, "repository:acme/web:pull,push,delete"]);
    explained.succeeds().await.says("pr-*").says("acme/**").says("delete");
}
