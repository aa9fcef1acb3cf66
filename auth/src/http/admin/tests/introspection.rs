//! What a secret is worth (RFC 7662), to those who may know.

use axum::http::{Request, StatusCode, header};

use super::*;

shared::on_both! {
    crate::http::admin::tests::Office:
    a_living_secret_is_told_to_those_whom_it_concerns
    what_is_worth_nothing_is_like_what_never_was
    what_is_revoked_counts_nowhere_any_more
}

/// Asked with that bearer credential.
async fn worth(office: &Office, asks: &str, token: &str) -> Value {
    let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    let (status, answer) = post(office, asks, &form).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn post(office: &Office, asks: &str, form: &str) -> (StatusCode, Value) {
    let request = Request::post("/api/v1/introspect").header(header::AUTHORIZATION, format!("Bearer {asks}"));
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let mut request = request.body(Body::from(form.to_owned())).unwrap();
    request.extensions_mut().insert(network());
    let answer = office.auth.router().oneshot(request).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn registry_token(office: &Office, service: &str, name: &str, secret: &str) -> String {
    let (status, answer) = sign_in(office, service, name, secret).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

async fn sign_in(office: &Office, service: &str, name: &str, secret: &str) -> (StatusCode, Value) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let basic = STANDARD.encode(format!("{name}:{secret}"));
    let request = Request::get(format!("/token?service={service}&scope=repository:acme/web:pull,push"));
    let mut request = request.header(header::AUTHORIZATION, format!("Basic {basic}")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(network());
    let answer = office.auth.router().oneshot(request).await.unwrap();
    let status = answer.status();
    (status, serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap())
}

/// A robot with a grant and its key, two registries with their credentials, and people.
struct Scene {
    things: Things,
    key: String,
    token: String,
    registry: String,
    other_registry: String,
}

impl Scene {
    async fn of(office: &Office) -> Self {
        let things = Things::of(office).await;
        let mut registries = Vec::new();
        for name in ["here", "there"] {
            let made = office.made("/api/v1/services", json!({ "name": name })).await;
            registries.push(made["secret"].as_str().unwrap().to_owned());
        }
        let key = things.key(office, "read").await;
        let token = registry_token(office, "here", "robot.acme.ci", &key).await;
        let other_registry = registries.pop().unwrap();
        Self { things, key, token, registry: registries.pop().unwrap(), other_registry }
    }
}

async fn a_living_secret_is_told_to_those_whom_it_concerns(office: &Office) {
    let Scene { key, token, registry, other_registry, .. } = Scene::of(office).await;
    let alice = office.token("alice", json!({ "name": "look", "api": "read" })).await;
    let bob = office.namespace("other", "bob").await;
    let admin = office.token("admin", json!({ "name": "look", "api": "read" })).await;
    for asks in [&admin, &alice, &key, &registry] {
        let told = worth(office, asks, &token).await;
        assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("registry")), "{told}");
        assert_eq!((&told["sub"], &told["aud"]), (&json!("robot.acme.ci"), &json!("here")));
        assert_eq!(told["scope"], "repository:acme/web:pull,push");
        assert_eq!(told["exp"].as_i64().unwrap(), told["iat"].as_i64().unwrap() + 300);
    }
    for asks in [&admin, &alice, &key] {
        let told = worth(office, asks, &key).await;
        assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("robot_key")), "{told}");
        assert_eq!((&told["username"], &told["api"], told.get("exp")), (&json!("robot.acme.ci"), &json!("read"), None));
    }
    let nothing = json!({ "active": false });
    for (asks, about) in [(&bob, &token), (&other_registry, &token), (&bob, &key), (&registry, &key), (&alice, &bob)] {
        assert_eq!(worth(office, asks, about).await, nothing);
    }
    assert_eq!(worth(office, &bob, &bob).await["sub"], "bob", "everybody about themselves");
    for (form, why) in [
        ("token=a&token=b", "twice"),
        ("token_type_hint=x", "missing field"),
        ("token=a&what=b", "unknown field"),
        ("token=a&token_type_hint=access_token", ""),
    ] {
        let (status, answer) = post(office, &admin, form).await;
        let expected = if why.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, expected, "{form}: {answer}");
        assert!(why.is_empty() || answer["detail"].as_str().unwrap().contains(why), "{answer}");
    }
}

