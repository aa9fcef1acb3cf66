//! JSON Web Key sets: the other way, beside a bundle, to say which keys are trusted.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::key::{TokenAlgorithm, TokenKey};

/// The largest key set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 1 << 20;

/// The most keys of one set.
pub const MAX_JWKS_KEYS: usize = 256;

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or not of that shape.
    #[error("not a JSON Web Key set: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Larger than anybody needs.
    #[error("more than {MAX_JWKS_BYTES} bytes or {MAX_JWKS_KEYS} keys")]
    TooLarge,
}

/// One key of a set.
pub(super) struct JsonWebKey {
    /// What a token's `kid` may say.
    pub(super) id: Option<String>,
    pub(super) spki: Vec<u8>,
    pub(super) key: TokenKey,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys of a set that can verify tokens, and how many could not.
pub(super) fn read(text: &[u8]) -> Result<(Vec<JsonWebKey>, usize), JwksError> {
    if text.len() > MAX_JWKS_BYTES {
        return Err(JwksError::TooLarge);
    }
    let RawSet { keys } = serde_json::from_slice(text)?;
    let total = keys.len();
    if total > MAX_JWKS_KEYS {
        return Err(JwksError::TooLarge);
    }
    let usable: Vec<_> = keys.into_iter().filter_map(RawKey::usable).collect();
    let skipped = total - usable.len();
    Ok((usable, skipped))
}

impl RawKey {
    /// A set may hold keys for other purposes and kinds that came later: they are passed over, not errors.
    fn usable(self) -> Option<JsonWebKey> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !signs || !verifies {
            return None;
        }
        let spki = self.spki()?;
        let key = TokenKey::from_spki(&spki).ok()?;
        let key = match &self.alg {
            Some(name) => {
                let algorithm = name.parse::<TokenAlgorithm>().ok()?;
                key.fits(algorithm).then(|| key.pinned_to(algorithm))?
            }
            None => key,
        };
        Some(JsonWebKey { id: self.kid, spki, key })
    }

    /// The same key as SubjectPublicKeyInfo, so that keys of a set and of certificates are one kind of thing.
    fn spki(&self) -> Option<Vec<u8>> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => Some(der::ec(der::P256, &self.point::<32>()?)),
            ("EC", Some("P-384")) => Some(der::ec(der::P384, &self.point::<48>()?)),
            ("OKP", Some("Ed25519")) => {
                let key = decode(self.x.as_ref()?).filter(|key| key.len() == 32)?;
                Some(der::public_key(der::ED25519, &key))
            }
            ("RSA", _) => Some(der::rsa(&decode(self.n.as_ref()?)?, &decode(self.e.as_ref()?)?)),
            _ => None,
        }
    }

    /// An uncompressed point. Distribution writes coordinates without leading zeros, so short ones are padded.
    fn point<const N: usize>(&self) -> Option<Vec<u8>> {
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let bytes = decode(coordinate.as_ref()?)?;
            point.resize(point.len() + N.checked_sub(bytes.len())?, 0);
            point.extend(bytes);
        }
        Some(point)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// As much of DER as a SubjectPublicKeyInfo needs.
mod der {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;

    /// AlgorithmIdentifier of RSA: rsaEncryption, NULL.
    const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    /// AlgorithmIdentifier of Ed25519.
    pub(super) const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    /// AlgorithmIdentifier of P-256: ecPublicKey, prime256v1.
    pub(super) const P256: &[u8] =
        &[0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    /// AlgorithmIdentifier of P-384: ecPublicKey, secp384r1.
    pub(super) const P384: &[u8] = &[0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];

    pub(super) fn ec(algorithm: &[u8], point: &[u8]) -> Vec<u8> {
        public_key(algorithm, point)
    }

    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let numbers = [integer(modulus), integer(exponent)].concat();
        public_key(RSA, &tagged(SEQUENCE, &numbers))
    }

    pub(super) fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
        let bits = tagged(BIT_STRING, &[&[0], key].concat());
        tagged(SEQUENCE, &[algorithm, &bits].concat())
    }

    fn integer(bytes: &[u8]) -> Vec<u8> {
        let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[0][..], |start| &bytes[start..]);
        let sign: &[u8] = if significant[0] >= 0x80 { &[0] } else { &[] };
        tagged(INTEGER, &[sign, significant].concat())
    }

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
        let mut out = vec![tag];
        if content.len() >= 0x80 {
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(u8::MAX));
        }
        out.extend_from_slice(length);
        out.extend_from_slice(content);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_may_have_what_the_limits_say_and_no_more() {
        let set = |keys: usize| format!("{{\"keys\":[{}]}}", vec![r#"{"kty":"new"}"#; keys].join(","));
        assert!(matches!(read(set(MAX_JWKS_KEYS).as_bytes()), Ok((usable, MAX_JWKS_KEYS)) if usable.is_empty()));
        assert!(matches!(read(set(MAX_JWKS_KEYS + 1).as_bytes()), Err(JwksError::TooLarge)));
        let padded = |length: usize| set(1) + &" ".repeat(length - set(1).len());
        assert!(read(padded(MAX_JWKS_BYTES).as_bytes()).is_ok());
        assert!(matches!(read(padded(MAX_JWKS_BYTES + 1).as_bytes()), Err(JwksError::TooLarge)));
    }
}
