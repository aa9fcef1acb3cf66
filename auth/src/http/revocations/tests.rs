use std::time::{Duration, Instant};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    accounts::tests::fixture::{Fixture, on_both},
    http::house::House,
    secrets::SecretKind,
};

on_both! {
    a_registry_reads_what_it_has_not_seen
    a_reader_waits_for_news_and_gets_it_at_once
    a_server_that_closes_lets_its_readers_go
    only_a_registry_reads_the_feed
}

async fn ask(house: &House, query: &str, credential: &str) -> (StatusCode, Value) {
    let request =
        Request::get(format!("/api/v1/revocations{query}")).header("authorization", format!("Bearer {credential}"));
    let response = house.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn a_registry_reads_what_it_has_not_seen(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let credential = house.registry(fixture, "ghcr").await;
    let alice = fixture.user("alice").await;
    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    let count = fixture.epoch().await;
    assert!(count >= 1);
    for query in ["", "?after=0"] {
        let (status, body) = ask(&house, query, &credential).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let rows = body["revocations"].as_array().unwrap();
        assert_eq!(rows.len() as u64, count);
        assert_eq!(
            (&rows[0]["seq"], &rows[0]["kind"], &rows[0]["id"]),
            (&json!(1), &json!("principal"), &json!(alice.id.0))
        );
    }
    for query in ["?after=-1", "?after=x", "?after=", "?before=1"] {
        assert_eq!(ask(&house, query, &credential).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
}

async fn a_reader_waits_for_news_and_gets_it_at_once(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let credential = house.registry(fixture, "ghcr").await;
    let alice = fixture.user("alice").await;
    let seen = fixture.epoch().await;
    let started = Instant::now();
    let tell = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    };
    let query = format!("?after={seen}");
    let ((status, body), ()) = tokio::join!(ask(&house, &query, &credential), tell);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["revocations"][0]["seq"], json!(seen + 1));
    assert!(started.elapsed() >= Duration::from_millis(100) && started.elapsed() < Duration::from_secs(20));
}

async fn a_server_that_closes_lets_its_readers_go(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let credential = house.registry(fixture, "ghcr").await;
    let started = Instant::now();
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.app.tokens.close();
    };
    let ((status, body), ()) = tokio::join!(ask(&house, "", &credential), close);
    assert_eq!((status, body), (StatusCode::OK, json!({"revocations": []})));
    assert!(started.elapsed() < Duration::from_secs(20));
}

async fn only_a_registry_reads_the_feed(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let root = fixture.administrator("root").await;
    let token = house.secret(fixture, &root, SecretKind::PersonalToken).await;
    let registry = house.registry(fixture, "ghcr").await;
    let unknown = crate::secrets::mint(SecretKind::Service).text.expose().clone();
    for credential in [token, unknown, registry[..registry.len() - 1].to_owned(), "x".into()] {
        let (status, body) = ask(&house, "?after=0", &credential).await;
        assert_eq!((status, &body["status"]), (StatusCode::UNAUTHORIZED, &json!(401)));
    }
}
