//! Signs tokens (design: "The token"). It is pure: keys come from [`crate::pki`], the time is a parameter, and what a token
//! says was decided before.
//!
//! A token carries the certificate of the key that signed it, always, so that registries judge it against their bundle and
//! the key can rotate without any of them noticing.

mod keys;
mod verify;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::json;
use shared::{
    access::Access,
    claims::{Audience, TokenClaims},
    clock::Timestamp,
    random,
    shortfall::Shortfall,
};
use thiserror::Error;

pub use keys::{KeyAlgorithm, KeySet, PublicKey, SigningKey, UnusableKey};
pub use verify::NotOurs;

/// The longest token, in bytes. With the rest of a request's head it stays under the 8 KiB that proxies allow.
pub const MAX_TOKEN_BYTES: usize = 7 * 1024;
/// The shortest time a token lives. Clients take anything shorter for this.
pub const MIN_LIFE: Duration = Duration::from_secs(60);
/// How long a token lives if nothing else is said.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(300);
/// The longest time a token lives.
pub const MAX_LIFE: Duration = Duration::from_secs(3600);

/// Whom a token speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The handle; empty for anonymous, as registries log it.
    pub subject: String,
    /// The principal's id.
    pub principal: Option<i64>,
    /// The id of the credential that was shown.
    pub credential: Option<i64>,
    /// When the credential ends, or the account; no token outlives it.
    pub ends: Option<Timestamp>,
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Whom it speaks for.
    pub bearer: &'a Bearer,
    /// The service that it is for.
    pub audience: &'a str,
    /// The value of the revocation counter, from the snapshot that `access` was decided in.
    pub epoch: u64,
    /// What was decided.
    pub access: Vec<Access>,
    /// Why that is less than was asked for.
    pub short: Vec<Shortfall>,
    /// How long it is to live; it is kept between [`MIN_LIFE`] and [`MAX_LIFE`].
    pub life: Duration,
}

/// A signed token.
#[derive(Clone)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Its identifier, for the audit.
    pub id: String,
    /// What it says, which is less than was decided where that did not fit.
    pub access: Vec<Access>,
    /// How long it lives.
    pub life: Duration,
}

/// The key did not sign: its library had no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signing key did not sign")]
pub struct NotSigned;

/// Signs tokens with the current key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer {
    name: Arc<str>,
    keys: Arc<ArcSwap<KeySet>>,
}

impl Issuer {
    /// An issuer of this name, which tokens carry as `iss`.
    #[must_use]
    pub fn new(name: &str, keys: KeySet) -> Self {
        Self { name: name.into(), keys: Arc::new(ArcSwap::from_pointee(keys)) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same keys under another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.into(), keys: self.keys.clone() }
    }

    /// Signs with other keys from now on.
    pub fn rotate(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// The keys in use.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// The public keys as a JWKS document (RFC 7517): the one that signs, and those whose tokens may still be around.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys = self.keys.load();
        let published: Vec<_> = keys.published().map(PublicKey::jwk).collect();
        json!({ "keys": published }).to_string()
    }

    /// Signs a token. What would make it longer than [`MAX_TOKEN_BYTES`] is left out of it, entry by entry.
    ///
    /// # Errors
    /// [`NotSigned`]
    pub fn issue(&self, order: Order<'_>, now: Timestamp) -> Result<Issued, NotSigned> {
        let keys = self.keys.load();
        let key = keys.signing();
        let expires_at = now + order.life.clamp(MIN_LIFE, MAX_LIFE);
        let expires_at = order.bearer.ends.map_or(expires_at, |ends| ends.min(expires_at));
        let issued_at = now.seconds();
        let mut claims = TokenClaims {
            issuer: self.name.to_string(),
            subject: Some(order.bearer.subject.clone()),
            audience: Audience::One(order.audience.to_owned()),
            expires_at: expires_at.seconds(),
            not_before: Some(issued_at),
            issued_at: Some(issued_at),
            id: Some(URL_SAFE_NO_PAD.encode(random::bytes::<16>())),
            credential: order.bearer.credential,
            principal: order.bearer.principal,
            epoch: Some(order.epoch),
            access: Vec::new(),
            short: Vec::new(),
        };
        let room = |claims: &TokenClaims| key.room_for_claims(MAX_TOKEN_BYTES).saturating_sub(claims.to_json().len());
        claims.access = fitting(order.access, room(&claims));
        // What explains gives way to what allows.
        claims.short = fitting(order.short, room(&claims).saturating_sub(SHORT_MEMBER.len()));
        let token = key.sign_token(&claims.to_json())?;
        Ok(Issued { token, id: claims.id.unwrap_or_default(), access: claims.access, life: expires_at.since(now) })
    }
}

/// What a list of shortfalls takes besides its entries.
const SHORT_MEMBER: &str = r#","short":[]"#;

/// The entries that fit into `room` bytes, each with a comma, in their order.
fn fitting<T: Serialize>(entries: Vec<T>, mut room: usize) -> Vec<T> {
    entries
        .into_iter()
        .filter(|entry| {
            let length = serde_json::to_string(entry).map_or(usize::MAX, |text| text.len().saturating_add(1));
            let fits = length <= room;
            room -= if fits { length } else { 0 };
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests;
