//! Key ids: how a token names the key that signed it, in the three forms that registries have used.

use std::{borrow::Borrow, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::RSAPublicKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use crate::digest::{Algorithm, Digest};

/// How many bytes of the hash a libtrust id shows.
const LIBTRUST_BYTES: usize = 30;

/// The alphabet of base32 (RFC 4648, section 6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The identifier of a key, as it stands in a token's `kid`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// The bytes are not the DER form of a public key that can sign tokens: RSA, EC on P-256 or P-384, or Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the public key is not RSA, EC on P-256 or P-384, or Ed25519")]
pub struct UnsupportedKey;

impl KeyId {
    /// A key id that somebody chose, as a JWKS document or a token's header has it.
    pub fn named(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The thumbprint of RFC 7638 (RFC 8037 for Ed25519), from the key's `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// [`UnsupportedKey`]
    pub fn rfc7638(spki_der: &[u8]) -> Result<Self, UnsupportedKey> {
        Ok(Self::thumbprint(&Key::read(spki_der)?, |coordinate| coordinate))
    }

    /// The thumbprint as Distribution 3 computes it: it strips the zero bytes that the coordinates of an EC key may
    /// begin with. One key in 128 has another id here than RFC 7638 gives it.
    ///
    /// # Errors
    /// [`UnsupportedKey`]
    pub fn distribution3(spki_der: &[u8]) -> Result<Self, UnsupportedKey> {
        Ok(Self::thumbprint(&Key::read(spki_der)?, without_leading_zeros))
    }

    /// The id of libtrust, which Distribution 2 and Docker's first token servers use: twelve groups of four letters.
    ///
    /// # Errors
    /// [`UnsupportedKey`]; Ed25519 is so here, because libtrust never had it.
    pub fn libtrust(spki_der: &[u8]) -> Result<Self, UnsupportedKey> {
        if matches!(Key::read(spki_der)?, Key::Ed25519 { .. }) {
            return Err(UnsupportedKey);
        }
        let hash = Digest::of(Algorithm::Sha256, spki_der);
        let groups: Vec<String> = hash.as_bytes()[..LIBTRUST_BYTES].chunks_exact(5).flat_map(base32_groups).collect();
        Ok(Self(groups.join(":")))
    }

    /// Hashes the JSON of RFC 7638, section 3: the members in the order of their names, without white space.
    fn thumbprint(key: &Key, coordinate: impl Fn(&[u8]) -> &[u8]) -> Self {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let json = match key {
            Key::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(exponent), encode(modulus))
            }
            Key::Ec { curve, x, y } => {
                let (x, y) = (encode(coordinate(x)), encode(coordinate(y)));
                format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, curve.name())
            }
            Key::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
        };
        Self(encode(Digest::of(Algorithm::Sha256, json.as_bytes()).as_bytes()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every id under which a token may name the key: none if the key cannot sign tokens, each once, RFC 7638's first.
pub fn accepted(spki_der: &[u8]) -> Vec<KeyId> {
    let mut accepted = Vec::new();
    for id in
        [KeyId::rfc7638(spki_der), KeyId::distribution3(spki_der), KeyId::libtrust(spki_der)].into_iter().flatten()
    {
        if !accepted.contains(&id) {
            accepted.push(id);
        }
    }
    accepted
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that a map of keys can be asked with the text of a header.
impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The parts of a public key that its thumbprint is made of.
enum Key {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    /// The length of a coordinate.
    const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl Key {
    fn read(spki_der: &[u8]) -> Result<Self, UnsupportedKey> {
        let (behind, spki) = SubjectPublicKeyInfo::from_der(spki_der).map_err(|_| UnsupportedKey)?;
        if !behind.is_empty() || spki.subject_public_key.unused_bits != 0 {
            return Err(UnsupportedKey);
        }
        let bits = &*spki.subject_public_key.data;
        let algorithm = &spki.algorithm.algorithm;
        if *algorithm == OID_PKCS1_RSAENCRYPTION {
            rsa(bits)
        } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            ec(curve(&spki.algorithm)?, bits)
        } else if *algorithm == OID_SIG_ED25519 && bits.len() == 32 {
            Ok(Self::Ed25519 { x: bits.to_vec() })
        } else {
            Err(UnsupportedKey)
        }
    }
}

fn rsa(bits: &[u8]) -> Result<Key, UnsupportedKey> {
    let (behind, key) = RSAPublicKey::from_der(bits).map_err(|_| UnsupportedKey)?;
    if !behind.is_empty() {
        return Err(UnsupportedKey);
    }
    Ok(Key::Rsa { modulus: positive(key.modulus)?, exponent: positive(key.exponent)? })
}

/// The bytes of a DER integer without the zero that keeps it positive.
fn positive(integer: &[u8]) -> Result<Vec<u8>, UnsupportedKey> {
    let is_negative = integer.first().is_some_and(|first| first & 0x80 != 0);
    let bytes = without_leading_zeros(integer);
    if is_negative || bytes.is_empty() { Err(UnsupportedKey) } else { Ok(bytes.to_vec()) }
}

fn curve(algorithm: &AlgorithmIdentifier<'_>) -> Result<Curve, UnsupportedKey> {
    let name = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match name {
        Some(name) if name == OID_EC_P256 => Ok(Curve::P256),
        Some(name) if name == OID_NIST_EC_P384 => Ok(Curve::P384),
        _ => Err(UnsupportedKey),
    }
}

/// The coordinates of an uncompressed point (SEC 1, section 2.3.3), the only form that certificates use.
fn ec(curve: Curve, bits: &[u8]) -> Result<Key, UnsupportedKey> {
    let [4, coordinates @ ..] = bits else { return Err(UnsupportedKey) };
    if coordinates.len() != 2 * curve.bytes() {
        return Err(UnsupportedKey);
    }
    let (x, y) = coordinates.split_at(curve.bytes());
    Ok(Key::Ec { curve, x: x.to_vec(), y: y.to_vec() })
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|&&byte| byte == 0).count()..]
}

/// Five bytes as two groups of four base32 letters. Thirty bytes need no padding.
fn base32_groups(bytes: &[u8]) -> [String; 2] {
    let bits = bytes.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let letter = |position: u32| char::from(BASE32[(bits >> (35 - 5 * position) & 31) as usize]);
    [(0..4).map(letter).collect(), (4..8).map(letter).collect()]
}

#[cfg(test)]
mod tests;
