//! Manifests.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::json;

use crate::client::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, Registry, digest, image};

#[tokio::test]
pub(crate) async fn what_was_pushed_is_served_byte_for_byte_whatever_is_accepted() {
    let registry = Registry::open().await;
    let (digest, document) = registry.push_image("acme/web", "v1").await;
    for reference in ["v1", &digest.to_string()] {
        let target = format!("/v2/acme/web/manifests/{reference}");
        for accept in [None, Some("*/*"), Some("text/html"), Some(MANIFEST)] {
            let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
            let got = registry.get_with(&target, &headers).await;
            assert_eq!((got.status, got.text()), (StatusCode::OK, document.clone()));
            assert_eq!(got.expect("content-type"), MANIFEST);
        }
        let head = registry.head(&target).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.expect("content-length"), document.len().to_string());
        assert_eq!(head.expect("docker-content-digest"), digest.to_string());
        assert_eq!(head.expect("content-type"), MANIFEST);
        for known in [format!("\"{digest}\""), digest.to_string(), "*".into()] {
            let known = registry.get_with(&target, &[("if-none-match", &known)]).await;
            assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
            assert_eq!(known.expect("etag"), format!("\"{digest}\""));
        }
    }
    let unknown = registry.get("/v2/acme/web/manifests/v2").await;
    assert_eq!(unknown.refused(), (404, "MANIFEST_UNKNOWN".into()));
    let absent = crate::client::digest(b"absent");
    let known = [("if-none-match", format!("\"{absent}\""))];
    let known: Vec<_> = known.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let absent = registry.get_with(&format!("/v2/acme/web/manifests/{absent}"), &known).await;
    assert_eq!(absent.refused(), (404, "MANIFEST_UNKNOWN".into()));
}

/// Docker's own types, with white space and an order of members that no printer of ours has: a digest is of bytes.
#[tokio::test]
pub(crate) async fn dockers_manifests_and_lists_are_served_byte_for_byte() {
    let registry = Registry::open().await;
    let config = registry.push_blob("acme/web", b"{}").await;
    let layer = registry.push_blob("acme/web", b"layer").await;
    let image = format!(
        "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{DOCKER_MANIFEST}\",\n   \"layers\": [{{\"size\": 5, \"digest\": \"{layer}\",\n\
         \t\"mediaType\": \"application/vnd.docker.image.rootfs.diff.tar.gzip\"}}],\n   \"config\": {{\n\
         \"mediaType\": \"application/vnd.docker.container.image.v1+json\", \"size\": 2, \"digest\": \"{config}\"}},\n \"x\": \"\\u00e9\"}}\n"
    );
    let list = format!(
        "{{\"manifests\" : [ {{\"platform\": {{\"os\": \"linux\", \"architecture\": \"arm64\", \"variant\": \"v8\"}},\r\n\
         \"size\": {}, \"digest\": \"{}\", \"mediaType\": \"{DOCKER_MANIFEST}\"}} ],\r\n\
         \"mediaType\": \"{DOCKER_LIST}\", \"schemaVersion\": 2}}",
        image.len(),
        digest(image.as_bytes()),
    );
    for (tag, media_type, document) in [("image", DOCKER_MANIFEST, &image), ("list", DOCKER_LIST, &list)] {
        let pushed = registry.put_manifest(&format!("/v2/acme/web/manifests/{tag}"), media_type, document).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
        let digest = digest(document.as_bytes()).to_string();
        assert_eq!(pushed.expect("docker-content-digest"), digest);
        for reference in [tag, &digest] {
            let target = format!("/v2/acme/web/manifests/{reference}");
            for accept in [None, Some("*/*"), Some(MANIFEST), Some(media_type)] {
                let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
                let got = registry.get_with(&target, &headers).await;
                assert_eq!((got.status, &got.body[..]), (StatusCode::OK, document.as_bytes()), "{accept:?}");
                assert_eq!(got.expect("content-type"), media_type, "{accept:?}");
                assert_eq!(got.expect("content-length"), document.len().to_string());
                assert_eq!(got.expect("docker-content-digest"), digest);
            }
            let head = registry.head(&target).await;
            assert_eq!((head.expect("content-type"), head.expect("docker-content-digest")), (media_type, &*digest));
        }
    }
}

