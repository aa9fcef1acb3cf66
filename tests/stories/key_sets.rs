//! A registry that knows its issuer by the address of a key set alone: an issuer whose tokens have no `x5c`.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::apart::{registry, until};
use crate::{
    protocol::client::{Client, Login},
    support::{
        issuer::{ISSUER, SERVICE, claims, signed},
        server::Portreeve,
    },
};

/// A key of the issuer, under a name of its own choice.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..65]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": self.id});
        signed(&header, claims, |text| self.pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec())
    }
}

/// Serves a key set that can be replaced, and counts who asks for it.
struct KeySet {
    address: String,
    keys: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl KeySet {
    async fn of(keys: &[&Key]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let set = Self { address, keys: Arc::default(), asked: Arc::default() };
        set.is_now(keys);
        let (served, asked) = (Arc::clone(&set.keys), Arc::clone(&set.asked));
        let answer = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let keys = served.lock().unwrap().clone();
            async move { Json(keys) }
        };
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(answer))).await });
        set
    }

    fn is_now(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()});
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn registry(&self) -> Portreeve {
        registry(&format!(
            "auth:\n  token:\n    realm: http://localhost:1/token\n    issuer: {ISSUER}\n    service: {SERVICE}\n    \
             jwks: {}\n",
            self.address
        ))
    }
}

/// What the beginning of a push is answered with.
async fn push(registry: &Portreeve, token: String) -> u16 {
    let client = Client::new(registry.url().clone(), Login::Token(token));
    client.request(Method::POST, "acme/web/blobs/uploads/").send().await.unwrap().status
}

#[tokio::test]
async fn tokens_without_certificates_are_believed_by_the_keys_at_an_address() {
    let (key, stranger) = (Key::new("2026-1"), Key::new("2026-1"));
    let keys = KeySet::of(&[&key]).await;
    let registry = keys.registry();
    until(202, async || push(&registry, key.token(&claims())).await).await;
    assert_eq!(push(&registry, stranger.token(&claims())).await, 401, "another key under the same name");

    let with = |member: &str, value: Option<Value>| {
        let mut claims = claims();
        match value {
            Some(value) => claims[member] = value,
            None => drop(claims.as_object_mut().unwrap().remove(member)),
        }
        key.token(&claims)
    };
    // T23: other registries fell over a token that does not say when it was made.
    assert_eq!(push(&registry, with("iat", None)).await, 202);
    assert_eq!(push(&registry, with("iat", Some(json!("yesterday")))).await, 401);
    assert_eq!(push(&registry, with("iss", Some(json!("somebody")))).await, 401);
    assert_eq!(push(&registry, key.token(&claims())).await, 202, "nothing fell over");
}

/// An issuer that rotates without notice: the first token of the new key makes the registry look, and the next one is believed.
#[tokio::test]
async fn a_key_that_was_rotated_is_picked_up_when_a_token_names_it() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let keys = KeySet::of(&[&old]).await;
    let registry = keys.registry();
    until(202, async || push(&registry, old.token(&claims())).await).await;
    assert_eq!(push(&registry, new.token(&claims())).await, 401, "published nowhere yet");

    keys.is_now(&[&new]);
    let felt = until(202, async || push(&registry, new.token(&claims())).await).await;
    assert_eq!(push(&registry, old.token(&claims())).await, 401, "the old one is gone");
    // Whoever makes up names of keys does not make us ask at every request.
    let before = keys.asked();
    for _ in 0..50 {
        assert_eq!(push(&registry, Key::new("made-up").token(&claims())).await, 401);
    }
    let more = keys.asked() - before;
    assert!(more <= 5, "the address was asked {more} times more");
    crate::support::announce(&format!("a rotated key of a key set was believed after {} ms", felt.as_millis()));
}
