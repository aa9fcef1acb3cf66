//! Tags, the catalog, and paths that are none.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::json;

use crate::client::Registry;

#[tokio::test]
pub(crate) async fn tags_come_in_pages() {
    let registry = Registry::with(json!({"tags": {"maxtags": 2}}), None).await;
    for tag in ["b", "a", "C", "d"] {
        registry.push_image("acme/web", tag).await;
    }
    let all = registry.get("/v2/acme/web/tags/list").await;
    assert_eq!(all.json(), json!({"name": "acme/web", "tags": ["C", "a", "b", "d"]}));
    assert_eq!((all.expect("content-type"), all.header("link")), ("application/json", None));
    let first = registry.get("/v2/acme/web/tags/list?n=99").await;
    assert_eq!(first.json()["tags"], json!(["C", "a"]));
    assert_eq!(first.expect("link"), "</v2/acme/web/tags/list?last=a&n=2>; rel=\"next\"");
    let second = registry.get("/v2/acme/web/tags/list?last=a&n=2").await;
    assert_eq!((second.json()["tags"].clone(), second.header("link")), (json!(["b", "d"]), None));
    assert_eq!(registry.get("/v2/acme/web/tags/list?last=aa").await.json()["tags"], json!(["b", "d"]));
    let none = registry.get("/v2/acme/web/tags/list?n=0").await;
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), None));
    assert_eq!(registry.get("/v2/acme/web/tags/list?n=-1").await.refused(), (400, "PAGINATION_NUMBER_INVALID".into()));
    assert_eq!(registry.get("/v2/never/tags/list").await.refused(), (404, "NAME_UNKNOWN".into()));
}

/// T09: a page is never larger than the operator allows.
#[tokio::test]
pub(crate) async fn the_catalog_comes_in_pages() {
    let registry = Registry::with(json!({"catalog": {"maxentries": 3}}), None).await;
    assert_eq!(registry.get("/v2/_catalog").await.json(), json!({"repositories": []}));
    for repository in ["b", "a/b", "a", "a-b"] {
        registry.push_image(repository, "v1").await;
    }
    registry.push_blob("without-manifest", b"x").await;
    let first = registry.get("/v2/_catalog").await;
    assert_eq!(first.json(), json!({"repositories": ["a", "a-b", "a/b"]}));
    assert_eq!(first.expect("link"), "</v2/_catalog?last=a%2Fb&n=3>; rel=\"next\"");
    let second = registry.get("/v2/_catalog?last=a%2Fb&n=3").await;
    assert_eq!((second.json()["repositories"].clone(), second.header("link")), (json!(["b"]), None));
    for wrong in ["n=4", "n=1000000000", "n=-1", "n=x"] {
        let refused = registry.get(&format!("/v2/_catalog?{wrong}")).await;
        assert_eq!(refused.refused(), (400, "PAGINATION_NUMBER_INVALID".into()), "{wrong}");
    }
}

/// As the stock registry does, and its clients expect.
#[tokio::test]
async fn a_page_of_the_catalog_has_a_hundred_names_where_nobody_says_how_many() {
    let registry = Registry::open().await;
    let index = "application/vnd.oci.image.index.v1+json";
    let empty = json!({"schemaVersion": 2, "mediaType": index, "manifests": []}).to_string();
    let names: Vec<String> = (0..101).map(|number| format!("n{number:03}")).collect();
    let page = async || {
        let page = registry.get("/v2/_catalog").await;
        (page.json()["repositories"].clone(), page.header("link").map(str::to_owned))
    };
    for name in &names[..100] {
        registry.put_manifest(&format!("/v2/{name}/manifests/v1"), index, &empty).await;
    }
    assert_eq!(page().await, (json!(names[..100]), None));
    registry.put_manifest("/v2/n100/manifests/v1", index, &empty).await;
    assert_eq!(page().await, (json!(names[..100]), Some("</v2/_catalog?last=n099&n=100>; rel=\"next\"".to_owned())));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_the_envelope() {
    let registry = Registry::open().await;
    for path in ["/v2", "/v2/"] {
        let version = registry.get(path).await;
        assert_eq!((version.status, version.text()), (StatusCode::OK, "{}".into()));
        assert_eq!((version.expect("content-type"), version.expect("content-length")), ("application/json", "2"));
        assert_eq!(registry.head(path).await.expect("content-length"), "2");
    }
    assert_eq!(registry.get("/v2/nothing/here").await.refused(), (404, "NAME_UNKNOWN".into()));
    assert_eq!(registry.get("/v2/UPPER/tags/list").await.refused(), (400, "NAME_INVALID".into()));
    assert_eq!(registry.get("/v2/a%2F..%2Fb/tags/list").await.refused(), (400, "NAME_INVALID".into()));
    let long = registry.get(&format!("/v2/{}/tags/list", "a/".repeat(3000))).await;
    assert_eq!(long.refused(), (414, "NAME_INVALID".into()));
    let wrong = registry.send(Method::PUT, "/v2/a/tags/list", &[], Body::empty()).await;
    assert_eq!((wrong.refused(), wrong.expect("allow")), ((405, "UNSUPPORTED".into()), "GET, HEAD"));
}

#[tokio::test]
async fn the_place_of_a_hidden_repository_cannot_be_asked_for() {
    let registry = Registry::open().await;
    registry.push_image("acme/web", "v1").await;
    // The number of its row, as it would be guessed.
    assert_eq!(registry.get("/v2/_catalog?last=~1").await.refused(), (400, "PAGINATION_NUMBER_INVALID".into()));
    assert_eq!(registry.get("/v2/_catalog?last=acme").await.json(), json!({"repositories": ["acme/web"]}));
}
