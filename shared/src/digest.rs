//! Content digests (OCI image specification, "Descriptors: digests") and the hasher that makes them.

use std::{fmt, str::FromStr};

use sha2::Digest as _;
use thiserror::Error;

use crate::text::serde_as_text;

mod hasher;

pub use hasher::{Hasher, UnreadableState};

/// The hash algorithms that the OCI specification registers and this registry computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, which every client can compute.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as written before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ if is_algorithm_name(text) => Err(DigestError::UnsupportedAlgorithm),
            _ => Err(DigestError::Malformed),
        }
    }
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    /// The text does not have the form `algorithm:encoded` of a registered algorithm.
    #[error("a digest is written as sha256:<64> or sha512:<128> lower-case hexadecimal digits")]
    Malformed,
    /// The text has the form of a digest, but of an algorithm that is not computed here.
    #[error("the digest's algorithm is not supported; sha256 and sha512 are")]
    UnsupportedAlgorithm,
}

/// The digest of some content: algorithm and hash, held as bytes.
///
/// Digests order as their texts do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Hash);

// The order of the variants and of the bytes is the order of the texts: hexadecimal keeps the order of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hash {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Digest {
    /// Hashes content that is already in memory; [`Hasher`] hashes what streams by.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::sha256(sha2::Sha256::digest(content).into()),
            Algorithm::Sha512 => Self::sha512(sha2::Sha512::digest(content).into()),
        }
    }

    const fn sha256(hash: [u8; 32]) -> Self {
        Self(Hash::Sha256(hash))
    }

    const fn sha512(hash: [u8; 64]) -> Self {
        Self(Hash::Sha512(hash))
    }

    /// The algorithm that made it.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Hash::Sha256(_) => Algorithm::Sha256,
            Hash::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash itself: 32 bytes for SHA-256, 64 for SHA-512.
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Hash::Sha256(hash) => hash,
            Hash::Sha512(hash) => hash,
        }
    }

    /// The hash in lower-case hexadecimal, as written behind the colon.
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        if !is_encoded(encoded) {
            return Err(DigestError::Malformed);
        }
        match algorithm.parse()? {
            Algorithm::Sha256 => decode_hex(encoded).map(Self::sha256),
            Algorithm::Sha512 => decode_hex(encoded).map(Self::sha512),
        }
    }
}

serde_as_text!(Digest, Algorithm);

fn decode_hex<const N: usize>(encoded: &str) -> Result<[u8; N], DigestError> {
    // One content has one name: upper-case digits would make a second one.
    if encoded.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(DigestError::Malformed);
    }
    let mut hash = [0; N];
    hex::decode_to_slice(encoded, &mut hash).map_err(|_| DigestError::Malformed)?;
    Ok(hash)
}

/// `[a-zA-Z0-9=_-]+`, what the OCI grammar allows behind the colon for any algorithm.
fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}

/// `[a-z0-9]+([.+_-][a-z0-9]+)*`, the OCI grammar of algorithm names.
fn is_algorithm_name(text: &str) -> bool {
    text.split(['.', '+', '_', '-']).all(|component| {
        !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

#[cfg(test)]
pub(crate) mod tests;
