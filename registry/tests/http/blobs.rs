//! Blobs and uploads.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};

use crate::client::{Registry, digest};

const BYTES: &[u8] = b"0123456789abcdef";

#[tokio::test]
pub(crate) async fn a_pushed_blob_is_read_whole_and_in_parts() {
    let registry = Registry::open().await;
    let digest = registry.push_blob("acme/web", BYTES).await;
    let target = format!("/v2/acme/web/blobs/{digest}");

    let head = registry.head(&target).await;
    assert_eq!((head.status, head.expect("content-length"), head.body.len()), (StatusCode::OK, "16", 0));
    let whole = registry.get(&target).await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, BYTES));
    for reply in [&head, &whole] {
        assert_eq!(reply.expect("docker-content-digest"), digest.to_string());
        assert_eq!(reply.expect("etag"), format!("\"{digest}\""));
        assert_eq!(reply.expect("content-type"), "application/octet-stream");
        assert_eq!(reply.expect("accept-ranges"), "bytes");
        assert_eq!(reply.expect("cache-control"), "max-age=31536000");
    }

    for (range, shown, bytes) in [
        ("bytes=2-4", "bytes 2-4/16", &BYTES[2..5]),
        ("bytes=10-", "bytes 10-15/16", &BYTES[10..]),
        ("bytes=-3", "bytes 13-15/16", &BYTES[13..]),
        ("bytes=14-99", "bytes 14-15/16", &BYTES[14..]),
    ] {
        let part = registry.get_with(&target, &[("range", range)]).await;
        assert_eq!((part.status, part.expect("content-range")), (StatusCode::PARTIAL_CONTENT, shown));
        assert_eq!(part.expect("content-length"), bytes.len().to_string());
        assert_eq!(&part.body[..], bytes);
    }
    for range in ["bytes=500-0", "bytes=16-", "bytes=-0", "bytes=x"] {
        let refused = registry.get_with(&target, &[("range", range)]).await;
        assert_eq!(refused.refused(), (416, "RANGE_INVALID".into()), "{range}");
        assert_eq!(refused.expect("content-range"), "bytes */16");
    }
    let stale = registry.get_with(&target, &[("range", "bytes=2-4"), ("if-range", "\"other\"")]).await;
    assert_eq!(stale.status, StatusCode::OK);
    let known = registry.get_with(&target, &[("if-none-match", &format!("W/\"{digest}\", \"x\""))]).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
