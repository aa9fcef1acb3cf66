//! What other registries and their token servers fell to, tried on real servers: each test is named after its number in
//! docs/auth/attacks.md. Those about tokens stand in `token_attacks`.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::apart::{as_account, bearing, until};
use crate::{
    protocol::{
        client::Client,
        samples::{Algorithm, Blob, media},
    },
    support::server::{Account, Portreeve, written},
};

async fn put(client: &Client, repository: &str, blob: &Blob) {
    let upload = client.request(Method::POST, &format!("{repository}/blobs/uploads/")).query("digest", &blob.digest);
    assert_eq!(upload.body(&blob.bytes).send().await.unwrap().status, 201);
}

/// A token of the administrator's that administers.
async fn api_token(portreeve: &Portreeve, level: &str) -> String {
    let made = portreeve.auth(&["token", "create", "--user", "admin", "--api", level]).await;
    made["secret"].as_str().unwrap().to_owned()
}

async fn status(client: &Client, method: Method, path: &str) -> u16 {
    client.request(method, path).send().await.unwrap().status
}

/// CVE-2026-35172: a cache brought a deleted blob back into its repository, because another repository had it.
#[tokio::test]
async fn t11_what_another_repository_holds_brings_nothing_back() {
    let portreeve = Portreeve::up();
    let admin = as_account(&portreeve, &portreeve.admin());
    let blob = Blob::of(Algorithm::Sha256, "shared");
    let paths = ["acme/a", "acme/b"].map(|repository| format!("{repository}/blobs/{}", blob.digest));
    for repository in ["acme/a", "acme/b"] {
        put(&admin, repository, &blob).await;
    }
    for path in &paths {
        assert_eq!(status(&admin, Method::GET, path).await, 200, "it is in every cache");
    }
    assert_eq!(status(&admin, Method::DELETE, &paths[0]).await, 202);
    for _ in 0..2 {
        assert_eq!(status(&admin, Method::HEAD, &paths[1]).await, 200);
        assert_eq!(status(&admin, Method::HEAD, &paths[0]).await, 404);
        assert_eq!(status(&admin, Method::GET, &paths[0]).await, 404);
    }
}

/// Harbor CVE-2025-30086: a list of users was filtered by the hashes of their passwords, letter by letter.
#[tokio::test]
async fn t16_lists_are_not_filtered_or_sorted_by_what_is_hidden() {
    let portreeve = Portreeve::up();
    let token = api_token(&portreeve, "write").await;
    let http = reqwest::Client::new();
    let ask = async |path: &str| {
        let url = portreeve.url().join(path).unwrap();
        http.get(url).bearer_auth(&token).send().await.unwrap().status()
    };
    for list in ["users", "namespaces", "credentials", "audit"] {
        assert_eq!(ask(&format!("/api/v1/{list}")).await, StatusCode::OK, "{list}");
        for question in ["q=password%3D~a", "sort=verifier", "verifier=a", "order_by=system_role", "limit=1%20OR%201"] {
            assert_eq!(ask(&format!("/api/v1/{list}?{question}")).await, StatusCode::BAD_REQUEST, "{list} {question}");
        }
    }
}

