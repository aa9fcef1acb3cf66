//! The keys of an issuer: one signs, others are still published.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use shared::{key_id::KeyId, x5c};
use thiserror::Error;
use x509_parser::{parse_x509_certificate, public_key::PublicKey as ParsedKey};

use super::{NotSigned, verify::NotOurs};

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    Es256,
    /// RSA with PKCS #1 padding, for registries and proxies that know nothing else.
    Rs256,
}

impl KeyAlgorithm {
    /// The algorithm as a token's header names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A key or its certificate cannot sign tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnusableKey {
    /// The private key is not PKCS #8 of the algorithm; RSA keys have 2048 bits at least.
    #[error("not a private key for {} in PKCS #8", .0.as_str())]
    Private(KeyAlgorithm),
    /// The certificate is none, or its key is neither RSA nor on P-256.
    #[error("not a certificate of an RSA key or a key on P-256")]
    Certificate,
    /// The certificate belongs to another key.
    #[error("the certificate is not that of the private key")]
    Mismatch,
}

/// A public key, as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    algorithm: KeyAlgorithm,
    /// The bytes of the point, or of the RSA key in PKCS #1.
    bytes: Vec<u8>,
    jwk: Value,
}

impl PublicKey {
    /// The key of a certificate in DER.
    ///
    /// # Errors
    /// [`UnusableKey::Certificate`]
    pub fn of_certificate(der: &[u8]) -> Result<Self, UnusableKey> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|_| UnusableKey::Certificate)?;
        let spki = certificate.public_key();
        let id = KeyId::rfc7638(spki.raw).map_err(|_| UnusableKey::Certificate)?;
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (algorithm, mut jwk) = match spki.parsed().map_err(|_| UnusableKey::Certificate)? {
            ParsedKey::RSA(key) => {
                let unsigned = |bytes: &[u8]| encoded(bytes.strip_prefix(&[0]).unwrap_or(bytes));
                (KeyAlgorithm::Rs256, json!({ "kty": "RSA", "n": unsigned(key.modulus), "e": unsigned(key.exponent) }))
            }
            ParsedKey::EC(point) if point.data().len() == 65 => {
                let (x, y) = point.data()[1..].split_at(32);
                (KeyAlgorithm::Es256, json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) }))
            }
            _ => return Err(UnusableKey::Certificate),
        };
        jwk["kid"] = id.as_str().into();
        jwk["alg"] = algorithm.as_str().into();
        jwk["use"] = "sig".into();
        jwk["x5c"] = json!([STANDARD.encode(der)]);
        Ok(Self { id, algorithm, bytes: spki.subject_public_key.data.to_vec(), jwk })
    }

    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Whether the key's owner signed the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), NotOurs> {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            KeyAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            KeyAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).map_err(|_| NotOurs)
    }

    /// The key as a JWK (RFC 7517).
    #[must_use]
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key with its certificate, read once. Reading it anew for each token would cost more than signing does.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    /// The header that all its tokens have, encoded, with the dot behind it.
    header: String,
    signature_bytes: usize,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
    x5c: Vec<String>,
}

impl SigningKey {
    /// A key in PKCS #8, with its certificate and those above it, the root's not counted, in DER.
    ///
    /// # Errors
    /// [`UnusableKey`]
    pub fn new(pkcs8: &[u8], chain: &[Vec<u8>]) -> Result<Self, UnusableKey> {
        let public = PublicKey::of_certificate(chain.first().ok_or(UnusableKey::Certificate)?)?;
        let unusable = UnusableKey::Private(public.algorithm);
        let (pair, own, signature_bytes) = match public.algorithm {
            KeyAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
                    .map_err(|_| unusable)?;
                let own = pair.public_key().as_ref().to_vec();
                (Pair::Ecdsa(pair), own, 64)
            }
            KeyAlgorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| unusable)?;
                let own = pair.public_key().as_ref().to_vec();
                let length = pair.public().modulus_len();
                (Pair::Rsa(pair), own, length)
            }
        };
        if own != public.bytes {
            return Err(UnusableKey::Mismatch);
        }
        let header =
            Header { typ: "JWT", alg: public.algorithm.as_str(), kid: public.id.as_str(), x5c: x5c::encode(chain) };
        let header = serde_json::to_string(&header).map_err(|_| UnusableKey::Certificate)?;
        let header = format!("{}.", URL_SAFE_NO_PAD.encode(header));
        Ok(Self { pair, public, header, signature_bytes })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// How many bytes of claims fit into a token of `limit` bytes.
    pub(super) fn room_for_claims(&self, limit: usize) -> usize {
        let around = self.header.len() + 1 + encoded_length(self.signature_bytes);
        limit.saturating_sub(around) / 4 * 3
    }

    /// The token that says these claims.
    pub(super) fn sign_token(&self, claims: &str) -> Result<String, NotSigned> {
        let length = self.header.len() + encoded_length(claims.len()) + 1 + encoded_length(self.signature_bytes);
        let mut token = String::with_capacity(length);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; self.signature_bytes];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| NotSigned)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

/// Characters of unpadded base64.
const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The key that signs, and those that signed before it.
#[derive(Debug)]
pub struct KeySet {
    signing: SigningKey,
    retiring: Vec<PublicKey>,
}

impl KeySet {
    /// A key that signs, and the public keys of tokens that may still be around.
    #[must_use]
    pub fn new(signing: SigningKey, retiring: Vec<PublicKey>) -> Self {
        let retiring = retiring.into_iter().filter(|key| key.id != signing.public.id).collect();
        Self { signing, retiring }
    }

    /// The key that signs.
    #[must_use]
    pub const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// All keys that a verifier may need, the one that signs first.
    pub fn published(&self) -> impl Iterator<Item = &PublicKey> {
        [&self.signing.public].into_iter().chain(&self.retiring)
    }
}
