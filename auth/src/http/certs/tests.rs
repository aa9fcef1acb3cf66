use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;
use x509_parser::pem::Pem;

use crate::{
    accounts::tests::fixture::Fixture,
    http::house::{House, SERVICE},
};

async fn document(house: &House, path: &str) -> (String, Vec<u8>) {
    let response = house.router().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (media_type, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

#[tokio::test]
async fn the_bundle_is_one_certificate_and_the_chain_of_a_token_reaches_it() {
    let house = House::of(&Fixture::sqlite().await).await;
    let (media_type, bundle) = document(&house, "/certs/bundle.pem").await;
    assert_eq!(media_type, "application/x-pem-file");
    let blocks: Vec<Pem> = Pem::iter_from_buffer(&bundle).map(Result::unwrap).collect();
    let [root] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    assert_eq!(root.label, "CERTIFICATE");

    let token = house.anonymous_token(SERVICE).await;
    let chain = jsonwebtoken::decode_header(&token).unwrap().x5c_der().unwrap().unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    leaf.verify_signature(Some(root.parse_x509().unwrap().public_key())).unwrap();
}

#[tokio::test]
async fn the_published_keys_name_the_one_that_signs_and_nothing_secret() {
    let house = House::of(&Fixture::sqlite().await).await;
    let (media_type, text) = document(&house, "/.well-known/jwks.json").await;
    assert_eq!(media_type, "application/json");
    let keys: Value = serde_json::from_slice(&text).unwrap();
    let token = house.anonymous_token(SERVICE).await;
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    assert_eq!(keys["keys"][0]["kid"], kid.as_str());
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["crv"]), (&"EC".into(), &"P-256".into()));
    assert!(keys["keys"][0].get("d").is_none());
}
