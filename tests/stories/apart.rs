//! Both services in a process each, joined by the bundle and HTTP alone; and the registry without any auth service.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    protocol::{
        client::{Client, Login},
        samples::{Algorithm, Blob, media},
    },
    support::server::{Account, Launch, Portreeve, written},
};

/// What both call the registry.
const SERVICE: &str = "registry.test";

/// How soon a change is to be felt. The promises are about seconds; the machine is busy with other tests.
const SOON: Duration = Duration::from_secs(10);

/// `portreeve auth serve` on a free port.
pub(super) fn auth() -> Portreeve {
    let words = |data: &Path| {
        ["auth", "serve", "--listen", "127.0.0.1:0", "--data"]
            .map(str::to_owned)
            .into_iter()
            .chain([text(data)])
            .collect()
    };
    Launch::command(words).start()
}

/// `portreeve registry serve` with `more` behind the part of the configuration that every registry has.
pub(super) fn registry(more: &str) -> Portreeve {
    let words = |data: &Path| {
        let root = data.join("registry").display().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{more}"
        );
        ["registry", "serve", &written(data, "config.yml", &config)].map(str::to_owned).to_vec()
    };
    Launch::command(words).start()
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `auth.token` of a registry that believes `auth`, by a bundle or by a key set.
pub(super) fn believing(auth: &Portreeve, trust: &str) -> String {
    let port = auth.url().port().expect("a server of a test has a port");
    format!(
        "auth:\n  token:\n    realm: http://localhost:{port}/token\n    issuer: portreeve\n    service: {SERVICE}\n    {trust}\n"
    )
}

pub(super) fn bundle(auth: &Portreeve) -> PathBuf {
    auth.data().join("keys/bundle.pem")
}

/// Makes the registry known to auth, and the section that joins them.
pub(super) async fn companion(auth: &Portreeve) -> String {
    let added = auth.auth(&["service", "add", SERVICE]).await;
    let secret = added["secret"].as_str().unwrap_or_else(|| panic!("a new service shows its credential: {added}"));
    format!("portreeve:\n  companion:\n    url: {}\n    credential: {secret}\n", auth.url())
}

pub(super) fn as_account(registry: &Portreeve, account: &Account) -> Client {
    let login = Login::Account { user: account.name.clone(), password: account.secret.clone() };
    Client::new(registry.url().clone(), login)
}

pub(super) async fn push(client: &Client, repository: &str, tag: &str) -> u16 {
    let config = Blob::of(Algorithm::Sha256, "{}");
    let upload = client.request(Method::POST, &format!("{repository}/blobs/uploads/")).query("digest", &config.digest);
    let pushed = upload.body(&config.bytes).send().await.unwrap();
    if pushed.status != 201 {
        return pushed.status;
    }
    let image = json!({"schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": []});
    let put =
        client.request(Method::PUT, &format!("{repository}/manifests/{tag}")).header("content-type", media::IMAGE);
    put.body(&image.to_string().into()).send().await.unwrap().status
}

pub(super) async fn pull(client: &Client, image: &str) -> u16 {
    client.request(Method::GET, image).send().await.unwrap().status
}

