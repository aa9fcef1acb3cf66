//! TLS: clients that know the development authority, certificates that change, keys that are not for tokens, and
//! listening where others can listen in.

use std::{
    fs, io,
    net::{IpAddr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, StatusCode, header};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::sleep};
use url::Url;

use crate::{
    protocol::samples::{Algorithm, random},
    support::{
        containers::Containers,
        docker::Docker,
        issuer::signed,
        program::Program,
        server::{Launch, Portreeve, program, written},
    },
};

/// How long a server may take to see a file that has changed; it looks every second.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn up_with_tls() -> Portreeve {
    Launch::up().arg(&|_| "--tls".to_owned()).start()
}

fn keys(portreeve: &Portreeve) -> PathBuf {
    portreeve.data().join("keys")
}

/// What a person gives a client to trust.
pub(super) fn root(portreeve: &Portreeve) -> PathBuf {
    keys(portreeve).join("tls-ca.pem")
}

/// The same under the name that `--cert-dir` looks for.
fn certificates(portreeve: &Portreeve) -> TempDir {
    let directory = TempDir::with_prefix("certificates-").unwrap();
    fs::copy(root(portreeve), directory.path().join("ca.crt")).unwrap();
    directory
}

/// A client that believes this certificate and no other.
fn believing(pem: &[u8]) -> reqwest::Client {
    // Ours or another test's: either is the ring provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = reqwest::Certificate::from_pem(pem).unwrap();
    reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap()
}

async fn token(client: &reqwest::Client, portreeve: &Portreeve) -> String {
    let admin = portreeve.admin();
    let url = portreeve.url().join("/token?service=portreeve&scope=repository:acme/web:pull,push").unwrap();
    let response = client.get(url).basic_auth(&admin.name, Some(&admin.secret)).send().await.unwrap();
    let answer: Value = response.error_for_status().unwrap().json().await.unwrap();
    answer["token"].as_str().expect("the answer holds a token").to_owned()
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_believes_the_development_authority_for_the_names_it_signed() {
    let portreeve = up_with_tls();
    let (root, port) = (root(&portreeve).display().to_string(), portreeve.url().port().unwrap());
    let curl = |words: &[&str]| Program::new("curl").args(["--silent", "--show-error", "--fail"]).args(words);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}/healthz");
        curl(&["--cacert", &root, "--connect-to", "localhost::127.0.0.1:", &url]).succeeds().await.says("ok");
    }
    curl(&[&format!("https://127.0.0.1:{port}/healthz")]).fails().await.says("certificate");
    let (elsewhere, other) = (format!("registry.example:{port}:127.0.0.1"), "registry.example");
    curl(&["--cacert", &root, "--resolve", &elsewhere, &format!("https://{other}:{port}/healthz")])
        .fails()
        .await
        .says(other);
    // A challenge leads to where the client already speaks TLS.
    let challenged = Program::new("curl").args(["--silent", "--include", "--cacert", &root]);
    let challenged = challenged.arg(format!("https://127.0.0.1:{port}/v2/")).succeeds().await;
    challenged.says(&format!("realm=\"https://127.0.0.1:{port}/token\""));
}

#[tokio::test]
#[ignore = "needs skopeo, podman, buildah"]
async fn skopeo_buildah_and_podman_work_with_a_directory_of_certificates() {
    let portreeve = up_with_tls();
    let (tools, admin) = (Containers::new(), portreeve.admin());
    let (certificates, logins) = (certificates(&portreeve), tools.home().join("logins.json"));
    let certificates = certificates.path().display().to_string();
    let skopeo =
        |verb: &str| Program::new("skopeo").args(["--insecure-policy", verb, "--authfile"]).arg(logins.as_os_str());
    let login = || skopeo("login").args(["--username", &admin.name, "--password-stdin"]).input(admin.secret.as_bytes());
    login().arg(portreeve.authority()).fails().await.says("x509");
    login().args(["--cert-dir", &certificates, &portreeve.authority()]).succeeds().await;

    let ((layout, digest), image) = (tools.layout(), portreeve.image("acme/web:1"));
    let remote = format!("docker://{image}");
    skopeo("copy").args(["--dest-cert-dir", &certificates, &layout, &remote]).succeeds().await;
    skopeo("inspect").args(["--cert-dir", &certificates, &remote]).succeeds().await.says(&digest);
    skopeo("inspect").arg(&remote).fails().await.says("x509");

    let podman = ["login", "--cert-dir", &certificates, "--username", &admin.name, "--password-stdin"];
    tools.podman(&podman).arg(portreeve.authority()).input(admin.secret.as_bytes()).succeeds().await;
    tools.podman(&["pull", "--quiet", &image]).fails().await.says("x509");
    tools.podman(&["pull", "--quiet", "--cert-dir", &certificates, &image]).succeeds().await;
    let again = portreeve.image("acme/again:1");
    tools.buildah(&["push", "--cert-dir", &certificates, &image, &format!("docker://{again}")]).succeeds().await;
    skopeo("inspect").args(["--cert-dir", &certificates, &format!("docker://{again}")]).succeeds().await;
}

