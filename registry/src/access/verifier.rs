//! From the text behind `Bearer` to a [`VerifiedToken`], design.md section 3, "Verifying".
//!
//! Nothing of a token is believed before its signature is: the header, which may only choose the key, is an
//! `UnverifiedHeader`, and [`Verifier::verify`] is the one way to a [`VerifiedToken`].

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use shared::{claims::TokenClaims, clock::Timestamp, key_id::KeyId, strict_json, x5c};

use super::{
    chain::{ChainError, MAX_CHAIN, TrustedLeaf},
    key::{TokenAlgorithm, TokenKey},
    trust::{Trust, TrustStore},
};

/// The longest token that is looked at, in bytes of text.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// By how much the clocks of issuer and registry may differ, in seconds. Certificates get none of it.
pub const LEEWAY_SECONDS: i64 = 60;

/// The most certificates that `x5c` may list before the bundle's own are taken out.
const MAX_X5C: usize = 2 * MAX_CHAIN;

/// How much verified tokens may weigh in memory, in bytes.
const MEMORY_BYTES: u64 = 8 << 20;

/// How many chains are remembered; an issuer has one or two at a time.
const CHAINS: u64 = 64;

/// Why a token is refused. Clients learn only that it is; the reason goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of canonical base64url.
    #[error("not a signed token")]
    Form,
    /// The header is not JSON, or lacks what it needs.
    #[error("the header cannot be read")]
    Header,
    /// `jwk`, `jku`, `x5u` or `crit` in the header.
    #[error("the header has a member that is never accepted")]
    ForbiddenMember,
    /// `alg` is none that is accepted here.
    #[error("the algorithm is not accepted")]
    Algorithm,
    /// `x5c` leads nowhere.
    #[error("the chain is refused: {0}")]
    Chain(#[from] ChainError),
    /// `kid` names no key that is trusted, for this algorithm.
    #[error("no trusted key has this id and fits the algorithm")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the signature is wrong")]
    Signature,
    /// The claims cannot be read.
    #[error("the claims cannot be read")]
    Claims,
    /// Another issuer.
    #[error("the issuer is another")]
    Issuer,
    /// For another service.
    #[error("the audience is another")]
    Audience,
    /// Past `exp` and the leeway.
    #[error("expired")]
    Expired,
    /// Before `nbf` and the leeway.
    #[error("not valid yet")]
    NotYetValid,
}

/// A token whose signature and claims were checked.
pub struct VerifiedToken {
    /// What it says.
    pub claims: TokenClaims,
    /// The RFC 7638 thumbprint of the key that signed it, where the key is a leaf's.
    pub leaf: Option<KeyId>,
    /// As it was presented, for the companion.
    raw: Box<str>,
    /// Until when it can be believed without looking at the signature again, in seconds of Unix time.
    fresh_until: i64,
}

/// Checks tokens of one issuer for one service.
pub struct Verifier {
    issuer: String,
    service: String,
    algorithms: Vec<TokenAlgorithm>,
    trust: Arc<TrustStore>,
    tokens: Cache<Remembered, Arc<VerifiedToken>>,
    chains: Cache<Remembered, Arc<Leaf>>,
}

/// Something under its hash, as it was under one generation of the trust.
type Remembered = (u64, [u8; 32]);

struct Leaf {
    trusted: TrustedLeaf,
    key: TokenKey,
    id: Option<KeyId>,
}

impl Verifier {
    /// Accepts tokens that `issuer` signed for `service` with one of `algorithms`.
    #[must_use]
    pub fn new(issuer: String, service: String, algorithms: Vec<TokenAlgorithm>, trust: Arc<TrustStore>) -> Self {
        let weight = |_: &Remembered, token: &Arc<VerifiedToken>| token.weight();
        let tokens = Cache::builder().max_capacity(MEMORY_BYTES).weigher(weight).build();
        Self { issuer, service, algorithms, trust, tokens, chains: Cache::new(CHAINS) }
    }

