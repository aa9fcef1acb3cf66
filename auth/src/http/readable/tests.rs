use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use shared::readable::Readable;
use tower::ServiceExt;

use crate::{
    accounts::tests::fixture::{Fixture, on_both},
    http::house::{House, SERVICE},
    permissions::{Subject, Visibility},
    secrets::SecretKind,
};

on_both! {
    a_token_tells_what_its_bearer_may_read
    anonymous_reads_what_is_public
    who_shows_no_living_token_of_ours_is_told_nothing
}

async fn ask(house: &House, authorization: Option<&str>) -> (StatusCode, Value) {
    let mut request = Request::get("/api/v1/readable");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let response = house.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn told(house: &House, token: &str) -> Readable {
    let (status, body) = ask(house, Some(&format!("Bearer {token}"))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_value(body).unwrap()
}

async fn a_token_tells_what_its_bearer_may_read(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    for (name, visibility) in
        [("acme", Visibility::Private), ("base", Visibility::Internal), ("other", Visibility::Private)]
    {
        fixture.namespace(name, visibility).await;
    }
    fixture.grant(Subject::Principal(alice.id.0), "acme/web", "pull,push").await;
    let key = house.secret(fixture, &alice, SecretKind::PersonalToken).await;
    let token = house.token(SERVICE, "alice", &key).await;
    let readable = told(&house, &token).await;
    for (name, expected) in
        [("acme/web", true), ("acme/api", false), ("base/x", true), ("base", true), ("other/x", false)]
    {
        assert_eq!(readable.permits(name), expected, "{name}");
    }

    // The rules are those of now, not those of the token.
    fixture.grant(Subject::Authenticated, "other/**", "pull").await;
    assert!(told(&house, &token).await.permits("other/x"));
}

async fn anonymous_reads_what_is_public(fixture: &Fixture) {
    let house = House::of(fixture).await;
    fixture.namespace("open", Visibility::Public).await;
    fixture.namespace("base", Visibility::Internal).await;
    let token = house.anonymous_token(SERVICE).await;
    let readable = serde_json::to_value(told(&house, &token).await).unwrap();
    assert_eq!(readable, json!({"allow": ["open", "open/**"], "deny": []}));
}

async fn who_shows_no_living_token_of_ours_is_told_nothing(fixture: &Fixture) {
    let house = House::of(fixture).await;
    // Another house: its keys lie in a database of its own.
    let elsewhere = Fixture::sqlite().await;
    let stranger = House::of(&elsewhere).await;
    let theirs = stranger.user(&elsewhere, "alice", "correct horse").await;
    let their_key = stranger.secret(&elsewhere, &theirs, SecretKind::PersonalToken).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    let key = house.secret(fixture, &alice, SecretKind::PersonalToken).await;
    let token = house.token(SERVICE, "alice", &key).await;
    told(&house, &token).await;
    let foreign = stranger.token(SERVICE, "alice", &their_key).await;
    for authorization in [
        None,
        Some(format!("Bearer {foreign}")),
        Some(format!("Bearer {key}")),
        Some(format!("Basic {token}")),
        Some("Bearer ".to_owned()),
    ] {
        let (status, body) = ask(&house, authorization.as_deref()).await;
        assert_eq!((status, &body["status"]), (StatusCode::UNAUTHORIZED, &json!(401)), "{authorization:?}");
    }
    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    assert_eq!(ask(&house, Some(&format!("Bearer {token}"))).await.0, StatusCode::UNAUTHORIZED);
    fixture.accounts.resume(&fixture.actor, alice.id).await.unwrap();
    fixture.pass(std::time::Duration::from_secs(361));
    assert_eq!(ask(&house, Some(&format!("Bearer {token}"))).await.0, StatusCode::UNAUTHORIZED);
}
