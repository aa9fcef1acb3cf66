//! Collecting garbage by hand: beside the running server, on a stopped one, over the API; and the protocol suite while garbage is collected.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::shutdown::CancellationToken;

use super::apart::{as_account, believing, bundle, companion, pull, push, registry, text};
use crate::{
    protocol::{
        Suite,
        client::Client,
        samples::{Algorithm, Blob, media},
    },
    support::{
        announce,
        postgres::Schemas,
        program::{Outcome, Program},
        server::{Launch, Portreeve, program},
    },
};

async fn collect(portreeve: &Portreeve, options: &[&str]) -> Outcome {
    portreeve.command(&[&["registry", "garbage-collect"], options].concat()).succeeds().await
}

async fn document(portreeve: &Portreeve, options: &[&str]) -> Value {
    let outcome = collect(portreeve, &[options, &["--json"]].concat()).await;
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"))
}

/// The config of an image that is deleted.
const GONE: &str = "{\"of\":\"a closed pull request\"}";

/// Pushes `acme/web:v1`, and `acme/web:pr-12`, which is deleted again.
pub(super) async fn push_and_delete(portreeve: &Portreeve) -> Client {
    let admin = as_account(portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    let config = Blob::of(Algorithm::Sha256, GONE);
    let upload = admin.request(Method::POST, "acme/web/blobs/uploads/").query("digest", &config.digest);
    assert_eq!(upload.body(&config.bytes).send().await.unwrap().status, 201);
    let image = json!({"schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": []});
    let put = admin.request(Method::PUT, "acme/web/manifests/pr-12").header("content-type", media::IMAGE);
    let put = put.body(&image.to_string().into()).send().await.unwrap();
    let digest = put.header("docker-content-digest").unwrap();
    let gone = admin.request(Method::DELETE, &format!("acme/web/manifests/{digest}")).send().await.unwrap();
    assert_eq!(gone.status, 202);
    admin
}

#[tokio::test]
async fn garbage_is_collected_beside_the_server_and_without_it() {
    let mut portreeve = Portreeve::up();
    let nothing = collect(&portreeve, &[]).await;
    nothing.says("0 blobs marked, 0 blobs and 0 manifests eligible for deletion").says("freed 0 bytes in 0 files");
    let admin = push_and_delete(&portreeve).await;
    let report = collect(&portreeve, &["-d"]).await;
    report.says("acme/web: marking manifest sha256:").says("acme/web: marking blob sha256:");
    report.says("manifest eligible for deletion: {acme/web sha256:").says(" []}\n");
    report.says("2 blobs marked, 1 blobs and 1 manifests eligible for deletion");
    report.says("acme/web: layer link eligible for deletion: sha256:").says("\nblob eligible for deletion: sha256:");
    report.says("would free 30 bytes in 1 files");
    assert_eq!(collect(&portreeve, &["--quiet"]).await.stdout, "");
    let after = document(&portreeve, &[]).await;
    assert_eq!((&after["totals"]["blobs"], &after["repositories"][0]["freed"]), (&json!(0), &json!(0)), "{after}");
    let whys: Vec<&str> = after["items"].as_array().unwrap().iter().map(|item| item["why"].as_str().unwrap()).collect();
    assert_eq!(whys[0], "tag v1 in acme/web");
    assert!(whys[1].starts_with("named by sha256:"), "{whys:?}");
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);

    push_and_delete(&portreeve).await;
    assert!(portreeve.stop().success());
    let stopped = document(&portreeve, &["-m"]).await;
    // A config that was there already is freed too: the second push of it was surplus.
    let bytes = GONE.len() + "{}".len();
    assert_eq!((&stopped["totals"]["blobs"], &stopped["totals"]["bytes"]), (&json!(1), &json!(bytes)), "{stopped}");
    portreeve.start_again();
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);
    assert!(portreeve.log().contains("collecting by hand"), "{}", portreeve.log());
}

#[tokio::test]
async fn a_command_says_what_it_cannot_find() {
    let home = tempfile::tempdir().unwrap();
    let command = || Program::new(program()).args(["registry", "garbage-collect"]);
    let missing = home.path().join("missing");
    command().arg("--data").arg(&missing).fails().await.says("is no data directory of Portreeve");
    assert!(!missing.exists(), "and makes none");
    std::fs::create_dir(home.path().join("blobs")).unwrap();
    std::fs::write(home.path().join("lock"), "").unwrap();
    let elsewhere = command().arg("--data").arg(home.path()).fails().await;
    elsewhere.says("is not in its registry.db: name the configuration");
    let file = crate::support::server::written(
        home.path(),
        "config.yml",
        &format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
            home.path().join("root").display()
        ),
    );
    command().arg(&file).succeeds().await.says("freed 0 bytes in 0 files");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn an_empty_registry_on_postgresql_has_nothing_to_collect() {
    let (home, schemas) = (tempfile::tempdir().unwrap(), Schemas::new());
    let config = schemas.configuration(home.path(), &home.path().join("data"));
    let collect = || Program::new(program()).args(["registry", "garbage-collect"]).arg(&config);
    collect().succeeds().await.says("freed 0 bytes in 0 files");
    let again: Value = serde_json::from_str(&collect().arg("--json").succeeds().await.stdout).unwrap();
    assert_eq!((&again["items"], &again["totals"]["files"]), (&json!([]), &json!(0)));
}