    /// Whose keys are believed.
    #[must_use]
    pub fn trust(&self) -> &Arc<TrustStore> {
        &self.trust
    }

    /// Checks a token, or remembers that it was checked. Revocation is not looked at here: it is at every request,
    /// outside this memory.
    ///
    /// # Errors
    /// [`TokenRefused`] for the log.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedToken>, TokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefused::TooLong);
        }
        let trust = self.trust.current();
        let memory_key = (trust.generation(), hash(token.as_bytes()));
        if let Some(known) = self.tokens.get(&memory_key).filter(|known| now.seconds() < known.fresh_until) {
            return Ok(known);
        }
        let verified = self.verify_anew(token, &trust, now);
        if let Err(TokenRefused::UnknownKey) = verified {
            self.trust.note_miss();
        }
        let verified = Arc::new(verified?);
        self.tokens.insert(memory_key, Arc::clone(&verified));
        Ok(verified)
    }

    fn verify_anew(&self, token: &str, trust: &Trust, now: Timestamp) -> Result<VerifiedToken, TokenRefused> {
        let Parts { message, header, claims, signature } = Parts::split(token)?;
        let header = UnverifiedHeader::read(header)?;
        if !self.algorithms.contains(&header.algorithm) {
            return Err(TokenRefused::Algorithm);
        }
        let signed = |key: &TokenKey| key.verifies(header.algorithm, message, &signature);
        let (leaf, trusted_until) = match header.key {
            KeyHint::Chain(chain) => {
                let leaf = self.leaf(&chain, trust, now)?;
                if !signed(&leaf.key) {
                    return Err(TokenRefused::Signature);
                }
                (leaf.id.clone(), leaf.trusted.validity.not_after)
            }
            KeyHint::Id(id) => {
                let keys: Vec<_> = trust.keys(&id).iter().filter(|key| key.fits(header.algorithm)).collect();
                if keys.is_empty() {
                    return Err(TokenRefused::UnknownKey);
                }
                if !keys.into_iter().any(signed) {
                    return Err(TokenRefused::Signature);
                }
                (None, i64::MAX)
            }
        };
        let claims = TokenClaims::parse(&decode(claims)?).map_err(|_| TokenRefused::Claims)?;
        self.check(&claims, now)?;
        let fresh_until = claims.expires_at.min(trusted_until);
        Ok(VerifiedToken { claims, leaf, raw: token.into(), fresh_until })
    }

    /// The chain's verdict, from memory while all of its dates hold.
    fn leaf(&self, chain: &[Vec<u8>], trust: &Trust, now: Timestamp) -> Result<Arc<Leaf>, TokenRefused> {
        let memory_key = (trust.generation(), hash_chain(chain));
        if let Some(leaf) = self.chains.get(&memory_key) {
            leaf.trusted.validity.check(now)?;
            return Ok(leaf);
        }
        let trusted = trust.chain(chain, now)?;
        let key = TokenKey::from_spki(&trusted.spki).map_err(|_| TokenRefused::Algorithm)?;
        let id = KeyId::rfc7638(&trusted.spki).ok();
        let leaf = Arc::new(Leaf { trusted, key, id });
        self.chains.insert(memory_key, Arc::clone(&leaf));
        Ok(leaf)
    }

    fn check(&self, claims: &TokenClaims, now: Timestamp) -> Result<(), TokenRefused> {
        if claims.issuer != self.issuer {
            return Err(TokenRefused::Issuer);
        }
        if !claims.audience.contains(&self.service) {
            return Err(TokenRefused::Audience);
        }
        if now.seconds() > claims.expires_at.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenRefused::Expired);
        }
        if claims.not_before.is_some_and(|start| now.seconds() < start.saturating_sub(LEEWAY_SECONDS)) {
            return Err(TokenRefused::NotYetValid);
        }
        Ok(())
    }
}

