//! A registry in a directory of its own, and somebody who speaks to it.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::BodyExt;
use registry::{
    access::Companion,
    server,
    settings::{RawSettings, Settings},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use shared::{
    clock::{Clock, Timestamp},
    digest::{Algorithm, Digest},
    listen::Peer,
    openapi::conforms,
    shutdown::CancellationToken,
    telemetry::{AccessLog, Observe},
};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::postgres;

/// When the tests take place.
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What is said of the admin API's answers.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/openapi/registry.json")).unwrap());

pub(crate) struct Registry {
    router: Router,
    server: server::Registry,
    key: Key,
    clock: Clock,
    _directory: TempDir,
}

/// An issuer's key, whose public half the registry finds in a key set.
struct Key(EcdsaKeyPair);

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Registry {
    /// Nobody is asked who they are; deletes are on.
    pub(crate) async fn open() -> Self {
        Self::with(json!({}), None).await
    }

    /// Tokens are asked for.
    pub(crate) async fn guarded(companion: Option<Arc<dyn Companion>>) -> Self {
        Self::with(json!({"auth": {"token": {"issuer": "issuer", "service": "service"}}}), companion).await
    }

    /// With these settings laid over a small configuration.
    pub(crate) async fn with(part: Value, companion: Option<Arc<dyn Companion>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = Key::new();
        let jwks = directory.path().join("jwks.json");
        std::fs::write(&jwks, key.set().to_string()).unwrap();
        let mut tree = json!({
            "storage": {"filesystem": {"rootdirectory": directory.path()}, "delete": {"enabled": true}},
        });
        if let Some(database) = postgres::database() {
            tree["portreeve"] = json!({ "database": database });
        }
        merge(&mut tree, part);
        if let Some(token) = tree.pointer_mut("/auth/token") {
            token["jwks"] = json!(jwks);
        }
        let raw: RawSettings = serde_json::from_value(tree).unwrap();
        let settings = Settings::try_from(raw).unwrap();
        let clock = Clock::fixed(Timestamp::from_seconds(NOW));
        let registry = server::Registry::build(&settings, companion, clock.clone()).await.unwrap();
        let router = registry.router().layer(Observe(AccessLog::Off));
        Self { router, server: registry, key, clock, _directory: directory }
    }

    /// Lets time go by.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Body) -> Reply {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        self.send_from((Peer::Tcp(peer), &self.router), method, target, headers, body).await
    }

    /// The routes of the data directory's socket.
    pub(crate) fn socket_router(&self) -> Router {
        self.server.socket_router()
    }

    /// A request on the data directory's socket, by a process of this user.
    pub(crate) async fn on_the_socket(&self, uid: u32, method: Method, target: &str, body: &Value) -> Reply {
        let (peer, router) = (Peer::Unix { uid, gid: uid, pid: None }, self.server.socket_router());
        let headers = [("content-type", "application/json")];
        self.send_from((peer, &router), method, target, &headers, Body::from(body.to_string())).await
    }

    /// A request as this peer's listener would hand it to these routes.
    pub(crate) async fn send_from(
        &self,
        (peer, router): (Peer, &Router),
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Reply {
        let mut request = Request::builder().method(&method).uri(target);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "reg.example:5000");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(peer);
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        if target.starts_with("/v2") {
            reply.check_always();
        }
        if target.starts_with("/api/v1/registry/") {
            let told = conforms(&DOCUMENT, method.as_str(), target, reply.status.as_u16(), &reply.body);
            told.expect("the document in docs/openapi is true");
        }
        reply
    }

    /// Tells a story while the registry does what it does beside requests.
    pub(crate) async fn with_background(&self, story: impl Future<Output = ()>) {
        let cancelled = CancellationToken::new();
        let told = async {
            timeout(Duration::from_secs(20), story).await.expect("the story does not end");
            cancelled.cancel();
        };
        tokio::join!(told, self.server.background(cancelled.clone()));
    }

    /// The routes of a listener that anybody reaches.
    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.send(Method::GET, target, &[], Body::empty()).await
    }

    pub(crate) async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, target, headers, Body::empty()).await
    }

    pub(crate) async fn head(&self, target: &str) -> Reply {
        self.send(Method::HEAD, target, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, target: &str) -> Reply {
        self.send(Method::DELETE, target, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, target: &str) -> Reply {
        self.send(Method::POST, target, &[], Body::empty()).await
    }

    /// PATCH or PUT with a length, as clients send it.
    pub(crate) async fn upload(&self, method: Method, target: &str, range: Option<&str>, bytes: &[u8]) -> Reply {
        let length = bytes.len().to_string();
        let mut headers = vec![("content-length", length.as_str())];
        headers.extend(range.map(|range| ("content-range", range)));
        self.send(method, target, &headers, Body::from(bytes.to_vec())).await
    }

    /// A blob in one request.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let pushed = self.upload(Method::POST, &target, None, bytes).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
        digest
    }

    pub(crate) async fn put_manifest(&self, target: &str, media_type: &str, document: &str) -> Reply {
        self.send(Method::PUT, target, &[("content-type", media_type)], Body::from(document.to_owned())).await
    }

    /// An image of one config and no layer under a tag.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str) -> (Digest, String) {
        self.push_image_with(&[], repository, tag).await
    }

    /// The same by somebody who shows something.
    pub(crate) async fn push_image_with(
        &self,
        shown: &[(&str, &str)],
        repository: &str,
        tag: &str,
    ) -> (Digest, String) {
        let config = digest(b"{}");
        let target = format!("/v2/{repository}/blobs/uploads/?digest={config}");
        let pushed = self.send(Method::POST, &target, &[shown, &[("content-length", "2")]].concat(), "{}".into()).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
        let document = image(&config, 2, &json!({}));
        let (target, headers) =
            (format!("/v2/{repository}/manifests/{tag}"), [shown, &[("content-type", MANIFEST)]].concat());
        let put = self.send(Method::PUT, &target, &headers, document.clone().into()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
        (digest(document.as_bytes()), document)
    }

    /// `Bearer …` with this access, for alice.
    pub(crate) fn bearer(&self, access: &Value) -> String {
        self.bearer_short_of(access, &json!([]))
    }

    /// The same with what it says of the actions that it does not allow.
    pub(crate) fn bearer_short_of(&self, access: &Value, short: &Value) -> String {
        let claims = json!({"iss": "issuer", "aud": "service", "sub": "alice", "exp": NOW + 300, "access": access, "short": short});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&json!({"alg": "ES256", "kid": "k"})), encode(&claims));
        let signature = self.key.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    fn set(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k"}]})
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The header, which must be there.
    pub(crate) fn expect(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The codes of the envelope.
    pub(crate) fn codes(&self) -> Vec<String> {
        let document = self.json();
        let errors = document["errors"].as_array().expect("no envelope");
        errors.iter().map(|error| error["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The status and the one code of a refusal.
    pub(crate) fn refused(&self) -> (u16, String) {
        assert_eq!(self.expect("content-type"), "application/json");
        let codes = self.codes();
        assert_eq!(codes.len(), 1, "{}", self.text());
        (self.status.as_u16(), codes[0].clone())
    }

    /// What stands on every answer.
    fn check_always(&self) {
        assert_eq!(self.expect("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(self.expect("x-content-type-options"), "nosniff");
        assert_eq!(self.expect("content-security-policy"), "default-src 'none'; sandbox");
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// An image manifest without layers; `more` is laid into it.
pub(crate) fn image(config: &Digest, size: usize, more: &Value) -> String {
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size},
        "layers": [],
    });
    merge(&mut document, more.clone());
    document.to_string()
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}
