//! helm, whose charts are artifacts with media types of their own.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{program::Program, server::Portreeve};

fn helm(home: &Path, words: &[&str]) -> Program {
    ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"]
        .iter()
        .fold(Program::new("helm").args(words), |program, variable| program.env(variable, home))
}

#[tokio::test]
#[ignore = "needs go"]
async fn helm_pushes_and_pulls_a_chart() {
    let portreeve = Portreeve::up();
    let (home, admin) = (TempDir::with_prefix("helm-").unwrap(), portreeve.admin());
    let (home, registry) = (home.path(), portreeve.authority());
    let chart = home.join("harbourmaster");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: harbourmaster\nversion: 0.1.0\n").unwrap();
    fs::write(chart.join("templates/map.yaml"), "apiVersion: v1\nkind: ConfigMap\n").unwrap();
    let text = |path: &Path| path.display().to_string();

    let login = ["registry", "login", "--plain-http", "--username", "admin", "--password-stdin", registry.as_str()];
    helm(home, &login).input(admin.secret.as_bytes()).succeeds().await.says("Login Succeeded");
    helm(home, &["package", &text(&chart), "--destination", &text(home)]).succeeds().await;
    let package = home.join("harbourmaster-0.1.0.tgz");
    let namespace = format!("oci://{registry}/charts");
    helm(home, &["push", "--plain-http", &text(&package), &namespace]).succeeds().await;

    let fetched = home.join("fetched");
    fs::create_dir(&fetched).unwrap();
    let source = format!("{namespace}/harbourmaster");
    let pull = ["pull", "--plain-http", source.as_str(), "--version", "0.1.0", "--destination", &text(&fetched)];
    helm(home, &pull).succeeds().await;
    assert_eq!(fs::read(&package).unwrap(), fs::read(fetched.join("harbourmaster-0.1.0.tgz")).unwrap());
}