/// What the engine believes about one registry, in the only directory where it looks.
struct EngineTrust(PathBuf);

impl EngineTrust {
    fn of(portreeve: &Portreeve) -> Self {
        let directory = Path::new("/etc/docker/certs.d").join(portreeve.authority());
        fs::create_dir_all(&directory).unwrap();
        fs::copy(root(portreeve), directory.join("ca.crt")).unwrap();
        Self(directory)
    }
}

impl Drop for EngineTrust {
    fn drop(&mut self) {
        // Left behind it would say something about a port that nobody listens on.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address of this machine that is not loopback: of loopback, Docker verifies no certificate. Nothing is sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("the machine has an address besides loopback");
    socket.local_addr().unwrap().ip()
}

#[tokio::test]
#[ignore = "needs docker, root"]
async fn docker_works_once_its_engine_knows_the_authority() {
    let address = own_address().to_string();
    let portreeve = Launch::command(|data| {
        let (listen, data) = (format!("{address}:0"), data.display().to_string());
        ["up", "--listen", &listen, "--data", &data, "--tls", "--tls-name", &address].map(str::to_owned).to_vec()
    })
    .start();
    let (docker, image) = (Docker::new(), portreeve.image("acme/web:1"));
    docker.login(&portreeve.authority(), &portreeve.admin()).fails().await.says("certificate");

    let _trust = EngineTrust::of(&portreeve);
    docker.login(&portreeve.authority(), &portreeve.admin()).succeeds().await;
    let built = docker.build(&image).await;
    docker.push(&image).await;
    docker.remove(&image).await;
    docker.pull(&image).await;
    assert_eq!(docker.image_id(&image).await, built);
}

/// Both clients believe one certificate each, so that an answer tells over which connection it came.
#[tokio::test]
async fn a_certificate_changes_under_an_upload_that_goes_on() {
    let portreeve = up_with_tls();
    let former = believing(&fs::read(root(&portreeve)).unwrap());
    let authorization = format!("Bearer {}", token(&former, &portreeve).await);
    let url = portreeve.url().join("/v2/acme/web/blobs/uploads/").unwrap();
    let begun = former.post(url).header(header::AUTHORIZATION, &authorization).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let upload = location(portreeve.url(), &begun);

    let (feed, pieces) = mpsc::channel::<Bytes>(1);
    let next = |mut pieces: mpsc::Receiver<Bytes>| async { Some((Ok::<_, io::Error>(pieces.recv().await?), pieces)) };
    let body = Body::wrap_stream(stream::unfold(pieces, next));
    let sending = tokio::spawn(former.patch(upload).header(header::AUTHORIZATION, &authorization).body(body).send());
    let content = random(100_000);
    let (first, second) = (content.slice(..50_000), content.slice(50_000..));
    feed.send(first.clone()).await.unwrap();

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let beside = written(&keys(&portreeve), "new", &format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem()));
    fs::rename(beside, keys(&portreeve).join("tls.pem")).unwrap();
    let health = portreeve.url().join("/healthz").unwrap();
    let begun = Instant::now();
    while believing(made.cert.pem().as_bytes()).get(health.clone()).send().await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the new certificate is not shown:\n{}", portreeve.log());
        sleep(Duration::from_millis(100)).await;
    }
    let newcomer = believing(&fs::read(root(&portreeve)).unwrap());
    assert!(newcomer.get(health).send().await.is_err(), "the former certificate is still shown");

    feed.send(second).await.unwrap();
    drop(feed);
    let sent = sending.await.unwrap().unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    let mut upload = location(portreeve.url(), &sent);
    upload.query_pairs_mut().append_pair("digest", &Algorithm::Sha256.digest(&content));
    let closed = former.put(upload).header(header::AUTHORIZATION, &authorization).send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::CREATED);
}

