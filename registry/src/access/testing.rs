//! Authorities, leaves and tokens of every kind, good and bad, for the tests of this module.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};
use serde_json::{Value, json};
use shared::{clock::Timestamp, key_id};
use time::OffsetDateTime;

/// When the tests take place: 2026-01-01.
pub(crate) const NOW: i64 = 1_767_225_600;

/// A day in seconds.
pub(crate) const DAY: i64 = 86_400;

pub(crate) const ISSUER: &str = "issuer.example";
pub(crate) const SERVICE: &str = "registry.example";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

/// `seconds` after [`NOW`].
pub(crate) fn later(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds)
}

/// A key that signs tokens and certificates.
pub(crate) struct Key {
    pub(crate) pair: KeyPair,
}

impl Key {
    pub(crate) fn p256() -> Self {
        Self::generate(&PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn p384() -> Self {
        Self::generate(&PKCS_ECDSA_P384_SHA384)
    }

    pub(crate) fn ed25519() -> Self {
        Self::generate(&PKCS_ED25519)
    }

    /// ring makes no RSA keys, so there is one in a file. It is for these tests and opens nothing.
    pub(crate) fn rsa() -> Self {
        let der: &[u8] = include_bytes!("testing/rsa-2048.pk8");
        Self { pair: KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_RSA_SHA256).unwrap() }
    }

    /// The same key once more.
    pub(crate) fn again(key: &Self) -> Self {
        let der = key.pair.serialized_der();
        Self { pair: KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), key.pair.algorithm()).unwrap() }
    }

    fn generate(algorithm: &'static SignatureAlgorithm) -> Self {
        Self { pair: KeyPair::generate_for(algorithm).unwrap() }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.pair.subject_public_key_info()
    }

    pub(crate) fn kid(&self) -> String {
        key_id::KeyId::rfc7638(&self.spki()).unwrap().to_string()
    }

    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let (pkcs8, random) = (self.pair.serialized_der(), SystemRandom::new());
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).unwrap();
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        };
        let rsa = |padding| {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).unwrap();
            let mut out = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &random, message, &mut out).unwrap();
            out
        };
        match algorithm {
            "ES256" => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "EdDSA" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).unwrap().sign(message).as_ref().to_vec(),
            other => panic!("no test signs with {other}"),
        }
    }
}

/// A certificate with its key and what it was made of.
pub(crate) struct Made {
    pub(crate) key: Key,
    pub(crate) der: Vec<u8>,
    params: CertificateParams,
}

impl Made {
    pub(crate) fn pem(&self) -> String {
        let body: Vec<_> = STANDARD.encode(&self.der).into_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let lines: Vec<_> = body.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Issues a certificate for a key of its own.
    pub(crate) fn issue(&self, params: CertificateParams) -> Self {
        self.issue_for(Key::p256(), params)
    }

    pub(crate) fn issue_for(&self, key: Key, params: CertificateParams) -> Self {
        let issuer = Issuer::from_params(&self.params, &self.key.pair);
        let der = params.signed_by(&key.pair, &issuer).unwrap().der().to_vec();
        Self { key, der, params }
    }
}

/// Signs itself.
pub(crate) fn root(params: CertificateParams) -> Made {
    root_for(Key::p256(), params)
}

pub(crate) fn root_for(key: Key, params: CertificateParams) -> Made {
    let der = params.self_signed(&key.pair).unwrap().der().to_vec();
    Made { key, der, params }
}

/// A subject, and days around [`NOW`].
pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    valid(params, -DAY, DAY)
}

/// CA:TRUE with the usual key usage.
pub(crate) fn authority(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// What the auth service makes: a leaf for signatures and nothing else.
pub(crate) fn leaf(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

/// From and until, in seconds from [`NOW`].
pub(crate) fn valid(mut params: CertificateParams, from: i64, until: i64) -> CertificateParams {
    params.not_before = OffsetDateTime::from_unix_timestamp(NOW + from).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(NOW + until).unwrap();
    params
}

pub(crate) fn with_usage(mut params: CertificateParams, usage: KeyUsagePurpose) -> CertificateParams {
    params.key_usages = vec![usage];
    params
}

pub(crate) fn with_purpose(mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    params.extended_key_usages = vec![purpose];
    params
}

/// What these tests need of the library, so that one file of the registry names it.
pub(crate) mod made_of {
    pub(crate) use rcgen::{
        CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, KeyUsagePurpose, NameConstraints,
    };
}

pub(crate) fn dns_name(name: &str) -> rcgen::SanType {
    rcgen::SanType::DnsName(name.try_into().unwrap())
}

/// A distinguished name with an organisation.
pub(crate) fn organisation(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, name);
    subject
}

/// Good claims: pull on acme/web, for five minutes.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": SERVICE, "sub": "alice", "iat": NOW, "nbf": NOW - 10, "exp": NOW + 300, "jti": "x",
        "access": [{"type": "repository", "name": "acme/web", "actions": ["pull"]}],
    })
}

/// The claims with one member set, or taken out if it is null.
pub(crate) fn claims_with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    claims
}

pub(crate) fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs a header and claims with what `alg` in the header says.
pub(crate) fn token(key: &Key, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(header["alg"].as_str().unwrap(), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A header with `x5c`.
pub(crate) fn chained(algorithm: &str, chain: &[&Made]) -> Value {
    let chain: Vec<_> = chain.iter().map(|made| STANDARD.encode(&made.der)).collect();
    json!({"typ": "JWT", "alg": algorithm, "kid": "whatever", "x5c": chain})
}