/// Asks again until the answer is `wanted`, and says how long that took.
pub(super) async fn until(wanted: u16, ask: impl AsyncFn() -> u16) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if answer == wanted {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < SOON, "{answer} stays, {wanted} is wanted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// GET with Basic credentials, and no other kind.
pub(super) async fn basic(registry: &Portreeve, path: &str, account: Option<(&str, &str)>) -> (StatusCode, Value) {
    let request = reqwest::Client::new().get(registry.url().join(path).unwrap());
    let request = match account {
        Some((name, password)) => request.basic_auth(name, Some(password)),
        None => request,
    };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

/// A token that its holder keeps, whatever the registry says of it later.
pub(super) async fn token(auth: &Portreeve, account: &Account, scope: &str) -> String {
    let request = reqwest::Client::new().get(auth.url().join("/token").unwrap());
    let request =
        request.query(&[("service", SERVICE), ("scope", scope)]).basic_auth(&account.name, Some(&account.secret));
    let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

pub(super) async fn bearing(registry: &Portreeve, token: &str, path: &str) -> u16 {
    let request = reqwest::Client::new().get(registry.url().join(path).unwrap()).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_bundle_file_alone_joins_two_processes() {
    let auth = auth();
    auth.auth(&["service", "add", SERVICE]).await;
    let trusted = registry(&believing(&auth, &format!("rootcertbundle: {}", text(&bundle(&auth)))));
    let admin = as_account(&trusted, &auth.admin());
    auth.private_namespace("acme").await;
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);
    let nobody = Client::new(trusted.url().clone(), Login::Anonymous);
    assert_eq!(pull(&nobody, "acme/web/manifests/v1").await, 401);
}

#[tokio::test]
async fn keys_behind_an_address_do_not_vouch_for_certificates() {
    let auth = auth();
    auth.auth(&["service", "add", SERVICE]).await;
    let keys = registry(&believing(&auth, &format!("jwks: {}.well-known/jwks.json", auth.url())));
    auth.private_namespace("acme").await;
    let admin = as_account(&keys, &auth.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 401, "our tokens carry x5c, which is judged by a bundle alone");
}

#[tokio::test]
async fn a_replaced_bundle_takes_effect_without_a_restart() {
    let (auth, stranger) = (auth(), auth());
    auth.auth(&["service", "add", SERVICE]).await;
    auth.private_namespace("acme").await;
    let place = tempfile::tempdir().unwrap();
    let trusted = place.path().join("bundle.pem");
    std::fs::copy(bundle(&stranger), &trusted).unwrap();
    let registry = registry(&believing(&auth, &format!("rootcertbundle: {}", text(&trusted))));
    let admin = as_account(&registry, &auth.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 401, "signed by somebody else");
    let draft = place.path().join("draft.pem");
    std::fs::copy(bundle(&auth), &draft).unwrap();
    std::fs::rename(&draft, &trusted).unwrap();
    until(201, async || push(&as_account(&registry, &auth.admin()), "acme/web", "v1").await).await;
}

#[tokio::test]
async fn the_companion_filters_exchanges_and_revokes_and_pulls_outlive_it() {
    let mut auth = auth();
    let join = companion(&auth).await;
    let trust = format!("rootcertbundle: {}", text(&bundle(&auth)));
    let registry = registry(&format!("{}{join}", believing(&auth, &trust)));
    let owner = auth.admin();
    let admin = as_account(&registry, &owner);
    for namespace in ["acme", "other"] {
        auth.private_namespace(namespace).await;
        assert_eq!(push(&admin, &format!("{namespace}/web"), "v1").await, 201);
    }
    auth.auth(&["robot", "add", "acme/ci"]).await;
    let (robot, key) = auth.robot_key("robot.acme.ci").await;
    auth.grant(&robot, "acme/**", "pull,push", None).await;

    // Basic is exchanged, and the catalog shows what the robot may read.
    let (status, list) = basic(&registry, "/v2/_catalog", Some((&robot.name, &robot.secret))).await;
    assert_eq!((status.as_u16(), list), (200, json!({"repositories": ["acme/web"]})));
    assert_eq!(basic(&registry, "/v2/", Some((&robot.name, "wrong"))).await.0, 401);
    // It is asked under the number of the request that it is asked for.
    let exchange = reqwest::Client::new().get(registry.url().join("/v2/").unwrap()).header("x-request-id", "both-logs");
    assert_eq!(exchange.basic_auth(&owner.name, Some(&owner.secret)).send().await.unwrap().status(), 200);
    assert_eq!(auth.audited("token.issue", "both-logs").await["actor"]["name"], "admin");

    // Who guesses is told to wait, and nobody is told that the auth service is down.
    let answers = [(); 11].map(|()| basic(&registry, "/v2/", Some(("nobody", "guess"))));
    let last = futures_util::future::join_all(answers).await;
    let count = |status: u16| last.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((count(401), count(429)), (10, 1));
    assert!(!registry.log().contains("ERROR"), "{}", registry.log());

    // A mount without a source looks where the robot may read, and nowhere else.
    let client = as_account(&registry, &robot);
    let (known, hidden) = (Blob::of(Algorithm::Sha256, "{}"), Blob::of(Algorithm::Sha256, "hidden"));
    let upload = admin.request(Method::POST, "other/web/blobs/uploads/").query("digest", &hidden.digest);
    assert_eq!(upload.body(&hidden.bytes).send().await.unwrap().status, 201);
    for (blob, expected) in [(&known, 201), (&hidden, 202)] {
        let mount = client.request(Method::POST, "acme/new/blobs/uploads/").query("mount", &blob.digest);
        assert_eq!(mount.send().await.unwrap().status, expected);
    }

    // A revoked key is refused although its token has minutes to live.
    let token = token(&auth, &robot, "repository:acme/web:pull").await;
    assert_eq!(bearing(&registry, &token, "/v2/acme/web/manifests/v1").await, 200);
    auth.auth(&["robot", "key", "revoke", "acme/ci", &key]).await;
    let felt = until(401, async || bearing(&registry, &token, "/v2/acme/web/manifests/v1").await).await;
    assert!(felt < SOON, "{felt:?}");

    // Tokens that were given stay good when nobody gives any more.
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);
    auth.kill();
    assert_eq!(pull(&admin, "acme/web/manifests/v1").await, 200);
    assert_eq!(basic(&registry, "/v2/", Some((&owner.name, "another"))).await.0, 503);
    let complains = || registry.log().contains("the companion's revocation feed does not answer");
    let begun = Instant::now();
    while !complains() {
        assert!(begun.elapsed() < SOON, "nobody says that the feed is silent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!registry.log().contains(&robot.secret), "the log repeats a robot's key");
}

#[tokio::test]
async fn a_password_file_is_read_again_when_its_link_moves() {
    let home = tempfile::tempdir().unwrap();
    let line = |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    std::fs::write(&first, line("ada", "ada's own")).unwrap();
    std::fs::write(&second, line("grace", "grace's own")).unwrap();
    let current = home.path().join("htpasswd");
    std::os::unix::fs::symlink(&first, &current).unwrap();
    let registry = registry(&format!("auth: {{htpasswd: {{realm: Basement, path: {}}}}}\n", text(&current)));

    let refused = reqwest::get(registry.url().join("/v2/").unwrap()).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Basic realm=\"Basement\"");
    assert_eq!(basic(&registry, "/v2/", Some(("ada", "ada's own"))).await.0, 200);
    assert_eq!(basic(&registry, "/v2/", Some(("ada", "grace's own"))).await.0, 401);
    assert_eq!(basic(&registry, "/v2/", Some(("grace", "grace's own"))).await.0, 401);

    // As Kubernetes replaces a mounted secret.
    let next = home.path().join("next");
    std::os::unix::fs::symlink(&second, &next).unwrap();
    std::fs::rename(&next, &current).unwrap();
    // Tried with what was right until then: whoever tries what is wrong is throttled.
    until(401, async || basic(&registry, "/v2/", Some(("ada", "ada's own"))).await.0.as_u16()).await;
    assert_eq!(basic(&registry, "/v2/", Some(("grace", "grace's own"))).await.0, 200);
    assert!(!registry.log().contains("grace's own"), "the log repeats a password");
}

#[tokio::test]
async fn without_access_control_everybody_pushes_and_probes_are_answered() {
    let mut registry = registry("auth: none\n");
    let anybody = Client::new(registry.url().clone(), Login::Open);
    assert_eq!(push(&anybody, "acme/web", "v1").await, 201);
    assert_eq!(pull(&anybody, "acme/web/manifests/v1").await, 200);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(basic(&registry, path, None).await.0, 200, "{path}");
    }
    // The auth service's part of the API is not here, and that is said in the API's form.
    for path in ["/api/v1", "/api/v1/users", "/api/v1/registry"] {
        let (status, problem) = basic(&registry, path, None).await;
        assert_eq!((status.as_u16(), &problem["status"]), (404, &json!(404)), "{path}: {problem}");
    }
    assert!(registry.log().contains("everybody may pull, push and delete"));
    assert!(registry.stop().success(), "a stop that was asked for is no failure");
}
