//! What is answered over a store that does as it is told, and what is written down of a refusal.

use axum::{
    body::to_bytes,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};
use shared::{
    database::testing::Scratch,
    digest::{Algorithm, Digest},
};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::{
    access::htpasswd::Htpasswd,
    content::Lives,
    metadata::Metadata,
    settings::RawSettings,
    store::{
        faulty::{Call, Fault, Faulty},
        filesystem::Filesystem,
    },
    testing::Lines,
};

struct House {
    router: Router,
    store: Faulty,
    directory: TempDir,
    /// Where the database lies; it goes with the house.
    _scratch: Scratch,
}

impl House {
    /// Everybody may do everything.
    async fn open(shape: impl FnOnce(Faulty) -> Faulty) -> Self {
        Self::with(shape, |_| Access::None).await
    }

    async fn with(shape: impl FnOnce(Faulty) -> Faulty, access: impl FnOnce(&TempDir) -> Access) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = shape(Faulty::new(Arc::new(Filesystem::open(&directory.path().join("store")).unwrap())));
        let clock = Clock::system();
        let scratch = Scratch::sqlite();
        let metadata = Metadata::open(scratch.location(), clock.clone()).await.unwrap();
        let content = Content::new(metadata, Arc::new(store.clone()), clock.clone(), Lives::default());
        let raw = json!({"storage": {"filesystem": {"rootdirectory": directory.path()}}});
        let settings = Settings::try_from(serde_json::from_value::<RawSettings>(raw).unwrap()).unwrap();
        let access = Arc::new(access(&directory));
        let router = super::router(&settings, content, access, Checks::default(), clock).unwrap();
        Self { router, store, directory, _scratch: scratch }
    }

    async fn send(&self, method: Method, target: &str, body: &'static str) -> Response<Body> {
        let request = Request::builder().method(method).uri(target).header(header::HOST, "registry.example");
        let request = request.header(header::AUTHORIZATION, "Basic bm9ib2R5OndyaXRlbi1kb3du");
        self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn start(&self) -> Response<Body> {
        let started = self.send(Method::POST, "/v2/acme/web/blobs/uploads/", "").await;
        assert_eq!(started.status(), StatusCode::ACCEPTED);
        started
    }
}

#[tokio::test]
async fn a_store_of_parts_says_how_long_a_chunk_has_to_be() {
    let started = House::open(|store| store.in_parts_of(5 << 20)).await.start().await;
    assert_eq!(started.headers()["oci-chunk-min-length"], "5242880");
    let started = House::open(|store| store).await.start().await;
    assert!(!started.headers().contains_key("oci-chunk-min-length"), "a file takes chunks of any length");
}

/// 507, with nothing but the request's number: which disk it is, is the operator's business.
#[tokio::test]
async fn a_full_disk_is_insufficient_storage_and_the_next_attempt_succeeds() {
    let house = House::open(|store| store).await;
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let whole = format!("/v2/acme/web/blobs/uploads/?digest={digest}");
    let location = house.start().await.headers()[header::LOCATION].to_str().unwrap().to_owned();
    for (call, method, target) in [
        (Call::Open, Method::POST, whole.as_str()),
        (Call::Write, Method::POST, whole.as_str()),
        (Call::Finish, Method::POST, whole.as_str()),
        (Call::Write, Method::PATCH, location.as_str()),
    ] {
        house.store.plan(call, Fault::Full);
        let full = house.send(method, target, "content").await;
        assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE, "{call:?}");
        assert!(house.store.is_spent(), "{call:?}");
        assert_eq!(full.headers()["docker-distribution-api-version"], "registry/2.0");
        let body: Value = serde_json::from_slice(&to_bytes(full.into_body(), 4096).await.unwrap()).unwrap();
        assert_eq!(body["errors"][0]["code"], "UNKNOWN", "{body}");
        assert_eq!(body["errors"][0]["message"], "the registry has no space left");
        let directory = house.directory.path().display().to_string();
        assert!(!body.to_string().contains(&directory), "{body}");
    }
    let stored = house.send(Method::POST, &whole, "content").await;
    assert_eq!(stored.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn of_a_refused_request_its_path_is_written_and_its_query_is_not() {
    let house = House::with(
        |store| store,
        |directory| {
            let file = directory.path().join("htpasswd");
            std::fs::write(&file, "").unwrap();
            Access::Htpasswd(Box::new(Htpasswd::open("realm".to_owned(), &file, Clock::system()).unwrap()))
        },
    )
    .await;
    let lines = Lines::default();
    let guard = lines.capture();
    let digest = Digest::of(Algorithm::Sha256, b"");
    let mount = format!("/v2/acme/web/blobs/uploads/?mount={digest}&from=acme/secret-project");
    let refused = house.send(Method::POST, &mount, "").await;
    drop(guard);
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let text = lines.text();
    let line = text.lines().find(|line| line.contains("refused")).unwrap_or_else(|| panic!("no line: {text}"));
    assert!(line.contains("/v2/acme/web/blobs/uploads/") && line.contains("POST"), "{line}");
    assert!(!text.contains("secret-project") && !text.contains("mount"), "{text}");
}
