//! The token endpoint as clients see it.

mod audited;

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::{
    claims::TokenClaims,
    listen,
    scope::{MAX_SCOPE_BYTES, MAX_SCOPES},
};
use tower::ServiceExt;

use audited::{
    t38_an_event_has_the_address_that_a_trusted_proxy_forwards, what_a_credential_did_names_the_credential,
    what_was_asked_for_and_what_was_granted_of_it_is_audited,
};

use super::MAX_REQUEST_BYTES;
use crate::{
    accounts::tests::fixture::{Fixture, on_both},
    http::house::{House, SERVICE},
    identity::{
        Providers,
        ldap::{
            self,
            tests::fake::{self, Does, Fake},
        },
    },
    permissions::{Subject, Visibility},
    secrets::SecretKind,
};

on_both! {
    a_login_gets_a_token_without_asking_for_anything
    wrong_credentials_are_401_in_both_forms_and_never_a_token
    what_is_granted_is_what_was_asked_for_and_may_be_done
    anonymous_pulls_what_is_public_and_gets_a_token_all_the_same
    a_robot_limited_to_pr_tags_is_told_so
    docker_login_keeps_an_identity_token_and_comes_back_with_it
    robots_and_tokens_and_anonymous_get_no_identity_token
    post_answers_like_get
    what_cannot_be_understood_is_400_in_both_forms
    limits_hold_at_their_edges
    a_suspended_account_gets_nothing
    too_many_wrong_passwords_are_429_with_a_time
    a_database_that_does_not_answer_is_503_and_not_401
    a_directory_that_does_not_answer_is_503_and_one_that_cannot_be_asked_like_this_500
    cookies_are_neither_read_nor_set
    what_was_asked_for_and_what_was_granted_of_it_is_audited
    what_a_credential_did_names_the_credential
    t38_an_event_has_the_address_that_a_trusted_proxy_forwards
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What the token says, after the answer was checked to be one.
    fn claims(&self) -> TokenClaims {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.body["token"], self.body["access_token"]);
        crate::http::house::claims(self.body["token"].as_str().unwrap())
    }

    fn refuses(&self, status: StatusCode, code: &str, error: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["errors"][0]["code"], code);
        assert_eq!(self.body["error"], error);
        assert_eq!(self.body["errors"][0]["message"], self.body["error_description"]);
        assert!(!self.body["error_description"].as_str().unwrap().is_empty());
        assert!(self.body.get("token").is_none() && self.body.get("access_token").is_none());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.header("set-cookie").is_none());
    }
}

async fn send(house: &House, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(listen::Peer::Tcp(([192, 0, 2, 1], 4711).into()));
    read(house.router().oneshot(request).await.unwrap()).await
}

async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

async fn get(house: &House, query: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::get(format!("/token?service={SERVICE}&{query}"));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    send(house, request.body(Body::empty()).unwrap()).await
}

async fn post(house: &House, form: &str) -> Answer {
    let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    send(house, request.body(Body::from(form.to_owned())).unwrap()).await
}

async fn a_login_gets_a_token_without_asking_for_anything(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "Alice", "correct horse").await;
    for path in ["/token", "/auth/token"] {
        let request = Request::get(format!("{path}?service={SERVICE}&account=alice&client_id=docker"));
        let request = request.header("authorization", basic("alice", "correct horse")).body(Body::empty()).unwrap();
        let answer = send(&house, request).await;
        let claims = answer.claims();
        assert_eq!(claims.subject.as_deref(), Some("Alice"));
        assert_eq!((claims.principal, claims.epoch), (Some(alice.id.0), Some(0)));
        assert!(claims.credential.is_some() && claims.access.is_empty());
        assert_eq!(answer.body["expires_in"], 300);
        assert_eq!(answer.body["issued_at"], "2027-01-15T08:00:00Z");
        assert_eq!(answer.body["scope"], "");
        assert!(answer.body.get("refresh_token").is_none(), "nobody asked for one");
    }
}