/// What people type is a value, whatever it looks like.
#[tokio::test]
async fn t17_quotes_are_letters_and_end_no_statement() {
    let portreeve = Portreeve::up();
    let token = api_token(&portreeve, "write").await;
    let http = reqwest::Client::new();
    for text in ["' OR '1'='1", "\"; DROP TABLE principal; --", "admin'--", "a\\' OR 1=1 --", "%' OR handle LIKE '%"] {
        let login = http.get(portreeve.url().join("/token?service=portreeve").unwrap()).basic_auth(text, Some(text));
        assert_eq!(login.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{text}");
        let mut url = portreeve.url().join("/api/v1/users").unwrap();
        url.path_segments_mut().unwrap().push(text);
        assert_eq!(http.get(url).bearer_auth(&token).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{text}");
        let made = http.post(portreeve.url().join("/api/v1/users").unwrap()).bearer_auth(&token);
        let made = made.json(&json!({"name": "quotes", "display_name": text, "password": text.repeat(2)}));
        assert_eq!(made.send().await.unwrap().status(), StatusCode::CREATED, "{text}");
        let listed = portreeve.auth(&["user", "list"]).await;
        let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|user| &user["display_name"]).collect();
        assert!(names.contains(&&json!(text)), "{text} is kept as it was typed: {listed}");
        portreeve.auth(&["user", "delete", "quotes"]).await;
    }
}

/// Harbor's `Harbor12345`: there is no password that everybody knows.
#[tokio::test]
async fn t18_the_first_password_is_random_and_nobody_elses_to_read() {
    let servers = [Portreeve::up(), Portreeve::up()];
    let passwords = servers.each_ref().map(|server| server.admin().secret);
    assert!(passwords[0] != passwords[1] && passwords[0].len() >= 20);
    for server in &servers {
        let file = std::fs::metadata(server.data().join("admin-password")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert!(!server.log().contains(&server.admin().secret), "{}", server.log());
    }
    for guess in ["", "admin", "password", "changeme", "Harbor12345", "portreeve"] {
        let url = servers[0].url().join("/token?service=portreeve").unwrap();
        let login = reqwest::Client::new().get(url).basic_auth("admin", Some(guess)).send().await.unwrap();
        assert_ne!(login.status(), StatusCode::OK, "{guess}");
    }
}

/// Harbor #23675: whose name began like a robot's was taken for one.
#[tokio::test]
async fn t24_a_name_makes_nobody_a_robot() {
    let portreeve = Portreeve::up();
    portreeve.auth(&["namespace", "add", "inner", "--visibility", "internal"]).await;
    portreeve.auth(&["namespace", "add", "acme"]).await;
    for name in ["robot.acme.ci", "Robot.acme.ci", "\u{ff52}obot.acme.ci"] {
        portreeve.command(&["auth", "user", "add", name]).fails().await.says("robot");
    }
    // What is internal shows itself to people and not to robots, and a name like one is a person's.
    let robot = portreeve.robot("acme", "ci").await;
    for (account, expected) in
        [(portreeve.person("robot-acme").await, 404), (portreeve.person("robotacme").await, 404), (robot, 401)]
    {
        let client = as_account(&portreeve, &account);
        assert_eq!(status(&client, Method::GET, "inner/web/manifests/v1").await, expected, "{}", account.name);
    }
}

/// CVE-2026-31801: who may only add moved `latest`. Here a rule keeps tags where they are, whoever pushes at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t30_of_two_pushes_of_a_tag_that_stays_one_is_refused() {
    let portreeve = Portreeve::up();
    let admin = Arc::new(as_account(&portreeve, &portreeve.admin()));
    let config = Blob::of(Algorithm::Sha256, "{}");
    put(&admin, "acme/web", &config).await;
    let rules = json!({"rules": [{"name": "releases", "tags": ["v*"]}]}).to_string();
    let file = written(portreeve.data(), "rules.json", &rules);
    portreeve.command(&["registry", "immutable", "set", "acme", &file]).succeeds().await;
    for round in 0..8 {
        let mut pushes = JoinSet::new();
        for pusher in 0..4 {
            let (admin, config) = (Arc::clone(&admin), config.descriptor(media::CONFIG));
            pushes.spawn(async move {
                let image = json!({"schemaVersion": 2, "mediaType": media::IMAGE, "config": config, "layers": [],
                                   "annotations": {"pusher": pusher.to_string()}});
                let put = admin.request(Method::PUT, &format!("acme/web/manifests/v{round}"));
                let put = put.header("content-type", media::IMAGE).body(&image.to_string().into());
                put.send().await.unwrap().status
            });
        }
        let mut answers = pushes.join_all().await;
        answers.sort_unstable();
        assert_eq!(answers, [201, 403, 403, 403], "round {round}");
    }
}

/// CVE-2024-39897: bytes that were kept once were read through any repository.
#[tokio::test]
async fn t31_a_blob_is_read_where_it_is_linked_and_mounted_by_who_may_pull_it() {
    let portreeve = Portreeve::up();
    for namespace in ["acme", "secret"] {
        portreeve.private_namespace(namespace).await;
    }
    let admin = as_account(&portreeve, &portreeve.admin());
    let blob = Blob::of(Algorithm::Sha256, "somebody else's");
    put(&admin, "secret/web", &blob).await;
    put(&admin, "acme/web", &Blob::of(Algorithm::Sha256, "one's own")).await;
    let alice = portreeve.person("alice").await;
    portreeve.grant(&alice, "acme/**", "maintainer", None).await;
    let alice = as_account(&portreeve, &alice);
    for method in [Method::HEAD, Method::GET] {
        assert_eq!(status(&alice, method, &format!("acme/web/blobs/{}", blob.digest)).await, 404);
    }
    for (from, expected) in [(Some("secret/web"), 401), (Some("nowhere/web"), 401), (None, 202)] {
        let mount = alice.request(Method::POST, "acme/web/blobs/uploads/").query("mount", &blob.digest);
        let mount = if let Some(from) = from { mount.query("from", from) } else { mount };
        assert_eq!(mount.send().await.unwrap().status, expected, "{from:?}");
    }
}

/// CVE-2026-32589: an upload answered in every repository.
#[tokio::test]
async fn t32_an_upload_answers_in_its_own_repository_only() {
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let admin = as_account(&portreeve, &portreeve.admin());
    let opened = admin.request(Method::POST, "acme/theirs/blobs/uploads/").send().await.unwrap();
    let own = opened.status(&[202]).unwrap().location().unwrap();
    let foreign = own.as_str().replace("/acme/theirs/", "/acme/mine/");
    let (own, foreign) = (own.path().trim_start_matches("/v2/").to_owned(), url::Url::parse(&foreign).unwrap());
    let foreign = foreign.path().trim_start_matches("/v2/").to_owned();
    let bob = portreeve.person("bob").await;
    portreeve.grant(&bob, "acme/mine", "maintainer", None).await;
    let bob = as_account(&portreeve, &bob);
    let empty = Blob::of(Algorithm::Sha256, "").digest;
    let tries = async |client: &Client, method: &Method, path: &str| {
        let request = client.request(method.clone(), path).query("digest", &empty);
        request.body(&"".into()).send().await.unwrap().status
    };
    for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
        for client in [&admin, &bob] {
            assert_eq!(tries(client, &method, &foreign).await, 404, "{method} through another repository");
        }
        assert_eq!(tries(&bob, &method, &own).await, 401, "{method}: in its own it is nobody else's");
    }
    assert_eq!(status(&admin, Method::GET, &own).await, 204);
}