#[tokio::test]
pub(crate) async fn a_push_answers_where_the_manifest_is_and_what_it_is_about() {
    let registry = Registry::open().await;
    let (subject, _) = registry.push_image("acme/web", "v1").await;
    let config = digest(b"{}");
    let about = json!({"subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}, "artifactType": "a/b"});
    let document = image(&config, 2, &json!({"annotations": {"a": "b"}}));
    let pushed = registry.put_manifest("/v2/acme/web/manifests/v2", MANIFEST, &document).await;
    let digest = digest(document.as_bytes());
    assert_eq!(pushed.status, StatusCode::CREATED);
    assert_eq!(pushed.expect("docker-content-digest"), digest.to_string());
    assert_eq!(pushed.expect("location"), format!("http://reg.example:5000/v2/acme/web/manifests/{digest}"));
    assert_eq!((pushed.header("oci-subject"), pushed.header("oci-tag")), (None, None));
    assert_eq!(registry.get(pushed.expect("location")).await.text(), document);

    let signature = image(&config, 2, &about);
    let by_digest = format!("/v2/acme/web/manifests/{}", crate::client::digest(signature.as_bytes()));
    let pushed = registry.put_manifest(&format!("{by_digest}?tag=s1&tag=s2"), MANIFEST, &signature).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    assert_eq!(pushed.expect("oci-subject"), subject.to_string());
    let tags: Vec<_> = pushed.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
    assert_eq!(tags, ["s1", "s2"]);
    assert_eq!(registry.get("/v2/acme/web/manifests/s2").await.text(), signature);

    let referrers = registry.get(&format!("/v2/acme/web/referrers/{subject}?artifactType=a/b")).await;
    assert_eq!(referrers.expect("content-type"), INDEX);
    assert_eq!(referrers.expect("oci-filters-applied"), "artifactType");
    assert_eq!(referrers.json()["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(referrers.json()["schemaVersion"], 2);
    let others = registry.get(&format!("/v2/acme/web/referrers/{subject}?artifactType=c/d")).await;
    assert_eq!(others.json()["manifests"], json!([]));
    let nowhere = registry.get(&format!("/v2/never/written/referrers/{subject}")).await;
    assert_eq!((nowhere.status, nowhere.header("oci-filters-applied")), (StatusCode::OK, None));
}

#[tokio::test]
pub(crate) async fn what_is_missing_is_named_one_by_one() {
    let registry = Registry::open().await;
    let layer = json!({"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 5, "digest": digest(b"layer")}]});
    let document = image(&digest(b"config"), 6, &layer);
    let refused = registry.put_manifest("/v2/acme/web/manifests/v1", MANIFEST, &document).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.codes(), ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"]);
}

#[tokio::test]
async fn a_manifest_that_is_none_is_refused() {
    let registry = Registry::open().await;
    let put = async |target: &str, media_type: &str, document: &str| {
        registry.put_manifest(target, media_type, document).await.refused()
    };
    let tag = "/v2/acme/web/manifests/v1";
    assert_eq!(put(tag, MANIFEST, "no json").await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(put(tag, MANIFEST, "{}").await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(put(tag, "no type", "{}").await, (400, "MANIFEST_INVALID".into()));
    let (_, document) = registry.push_image("acme/web", "v1").await;
    let other = format!("/v2/acme/web/manifests/{}", digest(b"other"));
    assert_eq!(put(&other, MANIFEST, &document).await, (400, "DIGEST_INVALID".into()));
    assert_eq!(put("/v2/acme/web/manifests/v1?tag=v2", MANIFEST, &document).await, (400, "TAG_INVALID".into()));
    assert_eq!(put("/v2/acme/web/manifests/sha256:bad", MANIFEST, &document).await, (400, "DIGEST_INVALID".into()));
    assert_eq!(put("/v2/acme/web/manifests/.bad", MANIFEST, &document).await, (400, "TAG_INVALID".into()));
}

/// T08: with a length and without one.
#[tokio::test]
async fn a_manifest_above_the_limit_is_too_large() {
    const LIMIT: usize = 4 << 20;
    let registry = Registry::with(json!({"portreeve": {"manifestlimit": LIMIT}}), None).await;
    let config = registry.push_blob("a", b"{}").await;
    let padded = |size: usize| {
        let empty = image(&config, 2, &json!({"annotations": {"a": ""}}));
        image(&config, 2, &json!({"annotations": {"a": "x".repeat(size - empty.len())}}))
    };
    for (size, status) in [(LIMIT, 201), (LIMIT + 1, 413)] {
        let document = padded(size);
        let length = document.len().to_string();
        for headers in [vec![("content-type", MANIFEST), ("content-length", &length)], vec![("content-type", MANIFEST)]]
        {
            let reply = registry.send(Method::PUT, "/v2/a/manifests/v1", &headers, Body::from(document.clone())).await;
            assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
        }
    }
}

#[tokio::test]
pub(crate) async fn a_tag_moves_only_as_its_condition_says() {
    let registry = Registry::open().await;
    let (first, document) = registry.push_image("a", "v1").await;
    let put = async |condition: (&str, &str), tag: &str| {
        let headers = [("content-type", MANIFEST), condition];
        let target = format!("/v2/a/manifests/{tag}");
        registry.send(Method::PUT, &target, &headers, Body::from(document.clone())).await.status.as_u16()
    };
    assert_eq!(put(("if-none-match", "*"), "v1").await, 412);
    assert_eq!(put(("if-none-match", "*"), "v2").await, 201);
    assert_eq!(put(("if-match", "*"), "v3").await, 412);
    assert_eq!(put(("if-match", &format!("\"{first}\"")), "v1").await, 201);
    assert_eq!(put(("if-match", &format!("\"{}\"", digest(b"other"))), "v1").await, 412);
    assert_eq!(put(("if-match", "nonsense"), "v1").await, 400);
    // By its digest, too: the tags are what moves.
    let by_digest = format!("{}?tag=v1", digest(document.as_bytes()));
    assert_eq!(put(("if-match", &format!("\"{}\"", digest(b"other"))), &by_digest).await, 412);
    assert_eq!(put(("if-match", &format!("\"{first}\"")), &by_digest).await, 201);
}

#[tokio::test]
pub(crate) async fn deleting_a_manifest_takes_its_tags_along() {
    let registry = Registry::open().await;
    let (digest, _) = registry.push_image("a", "v1").await;
    registry.push_image("a", "v2").await;
    assert_eq!(registry.delete("/v2/a/manifests/v1").await.status, StatusCode::ACCEPTED);
    assert_eq!(registry.head("/v2/a/manifests/v1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(registry.head("/v2/a/manifests/v2").await.status, StatusCode::OK);
    let gone = registry.delete(&format!("/v2/a/manifests/{digest}")).await;
    assert_eq!((gone.status, gone.expect("content-length")), (StatusCode::ACCEPTED, "0"));
    assert_eq!(registry.head("/v2/a/manifests/v2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(registry.delete("/v2/a/manifests/v1").await.refused(), (404, "MANIFEST_UNKNOWN".into()));
}

#[tokio::test]
pub(crate) async fn a_blob_that_a_manifest_names_is_not_deleted() {
    let registry = Registry::open().await;
    registry.push_image("a", "v1").await;
    let refused = registry.delete(&format!("/v2/a/blobs/{}", digest(b"{}"))).await;
    assert_eq!(refused.refused(), (405, "UNSUPPORTED".into()));
}

#[tokio::test]
pub(crate) async fn a_deletion_happens_only_as_its_condition_says() {
    let registry = Registry::open().await;
    let (image, _) = registry.push_image("a", "v1").await;
    let delete = async |reference: &str, condition: (&str, &str)| {
        let target = format!("/v2/a/manifests/{reference}");
        registry.send(Method::DELETE, &target, &[condition], Body::empty()).await
    };
    let (own, other) = (format!("\"{image}\""), format!("\"{}\"", digest(b"other")));
    for reference in ["v1", &image.to_string()] {
        assert_eq!(delete(reference, ("if-match", &other)).await.refused(), (412, "MANIFEST_INVALID".into()));
        assert_eq!(delete(reference, ("if-none-match", "*")).await.status.as_u16(), 412);
        assert_eq!(delete(reference, ("if-match", "nonsense")).await.status.as_u16(), 400);
    }
    assert_eq!(delete("v1", ("if-match", &own)).await.status, StatusCode::ACCEPTED);
    assert_eq!(delete(&image.to_string(), ("if-match", "*")).await.status, StatusCode::ACCEPTED);
    assert_eq!(delete(&image.to_string(), ("if-match", "*")).await.status, StatusCode::NOT_FOUND);
}
