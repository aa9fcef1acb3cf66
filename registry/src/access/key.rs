//! A key that may sign tokens, with the algorithms that belong to it.
//!
//! The key decides which algorithms are possible, never the header alone: an RSA key in an `ES256` token, or a
//! public key used as an HMAC secret, have nothing to call.

use std::{fmt, str::FromStr, sync::Arc};

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519},
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// RSA moduli that are believed, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The signature algorithms of design.md section 3, rule 3. There is no HMAC and no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    /// All of them, the default of `auth.token.signingalgorithms`.
    pub const ALL: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::EdDsa,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// High-S signatures of ECDSA are valid here, as everywhere but in Bitcoin.
    fn implementation(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::EdDsa => &signature::ED25519,
        }
    }

    const fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::Es256 => matches!(kind, KeyKind::P256),
            Self::Es384 => matches!(kind, KeyKind::P384),
            Self::EdDsa => matches!(kind, KeyKind::Ed25519),
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                matches!(kind, KeyKind::Rsa)
            }
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names none of [`TokenAlgorithm::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signature algorithm that is accepted here")]
pub struct UnknownAlgorithm;

impl FromStr for TokenAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or(UnknownAlgorithm)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    P256,
    P384,
    Rsa,
    Ed25519,
}

/// A key of a kind, or of a size, that signs no tokens here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only RSA keys of 2048 to 8192 bits, P-256, P-384 and Ed25519 are accepted")]
pub struct UnacceptableKey;

/// A public key that is trusted.
#[derive(Clone)]
pub(super) struct TokenKey {
    kind: KeyKind,
    /// A JWK may say `alg`; then no other will do.
    pinned: Option<TokenAlgorithm>,
    /// As ring takes it: a point, a PKCS#1 RSAPublicKey, or 32 bytes.
    bits: Arc<[u8]>,
}

impl TokenKey {
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, UnacceptableKey> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(spki).map_err(|_| UnacceptableKey)?;
        if !rest.is_empty() {
            return Err(UnacceptableKey);
        }
        let bits = &parsed.subject_public_key.data;
        let kind = match parsed.parsed() {
            Ok(PublicKey::RSA(rsa)) if RSA_BITS.contains(&bits_of(rsa.modulus)) => KeyKind::Rsa,
            Ok(PublicKey::EC(_)) => curve(&parsed, bits)?,
            _ if parsed.algorithm.algorithm == OID_SIG_ED25519 && bits.len() == 32 => KeyKind::Ed25519,
            _ => return Err(UnacceptableKey),
        };
        Ok(Self { kind, pinned: None, bits: Arc::from(bits.as_ref()) })
    }

    pub(super) fn pinned_to(self, algorithm: TokenAlgorithm) -> Self {
        Self { pinned: Some(algorithm), ..self }
    }

    /// Whether this key could have signed with that algorithm at all.
    pub(super) fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        algorithm.fits(self.kind) && self.pinned.is_none_or(|pinned| pinned == algorithm)
    }

    /// Whether it did.
    pub(super) fn verifies(&self, algorithm: TokenAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let key = || UnparsedPublicKey::new(algorithm.implementation(), &self.bits);
        self.fits(algorithm) && key().verify(message, signature).is_ok()
    }
}

fn curve(key: &SubjectPublicKeyInfo<'_>, point: &[u8]) -> Result<KeyKind, UnacceptableKey> {
    const UNCOMPRESSED: u8 = 4;
    let oid = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let kind = match oid {
        Some(oid) if oid == OID_EC_P256 && point.len() == 65 => KeyKind::P256,
        Some(oid) if oid == OID_NIST_EC_P384 && point.len() == 97 => KeyKind::P384,
        _ => return Err(UnacceptableKey),
    };
    if point.first() == Some(&UNCOMPRESSED) { Ok(kind) } else { Err(UnacceptableKey) }
}

fn bits_of(modulus: &[u8]) -> usize {
    let significant = modulus.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &modulus[start..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}
