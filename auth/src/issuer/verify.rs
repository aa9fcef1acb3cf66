//! Recognises the issuer's own tokens, for those who show one to ask about themselves. Registries have a verifier of their own;
//! this one knows no certificates, because the keys are its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use shared::{claims::TokenClaims, clock::Timestamp, strict_json};
use thiserror::Error;

use super::{Issuer, MAX_LIFE, MAX_TOKEN_BYTES};

/// How far the clocks of replicas may differ, in seconds.
const LEEWAY: i64 = 60;

/// The text is no living token of this issuer. It is not said why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no valid token of this server")]
pub struct NotOurs;

impl Issuer {
    /// What a token says, if this issuer signed it and it still lives.
    ///
    /// # Errors
    /// [`NotOurs`]
    pub fn recognise(&self, token: &str, now: Timestamp) -> Result<TokenClaims, NotOurs> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(NotOurs);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NotOurs)?;
        let (header, claims) = signed.split_once('.').ok_or(NotOurs)?;
        let header = strict_json::parse(&decoded(header)?).map_err(|_| NotOurs)?;
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let keys = self.keys();
        let key = keys.published().find(|key| text("kid") == Some(key.id().as_str())).ok_or(NotOurs)?;
        if text("alg") != Some(key.algorithm().as_str()) || header.get("crit").is_some() {
            return Err(NotOurs);
        }
        key.verify(signed.as_bytes(), &decoded(signature)?)?;
        let claims = TokenClaims::parse(&decoded(claims)?).map_err(|_| NotOurs)?;
        if self.is_living(&claims, now.seconds()) { Ok(claims) } else { Err(NotOurs) }
    }

    fn is_living(&self, claims: &TokenClaims, now: i64) -> bool {
        let begun = claims.not_before.is_none_or(|begin| begin <= now + LEEWAY);
        let longest = now + LEEWAY + MAX_LIFE.as_secs().cast_signed();
        claims.issuer == self.name() && begun && now < claims.expires_at + LEEWAY && claims.expires_at <= longest
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, NotOurs> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotOurs)
}
