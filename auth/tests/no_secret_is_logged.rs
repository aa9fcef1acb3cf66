//! T47: whatever is logged, at whatever level and by whatever library, no secret is in it. A process of its own, so that one subscriber
//! hears everything.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use auth::{server::Auth, settings::Settings};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use serde_json::{Value, json};
use shared::{clock::Clock, listen::Peer};
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn ask(router: Router, method: &str, path: &str, body: Value, bearer: Option<&str>, peer: Peer) -> Value {
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(peer);
    let response = router.oneshot(request).await.unwrap();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

async fn made(auth: &Auth, path: &str, body: Value) -> Value {
    let root = Peer::Unix { uid: 0, gid: 0, pid: None };
    let made = ask(auth.socket_router(), "POST", path, body, None, root).await;
    assert!(made["id"].is_i64(), "{path}: {made}");
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t47_no_secret_is_logged() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(log.clone()).init();
    let data = tempfile::tempdir().unwrap();
    let auth = Auth::build(&Settings::default(), data.path(), Clock::system()).await.unwrap();
    let network = Peer::Tcp("192.0.2.1:4711".parse().unwrap());
    let mut secrets = vec![std::fs::read_to_string(data.path().join("admin-password")).unwrap().trim().to_owned()];

    let (password, chosen) = ("a long password", "chosen elsewhere, and long enough for that");
    made(&auth, "/api/v1/users", json!({ "name": "alice", "password": password })).await;
    made(&auth, "/api/v1/namespaces", json!({ "name": "acme" })).await;
    made(&auth, "/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let keys = "/api/v1/namespaces/acme/robots/ci/keys";
    made(&auth, keys, json!({ "name": "chosen", "secret": chosen })).await;
    for (path, body) in [
        (keys, json!({ "name": "minted" })),
        ("/api/v1/services", json!({ "name": "registry" })),
        ("/api/v1/users", json!({ "name": "bob" })),
        ("/api/v1/users/alice/tokens", json!({ "name": "laptop", "api": "write" })),
    ] {
        let made = made(&auth, path, body).await;
        let secret = made["secret"].as_str().or(made["password"].as_str()).unwrap();
        secrets.push(secret.to_owned());
    }
    let token = secrets.last().unwrap().clone();
    for (current, new) in [("a wrong password", "never set"), (password, "a newer password")] {
        let change = json!({ "current": current, "new": new });
        ask(auth.router(), "PUT", "/api/v1/me/password", change, Some(&token), network).await;
    }
    let made_up = "prt_pat_made-up-and-still-secret";
    ask(auth.router(), "GET", "/api/v1/me", Value::Null, Some(made_up), network).await;
    auth.app().accounts.close().await;

    let typed = [password, chosen, "a wrong password", "never set", "a newer password", "made-up-and-still-secret"];
    secrets.extend(typed.map(str::to_owned));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("made the account admin") && log.contains("INSERT INTO credential"),
        "not everything was heard"
    );
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}");
    }
}