impl VerifiedToken {
    /// As it was presented: whoever holds it has its rights.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Roughly what it takes in memory, in bytes.
    fn weight(&self) -> u32 {
        const BASE: usize = 512;
        const PER_ACCESS: usize = 256;
        const PER_LIMIT: usize = 256;
        let limits: usize = self.claims.access.iter().map(|access| access.limited.len()).sum();
        u32::try_from(BASE + self.raw.len() + self.claims.access.len() * PER_ACCESS + limits * PER_LIMIT)
            .unwrap_or(u32::MAX)
    }
}

/// Without the text that carries the rights.
impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").field("claims", &self.claims).field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

/// The parts, the JSON still encoded, and what the signature is over.
struct Parts<'a> {
    message: &'a [u8],
    header: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Looks for two dots and no third: a header of a million dots costs nothing.
    fn split(token: &'a str) -> Result<Self, TokenRefused> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenRefused::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenRefused::Form)?;
        if claims.contains('.') || signature.is_empty() {
            return Err(TokenRefused::Form);
        }
        Ok(Self { message: message.as_bytes(), header, claims, signature: decode(signature)? })
    }
}

/// What a header may do: say which key to try. Public for the fuzz target alone: there is nothing else to do with one.
#[derive(Debug)]
pub struct UnverifiedHeader {
    algorithm: TokenAlgorithm,
    key: KeyHint,
}

#[derive(Debug)]
enum KeyHint {
    /// `x5c`, which is the only judge where it is present.
    Chain(Vec<Vec<u8>>),
    /// `kid`.
    Id(String),
}

impl UnverifiedHeader {
    /// Reads a token's first part.
    ///
    /// # Errors
    /// [`TokenRefused`]: the form, a member that brings a key along, or an algorithm that is not accepted.
    pub fn read(encoded: &str) -> Result<Self, TokenRefused> {
        let Value::Object(header) = strict_json::parse(&decode(encoded)?).map_err(|_| TokenRefused::Header)? else {
            return Err(TokenRefused::Header);
        };
        // A key that a token brings along, or tells us to fetch, is the attacker's key. We understand no critical
        // extension either.
        if ["jwk", "jku", "x5u", "crit"].iter().any(|name| header.contains_key(*name)) {
            return Err(TokenRefused::ForbiddenMember);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenRefused::Header)?;
        let algorithm = algorithm.parse().map_err(|_| TokenRefused::Algorithm)?;
        let key = match (header.get("x5c"), header.get("kid")) {
            (Some(chain), _) => KeyHint::Chain(read_chain(chain)?),
            (None, Some(Value::String(id))) => KeyHint::Id(id.clone()),
            _ => return Err(TokenRefused::Header),
        };
        Ok(Self { algorithm, key })
    }
}

fn read_chain(value: &Value) -> Result<Vec<Vec<u8>>, TokenRefused> {
    let entries = match value {
        Value::Null => &[][..],
        Value::Array(entries) => entries,
        _ => return Err(TokenRefused::Header),
    };
    if entries.is_empty() {
        return Err(ChainError::Empty.into());
    }
    if entries.len() > MAX_X5C {
        return Err(ChainError::TooLong.into());
    }
    let mut chain = Vec::with_capacity(entries.len());
    for entry in entries {
        // One by one: how many there may be is judged when the bundle's own are known.
        let text = entry.as_str().ok_or(TokenRefused::Header)?.to_owned();
        chain.extend(x5c::decode(&[text]).map_err(|_| ChainError::Unreadable)?);
    }
    Ok(chain)
}

/// Canonical base64url without padding.
fn decode(text: &str) -> Result<Vec<u8>, TokenRefused> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenRefused::Form)
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Lengths go in too, so that no two chains are the same bytes.
fn hash_chain(chain: &[Vec<u8>]) -> [u8; 32] {
    let mut bytes = Vec::new();
    for certificate in chain {
        bytes.extend_from_slice(&certificate.len().to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    hash(&bytes)
}