/// T27: a wrong password is never a token, whatever is asked for beside it.
async fn wrong_credentials_are_401_in_both_forms_and_never_a_token(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("open", Visibility::Public).await;
    for (query, authorization) in [
        ("", basic("alice", "wrong")),
        ("scope=repository:open/x:pull", basic("alice", "wrong")),
        ("scope=repository:open/x:pull", basic("nobody", "correct horse")),
        ("", basic("alice", "")),
        ("", basic("", "")),
        ("", basic("alice", "prt_pat_damaged")),
        ("", basic("bob", "\u{1F40E}")),
        ("", "Bearer abc".to_owned()),
        ("", "Basic !!!".to_owned()),
        ("", "Basic".to_owned()),
        ("", String::new()),
    ] {
        let answer = get(&house, query, Some(&authorization)).await;
        let error = if authorization.starts_with("Basic ") && !authorization.contains('!') {
            "invalid_grant"
        } else {
            "invalid_client"
        };
        answer.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", error);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
    }
    let form = format!("grant_type=password&service={SERVICE}&client_id=x&username=alice&password=wrong");
    post(&house, &form).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
    let form = format!("grant_type=refresh_token&service={SERVICE}&client_id=x&refresh_token=correct+horse");
    post(&house, &form).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
}

async fn what_is_granted_is_what_was_asked_for_and_may_be_done(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("acme", Visibility::Private).await;
    fixture.namespace("base", Visibility::Internal).await;
    fixture.grant(Subject::Principal(alice.id.0), "acme/**", "pull,push").await;
    let query = "scope=repository:acme/web:push,pull,delete&scope=repository:base/x:pull+repository:other/x:pull\
                 &scope=repository(plugin):acme/p:pull&scope=repository:host:5000/acme/x:pull&scope=thing:x:do\
                 &scope=registry:catalog:*";
    let answer = get(&house, query, Some(&basic("alice", "correct horse"))).await;
    let claims = answer.claims();
    let access: Vec<Value> = claims.access.iter().map(|access| serde_json::to_value(access).unwrap()).collect();
    assert_eq!(
        access,
        [
            json!({"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}),
            json!({"type": "repository", "name": "base/x", "actions": ["pull"]}),
            json!({"type": "repository", "name": "acme/p", "actions": ["pull"]}),
            json!({"type": "registry", "name": "catalog", "actions": [], "limited": [{"actions": ["*"], "readable": true}]}),
        ]
    );
    let scope = "repository:acme/web:pull,push repository:base/x:pull repository:acme/p:pull registry:catalog:*";
    assert_eq!(answer.body["scope"], scope);
}

async fn anonymous_pulls_what_is_public_and_gets_a_token_all_the_same(fixture: &Fixture) {
    let house = House::of(fixture).await;
    fixture.namespace("open", Visibility::Public).await;
    fixture.namespace("base", Visibility::Internal).await;
    let answer = get(&house, "scope=repository:open/x:pull,push&scope=repository:base/x:pull", None).await;
    let claims = answer.claims();
    assert_eq!((claims.subject.as_deref(), claims.principal, claims.credential), (Some(""), None, None));
    assert_eq!(answer.body["scope"], "repository:open/x:pull");
    assert_eq!(get(&house, "scope=repository:base/x:pull", None).await.claims().access, []);
}

async fn a_robot_limited_to_pr_tags_is_told_so(fixture: &Fixture) {
    let house = House::of(fixture).await;
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    house.limited_grant(fixture, Subject::Principal(robot.id.0), "acme/**", "pull,push", "pr-*").await;
    let key = house.secret(fixture, &robot, SecretKind::RobotKey).await;
    let answer = get(&house, "scope=repository:acme/web:pull,push", Some(&basic("robot.acme.ci", &key))).await;
    let claims = answer.claims();
    assert_eq!(claims.subject.as_deref(), Some("robot.acme.ci"));
    let access = serde_json::to_value(&claims.access).unwrap();
    assert_eq!(
        access,
        json!([{"type": "repository", "name": "acme/web", "actions": ["pull"],
                               "limited": [{"actions": ["push"], "tags": ["pr-*"]}]}])
    );
    assert_eq!(answer.body["scope"], "repository:acme/web:pull,push");
}

async fn docker_login_keeps_an_identity_token_and_comes_back_with_it(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("base", Visibility::Internal).await;
    let answer =
        get(&house, "offline_token=true&client_id=docker&account=alice", Some(&basic("alice", "correct horse"))).await;
    answer.claims();
    let identity = answer.body["refresh_token"].as_str().unwrap().to_owned();
    assert!(identity.starts_with("prt_idt_"));

    let form = format!(
        "grant_type=refresh_token&service={SERVICE}&client_id=docker&refresh_token={identity}&scope=repository:base/x:pull"
    );
    let refreshed = post(&house, &form).await;
    let claims = refreshed.claims();
    assert_eq!(
        (claims.principal, refreshed.body["scope"].as_str()),
        (Some(alice.id.0), Some("repository:base/x:pull"))
    );
    assert!(refreshed.body.get("refresh_token").is_none());
    let kept = post(&house, &format!("{form}&access_type=offline")).await;
    assert_eq!(kept.body["refresh_token"], identity.as_str(), "it does not rotate");

    let as_password = get(&house, "offline_token=true", Some(&basic("alice", &identity))).await;
    assert_eq!(as_password.claims().principal, Some(alice.id.0));
    assert!(as_password.body.get("refresh_token").is_none());

    let elsewhere = post(&house, &form.replace(&format!("service={SERVICE}"), "service=other")).await;
    elsewhere.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");

    fixture.pass(Duration::from_secs(91 * 24 * 3600));
    post(&house, &form).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
}

async fn robots_and_tokens_and_anonymous_get_no_identity_token(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let key = house.secret(fixture, &robot, SecretKind::RobotKey).await;
    let token = house.secret(fixture, &alice, SecretKind::PersonalToken).await;
    for authorization in [Some(basic("robot.acme.ci", &key)), Some(basic("alice", &token)), None] {
        let answer = get(&house, "offline_token=true", authorization.as_deref()).await;
        answer.claims();
        assert!(answer.body.get("refresh_token").is_none());
    }
    for secret in [&key, &token] {
        let form = format!("grant_type=refresh_token&service={SERVICE}&client_id=x&refresh_token={secret}");
        post(&house, &form).await.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
    }
}

async fn post_answers_like_get(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct & horse").await;
    fixture.namespace("base", Visibility::Internal).await;
    let form = format!(
        "grant_type=password&service={SERVICE}&client_id=containerd-client&access_type=offline&username=alice\
         &password=correct+%26+horse&scope=repository%3Abase%2Fx%3Apull+repository:base/y:pull,push"
    );
    let answer = post(&house, &form).await;
    answer.claims();
    assert_eq!(answer.body["scope"], "repository:base/x:pull repository:base/y:pull");
    assert!(answer.body["refresh_token"].as_str().unwrap().starts_with("prt_idt_"));

    let pieces = form.as_bytes().chunks(7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let request = Request::post("/auth/token")
        .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8")
        .header("transfer-encoding", "chunked");
    send(&house, request.body(body).unwrap()).await.claims();
}

async fn what_cannot_be_understood_is_400_in_both_forms(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct horse").await;
    let authorization = basic("alice", "correct horse");
    for query in [
        "scope=repository",
        "scope=repository:acme/x",
        "scope=:acme/x:pull",
        "scope=repository:acme/x:pull%00",
        "scope=repository:ac%22me:pull",
        "service=twice",
        "account=bob",
        "account=a&account=a",
    ] {
        let answer = get(&house, query, Some(&authorization)).await;
        answer.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    }
    for uri in ["/token", "/token?service=", "/token?service=unknown", "/token?service=a%00b"] {
        let answer = send(&house, Request::get(uri).body(Body::empty()).unwrap()).await;
        answer.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    }
    for form in ["", "service=S", "grant_type=password&service=S&username=a", "grant_type=refresh_token&service=S"] {
        let answer = post(&house, &form.replace("=S", &format!("={SERVICE}"))).await;
        answer.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    }
    let answer = post(&house, &format!("grant_type=authorization_code&service={SERVICE}")).await;
    answer.refuses(StatusCode::BAD_REQUEST, "UNSUPPORTED", "unsupported_grant_type");
    let json = Request::post("/token").header("content-type", "application/json").body(Body::from("{}")).unwrap();
    send(&house, json).await.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    let twice = Request::get(format!("/token?service={SERVICE}"))
        .header("authorization", &authorization)
        .header("authorization", &authorization);
    let answer = send(&house, twice.body(Body::empty()).unwrap()).await;
    answer.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder().method(method).uri("/token").body(Body::empty()).unwrap();
        send(&house, request).await.refuses(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "invalid_request");
    }
}

/// T07: a scope of a megabyte, or ten thousand scopes, is an error and no work.
async fn limits_hold_at_their_edges(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let scopes =
        |count: usize| (0..count).map(|n| format!("scope=repository:acme/x{n}:pull")).collect::<Vec<_>>().join("&");
    get(&house, &scopes(MAX_SCOPES), None).await.claims();
    let too_many = get(&house, &scopes(MAX_SCOPES + 1), None).await;
    too_many.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    post(&house, &scopes(10_000)).await.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    let long = format!("scope=repository:{}:pull", "a".repeat(MAX_SCOPE_BYTES));
    get(&house, &long, None).await.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");

    let form = |length: usize| {
        let start = format!("grant_type=password&service={SERVICE}&username=a&password=b&padding=");
        format!("{start}{}", "x".repeat(length - start.len()))
    };
    let longest = post(&house, &form(MAX_REQUEST_BYTES)).await;
    longest.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
    for length in [MAX_REQUEST_BYTES + 1, 1 << 20] {
        post(&house, &form(length)).await.refuses(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request");
    }
}

async fn a_suspended_account_gets_nothing(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let alice = house.user(fixture, "alice", "correct horse").await;
    let token = house.secret(fixture, &alice, SecretKind::PersonalToken).await;
    get(&house, "", Some(&basic("alice", &token))).await.claims();
    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    for secret in ["correct horse", &token] {
        let answer = get(&house, "", Some(&basic("alice", secret))).await;
        answer.refuses(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant");
    }
}

async fn too_many_wrong_passwords_are_429_with_a_time(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct horse").await;
    let mut last = get(&house, "", Some(&basic("alice", "wrong"))).await;
    for _ in 0..crate::identity::throttle::PER_ACCOUNT.burst {
        last = get(&house, "", Some(&basic("alice", "wrong"))).await;
    }
    last.refuses(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "temporarily_unavailable");
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(last.header("www-authenticate").is_none());
}

async fn a_database_that_does_not_answer_is_503_and_not_401(fixture: &Fixture) {
    let house = House::of(fixture).await;
    house.user(fixture, "alice", "correct horse").await;
    // Another question than those below: what was answered a moment ago needs no database where nobody else writes.
    get(&house, "scope=repository:acme/web:pull", None).await.claims();
    fixture.close().await;
    for authorization in [None, Some(basic("alice", "correct horse")), Some(basic("alice", "wrong"))] {
        let answer = get(&house, "", authorization.as_deref()).await;
        answer.refuses(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "temporarily_unavailable");
        assert!(answer.header("www-authenticate").is_none(), "CI would forget its credentials");
        assert!(answer.header("retry-after").is_some());
    }
}

async fn a_directory_that_does_not_answer_is_503_and_one_that_cannot_be_asked_like_this_500(fixture: &Fixture) {
    for (does, status, code, error) in [
        (Does::SaysAndLeaves(Vec::new()), StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "temporarily_unavailable"),
        (
            Does::Says(fake::result(1, 0x65, 4)),
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "temporarily_unavailable",
        ),
        (Does::Says(fake::result(1, 0x65, 8)), StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "server_error"),
        // Who finds nobody whatever may not read, and knows nothing of anybody.
        (
            Does::Says(fake::result(1, 0x65, 0)),
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "temporarily_unavailable",
        ),
    ] {
        let directory = Fake::start(move |_, _| does.clone()).await;
        let ldap = vec![ldap::tests::ldap(ldap::tests::config(std::slice::from_ref(&directory.url)))];
        let house = House::with(fixture, Providers { htpasswd: None, ldap }).await;
        let answer = get(&house, "", Some(&basic("alice", "correct horse"))).await;
        answer.refuses(status, code, error);
        assert!(answer.header("www-authenticate").is_none());
        assert_eq!(answer.header("retry-after").is_some(), status == StatusCode::SERVICE_UNAVAILABLE);
    }
}

async fn cookies_are_neither_read_nor_set(fixture: &Fixture) {
    let house = House::of(fixture).await;
    let request =
        Request::get(format!("/token?service={SERVICE}")).header("cookie", "__Host-sid=abc").body(Body::empty());
    let answer = send(&house, request.unwrap()).await;
    assert_eq!(answer.claims().principal, None);
    assert!(answer.header("set-cookie").is_none());
}
