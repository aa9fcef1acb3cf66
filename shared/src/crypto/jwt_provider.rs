//! ring as the cryptography of jsonwebtoken, which itself comes with aws-lc or with RustCrypto and its `rsa` crate (RUSTSEC-2023-0071) only.
//!
//! The algorithms are those that a token may have: ES256, ES384, RS256/384/512, PS256/384/512 with RSA keys of 2048 to 8192 bits, and EdDSA with
//! Ed25519. HMAC is refused: a verifier that knew it would take a public key for a shared secret. ECDSA signatures with a high S are valid, as the
//! standard has it.

#[cfg(test)]
mod tests;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    jwk::{EllipticCurve, ThumbprintHash},
    signature::{self, Signer, Verifier},
};
use ring::{
    digest,
    rand::SystemRandom,
    rsa::{PublicKeyComponents, RsaParameters},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
        RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use x509_parser::{prelude::FromDer, public_key::RSAPublicKey};

/// To be installed with [`CryptoProvider::install_default`].
pub(super) static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key,
        rsa_pub_components_from_public_key,
        ec_pub_components_from_private_key,
        ed_pub_components_from_private_key,
        compute_digest,
    },
};

/// A private key of one algorithm.
struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ed25519(Ed25519KeyPair),
}

fn signer(&algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    fits(algorithm, key.family())?;
    let key = key.as_bytes();
    let pair = match algorithm {
        Algorithm::ES256 => Pair::Ecdsa(ecdsa_pair(&ECDSA_P256_SHA256_FIXED_SIGNING, key)?),
        Algorithm::ES384 => Pair::Ecdsa(ecdsa_pair(&ECDSA_P384_SHA384_FIXED_SIGNING, key)?),
        Algorithm::RS256 => Pair::Rsa(rsa_pair(key)?, &RSA_PKCS1_SHA256),
        Algorithm::RS384 => Pair::Rsa(rsa_pair(key)?, &RSA_PKCS1_SHA384),
        Algorithm::RS512 => Pair::Rsa(rsa_pair(key)?, &RSA_PKCS1_SHA512),
        Algorithm::PS256 => Pair::Rsa(rsa_pair(key)?, &RSA_PSS_SHA256),
        Algorithm::PS384 => Pair::Rsa(rsa_pair(key)?, &RSA_PSS_SHA384),
        Algorithm::PS512 => Pair::Rsa(rsa_pair(key)?, &RSA_PSS_SHA512),
        Algorithm::EdDSA => Pair::Ed25519(ed25519_pair(key)?),
        // HMAC, and whatever a later version brings.
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(SigningKey { algorithm, pair }))
}

impl Signer<Vec<u8>> for SigningKey {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(unspecified)?.as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(unspecified)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for SigningKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A public key of one algorithm.
struct VerifyingKey {
    algorithm: Algorithm,
    check: Check,
}

enum Check {
    /// A point, or the bytes of an Ed25519 key, or an RSA key in PKCS #1.
    Encoded(UnparsedPublicKey<Vec<u8>>),
    Rsa(PublicKeyComponents<Vec<u8>>, &'static RsaParameters),
}

fn verifier(&algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    fits(algorithm, key.family())?;
    let check = match algorithm {
        Algorithm::ES256 => encoded(&ECDSA_P256_SHA256_FIXED, key)?,
        Algorithm::ES384 => encoded(&ECDSA_P384_SHA384_FIXED, key)?,
        Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256, key),
        Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384, key),
        Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512, key),
        Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256, key),
        Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384, key),
        Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512, key),
        Algorithm::EdDSA => encoded(&ED25519, key)?,
        // HMAC, and whatever a later version brings.
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(VerifyingKey { algorithm, check }))
}

fn encoded(algorithm: &'static dyn VerificationAlgorithm, key: &DecodingKey) -> Result<Check, Error> {
    Ok(Check::Encoded(UnparsedPublicKey::new(algorithm, key.try_get_as_bytes()?.to_vec())))
}

fn rsa(parameters: &'static RsaParameters, key: &DecodingKey) -> Check {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(pkcs1) => Check::Encoded(UnparsedPublicKey::new(parameters, pkcs1.clone())),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let components = PublicKeyComponents { n: without_leading_zeros(n), e: without_leading_zeros(e) };
            Check::Rsa(components, parameters)
        }
    }
}

/// Some issuers write the sign byte of ASN.1 into their JWKs, where RFC 7518 section 6.3.1.1 has none; ring wants none either.
fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Verifier<Vec<u8>> for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match &self.check {
            Check::Encoded(key) => key.verify(message, signature),
            Check::Rsa(components, parameters) => components.verify(parameters, message, signature),
        }
        .map_err(unspecified)
    }
}

impl JwtVerifier for VerifyingKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Refuses a key of another kind than the algorithm's.
fn fits(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), Error> {
    if algorithm.family() == family { Ok(()) } else { Err(ErrorKind::InvalidKeyFormat.into()) }
}

fn unspecified(_: ring::error::Unspecified) -> signature::Error {
    signature::Error::new()
}

fn ecdsa_pair(algorithm: &'static EcdsaSigningAlgorithm, pkcs8: &[u8]) -> Result<EcdsaKeyPair, Error> {
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()).map_err(|_| ErrorKind::InvalidEcdsaKey.into())
}

fn rsa_pair(pkcs1: &[u8]) -> Result<RsaKeyPair, Error> {
    RsaKeyPair::from_der(pkcs1).map_err(|rejected| ErrorKind::InvalidRsaKey(rejected.to_string()).into())
}

/// OpenSSL writes version 1 of PKCS #8, without the public key that ring would compare; ring and rcgen write version 2.
fn ed25519_pair(pkcs8: &[u8]) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| ErrorKind::InvalidEddsaKey.into())
}

fn rsa_pub_components_from_private_key(pkcs1: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let PublicKeyComponents { n, e } = PublicKeyComponents::from(rsa_pair(pkcs1)?.public());
    Ok((n, e))
}

fn rsa_pub_components_from_public_key(pkcs1: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let (_, key) = RSAPublicKey::from_der(pkcs1).map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()))?;
    Ok((without_leading_zeros(key.modulus), without_leading_zeros(key.exponent)))
}

fn ec_pub_components_from_private_key(
    pkcs8: &[u8],
    algorithm: Algorithm,
) -> Result<(EllipticCurve, Vec<u8>, Vec<u8>), Error> {
    let (curve, signing) = match algorithm {
        Algorithm::ES256 => (EllipticCurve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => (EllipticCurve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    let pair = ecdsa_pair(signing, pkcs8)?;
    // Uncompressed, X9.62: the byte 4, x, y.
    let point = pair.public_key().as_ref().split_first().map_or(&[][..], |(_, point)| point);
    let (x, y) = point.split_at(point.len() / 2);
    Ok((curve, x.to_vec(), y.to_vec()))
}

fn ed_pub_components_from_private_key(pkcs8: &[u8], curve: &EllipticCurve) -> Result<Vec<u8>, Error> {
    match curve {
        EllipticCurve::Ed25519 => Ok(ed25519_pair(pkcs8)?.public_key().as_ref().to_vec()),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is jsonwebtoken's")]
fn compute_digest(data: &[u8], hash: ThumbprintHash) -> Result<Vec<u8>, Error> {
    let algorithm = match hash {
        ThumbprintHash::SHA256 => &digest::SHA256,
        ThumbprintHash::SHA384 => &digest::SHA384,
        ThumbprintHash::SHA512 => &digest::SHA512,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(digest::digest(algorithm, data).as_ref().to_vec())
}
