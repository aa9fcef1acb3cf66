//! A listener and its clients, over real sockets.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Router, routing::get};
use rcgen::{CertifiedIssuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

mod http2;
mod limits;
mod unread;

/// A listener being served.
struct Served {
    address: Address,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn on(place: &Place, tls: Option<&Tls>, limits: Limits, router: Router) -> Self {
        let listener = Listener::bind(place, tls, limits).await.unwrap();
        let (address, stop) = (listener.address().clone(), CancellationToken::new());
        let serving = tokio::spawn(listener.serve(router, stop.clone()));
        Self { address, stop, serving }
    }

    async fn plain(limits: Limits, router: Router) -> Self {
        Self::on(&Place::Tcp("127.0.0.1:0".to_owned()), None, limits, router).await
    }

    async fn tls(tls: &Tls, limits: Limits) -> Self {
        Self::on(&Place::Tcp("127.0.0.1:0".to_owned()), Some(tls), limits, who()).await
    }

    fn tcp(&self) -> SocketAddr {
        self.address.tcp().unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.tcp()).await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(20), self.serving).await.unwrap().unwrap();
    }
}

/// Answers who asks.
fn who() -> Router {
    Router::new().route("/who", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }))
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: S, path: &str) -> String {
    ask_with(stream, path, "").await
}

async fn ask_with<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_request_knows_its_peer() {
    let served = Served::plain(Limits::default(), who()).await;
    let stream = served.connect().await;
    let own = stream.local_addr().unwrap();
    let answer = ask(stream, "/who").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&format!("Tcp({own})")), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn every_address_is_meant_by_a_port_alone_and_ipv4_peers_look_like_it() {
    let served = Served::on(&Place::Tcp(":0".to_owned()), None, Limits::default(), who()).await;
    let stream = TcpStream::connect(("127.0.0.1", served.tcp().port())).await.unwrap();
    let answer = ask(stream, "/who").await;
    assert!(answer.contains("Tcp(127.0.0.1:"), "{answer}");
}

