//! Our registry behind somebody else's token server: tokens made here, with keys and certificates made by openssl.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    protocol::{
        answer::Answer,
        client::{Client, Login},
    },
    support::{
        issuer::{Office, SERVICE, claims, libtrust_id, now},
        server::Portreeve,
    },
};

#[tokio::test]
#[ignore = "needs openssl"]
async fn an_rs256_token_is_known_by_its_libtrust_key_id_alone() {
    let office = Office::open();
    office.openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=issuer -days 2 -keyout key.pem -out cert.pem").await;
    let registry = office.registry("cert.pem");
    let kid = libtrust_id(&office.public_key("key.pem").await);
    let token = office.rs256("key.pem", &json!({"typ": "JWT", "alg": "RS256", "kid": kid}), &claims());
    push_is_begun(&registry, &token).await;

    let other = office.rs256("key.pem", &json!({"typ": "JWT", "alg": "RS256", "kid": "AAAA:BBBB"}), &claims());
    refused(&registry, &other, "invalid_token").await;
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn an_es256_token_is_known_by_its_certificate_chain() {
    let office = Office::open();
    office.authority("ca").await;
    office.leaf("leaf", "ca").await;
    let registry = office.registry("ca.pem");
    let token =
        office.es256("leaf.key", &json!({"typ": "JWT", "alg": "ES256", "x5c": [office.der("leaf.pem")]}), &claims());
    push_is_begun(&registry, &token).await;

    // The same certificate over another key's signature, and a chain that ends elsewhere.
    office.authority("other").await;
    office.leaf("stray", "other").await;
    let forged = office.es256("stray.key", &json!({"alg": "ES256", "x5c": [office.der("leaf.pem")]}), &claims());
    refused(&registry, &forged, "invalid_token").await;
    let stray = office.es256("stray.key", &json!({"alg": "ES256", "x5c": [office.der("stray.pem")]}), &claims());
    refused(&registry, &stray, "invalid_token").await;
}

/// What `openssl req -x509` makes: self-signed and CA:TRUE. It stands in the bundle itself, so it may sign.
#[tokio::test]
#[ignore = "needs openssl"]
async fn a_self_signed_leaf_in_the_bundle_may_sign() {
    let office = Office::open();
    office.authority("leaf").await;
    let registry = office.registry("leaf.pem");
    let token = office.es256("leaf.key", &json!({"alg": "ES256", "x5c": [office.der("leaf.pem")]}), &claims());
    push_is_begun(&registry, &token).await;
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn a_foreign_token_opens_only_what_it_names() {
    let office = Office::open();
    office.authority("leaf").await;
    let registry = office.registry("leaf.pem");
    let header = json!({"alg": "ES256", "x5c": [office.der("leaf.pem")]});
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        office.es256("leaf.key", &header, &claims)
    };
    let access = |name: &str, actions: Value| json!([{"type": "repository", "name": name, "actions": actions}]);

    push_is_begun(&registry, &with("access", access("acme/web", json!(["*"])))).await;
    push_is_begun(&registry, &with("aud", json!(["another", SERVICE]))).await;
    refused(&registry, &with("access", access("acme/other", json!(["pull", "push"]))), "insufficient_scope").await;
    refused(&registry, &with("access", access("acme/web", json!(["pull"]))), "insufficient_scope").await;
    refused(&registry, &with("access", Value::Null), "insufficient_scope").await;
    refused(&registry, &with("iss", json!("somebody")), "invalid_token").await;
    refused(&registry, &with("aud", json!("another")), "invalid_token").await;
    refused(&registry, &with("exp", json!(now() - 120)), "invalid_token").await;
    refused(&registry, &with("nbf", json!(now() + 120)), "invalid_token").await;
    refused(&registry, &with("exp", json!("9999999999")), "invalid_token").await;
    refused(&registry, &with("exp", Value::Null), "invalid_token").await;
}

async fn begin_push(registry: &Portreeve, token: &str) -> Answer {
    let client = Client::new(registry.url().clone(), Login::Token(token.to_owned()));
    let answer = client.request(Method::POST, "acme/web/blobs/uploads/").send().await;
    answer.unwrap_or_else(|failure| panic!("{failure}"))
}

async fn push_is_begun(registry: &Portreeve, token: &str) {
    if let Err(failure) = begin_push(registry, token).await.status(&[202]) {
        panic!("{failure}");
    }
}

async fn refused(registry: &Portreeve, token: &str, error: &str) {
    let answer = begin_push(registry, token).await;
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let named = challenge.contains(&format!("error=\"{error}\""));
    assert!(answer.status == 401 && named, "{}", answer.instead_of(format_args!("401 and {error}")));
}