pub(crate) async fn a_blob_belongs_to_its_repository() {
    let registry = Registry::open().await;
    let digest = registry.push_blob("acme/web", BYTES).await;
    let elsewhere = registry.get(&format!("/v2/acme/api/blobs/{digest}")).await;
    assert_eq!(elsewhere.refused(), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(elsewhere.json()["errors"][0]["detail"], digest.to_string());
    // If-None-Match is no way around the look.
    let target = format!("/v2/acme/api/blobs/{digest}");
    let known = registry.get_with(&target, &[("if-none-match", &format!("\"{digest}\""))]).await;
    assert_eq!(known.status, StatusCode::NOT_FOUND);

    let mounted = registry.post(&format!("/v2/acme/api/blobs/uploads/?mount={digest}&from=acme/web")).await;
    assert_eq!(mounted.status, StatusCode::CREATED);
    assert_eq!(mounted.expect("location"), format!("http://reg.example:5000/v2/acme/api/blobs/{digest}"));
    assert_eq!(registry.get(&target).await.status, StatusCode::OK);
    let gone = registry.delete(&format!("/v2/acme/web/blobs/{digest}")).await;
    assert_eq!((gone.status, gone.expect("content-length")), (StatusCode::ACCEPTED, "0"));
    assert_eq!(registry.head(&format!("/v2/acme/web/blobs/{digest}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(registry.get(&target).await.status, StatusCode::OK);

    // Nobody has it: the answer is an upload. Where everybody reads everything, a mount that names no source finds one.
    let missing = self::digest(b"nobody has it");
    let session = registry.post(&format!("/v2/acme/x/blobs/uploads/?mount={missing}&from=acme/api")).await;
    assert_eq!(session.status, StatusCode::ACCEPTED);
    assert!(session.expect("location").contains("/v2/acme/x/blobs/uploads/"));
    let found = registry.post(&format!("/v2/acme/x/blobs/uploads/?mount={digest}")).await;
    assert_eq!(found.status, StatusCode::CREATED);
    assert!(found.expect("location").ends_with(&format!("/v2/acme/x/blobs/{digest}")));
}

#[tokio::test]
pub(crate) async fn chunks_go_on_where_the_upload_stands() {
    let registry = Registry::open().await;
    let started = registry.post("/v2/acme/web/blobs/uploads/").await;
    assert_eq!((started.status, started.expect("range")), (StatusCode::ACCEPTED, "0-0"));
    assert_eq!(started.expect("content-length"), "0");
    let uuid = started.expect("docker-upload-uuid").to_owned();
    let location = started.expect("location").to_owned();
    assert_eq!(location, format!("http://reg.example:5000/v2/acme/web/blobs/uploads/{uuid}"));
    let status = registry.get(&location).await;
    assert_eq!((status.status, status.expect("range")), (StatusCode::NO_CONTENT, "0-0"));
    assert_eq!(status.expect("location"), location);

    let first = registry.upload(Method::PATCH, &location, Some("0-9"), &BYTES[..10]).await;
    assert_eq!((first.status, first.expect("range")), (StatusCode::ACCEPTED, "0-9"));
    for (method, suffix) in [(Method::PATCH, String::new()), (Method::PUT, format!("?digest={}", digest(BYTES)))] {
        let target = format!("{location}{suffix}");
        let wrong = registry.upload(method, &target, Some("12-15"), &BYTES[12..]).await;
        assert_eq!(wrong.refused(), (416, "RANGE_INVALID".into()));
        assert_eq!((wrong.expect("range"), wrong.expect("location")), ("0-9", location.as_str()));
    }
    let short = registry.upload(Method::PATCH, &location, Some("10-19"), &BYTES[10..]).await;
    assert_eq!(short.refused(), (400, "SIZE_INVALID".into()));
    let nonsense = registry.upload(Method::PATCH, &location, Some("nonsense"), b"x").await;
    assert_eq!(nonsense.refused(), (400, "RANGE_INVALID".into()));
    let target = format!("{location}?digest={}", digest(BYTES));
    let finished = registry.upload(Method::PUT, &target, Some("bytes 10-15/*"), &BYTES[10..]).await;
    assert_eq!(finished.status, StatusCode::CREATED, "{}", finished.text());
    assert_eq!(finished.expect("docker-content-digest"), digest(BYTES).to_string());
    assert_eq!(&registry.get(finished.expect("location")).await.body[..], BYTES);
    assert_eq!(registry.get(&location).await.refused(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn a_streamed_upload_says_nothing_of_its_length() {
    let registry = Registry::open().await;
    let location = registry.post("/v2/acme/web/blobs/uploads/").await.expect("location").to_owned();
    let pieces = BYTES.chunks(3).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let body = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let streamed = registry.send(Method::PATCH, &location, &[], body).await;
    assert_eq!((streamed.status, streamed.expect("range")), (StatusCode::ACCEPTED, "0-15"));
    let finished = registry.upload(Method::PUT, &format!("{location}?digest={}", digest(BYTES)), None, b"").await;
    assert_eq!(finished.status, StatusCode::CREATED);
}

#[tokio::test]
pub(crate) async fn what_hashes_to_something_else_is_refused() {
    let registry = Registry::open().await;
    let other = digest(b"other");
    let whole = registry.upload(Method::POST, &format!("/v2/a/blobs/uploads/?digest={other}"), None, BYTES).await;
    assert_eq!(whole.refused(), (400, "DIGEST_INVALID".into()));
    let location = registry.post("/v2/a/blobs/uploads/").await.expect("location").to_owned();
    let without = registry.upload(Method::PUT, &location, None, BYTES).await;
    assert_eq!(without.refused(), (400, "DIGEST_INVALID".into()));
    let put = registry.upload(Method::PUT, &format!("{location}?digest={other}"), None, BYTES).await;
    assert_eq!(put.refused(), (400, "DIGEST_INVALID".into()));
    let unknown = registry.get("/v2/a/blobs/sha256:short").await;
    assert_eq!(unknown.refused(), (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
pub(crate) async fn an_upload_can_be_given_up_in_its_own_repository_only() {
    let registry = Registry::open().await;
    let location = registry.post("/v2/acme/web/blobs/uploads/").await.expect("location").to_owned();
    let foreign = location.replace("acme/web", "acme/api");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let reply = registry.send(method.clone(), &foreign, &[], Body::empty()).await;
        assert_eq!(reply.refused(), (404, "BLOB_UPLOAD_UNKNOWN".into()), "{method}");
    }
    let cancelled = registry.delete(&location).await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
    assert!(location.ends_with(cancelled.expect("docker-upload-uuid")));
    assert_eq!(registry.get(&location).await.status, StatusCode::NOT_FOUND);
    assert_eq!(registry.get("/v2/a/blobs/uploads/nonsense").await.refused(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}
