//! The audit as an auditor uses it: listed, verified beside the running server, exported, and verified by a stranger who has the public
//! key and a shell.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::apart::{auth, text};
use crate::support::{
    announce,
    postgres::Schemas,
    program::Program,
    server::{Launch, Portreeve, written},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Verifies until nothing waits to be sealed.
async fn sealed(auth: &Portreeve) -> Value {
    let begun = Instant::now();
    loop {
        let whole = auth.auth(&["audit", "verify"]).await;
        if whole["unsealed"]["events"] == 0 && whole["events"] != 0 {
            return whole;
        }
        assert!(begun.elapsed() < PATIENCE, "events are not sealed: {whole}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn tamper(auth: &Portreeve, sql: &'static str) {
    let file = SqliteConnectOptions::new().filename(auth.data().join("auth.db"));
    let mut database = SqliteConnection::connect_with(&file).await.expect("auth.db opens beside the server");
    sqlx::query(sql).execute(&mut database).await.expect("a row can be changed beside the server");
}

#[tokio::test]
async fn what_happened_is_listed_verified_and_every_change_of_it_found() {
    let auth = auth();
    for namespace in ["acme", "beta"] {
        auth.private_namespace(namespace).await;
    }
    auth.auth(&["robot", "add", "acme/ci"]).await;
    let whole = sealed(&auth).await;
    assert_eq!(whole["whole"], true, "{whole}");
    let listed = auth.auth(&["audit", "list", "--what", "namespace.", "--who", "local"]).await;
    let targets: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|e| e["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["beta", "acme"], "{listed}");
    auth.command(&["auth", "audit", "list", "--namespace", "acme"]).succeeds().await.says("robot.acme.ci");
    auth.command(&["auth", "audit", "list", "--what", "sabotage"]).fails().await;
    let said = auth.command(&["auth", "audit", "verify"]).succeeds().await;
    said.says("whole: ").says("head: ").says("key: ").says("not sealed yet: nothing");
    let head = whole["head"].as_str().unwrap();
    auth.command(&["auth", "audit", "verify", "--known", head]).succeeds().await;
    let later = format!("{}:{}", 1_000, head.split_once(':').unwrap().1);
    let cut = auth.command(&["auth", "audit", "verify", "--known", &later]).fails().await;
    assert!(cut.stderr.contains("the end is missing: events up to 1000"), "{cut}");

    tamper(&auth, "UPDATE audit SET body = replace(body, 'beta', 'gold') WHERE event = 'namespace.create'").await;
    let changed = auth.command(&["auth", "audit", "verify"]).fails().await;
    assert!(changed.stderr.contains("is not what was sealed"), "{changed}");
    tamper(&auth, "UPDATE audit SET body = replace(body, 'gold', 'beta') WHERE event = 'namespace.create'").await;
    sealed(&auth).await;
    tamper(&auth, "DELETE FROM audit WHERE seq = 2").await;
    let removed = auth.command(&["auth", "audit", "verify"]).fails().await;
    assert!(removed.stderr.contains("events 2 to 2 are missing"), "{removed}");
}

/// Nobody seals while no server runs: what commands do then waits, and `verify` says how much and since when.
#[tokio::test]
async fn what_is_not_sealed_yet_is_counted_and_dated() {
    let mut auth = auth();
    auth.private_namespace("acme").await;
    let before = sealed(&auth).await;
    assert!(auth.stop().success());
    for namespace in ["beta", "gamma"] {
        auth.private_namespace(namespace).await;
    }
    let exported = auth.command(&["auth", "audit", "export", "--what", "namespace.create"]).succeeds().await.stdout;
    let events: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events.iter().map(|event| (event["target"].as_str().unwrap(), event["seq"].is_null())).collect();
    assert_eq!(told, [("gamma", true), ("beta", true), ("acme", false)], "one object a line: {exported}");
    let oldest = events[1]["at"].as_str().unwrap();

    let waiting = auth.auth(&["audit", "verify"]).await;
    assert_eq!(waiting["unsealed"], json!({"events": 2, "since": oldest}));
    assert_eq!(
        (&waiting["head"], &waiting["events"]),
        (&before["head"], &before["events"]),
        "nothing else has changed"
    );
    let said = auth.command(&["auth", "audit", "verify"]).succeeds().await;
    said.says(&format!("not sealed yet: 2 events, the oldest of {oldest}\n"));
    auth.start_again();
    let after = sealed(&auth).await;
    assert_eq!(after["events"].as_u64(), before["events"].as_u64().map(|events| events + 2), "and now they are sealed");
}

/// The end goes with its checkpoints, under the running server: what is left is whole by itself, and the server knows better.
#[tokio::test]
async fn an_end_that_is_cut_off_is_found_and_stays_found() {
    let mut auth = auth();
    auth.private_namespace("acme").await;
    sealed(&auth).await;
    auth.private_namespace("beta").await;
    sealed(&auth).await;
    auth.kill();
    tamper(&auth, "DELETE FROM audit WHERE seq > (SELECT min(seq) FROM audit_checkpoint)").await;
    tamper(&auth, "DELETE FROM audit_checkpoint WHERE seq > (SELECT min(seq) FROM audit_checkpoint)").await;
    let cut = auth.command(&["auth", "audit", "verify"]).fails().await;
    assert!(cut.stderr.contains("the end is missing"), "no server runs: {cut}");
    auth.start_again();
    auth.private_namespace("gamma").await;
    let begun = Instant::now();
    let lost = loop {
        let verified = auth.command(&["auth", "audit", "verify"]).fails().await;
        if verified.stderr.contains("--accept") {
            break verified.stderr;
        }
        assert!(begun.elapsed() < PATIENCE, "{verified}");
    };
    let number = lost.split("--accept ").nth(1).unwrap().trim_end().trim_end_matches(')');
    auth.command(&["auth", "audit", "verify", "--accept", number]).succeeds().await;
    assert!(auth.log().contains("the audit ends before what was sealed"), "{}", auth.log());
}

/// A stranger has an exported file and a public key.
#[tokio::test]
async fn a_stranger_verifies_an_exported_trail() {
    let auth = auth();
    for number in 0..30 {
        auth.private_namespace(&format!("space{number}")).await;
    }
    let whole = sealed(&auth).await;
    let key = whole["keys"][0].as_str().unwrap();
    let exported = auth.command(&["auth", "audit", "export", "--trail"]).succeeds().await.stdout;
    let file = written(auth.data(), "trail.jsonl", &exported);
    let offline = |file: &str, key: &str| {
        Program::new(crate::support::server::program()).args(["auth", "audit", "verify", "--file", file, "--key", key])
    };
    offline(&file, key).succeeds().await.says("whole: ");
    let another = "00".repeat(32);
    let forged = offline(&file, &another).fails().await;
    assert!(forged.stderr.contains("forged"), "{forged}");
    let touched = written(auth.data(), "touched.jsonl", &exported.replacen("space7", "space8", 1));
    let changed = offline(&touched, key).fails().await;
    assert!(changed.stderr.contains("is not what was sealed"), "{changed}");
}

/// None of our code: the hashes by hand, the last signature by openssl.
#[tokio::test]
#[ignore = "needs openssl"]
async fn an_exported_trail_is_verified_with_openssl() {
    let auth = auth();
    for number in 0..30 {
        auth.private_namespace(&format!("space{number}")).await;
    }
    let whole = sealed(&auth).await;
    let key = whole["keys"][0].as_str().unwrap();
    let exported = auth.command(&["auth", "audit", "export", "--trail"]).succeeds().await.stdout;
    let lines: Vec<Value> = exported.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let checkpoint = &lines.last().unwrap()["checkpoint"];
    let member = |name: &str| checkpoint[name].to_string().trim_matches('"').to_owned();
    let statement = format!(
        "portreeve audit checkpoint 1\nfirst {}\nlast {}\nhash {}\nkept {}\nat {}\n",
        member("first"),
        member("last"),
        member("hash"),
        member("kept"),
        member("at"),
    );
    let verified = openssl(auth.data(), key, &statement, &member("signature")).await;
    assert!(verified.contains("Verified Successfully"), "{verified}");
    let rows: Vec<&Value> = lines.iter().filter_map(|line| line.get("row")).collect();
    let (mut hash, mut number) = (vec![0; 32], 0);
    for row in rows {
        hash = Sha256::digest([&hash, row["body"].as_str().unwrap().as_bytes()].concat()).to_vec();
        number += 1;
        assert_eq!((row["seq"].as_i64(), row["hash"].as_str()), (Some(number), Some(hex::encode(&hash).as_str())));
    }
}

async fn openssl(directory: &Path, key: &str, statement: &str, signature: &str) -> String {
    let bytes = |text: &str| hex::decode(text).unwrap();
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410) is these twelve bytes and the key.
    let der = [&bytes("302a300506032b6570032100")[..], &bytes(key)].concat();
    fs::write(directory.join("key.der"), der).unwrap();
    fs::write(directory.join("signature"), bytes(signature)).unwrap();
    fs::write(directory.join("statement"), statement).unwrap();
    let words = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "statement"];
    let openssl = Program::new("openssl").args(words).args(["-sigfile", "signature"]).directory(directory);
    openssl.succeeds().await.stdout
}

/// Two processes over one PostgreSQL, with the keys that they share: one seals, and when it is killed the other does.
#[tokio::test]
#[ignore = "needs PostgreSQL (PORTREEVE_TEST_POSTGRES)"]
async fn when_the_process_that_seals_is_killed_the_other_takes_over() {
    let schemas = Schemas::new();
    let serve = || {
        schemas.for_auth(Launch::command(|data| {
            ["auth", "serve", "--listen", "127.0.0.1:0", "--data"]
                .map(str::to_owned)
                .into_iter()
                .chain([text(data)])
                .collect()
        }))
    };
    let mut one = serve().start();
    one.private_namespace("acme").await;
    sealed(&one).await;
    let launch = serve();
    fs::create_dir_all(launch.data().join("keys")).unwrap();
    for file in ["master", "token-ca.key"] {
        fs::copy(one.data().join("keys").join(file), launch.data().join("keys").join(file)).unwrap();
    }
    let two = launch.start();
    for number in 0..5 {
        two.private_namespace(&format!("beside{number}")).await;
        one.private_namespace(&format!("here{number}")).await;
    }
    sealed(&two).await;
    one.kill();
    let begun = Instant::now();
    two.private_namespace("alone").await;
    let whole = sealed(&two).await;
    let after = begun.elapsed();
    assert_eq!(whole["whole"], true, "{whole}");
    announce(&format!(
        "after the process that seals the audit was killed, another sealed within {} ms",
        after.as_millis()
    ));
}