/// `POST /api/v1/registry/garbage-collect` with this credential.
async fn ask(portreeve: &Portreeve, bearer: &str, body: &Value) -> (StatusCode, String) {
    shared::crypto::install();
    let url = portreeve.url().join("/api/v1/registry/garbage-collect").unwrap();
    let request = reqwest::Client::new().post(url).bearer_auth(bearer);
    let answer = request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_api_collects_for_system_administrators() {
    let portreeve = Portreeve::up();
    push_and_delete(&portreeve).await;
    let token = async |level: &str| {
        let made = portreeve.auth(&["token", "create", "--user", "admin", "--api", level]).await;
        made["secret"].as_str().unwrap().to_owned()
    };
    for level in ["none", "read"] {
        let (status, answer) = ask(&portreeve, &token(level).await, &json!({})).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{level}: {answer}");
    }
    let write = token("write").await;
    let (status, answer) = ask(&portreeve, &write, &json!({"everything": true})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let (status, answer) = ask(&portreeve, &write, &json!({"detail": false})).await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [swept, done] = lines.as_slice() else { panic!("{answer}") };
    assert_eq!((&swept["event"], &swept["repository"]), (&json!("swept"), &json!("acme/web")));
    assert!(swept["freed"].as_u64().unwrap() > GONE.len() as u64, "the manifest's bytes too: {swept}");
    assert_eq!((&done["event"], &done["blobs"], &done["bytes"]), (&json!("done"), &json!(1), &json!(GONE.len())));
    let admin = portreeve.admin();
    let (status, _) = ask(&portreeve, &admin.secret, &json!({})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a password is no API credential");
}

#[tokio::test]
async fn the_protocol_suite_passes_while_garbage_is_collected() {
    walk_while_collecting(hardly_any_grace(), "sqlite").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_protocol_suite_passes_while_garbage_is_collected_on_postgres() {
    let schemas = Schemas::new();
    walk_while_collecting(schemas.for_auth(schemas.for_registry(hardly_any_grace())), "postgres").await;
}

/// With next to no grace, and a collector that hardly rests.
fn hardly_any_grace() -> Launch {
    let lives = [("COLLECT", "100ms"), ("GRACE", "200ms"), ("TRASH", "0s"), ("REFERENCES", "lenient")];
    lives
        .iter()
        .fold(Launch::up().quiet(), |launch, (key, life)| launch.env(&format!("REGISTRY_PORTREEVE_{key}"), life))
}

/// Walk after walk, with commands in between.
async fn walk_while_collecting(launch: Launch, database: &str) {
    let portreeve = launch.start();
    let (stop, admin) = (CancellationToken::new(), portreeve.admin());
    let collecting = async {
        let mut collections = 0;
        while !stop.is_cancelled() {
            collect(&portreeve, &["--quiet"]).await;
            collections += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        collections
    };
    let walks = if std::env::var_os("PORTREEVE_STRESS_SECONDS").is_some() { 3 } else { 1 };
    let walking = async {
        let mut reports = Vec::new();
        for walk in 0..walks {
            let (target, source) = (format!("suite/target{walk}"), format!("suite/source{walk}"));
            reports.push(Suite::new(as_account(&portreeve, &admin), &target, &source).run().await);
        }
        stop.cancel();
        reports
    };
    let (collections, reports) = tokio::join!(collecting, walking);
    for report in reports {
        let beside = format!("{database}, while garbage is collected, {collections} times by hand");
        announce(&format!("protocol suite: {} ({beside})", report.counts()));
        assert_eq!(report.failed(), 0, "{report}");
    }
    assert!(collections > 0);
}

/// What the debug listener tells at `/metrics`.
pub(super) async fn metrics(portreeve: &Portreeve) -> String {
    let log = portreeve.log();
    let line = log.lines().find(|line| line.contains("/debug/health")).unwrap_or_else(|| panic!("{log}"));
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text().await.unwrap()
}

#[tokio::test]
async fn metrics_tell_what_was_freed() {
    let debug = Launch::up().env("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0");
    let portreeve = debug.env("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true").start();
    push_and_delete(&portreeve).await;
    assert!(metrics(&portreeve).await.contains("\nportreeve_gc_freed_bytes_total 0\n"));
    collect(&portreeve, &["-q"]).await;
    let told = metrics(&portreeve).await;
    for line in ["portreeve_gc_freed_bytes_total 30", "portreeve_gc_removed_total{kind=\"link\"} 1"] {
        assert!(told.lines().any(|written| written == line), "{line}\n{told}");
    }
}

/// A registry in a process of its own asks its companion what an API credential may do here.
#[tokio::test]
async fn an_api_credential_is_exchanged_between_two_processes() {
    let auth = super::apart::auth();
    let joined = companion(&auth).await;
    let trust = believing(&auth, &format!("rootcertbundle: {}", text(&bundle(&auth))));
    let registry = registry(&format!("{trust}{joined}"));
    for (level, expected) in [("none", StatusCode::FORBIDDEN), ("read", StatusCode::OK), ("write", StatusCode::OK)] {
        let made = auth.auth(&["token", "create", "--user", "admin", "--api", level]).await;
        let url = registry.url().join("/api/v1/registry/garbage").unwrap();
        let answer =
            reqwest::Client::new().get(url).bearer_auth(made["secret"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{level}");
    }
    let url = registry.url().join("/api/v1/registry/garbage").unwrap();
    let answer = reqwest::Client::new().delete(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "GET,HEAD");
    let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["status"], 405, "{problem}");
    let (status, answer) = ask(&registry, "prt_pat_made-up", &json!({})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
}
