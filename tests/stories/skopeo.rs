//! skopeo, podman and buildah.

use crate::support::{containers::Containers, server::Portreeve};

#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_copies_inspects_lists_and_deletes() {
    let portreeve = Portreeve::up();
    let tools = Containers::new();
    tools.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let (layout, digest) = tools.layout();
    let remote = |name: &str| format!("docker://{}", portreeve.image(name));

    tools.skopeo(&["copy", &layout, &remote("acme/web:1")]).succeeds().await;
    // From repository to repository: the blobs are mounted, the manifest keeps its digest.
    tools.skopeo(&["copy", &remote("acme/web:1"), &remote("acme/copy:2")]).succeeds().await;
    tools.skopeo(&["copy", &remote("acme/web:1"), &remote("acme/copy:3")]).succeeds().await;
    tools.skopeo(&["inspect", &remote("acme/copy:2")]).succeeds().await.says(&digest);
    tools.skopeo(&["list-tags", &remote("acme/copy")]).succeeds().await.says("\"2\"").says("\"3\"");

    tools.skopeo(&["delete", &remote("acme/copy:2")]).succeeds().await;
    tools.skopeo(&["inspect", &remote("acme/copy:2")]).fails().await;
    tools.skopeo(&["inspect", &remote("acme/web:1")]).succeeds().await.says(&digest);
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_without_a_login_is_told_so() {
    let portreeve = Portreeve::up();
    let stranger = Containers::new();
    let (layout, _) = stranger.layout();
    let target = format!("docker://{}", portreeve.image("acme/web:1"));
    stranger.skopeo(&["copy", &layout, &target]).fails().await.says("denied");
}

#[tokio::test]
#[ignore = "needs skopeo, podman, buildah"]
async fn podman_pulls_what_buildah_pushed() {
    let portreeve = Portreeve::up();
    let (builder, runner) = (Containers::new(), Containers::new());
    for tools in [&builder, &runner] {
        tools.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    }
    let image = portreeve.image("acme/built:1");
    let container = builder.buildah(&["from", "scratch"]).succeeds().await.stdout.trim().to_owned();
    std::fs::write(builder.home().join("hello"), "hello").unwrap();
    let file = builder.home().join("hello").display().to_string();
    builder.buildah(&["copy", &container, &file, "/hello"]).succeeds().await;
    builder.buildah(&["commit", &container, &image]).succeeds().await;
    builder.buildah(&["push", "--tls-verify=false", &image]).succeeds().await;

    let pulled = runner.podman(&["pull", "--quiet", "--tls-verify=false", &image]).succeeds().await;
    let known = runner.podman(&["image", "inspect", "--format", "{{.Id}}", &image]).succeeds().await;
    assert_eq!(pulled.stdout.trim(), known.stdout.trim());
}
