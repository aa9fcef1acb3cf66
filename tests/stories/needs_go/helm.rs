//! helm, whose charts are artifacts with media types of their own.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    stories::tls::{root, up_with_tls},
    support::{program::Program, server::Portreeve},
};

fn helm(home: &Path, words: &[&str]) -> Program {
    ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"]
        .iter()
        .fold(Program::new("helm").args(words), |program, variable| program.env(variable, home))
}

#[tokio::test]
#[ignore = "needs go"]
async fn helm_pushes_and_pulls_a_chart() {
    pushes_and_pulls_a_chart(&Portreeve::up(), &["--plain-http"]).await;
}

#[tokio::test]
#[ignore = "needs go"]
async fn helm_works_over_tls_once_it_believes_the_development_authority() {
    let portreeve = up_with_tls();
    let home = TempDir::with_prefix("helm-").unwrap();
    let (registry, admin) = (portreeve.authority(), portreeve.admin());
    let login = ["registry", "login", "--username", "admin", "--password-stdin", registry.as_str()];
    helm(home.path(), &login).input(admin.secret.as_bytes()).fails().await.says("x509");
    let root = root(&portreeve).display().to_string();
    pushes_and_pulls_a_chart(&portreeve, &["--ca-file", &root]).await;
}

/// `how` says how the registry is spoken to.
async fn pushes_and_pulls_a_chart(portreeve: &Portreeve, how: &[&str]) {
    let (home, admin) = (TempDir::with_prefix("helm-").unwrap(), portreeve.admin());
    let (home, registry) = (home.path(), portreeve.authority());
    let chart = home.join("harbourmaster");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: harbourmaster\nversion: 0.1.0\n").unwrap();
    fs::write(chart.join("templates/map.yaml"), "apiVersion: v1\nkind: ConfigMap\n").unwrap();
    let text = |path: &Path| path.display().to_string();
    let spoken = |words: &[&str]| helm(home, &[words, how].concat());

    let login = ["registry", "login", "--username", "admin", "--password-stdin", registry.as_str()];
    spoken(&login).input(admin.secret.as_bytes()).succeeds().await.says("Login Succeeded");
    helm(home, &["package", &text(&chart), "--destination", &text(home)]).succeeds().await;
    let package = home.join("harbourmaster-0.1.0.tgz");
    let namespace = format!("oci://{registry}/charts");
    spoken(&["push", &text(&package), &namespace]).succeeds().await;

    let fetched = home.join("fetched");
    fs::create_dir(&fetched).unwrap();
    let source = format!("{namespace}/harbourmaster");
    spoken(&["pull", &source, "--version", "0.1.0", "--destination", &text(&fetched)]).succeeds().await;
    assert_eq!(fs::read(&package).unwrap(), fs::read(fetched.join("harbourmaster-0.1.0.tgz")).unwrap());
}
