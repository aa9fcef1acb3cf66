//! Tokens and keys that end unused, and the list of those that somebody should look at.

use std::{net::IpAddr, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tower::ServiceExt;

use super::{Office, StatusCode, Value, json, network};
use crate::{accounts::CredentialId, http::admin::secrets::MAX_IDLE_DAYS};

shared::on_both! {
    crate::http::admin::tests::Office:
    a_token_ends_when_nobody_uses_it
    what_ends_unused_makes_nothing_that_stays
    unused_and_ending_credentials_are_listed
    what_a_client_keeps_is_listed_and_revoked_by_its_owner
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn a_token_ends_when_nobody_uses_it(office: &Office) {
    office.user("alice", "read").await;
    let token = office.token("alice", json!({ "name": "t", "api": "read", "idle_days": 30 })).await;
    let looks = async || office.bearing(&token, "get", "/api/v1/me", Value::Null).await.0;
    for _ in 0..3 {
        office.pass(DAY * 29);
        assert_eq!(looks().await, StatusCode::OK, "used in time, it goes on");
    }
    office.pass(DAY * 31);
    assert_eq!(looks().await, StatusCode::UNAUTHORIZED);
}

async fn what_ends_unused_makes_nothing_that_stays(office: &Office) {
    office.user("alice", "read").await;
    let token = office.token("alice", json!({ "name": "t", "api": "write", "idle_days": 30 })).await;
    let make = async |wanted| office.bearing(&token, "post", "/api/v1/me/tokens", wanted).await;
    let (status, refused) = make(json!({ "name": "longer", "idle_days": 31 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let (_, made) = make(json!({ "name": "as long" })).await;
    assert_eq!(made["idle_days"], 30);
    let (_, made) = make(json!({ "name": "shorter", "idle_days": 7 })).await;
    assert_eq!(made["idle_days"], 7);
}

/// Names of owner and credential in the list, in its order.
async fn listed(office: &Office, path: &str) -> Vec<String> {
    let (status, answer) = office.local("get", path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let name = |item: &Value| format!("{} {}", item["owner"].as_str().unwrap(), item["name"].as_str().unwrap());
    answer["items"].as_array().unwrap().iter().map(name).collect()
}

async fn unused_and_ending_credentials_are_listed(office: &Office) {
    office.namespace("acme", "ada").await;
    office.made("/api/v1/namespaces/acme/robots", json!({ "name": "ci" })).await;
    let key = json!({ "name": "old", "secret": "k".repeat(40) });
    let key = office.made("/api/v1/namespaces/acme/robots/ci/keys", key).await;
    office.pass(DAY * 100);
    let end = office.auth.app().clock.now() + DAY * 10;
    office.token("ada", json!({ "name": "new", "expires_at": end.rfc3339() })).await;
    let everybodys = "/api/v1/credentials";
    assert_eq!(listed(office, everybodys).await, ["ada test", "robot.acme.ci old", "ada new"]);
    assert_eq!(listed(office, &format!("{everybodys}?unused_days=90")).await, ["ada test", "robot.acme.ci old"]);
    assert_eq!(listed(office, &format!("{everybodys}?ending_days=14")).await, ["ada new"]);
    assert_eq!(listed(office, &format!("{everybodys}?ending_days=9")).await, Vec::<String>::new());
    let acmes = "/api/v1/namespaces/acme/credentials?unused_days=90";
    assert_eq!(listed(office, acmes).await, ["robot.acme.ci old"]);
    // A use counts at once, although it is written later.
    let from: IpAddr = "192.0.2.7".parse().unwrap();
    office.auth.app().accounts.note_use(CredentialId(key["id"].as_i64().unwrap()), Some(from));
    assert_eq!(listed(office, acmes).await, Vec::<String>::new());
    office.pass(DAY * 11);
    assert_eq!(listed(office, everybodys).await, ["ada test", "robot.acme.ci old"], "what has ended is not listed");
    for filter in ["unused_days", "ending_days"] {
        for (days, expected) in [(MAX_IDLE_DAYS, StatusCode::OK), (MAX_IDLE_DAYS + 1, StatusCode::BAD_REQUEST)] {
            let (status, answer) = office.local("get", &format!("{everybodys}?{filter}={days}"), Value::Null).await;
            assert_eq!(status, expected, "{filter}={days}: {answer}");
        }
    }
    let ada = office.token("ada", json!({ "name": "api", "api": "read" })).await;
    assert_eq!(office.bearing(&ada, "get", everybodys, Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(office.bearing(&ada, "get", acmes, Value::Null).await.0, StatusCode::OK);
    assert_eq!(
        office.bearing(&ada, "get", "/api/v1/namespaces/base/credentials", Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

/// What `docker login` asks for, with a password or with the identity token that it got for one.
async fn login(office: &Office, name: &str, secret: &str) -> (StatusCode, Value) {
    let login = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
    let request = Request::get("/token?service=registry.example&offline_token=true&client_id=docker");
    let mut request = request.header(header::AUTHORIZATION, login).body(Body::empty()).unwrap();
    request.extensions_mut().insert(network());
    let response = office.auth.router().oneshot(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap())
}

async fn what_a_client_keeps_is_listed_and_revoked_by_its_owner(office: &Office) {
    office.made("/api/v1/services", json!({ "name": "registry.example" })).await;
    let (alice, bob) = (office.user("alice", "write").await, office.user("bob", "write").await);
    let reading = office.token("alice", json!({ "name": "reads", "api": "read" })).await;
    let (status, kept) = login(office, "alice", "a long password").await;
    assert_eq!(status, StatusCode::OK, "{kept}");
    let identity = kept["refresh_token"].as_str().unwrap();
    assert_eq!(login(office, "alice", identity).await.0, StatusCode::OK);

    let kept_by = async |bearer: &str| {
        let (status, list) = office.bearing(bearer, "get", "/api/v1/me/tokens", Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        assert!(!list.to_string().contains(identity), "{list}");
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().filter(|item| item["kind"] == "identity").collect::<Vec<_>>()
    };
    let hers = kept_by(&alice).await;
    assert_eq!((hers.len(), &hers[0]["idle_days"]), (1, &json!(90)), "{hers:?}");
    assert_eq!(kept_by(&bob).await, Vec::<Value>::new());

    let path = format!("/api/v1/me/tokens/{}", hers[0]["id"]);
    for (bearer, expected) in [(&bob, StatusCode::NOT_FOUND), (&reading, StatusCode::FORBIDDEN)] {
        assert_eq!(office.bearing(bearer, "delete", &path, Value::Null).await.0, expected);
        assert_eq!(login(office, "alice", identity).await.0, StatusCode::OK);
    }
    assert_eq!(office.bearing(&alice, "delete", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(login(office, "alice", identity).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(kept_by(&alice).await, Vec::<Value>::new());
    assert_eq!(office.bearing(&alice, "delete", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
}