#[tokio::test]
async fn a_place_that_is_taken_is_named() {
    let served = Served::plain(Limits::default(), who()).await;
    let place = Place::Tcp(served.tcp().to_string());
    let error = Listener::bind(&place, None, Limits::default()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {}", served.tcp())), "{error}");
}

/// What a request as it stands is answered with, from the first line on.
async fn answer_to(served: &Served, request: &str) -> String {
    let mut stream = served.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_request_names_one_host() {
    let served = Served::plain(Limits::default(), who()).await;
    for (hosts, expected) in
        [("Host: a\r\n", "200"), ("", "400"), ("Host: a\r\nHost: a\r\n", "400"), ("Host: a\r\nHost: b\r\n", "400")]
    {
        let answer = answer_to(&served, &format!("GET /who HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{hosts:?}: {answer}");
        assert!(answer.contains("\r\nx-request-id: "), "a refusal of ours has a number too: {answer}");
    }
    let old = answer_to(&served, "GET /who HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
    served.stop().await;
}

/// Eight thousand connections may each hold what is read of a head: it is not read on and on until it ends.
#[tokio::test]
async fn a_head_without_an_end_is_refused_before_it_fills_memory() {
    let limits = Limits { head_bytes: 8192, ..Limits::default() };
    let served = Served::plain(limits, who()).await;
    let unfinished = format!("GET /who HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(40_000));
    let answer = answer_to(&served, &unfinished).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let served = Served::plain(limits, who()).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /who HTTP/1.1\r\nHost:").await.unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let limits = Limits { head_bytes: 4096, ..Limits::default() };
    let served = Served::plain(limits, who()).await;
    let fits = format!("X-Large: {}\r\n", "x".repeat(3000));
    assert!(ask_with(served.connect().await, "/who", &fits).await.starts_with("HTTP/1.1 200 "));
    let large = format!("X-Large: {}\r\n", "x".repeat(5000));
    assert!(ask_with(served.connect().await, "/who", &large).await.starts_with("HTTP/1.1 431 "));
    let target = format!("/who?{}", "x".repeat(5000));
    assert!(ask(served.connect().await, &target).await.starts_with("HTTP/1.1 431 "));
}

/// Target, names and values, and four bytes for each line.
#[tokio::test]
async fn a_head_may_have_what_the_limit_says_and_not_a_byte_more() {
    let served = Served::plain(Limits::default(), who()).await;
    let others = "/who".len() + "Host: localhost\r\n".len() + "Connection: close\r\n".len() + "X-Large: \r\n".len();
    let most = usize::try_from(MAX_HEAD_BYTES).unwrap() - others;
    for (length, expected) in [(most, "200"), (most + 1, "431")] {
        let header = format!("X-Large: {}\r\n", "x".repeat(length));
        let answer = ask_with(served.connect().await, "/who", &header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{length}: {answer}");
    }
}

/// A router whose answer waits, and what it waits for.
fn slow() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let waits = (Arc::clone(&asked), Arc::clone(&go));
    let router = Router::new().route(
        "/slow",
        get(move || {
            let (asked, go) = waits.clone();
            async move {
                asked.notify_one();
                go.notified().await;
                "done"
            }
        }),
    );
    (router, asked, go)
}

#[tokio::test]
async fn stopping_lets_running_requests_end_and_takes_no_new_ones() {
    let (router, asked, go) = slow();
    let served = Served::plain(Limits::default(), router).await;
    let address = served.tcp();
    let running = tokio::spawn(ask(served.connect().await, "/slow"));
    asked.notified().await;
    let idle = served.connect().await;
    served.stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!served.serving.is_finished());
    go.notify_one();
    assert!(running.await.unwrap().ends_with("done"));
    served.stop().await;
    drop(idle);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let (router, asked, _go) = slow();
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let served = Served::plain(limits, router).await;
    let running = tokio::spawn(ask(served.connect().await, "/slow"));
    asked.notified().await;
    served.stop().await;
    assert_eq!(running.await.unwrap(), "");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let (router, asked, go) = slow();
    let served = Served::plain(Limits { connections: 1, ..Limits::default() }, router).await;
    let first = tokio::spawn(ask(served.connect().await, "/slow"));
    asked.notified().await;
    let second = tokio::spawn(ask(served.connect().await, "/slow"));
    assert!(timeout(Duration::from_millis(100), asked.notified()).await.is_err(), "the second is not served yet");
    go.notify_one();
    assert!(first.await.unwrap().ends_with("done"));
    asked.notified().await;
    go.notify_one();
    assert!(second.await.unwrap().ends_with("done"));
}

#[tokio::test]
async fn a_socket_file_is_its_owners_and_tells_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portreeve.sock");
    let place = Place::Unix(path.clone());
    let served = Served::on(&place, None, Limits::default(), who()).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = ask(UnixStream::connect(&path).await.unwrap(), "/who").await;
    let (uid, pid) = (rustix::process::getuid().as_raw(), std::process::id());
    assert!(answer.contains(&format!("Unix {{ uid: {uid}, ")) && answer.contains(&pid.to_string()), "{answer}");

    let taken = Listener::bind(&place, None, Limits::default()).await.unwrap_err().to_string();
    assert!(taken.contains("another process listens there"), "{taken}");
    served.stop().await;
    assert!(!path.exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "no draft is left either");
}

#[tokio::test]
async fn a_socket_that_a_crash_left_is_replaced_and_anything_else_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portreeve.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let served = Served::on(&Place::Unix(path.clone()), None, Limits::default(), who()).await;
    assert!(ask(UnixStream::connect(&path).await.unwrap(), "/who").await.contains("Unix"));
    served.stop().await;

    fs::write(&path, "precious").unwrap();
    assert!(Listener::bind(&Place::Unix(path.clone()), None, Limits::default()).await.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

/// An authority that makes certificates for `localhost`.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        crate::crypto::install();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn trusted(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn client(&self, protocol: &'static str, own: Option<&(String, String)>) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.trusted());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

async fn shake(served: &Served, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from("localhost").unwrap(), served.connect().await).await
}

fn write(directory: &Path, (certificate, key): &(String, String)) {
    fs::write(directory.join("tls.crt"), certificate).unwrap();
    fs::write(directory.join("tls.key"), key).unwrap();
}

fn tls_in(directory: &TempDir) -> Tls {
    Tls {
        certificate: directory.path().join("tls.crt"),
        key: directory.path().join("tls.key"),
        clients: None,
        minimum: MinimumTls::V1_2,
    }
}

fn served_certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn tls_speaks_http_1_and_2_as_agreed() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    write(directory.path(), &authority.issue());
    let served = Served::tls(&tls_in(&directory), Limits::default()).await;
    let stream = shake(&served, &authority.client("http/1.1", None)).await.unwrap();
    assert!(ask(stream, "/who").await.contains("Tcp(127.0.0.1:"));

    let stream = shake(&served, &authority.client("h2", None)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/who").body(String::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);

    let limits = Limits { http2: false, ..Limits::default() };
    let without = Served::tls(&tls_in(&directory), limits).await;
    assert!(shake(&without, &authority.client("h2", None)).await.is_err());
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    write(directory.path(), &authority.issue());
    let served = Served::tls(&tls_in(&directory), Limits::default()).await;
    let client = authority.client("http/1.1", None);
    let first = served_certificate(&shake(&served, &client).await.unwrap());

    // The certificate alone does not fit the old key, so the old pair stays.
    let next = authority.issue();
    fs::write(directory.path().join("tls.crt"), &next.0).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(served_certificate(&shake(&served, &client).await.unwrap()), first);

    write(directory.path(), &next);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let second = served_certificate(&shake(&served, &client).await.unwrap());
    assert_eq!(second, CertificateDer::from_pem_slice(next.0.as_bytes()).unwrap());
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_not_waited_for() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    write(directory.path(), &authority.issue());
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let served = Served::tls(&tls_in(&directory), limits).await;
    let mut silent = served.connect().await;
    let mut nothing = Vec::new();
    timeout(Duration::from_secs(20), silent.read_to_end(&mut nothing)).await.unwrap().unwrap();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_required_where_the_settings_say_so() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    write(directory.path(), &authority.issue());
    let authorities = directory.path().join("clients.crt");
    fs::write(&authorities, authority.0.pem()).unwrap();
    let clients = Some(ClientCertificates { authorities: vec![authorities], required: true });
    let served = Served::tls(&Tls { clients, ..tls_in(&directory) }, Limits::default()).await;

    let known = authority.client("http/1.1", Some(&authority.issue()));
    assert!(ask(shake(&served, &known).await.unwrap(), "/who").await.starts_with("HTTP/1.1 200 "));
    for stranger in [authority.client("http/1.1", None), authority.client("http/1.1", Some(&Authority::new().issue()))]
    {
        // Under TLS 1.3 the client learns of it at its first reading.
        let refused = match shake(&served, &stranger).await {
            Ok(mut stream) => {
                let _ = stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                stream.read_to_end(&mut Vec::new()).await.is_err()
            }
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn files_that_do_not_make_tls_are_named() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let (tls, place) = (tls_in(&directory), Place::Tcp("127.0.0.1:0".to_owned()));
    let error = async || Listener::bind(&place, Some(&tls), Limits::default()).await.unwrap_err().to_string();
    assert!(error().await.contains("tls.crt: cannot read"), "{}", error().await);
    let (one, other) = (authority.issue(), authority.issue());
    write(directory.path(), &(one.0.clone(), "nonsense".to_owned()));
    assert!(error().await.contains("there is no private key in it"), "{}", error().await);
    write(directory.path(), &(one.0, other.1));
    assert!(error().await.contains("the key is not the certificate's"), "{}", error().await);
}

#[test]
fn loopback_is_told_from_what_others_reach() {
    for place in ["127.0.0.1:5000", "localhost:0", "[::1]:5000", "127.9.9.9:1"] {
        assert!(Place::Tcp(place.into()).is_loopback(), "{place}");
    }
    for place in [":5000", "0.0.0.0:5000", "[::]:5000", "registry.example:5000", "10.0.0.1:80"] {
        assert!(!Place::Tcp(place.into()).is_loopback(), "{place}");
    }
    assert!(Place::Unix("/run/portreeve.sock".into()).is_loopback());
}