fn location(base: &Url, response: &reqwest::Response) -> Url {
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    base.join(location).unwrap()
}

/// Any key under the bundle can mint tokens, so the authority of TLS is not under it.
#[tokio::test]
async fn the_keys_of_development_tls_sign_no_tokens() {
    let portreeve = up_with_tls();
    let client = believing(&fs::read(root(&portreeve)).unwrap());
    let true_token = token(&client, &portreeve).await;
    let parts: Vec<Value> = true_token.split('.').take(2).map(decoded).collect();
    let (header, claims) = (&parts[0], &parts[1]);
    let certificate = |name: &str| CertificateDer::from_pem_file(keys(&portreeve).join(name)).unwrap();
    let chain =
        ["tls.pem", "tls-ca.pem"].map(|name| base64::engine::general_purpose::STANDARD.encode(certificate(name)));
    let by = |key: &str, header: &Value| signed(header, claims, |text| signature(&keys(&portreeve).join(key), text));

    let begin = |token: String| {
        let url = portreeve.url().join("/v2/acme/web/blobs/uploads/").unwrap();
        client.post(url).bearer_auth(token).send()
    };
    assert_eq!(begin(true_token.clone()).await.unwrap().status(), StatusCode::ACCEPTED);
    for (what, token) in [
        ("a server's key under the header of a true token", by("tls.pem", header)),
        ("a server's key with its chain", by("tls.pem", &json!({"alg": "ES256", "x5c": chain}))),
        ("a server's key with its certificate", by("tls.pem", &json!({"alg": "ES256", "x5c": [chain[0]]}))),
        ("the authority's key with its certificate", by("tls-ca.key", &json!({"alg": "ES256", "x5c": [chain[1]]}))),
    ] {
        let answer = begin(token).await.unwrap();
        let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// ES256 with the private key in the file.
fn signature(file: &Path, text: &[u8]) -> Vec<u8> {
    let (key, random) = (PrivateKeyDer::from_pem_file(file).unwrap(), SystemRandom::new());
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &random).unwrap();
    key.sign(&random, text).unwrap().as_ref().to_vec()
}

#[tokio::test]
async fn beyond_loopback_passwords_are_not_taken_in_the_clear_unless_somebody_says_so() {
    let everywhere = ["--listen", "0.0.0.0:0"];
    for command in [&["up"][..], &["auth", "serve"]] {
        let data = TempDir::with_prefix("portreeve-").unwrap();
        let refused = Program::new(program()).args(command).args(everywhere).arg("--data").arg(data.path());
        refused.fails().await.says("0.0.0.0:0").says("TLS").says("--insecure");

        let launch = Launch::command(|data| {
            let rest = [everywhere[0], everywhere[1], "--insecure", "--data"].map(str::to_owned);
            [command.iter().copied().map(str::to_owned).collect(), rest.to_vec(), vec![data.display().to_string()]]
                .concat()
        });
        let started = launch.start();
        assert!(started.log().contains("no TLS"), "{command:?} says nothing:\n{}", started.log());
    }
    let encrypted = Launch::command(|data| {
        let words = ["up", "--tls", everywhere[0], everywhere[1], "--data"].map(str::to_owned);
        [words.to_vec(), vec![data.display().to_string()]].concat()
    })
    .start();
    assert!(!encrypted.log().contains("no TLS"), "{}", encrypted.log());
}

/// Who calls it as the registry that it replaces has said in the configuration where it listens.
#[tokio::test]
async fn a_registry_with_a_configuration_starts_and_warns_once() {
    let registry = Launch::command(|data| {
        let root = data.join("storage").display().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: \"0.0.0.0:0\"}}\n"
        );
        ["registry".to_owned(), "serve".to_owned(), written(data, "config.yml", &config)].to_vec()
    })
    .start();
    let log = registry.log();
    assert_eq!(log.matches("NO TLS").count(), 1, "{log}");
}
