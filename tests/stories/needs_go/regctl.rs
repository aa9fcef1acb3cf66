//! regctl, the client that speaks the referrers API.

use tempfile::TempDir;

use crate::support::{containers::layout, program::Program, server::Portreeve};

#[tokio::test]
#[ignore = "needs go"]
async fn regctl_attaches_an_artifact_and_finds_it_again() {
    let portreeve = Portreeve::up();
    let home = TempDir::with_prefix("regctl-").unwrap();
    let config = home.path().join("config.json");
    let regctl = |words: &[&str]| Program::new("regctl").args(words).env("REGCTL_CONFIG", &config);
    let (registry, admin) = (portreeve.authority(), portreeve.admin());
    regctl(&["registry", "set", "--skip-check", "--tls", "disabled", &registry]).succeeds().await;
    let login = ["registry", "login", &registry, "--user", "admin", "--pass-stdin"];
    regctl(&login).input(admin.secret.as_bytes()).succeeds().await;

    let image = portreeve.image("acme/signed:1");
    let (layout, digest) = layout(home.path());
    regctl(&["image", "copy", &format!("{}@{digest}", layout.replace("oci:", "ocidir://")), &image]).succeeds().await;
    assert_eq!(regctl(&["image", "digest", &image]).succeeds().await.stdout.trim(), digest);

    let put = ["artifact", "put", "--subject", &image, "--artifact-type", "application/vnd.example.note"];
    regctl(&put).input("all is well").succeeds().await;
    regctl(&["artifact", "list", &image]).succeeds().await.says("application/vnd.example.note");
    let get = ["artifact", "get", "--subject", &image, "--filter-artifact-type", "application/vnd.example.note"];
    assert_eq!(regctl(&get).succeeds().await.stdout, "all is well");

    regctl(&["tag", "delete", &image]).succeeds().await;
    regctl(&["image", "digest", &image]).fails().await;
}