/// What `docker login` keeps, as the refresh token of the protocol.
async fn refresh(portreeve: &Portreeve, token: &str) -> StatusCode {
    let form = [
        ("grant_type", "refresh_token"),
        ("service", "portreeve"),
        ("client_id", "test"),
        ("scope", "repository:acme/web:pull"),
        ("refresh_token", token),
    ];
    let url = portreeve.url().join("/token").unwrap();
    reqwest::Client::new().post(url).form(&form).send().await.unwrap().status()
}

async fn login(portreeve: &Portreeve, account: &Account) -> Value {
    let url = portreeve.url().join("/token").unwrap();
    let asked = [("service", "portreeve"), ("offline_token", "true"), ("scope", "repository:acme/web:pull")];
    let request = reqwest::Client::new().get(url).query(&asked).basic_auth(&account.name, Some(&account.secret));
    request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// CVE-2026-1035: between the look and the answer a login was revoked, and answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t41_no_token_is_made_from_a_login_once_it_is_revoked() {
    let portreeve = Arc::new(Portreeve::up());
    let alice = portreeve.person("alice").await;
    let kept: Arc<str> = login(&portreeve, &alice).await["refresh_token"].as_str().unwrap().into();
    assert_eq!(refresh(&portreeve, &kept).await, StatusCode::OK);
    let mut requests = JoinSet::new();
    for _ in 0..64 {
        let (portreeve, kept) = (Arc::clone(&portreeve), Arc::clone(&kept));
        requests.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..6 {
                let begun = Instant::now();
                answers.push((begun, refresh(&portreeve, &kept).await));
            }
            answers
        });
    }
    portreeve.auth(&["user", "suspend", "alice"]).await;
    let over = Instant::now();
    let answers: Vec<_> = requests.join_all().await.into_iter().flatten().collect();
    let late: Vec<_> = answers.iter().filter(|(begun, answer)| *begun > over && *answer == StatusCode::OK).collect();
    assert!(late.is_empty(), "{} of {} came too late", late.len(), answers.len());
    assert_eq!(refresh(&portreeve, &kept).await, StatusCode::UNAUTHORIZED);
}

