//! Quotas, as an operator sets them and as clients meet them.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::kills::client;
use crate::{
    protocol::samples::{Algorithm, Blob},
    support::{
        containers::Containers,
        docker::Docker,
        program::Outcome,
        server::{Launch, Portreeve},
    },
};

async fn quota(portreeve: &Portreeve, words: &[&str]) -> Outcome {
    portreeve.command(&[&["registry", "quota"], words].concat()).succeeds().await
}

async fn bytes(portreeve: &Portreeve) -> Value {
    let shown = quota(portreeve, &["show", "acme", "--json"]).await;
    let standing: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"));
    standing["bytes"].clone()
}

#[tokio::test]
async fn an_operator_sets_and_sees_quotas_beside_the_server_and_without_it() {
    let mut portreeve = Portreeve::up();
    let set = quota(&portreeve, &["set", "acme", "--bytes", "10GiB", "--tags", "5"]).await;
    set.says("bytes         0 B of 10 GiB").says("tags          0 of 5").says("repositories  0 of unlimited");
    quota(&portreeve, &["set", "other", "--bytes", "unlimited"]).await.says("0 B of unlimited");
    quota(&portreeve, &["list"]).await.says("acme\n").says("other\n");
    portreeve.stop();
    quota(&portreeve, &["show", "acme"]).await.says("0 B of 10 GiB");
    let refused = portreeve.command(&["registry", "quota", "set", "acme", "--bytes", "10G"]).fails().await;
    refused.says("10GiB (powers of 1024)");
    portreeve.command(&["registry", "quota", "set", "acme"]).fails().await.says("--bytes <SIZE>");
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_prints_what_is_used() {
    let portreeve = Portreeve::up();
    quota(&portreeve, &["set", "acme", "--bytes", "64"]).await;
    let tools = Containers::new();
    tools.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let (layout, _) = tools.layout();
    let target = format!("docker://{}", portreeve.image("acme/web:1"));
    let refused = tools.skopeo(&["copy", &layout, &target]).fails().await;
    refused.says("over the quota of namespace acme: of 64 B, ").says("denied");
    quota(&portreeve, &["set", "acme", "--bytes", "1MiB"]).await;
    tools.skopeo(&["copy", &layout, &target]).succeeds().await;
    assert_eq!(bytes(&portreeve).await["reserved"], 0, "a finished push leaves nothing reserved");
}

#[tokio::test]
#[ignore = "needs docker"]
async fn docker_prints_what_is_used() {
    let portreeve = Portreeve::up();
    quota(&portreeve, &["set", "acme", "--bytes", "64"]).await;
    let (docker, image) = (Docker::new(), portreeve.image("acme/web:1.0"));
    docker.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    docker.build(&image).await;
    let refused = docker.command(&["push", &image]).fails().await;
    refused.says("denied: over the quota of namespace acme: of 64 B, ");
    quota(&portreeve, &["set", "acme", "--bytes", "1MiB"]).await;
    docker.push(&image).await;
    assert_eq!(bytes(&portreeve).await["reserved"], 0);
}

/// The server is killed in the middle of an upload that has reserved all it announced. Nobody comes back for it.
#[tokio::test]
async fn a_kill_in_mid_upload_leaves_nothing_reserved() {
    const LENGTH: u64 = 3_000_000;
    let mut portreeve = Launch::up()
        .env("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "4s")
        .env("REGISTRY_PORTREEVE_COLLECT", "1s")
        .start();
    quota(&portreeve, &["set", "acme", "--bytes", "10MB"]).await;
    let client = client(&portreeve);
    let opened = client.request(Method::POST, "acme/web/blobs/uploads/").send().await.unwrap();
    let session = opened.status(&[202]).unwrap().location().unwrap();
    let blob = Blob::random(Algorithm::Sha256, usize::try_from(LENGTH).unwrap());
    let sending = tokio::spawn(async move {
        let range = format!("0-{}", LENGTH - 1);
        let patch = client.follow(Method::PATCH, session).header("content-range", range);
        let _ = patch.trickled(&blob.bytes, Duration::from_millis(50)).send().await;
    });
    until_reserved(&portreeve, LENGTH).await;
    portreeve.kill();
    portreeve.start_again();
    sending.await.unwrap();
    until_reserved(&portreeve, 0).await;
    assert_eq!(bytes(&portreeve).await["used"], 0);
}

async fn until_reserved(portreeve: &Portreeve, expected: u64) {
    let begun = Instant::now();
    loop {
        let bytes = bytes(portreeve).await;
        if bytes["reserved"] == expected {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{expected} bytes should be reserved: {bytes}");
        sleep(Duration::from_millis(50)).await;
    }
}
