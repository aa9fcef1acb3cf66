//! Keys that sign tokens change while clients pull and push with fresh tokens all the while, at our registry and at a stock one. Nobody
//! restarts anything, and no request fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};
use url::Url;

use super::apart::{auth, believing, bundle, companion, registry, text};
use crate::{
    protocol::{
        client::{Client, Login},
        samples::{Algorithm, Blob, media},
    },
    support::{
        announce,
        server::Portreeve,
        stock::{Edition, StockRegistry},
    },
};

const CLIENTS: usize = 4;
const TURNS: usize = 8;

/// Every round is a client that has no token yet: each request asks for one that is signed now.
fn load(registry: &Url, auth: &Portreeve, over: &Arc<AtomicBool>) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut clients, answered) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let admin = auth.admin();
    for number in 0..CLIENTS {
        let (registry, over, answered) = (registry.clone(), Arc::clone(over), Arc::clone(&answered));
        let (user, password) = (admin.name.clone(), admin.secret.clone());
        clients.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let login = Login::Account { user: user.clone(), password: password.clone() };
                let client = Client::new(registry.clone(), login);
                // Each in a repository of its own: release 2.8 fails where two push one blob at once.
                let repository = format!("acme/web{number}");
                push(&client, &repository).await;
                // Release 2.8 hides OCI's manifests from who does not ask for them.
                let pull = client.request(Method::GET, &format!("{repository}/manifests/v1"));
                pull.header("accept", media::IMAGE).send().await.unwrap().status(&[200]).unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    (clients, answered)
}

/// As docker pushes, and every registry takes it: a session, its bytes, the manifest.
async fn push(client: &Client, repository: &str) {
    let config = Blob::of(Algorithm::Sha256, "{}");
    let begun = client.request(Method::POST, &format!("{repository}/blobs/uploads/")).send().await.unwrap();
    begun.status(&[202]).unwrap();
    let put = client.follow(Method::PUT, begun.location().unwrap()).query("digest", &config.digest);
    put.body(&config.bytes).send().await.unwrap().status(&[201]).unwrap();
    let image = json!({"schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": []});
    let put = client.request(Method::PUT, &format!("{repository}/manifests/v1")).header("content-type", media::IMAGE);
    put.body(&image.to_string().into()).send().await.unwrap().status(&[201]).unwrap();
}

async fn rotates_under_load(who: &str, auth: &Portreeve, registry: &Url) {
    auth.private_namespace("acme").await;
    let over = Arc::new(AtomicBool::new(false));
    let (mut clients, answered) = load(registry, auth, &over);
    let mut signed = std::collections::BTreeSet::new();
    for _ in 0..TURNS {
        // Some requests under each key.
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + CLIENTS {
            sleep(Duration::from_millis(20)).await;
            if let Some(ended) = clients.try_join_next() {
                panic!("a request failed: {ended:?}");
            }
        }
        let keys = auth.auth(&["keys", "rotate"]).await;
        let active: Vec<_> = keys["items"].as_array().unwrap().iter().filter(|key| key["state"] == "active").collect();
        assert_eq!(active.len(), 1, "{keys}");
        signed.insert(active[0]["id"].as_str().unwrap().to_owned());
    }
    over.store(true, Ordering::Relaxed);
    // A request that failed has ended its client with a panic, which is handed on here.
    clients.join_all().await;
    assert_eq!(signed.len(), TURNS, "another key each time");
    let rounds = answered.load(Ordering::Relaxed);
    announce(&format!(
        "{who}: {TURNS} turns of the signing key beside {rounds} pushes and pulls with fresh tokens, 0 failed"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_at_our_registry() {
    let auth = auth();
    let join = companion(&auth).await;
    let trust = format!("rootcertbundle: {}", text(&bundle(&auth)));
    let registry = registry(&format!("{}{join}", believing(&auth, &trust)));
    rotates_under_load("our registry", &auth, registry.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs docker-registry"]
async fn keys_rotate_under_load_at_a_stock_registry() {
    let up = Portreeve::up();
    let stock = StockRegistry::trusting(&up, Edition::Two).await;
    rotates_under_load("docker-registry 2.8", &up, stock.url()).await;
}

#[tokio::test]
async fn keys_are_listed_turned_and_revoked_by_command() {
    let auth = auth();
    let listed = auth.command(&["auth", "keys", "list"]).succeeds().await;
    listed.says("active").says("next").says("ES256");
    assert!(!auth.data().join("keys/signing.key").exists(), "no private key lies beside the database");
    auth.command(&["auth", "keys", "rotate"]).succeeds().await.says("retiring");
    let unknown = auth.command(&["auth", "keys", "revoke", "nobodys"]).fails().await;
    assert!(unknown.stderr.contains("no such signing key"), "{unknown}");
    let keys = auth.auth(&["keys", "list"]).await;
    let retiring = keys["items"].as_array().unwrap().iter().find(|key| key["state"] == "retiring").unwrap();
    auth.command(&["auth", "keys", "revoke", retiring["id"].as_str().unwrap()]).succeeds().await;
    auth.command(&["auth", "keys", "list"]).succeeds().await.says("gone");
    let events = auth.auth(&["audit", "list", "--what", "signing_key."]).await;
    let names: Vec<&str> = events["items"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["signing_key.revoke", "signing_key.rotate", "signing_key.rotate"], "{events}");
}