/// CVE-2026-8922: of several revocations one was forgotten. The strictest counts, and taking another back revives nothing.
#[tokio::test]
async fn t42_the_strictest_of_several_revocations_counts() {
    const IMAGE: &str = "/v2/acme/web/manifests/v1";
    let portreeve = Portreeve::up();
    portreeve.private_namespace("acme").await;
    let first = portreeve.robot("acme", "ci").await;
    portreeve.grant(&first, "acme/**", "pull", None).await;
    let (second, number) = portreeve.robot_key(&first.name).await;
    let bearer = async |account: &Account| login(&portreeve, account).await["token"].as_str().unwrap().to_owned();
    let (kept, revoked) = (bearer(&first).await, bearer(&second).await);
    for token in [&kept, &revoked] {
        assert_eq!(bearing(&portreeve, token, IMAGE).await, 404);
    }
    portreeve.auth(&["robot", "key", "revoke", "acme/ci", &number]).await;
    until(401, async || bearing(&portreeve, &revoked, IMAGE).await).await;
    assert_eq!(bearing(&portreeve, &kept, IMAGE).await, 404, "the other key's token goes on");
    portreeve.auth(&["robot", "suspend", "acme/ci"]).await;
    until(401, async || bearing(&portreeve, &kept, IMAGE).await).await;
    portreeve.auth(&["robot", "resume", "acme/ci"]).await;
    for token in [&kept, &revoked] {
        assert_eq!(bearing(&portreeve, token, IMAGE).await, 401, "what was refused stays refused");
    }
    assert_eq!(bearing(&portreeve, &bearer(&first).await, IMAGE).await, 404);
    let url = portreeve.url().join("/token?service=portreeve").unwrap();
    let dead = reqwest::Client::new().get(url).basic_auth(&second.name, Some(&second.secret)).send().await.unwrap();
    assert_eq!(dead.status(), StatusCode::UNAUTHORIZED);
}

/// Docker Hub, 2019: whoever had the database had everybody's tokens.
#[tokio::test]
async fn t51_what_lies_in_the_databases_opens_nothing() {
    let mut portreeve = Portreeve::up();
    let alice = portreeve.person("alice").await;
    portreeve.private_namespace("acme").await;
    let robot = portreeve.robot("acme", "ci").await;
    let kept = login(&portreeve, &alice).await;
    let service = portreeve.auth(&["service", "add", "elsewhere"]).await;
    let mut secrets = vec![portreeve.admin().secret, alice.secret.clone(), robot.secret.clone()];
    secrets.push(api_token(&portreeve, "read").await);
    secrets.extend([&kept["refresh_token"], &service["secret"]].map(|secret| secret.as_str().unwrap().to_owned()));
    assert!(portreeve.stop().success());
    let mut looked_at = 0;
    for file in files(portreeve.data()) {
        let private = file.parent().is_some_and(|parent| parent.ends_with("keys")) || file.ends_with("admin-password");
        if private {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        looked_at += usize::from(file.extension().is_some_and(|extension| extension == "db"));
        for secret in &secrets {
            // Its random part too: what stands before it is how a secret is found.
            let random = &secret[secret.len().saturating_sub(20)..];
            let stands = bytes.windows(random.len()).any(|window| window == random.as_bytes());
            assert!(!stands, "a secret stands in {}", file.display());
        }
        let found = bytes.windows(11).any(|window| window == b"PRIVATE KEY");
        assert!(!found, "a private key stands in {}", file.display());
    }
    assert!(looked_at >= 2, "both databases were looked at");
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, mut all): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    all.retain(|path| path.is_file());
    all.into_iter().chain(directories.iter().flat_map(|directory| files(directory))).collect()
}