async fn what_is_worth_nothing_is_like_what_never_was(office: &Office) {
    let Scene { things, key, token, .. } = Scene::of(office).await;
    let admin = office.token("admin", json!({ "name": "look", "api": "read" })).await;
    let nothing = json!({ "active": false });
    let cut = &token[..token.len() - 2];
    for never in ["", "x", "prt_pat_", "a long password", cut, &key[..key.len() - 1], &format!("{key}x")] {
        assert_eq!(worth(office, &admin, never).await, nothing, "{never:?}");
    }
    // Revoked: a key, and the token that was asked for by it, though that has minutes to live.
    let second = things.key(office, "none").await;
    let by_second = registry_token(office, "here", "robot.acme.ci", &second).await;
    assert_eq!(worth(office, &admin, &by_second).await["active"], true);
    let (_, keys) = office.local("get", "/api/v1/namespaces/acme/robots/ci/keys", Value::Null).await;
    let last = keys["items"].as_array().unwrap().last().unwrap()["id"].clone();
    let path = format!("/api/v1/namespaces/acme/robots/ci/keys/{last}");
    assert_eq!(office.local("delete", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    for gone in [&second, &by_second] {
        assert_eq!(worth(office, &admin, gone).await, nothing);
    }
    assert_eq!(worth(office, &admin, &token).await["active"], true, "the other key goes on");
    // Narrowed: registries refuse the older token, so it is worth nothing.
    let grant = format!("/api/v1/namespaces/acme/grants/{}", things.grant["id"]);
    assert_eq!(office.local("delete", &grant, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(worth(office, &admin, &token).await, nothing);
    assert_eq!(worth(office, &admin, &key).await["active"], true);
    // Ended, and suspended.
    let fresh = registry_token(office, "here", "robot.acme.ci", &key).await;
    office.pass(Duration::from_secs(299));
    assert_eq!(worth(office, &admin, &fresh).await["active"], true);
    office.pass(Duration::from_secs(1));
    assert_eq!(worth(office, &admin, &fresh).await, nothing, "to the second");
    let suspend = "/api/v1/namespaces/acme/robots/ci/suspend";
    assert_eq!(office.local("post", suspend, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(worth(office, &admin, &key).await, nothing);
}

/// The three doors at which a secret is shown look at the same: no sign-in, no administration, and nothing that it is worth.
async fn what_is_revoked_counts_nowhere_any_more(office: &Office) {
    Scene::of(office).await;
    let admin = office.token("admin", json!({ "name": "look", "api": "read" })).await;
    let made = office.made("/api/v1/users/carol/tokens", json!({ "name": "lost", "api": "read" })).await;
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(office.bearing(secret, "get", "/api/v1/me", Value::Null).await.0, StatusCode::OK);
    assert_eq!(sign_in(office, "here", "carol", secret).await.0, StatusCode::OK);
    assert_eq!(worth(office, &admin, secret).await["active"], true);

    let path = format!("/api/v1/users/carol/tokens/{}", made["id"]);
    assert_eq!(office.local("delete", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    let (status, refused) = sign_in(office, "here", "carol", secret).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let said = refused["errors"][0]["message"].as_str().unwrap();
    assert!(said.starts_with("the token \"lost\" of carol was revoked at "), "{said}");
    let (status, refused) = office.bearing(secret, "get", "/api/v1/me", Value::Null).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{refused}");
    for asks in [admin.as_str(), secret] {
        let (status, answer) = post(office, asks, &format!("token={secret}")).await;
        let expected = if asks == secret { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        assert_eq!(status, expected, "{answer}");
        assert!(asks == secret || answer == json!({ "active": false }), "{answer}");
    }
}
