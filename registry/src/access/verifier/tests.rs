use std::time::Instant;

use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::access::{
    key::RSA_BITS,
    testing::{
        DAY, ISSUER, Key, Made, NOW, SERVICE, authority, chained, claims, claims_with, encode, later, leaf, named, now,
        root, root_for, token, valid, with_usage,
    },
};

/// A verifier that trusts what a file holds, with the directory that keeps it.
struct Trusting {
    directory: tempfile::TempDir,
    verifier: Verifier,
}

impl Trusting {
    fn bundle(trusted: &[&Made]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_bundle(&directory, trusted);
        let trust = TrustStore::open(Some(&directory.path().join("bundle.pem")), None, now()).unwrap();
        Self::with(directory, trust)
    }

    fn keys(document: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("jwks.json");
        std::fs::write(&path, document.to_string()).unwrap();
        let trust = TrustStore::open(None, Some(&path), now()).unwrap();
        Self::with(directory, trust)
    }

    fn with(directory: tempfile::TempDir, trust: TrustStore) -> Self {
        let all = TokenAlgorithm::ALL.to_vec();
        Self { directory, verifier: Verifier::new(ISSUER.into(), SERVICE.into(), all, Arc::new(trust)) }
    }

    fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefused> {
        self.verifier.verify(token, now())
    }

    fn accepts(&self, token: &str) {
        if let Err(error) = self.verify(token) {
            panic!("refused: {error}");
        }
    }

    fn refuses(&self, token: &str) -> TokenRefused {
        self.verify(token).expect_err("the token was accepted")
    }
}

fn write_bundle(directory: &tempfile::TempDir, trusted: &[&Made]) {
    let text: String = trusted.iter().map(|made| made.pem()).collect();
    std::fs::write(directory.path().join("bundle.pem"), text).unwrap();
}

fn by_kid(algorithm: &str, kid: &str) -> Value {
    json!({"typ": "JWT", "alg": algorithm, "kid": kid})
}

/// The header with one more member.
fn and(mut header: Value, member: &str, value: Value) -> Value {
    header.as_object_mut().unwrap().insert(member.to_owned(), value);
    header
}

#[test]
fn our_own_tokens_are_believed() {
    let authority = root(authority("token CA", Some(0)));
    let leaf = authority.issue(leaf("leaf"));
    let registry = Trusting::bundle(&[&authority]);
    let verified = registry.verify(&token(&leaf.key, &chained("ES256", &[&leaf]), &claims())).unwrap();
    assert_eq!(verified.claims.subject.as_deref(), Some("alice"));
    assert_eq!(verified.leaf.as_ref().map(ToString::to_string), Some(leaf.key.kid()));
    assert!(!format!("{verified:?}").contains(verified.raw()), "the token itself must not reach a log");
}

#[test]
fn strangers_tokens_are_believed_by_every_id_of_a_key() {
    let rsa = root_for(Key::rsa(), authority("stranger", None));
    let registry = Trusting::bundle(&[&rsa]);
    let spki = rsa.key.spki();
    for id in [KeyId::rfc7638(&spki), KeyId::libtrust(&spki), KeyId::distribution3(&spki)] {
        let header = by_kid("RS256", id.unwrap().as_str());
        registry.accepts(&token(&rsa.key, &header, &claims()));
    }
    registry.accepts(&token(&rsa.key, &chained("RS256", &[&rsa]), &claims()));
    assert_eq!(registry.refuses(&token(&rsa.key, &by_kid("RS256", "other"), &claims())), TokenRefused::UnknownKey);
    let nothing = token(&rsa.key, &json!({"alg": "RS256"}), &claims());
    assert_eq!(registry.refuses(&nothing), TokenRefused::Header);
}

#[test]
fn every_algorithm_works_with_its_own_keys_and_with_no_other() {
    let table: [(Key, &[&str]); 4] = [
        (Key::p256(), &["ES256"]),
        (Key::p384(), &["ES384"]),
        (Key::ed25519(), &["EdDSA"]),
        (Key::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ];
    let signer = |algorithm: &str| table.iter().find(|(_, fitting)| fitting.contains(&algorithm)).unwrap();
    let kids: Vec<_> = table.iter().map(|(key, _)| key.kid()).collect();
    let pems: String = table.iter().map(|(key, _)| root_for(Key::again(key), authority("any", None)).pem()).collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle.pem");
    std::fs::write(&path, pems).unwrap();
    let registry = Trusting::with(directory, TrustStore::open(Some(&path), None, now()).unwrap());
    for algorithm in TokenAlgorithm::ALL.map(|algorithm| algorithm.to_string()) {
        for ((_, fitting), kid) in table.iter().zip(&kids) {
            // Signed by the algorithm's own key, but naming the key of the row.
            let signed = token(&signer(&algorithm).0, &by_kid(&algorithm, kid), &claims());
            assert_eq!(registry.verify(&signed).is_ok(), fitting.contains(&algorithm.as_str()), "{algorithm} {kid}");
        }
    }
}

/// T01: keys that a token brings along.
#[test]
fn a_key_in_the_header_is_never_used() {
    let trusted = root(authority("trusted", None));
    let attacker = Key::p256();
    let registry = Trusting::bundle(&[&trusted]);
    let header = by_kid("ES256", &trusted.key.kid());
    registry.accepts(&token(&trusted.key, &header, &claims()));
    assert_eq!(registry.refuses(&token(&attacker, &header, &claims())), TokenRefused::Signature);
    for (member, value) in [
        ("jwk", json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": trusted.key.kid()})),
        ("jwk", Value::Null),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/chain.pem")),
        // T05
        ("crit", json!(["exp"])),
        ("crit", json!([])),
    ] {
        for key in [&attacker, &trusted.key] {
            let forged = token(key, &and(header.clone(), member, value.clone()), &claims());
            assert_eq!(registry.refuses(&forged), TokenRefused::ForbiddenMember, "{member}");
        }
    }
}

/// T02: chains.
#[test]
fn x5c_is_the_only_judge_where_it_is_present() {
    let authority = root(authority("token CA", Some(0)));
    let leaf = authority.issue(leaf("leaf"));
    let registry = Trusting::bundle(&[&authority]);
    let stranger = root(named("stranger"));
    // A key that kid would find does not help a chain that leads nowhere.
    let good_kid = and(chained("ES256", &[&stranger]), "kid", json!(authority.key.kid()));
    for key in [&stranger.key, &authority.key] {
        assert!(matches!(registry.refuses(&token(key, &good_kid, &claims())), TokenRefused::Chain(_)));
    }
    // A good chain, another signer.
    let other_signer = token(&stranger.key, &chained("ES256", &[&leaf]), &claims());
    assert_eq!(registry.refuses(&other_signer), TokenRefused::Signature);
    for (chain, reason) in [
        (Value::Null, ChainError::Empty),
        (json!([]), ChainError::Empty),
        (json!(["!"]), ChainError::Unreadable),
        (json!([format!("{}\n", STANDARD.encode(&leaf.der))]), ChainError::Unreadable),
        (json!([URL_SAFE_NO_PAD.encode(&leaf.der) + "\u{0}"]), ChainError::Unreadable),
        (json!(vec![STANDARD.encode(&leaf.der); 9]), ChainError::TooLong),
    ] {
        let header = and(by_kid("ES256", &authority.key.kid()), "x5c", chain);
        assert_eq!(registry.refuses(&token(&leaf.key, &header, &claims())), TokenRefused::Chain(reason));
    }
    let no_list = and(by_kid("ES256", "x"), "x5c", json!("text"));
    assert_eq!(registry.refuses(&token(&leaf.key, &no_list, &claims())), TokenRefused::Header);
}

#[test]
fn a_remembered_chain_still_expires() {
    let authority = root(valid(authority("token CA", None), -DAY, DAY));
    let leaf = authority.issue(valid(leaf("leaf"), -DAY, 100));
    let registry = Trusting::bundle(&[&authority]);
    let signed = |id: &str| {
        let claims = claims_with("jti", json!(id));
        token(&leaf.key, &chained("ES256", &[&leaf]), &claims)
    };
    registry.accepts(&signed("one"));
    assert!(registry.verifier.verify(&signed("one"), later(99)).is_ok());
    assert!(registry.verifier.verify(&signed("two"), later(100)).is_ok());
    for id in ["one", "three"] {
        let refused = registry.verifier.verify(&signed(id), later(101)).unwrap_err();
        assert_eq!(refused, TokenRefused::Chain(ChainError::Expired), "{id}");
    }
}

#[test]
fn the_leafs_use_counts_and_by_kid_dates_do_not() {
    let authority = root(valid(authority("token CA", None), -9 * DAY, -DAY));
    let registry = Trusting::bundle(&[&authority]);
    registry.accepts(&token(&authority.key, &by_kid("ES256", &authority.key.kid()), &claims()));
    let expired = registry.refuses(&token(&authority.key, &chained("ES256", &[&authority]), &claims()));
    assert_eq!(expired, TokenRefused::Chain(ChainError::Expired));
    let fresh = root(crate::access::testing::authority("fresh", None));
    let usage = crate::access::testing::made_of::KeyUsagePurpose::KeyEncipherment;
    let server = fresh.issue(with_usage(named("server"), usage));
    let refused = Trusting::bundle(&[&fresh]).refuses(&token(&server.key, &chained("ES256", &[&server]), &claims()));
    assert_eq!(refused, TokenRefused::Chain(ChainError::KeyUsage));
}

/// T03: algorithm confusion.
#[test]
fn none_and_hmac_are_no_algorithms() {
    let trusted = root(authority("trusted", None));
    let registry = Trusting::bundle(&[&trusted]);
    for name in ["none", "None", "HS256", "HS384", "HS512", "ES512", "es256", "RS1", ""] {
        let message = format!("{}.{}", encode(&by_kid(name, &trusted.key.kid())), encode(&claims()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &trusted.key.spki());
        let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
        assert_eq!(registry.refuses(&format!("{message}.{tag}")), TokenRefused::Algorithm, "{name}");
    }
    let unsigned = format!("{}.{}.", encode(&by_kid("none", "x")), encode(&claims()));
    assert_eq!(registry.refuses(&unsigned), TokenRefused::Form);
    let narrowed = Verifier::new(
        ISSUER.into(),
        SERVICE.into(),
        vec![TokenAlgorithm::Rs256],
        Arc::clone(registry.verifier.trust()),
    );
    let good = token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), &claims());
    assert_eq!(narrowed.verify(&good, now()).err(), Some(TokenRefused::Algorithm));
}

/// T04: times that are no integers.
#[test]
fn claims_are_read_strictly() {
    let trusted = root(authority("trusted", None));
    let registry = Trusting::bundle(&[&trusted]);
    let signed = |claims: &Value| token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), claims);
    for (member, value) in [
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(9e30)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!([NOW])),
        ("exp", json!(253_402_300_800_i64)),
        ("nbf", json!("x")),
        ("iat", json!("x")),
        ("access", json!([null])),
        ("access", json!("all")),
        ("sub", json!(5)),
    ] {
        assert_eq!(
            registry.refuses(&signed(&claims_with(member, value.clone()))),
            TokenRefused::Claims,
            "{member} {value}"
        );
    }
    for member in ["sub", "jti", "nbf", "iat", "access"] {
        registry.accepts(&signed(&claims_with(member, Value::Null)));
    }
    assert_eq!(registry.refuses(&signed(&claims_with("exp", json!(-1)))), TokenRefused::Claims);
    assert_eq!(registry.refuses(&signed(&claims_with("exp", json!(0)))), TokenRefused::Expired);
    registry.accepts(&signed(&claims_with("aud", json!(["other", SERVICE]))));
    assert_eq!(registry.refuses(&signed(&claims_with("aud", json!(["other"])))), TokenRefused::Audience);
    assert_eq!(registry.refuses(&signed(&claims_with("iss", json!("other")))), TokenRefused::Issuer);
    // iat is not compared with the clock.
    registry.accepts(&signed(&claims_with("iat", json!(NOW + 9999))));
    let twice =
        format!("{}.{}", encode(&by_kid("ES256", &trusted.key.kid())), URL_SAFE_NO_PAD.encode("{\"exp\":1,\"exp\":2}"));
    let signature = URL_SAFE_NO_PAD.encode(trusted.key.sign("ES256", twice.as_bytes()));
    assert_eq!(registry.refuses(&format!("{twice}.{signature}")), TokenRefused::Claims);
}

#[test]
fn claims_have_a_minute_of_leeway() {
    let trusted = root(authority("trusted", None));
    let registry = Trusting::bundle(&[&trusted]);
    let at = |member: &str, seconds: i64| {
        let claims = claims_with(member, json!(NOW + seconds));
        registry.verify(&token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), &claims)).err()
    };
    assert_eq!(at("exp", -60), None);
    assert_eq!(at("exp", -61), Some(TokenRefused::Expired));
    assert_eq!(at("nbf", 60), None);
    assert_eq!(at("nbf", 61), Some(TokenRefused::NotYetValid));
    // A remembered token keeps the leeway and no more.
    let one = token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), &claims());
    registry.accepts(&one);
    assert!(registry.verifier.verify(&one, later(360)).is_ok());
    assert_eq!(registry.verifier.verify(&one, later(361)).err(), Some(TokenRefused::Expired));
}

/// T06: form and size.
#[test]
fn what_is_no_token_costs_nothing() {
    let trusted = root(authority("trusted", None));
    let registry = Trusting::bundle(&[&trusted]);
    let started = Instant::now();
    assert_eq!(registry.refuses(&".".repeat(MAX_TOKEN_BYTES + 1)), TokenRefused::TooLong);
    assert_eq!(registry.refuses(&".".repeat(MAX_TOKEN_BYTES)), TokenRefused::Form);
    assert_eq!(registry.refuses(&"a".repeat(MAX_TOKEN_BYTES)), TokenRefused::Form);
    assert!(started.elapsed().as_millis() < 50, "{:?}", started.elapsed());
    let good = token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), &claims());
    for bad in [
        String::new(),
        "a.b".into(),
        format!(" {good}"),
        format!("{good}="),
        format!("{good}.x"),
        good.replace('.', ".."),
    ] {
        assert!(matches!(registry.refuses(&bad), TokenRefused::Form | TokenRefused::Header), "{bad}");
    }
    // The last character of a signature holds four bits of nothing: they must be zero.
    let last = good.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let sloppy = format!("{}{next}", &good[..good.len() - 1]);
    assert_eq!(registry.refuses(&sloppy), TokenRefused::Form);
    let list = format!("{}.{}", URL_SAFE_NO_PAD.encode("[1]"), encode(&claims()));
    assert_eq!(registry.refuses(&format!("{list}.AAAA")), TokenRefused::Header);
}

#[test]
fn a_changed_bundle_forgets_every_token() {
    let (old, new) = (root(authority("old", None)), root(authority("new", None)));
    let registry = Trusting::bundle(&[&old]);
    let of_old = token(&old.key, &chained("ES256", &[&old]), &claims());
    let of_new = token(&new.key, &chained("ES256", &[&new]), &claims());
    registry.accepts(&of_old);
    assert!(registry.verify(&of_new).is_err());
    write_bundle(&registry.directory, &[&new]);
    registry.verifier.trust().refresh();
    assert!(registry.verify(&of_old).is_err());
    registry.accepts(&of_new);
    // A bundle that cannot be read changes nothing.
    std::fs::write(registry.directory.path().join("bundle.pem"), "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    registry.verifier.trust().refresh();
    registry.accepts(&of_new);
}

#[test]
fn key_sets_name_their_keys() {
    let (p256, p384, ed25519, rsa) = (Key::p256(), Key::p384(), Key::ed25519(), Key::rsa());
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let point = |key: &Key, size: usize| {
        let raw = key.pair.public_key_raw().to_vec();
        (b64(&raw[1..=size]), b64(&raw[1 + size..]))
    };
    let ((x, y), (x384, y384)) = (point(&p256, 32), point(&p384, 48));
    let spki = rsa.spki();
    let (modulus, exponent) = rsa_numbers(&spki);
    let registry = Trusting::keys(&json!({"keys": [
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "chosen", "use": "sig"},
        {"kty": "EC", "crv": "P-384", "x": x384, "y": y384, "alg": "ES384"},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(ed25519.pair.public_key_raw()), "kid": "ed", "key_ops": ["verify"]},
        {"kty": "RSA", "n": b64(&modulus), "e": b64(&exponent), "kid": "rsa", "alg": "PS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "encryption", "use": "enc"},
        {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "wrong", "alg": "HS256"},
    ]}));
    registry.accepts(&token(&p256, &by_kid("ES256", "chosen"), &claims()));
    registry.accepts(&token(&p256, &by_kid("ES256", &p256.kid()), &claims()));
    registry.accepts(&token(&p384, &by_kid("ES384", &p384.kid()), &claims()));
    registry.accepts(&token(&ed25519, &by_kid("EdDSA", "ed"), &claims()));
    registry.accepts(&token(&rsa, &by_kid("PS256", "rsa"), &claims()));
    assert_eq!(registry.refuses(&token(&rsa, &by_kid("RS256", "rsa"), &claims())), TokenRefused::UnknownKey);
    for kid in ["secret", "encryption", "wrong"] {
        assert_eq!(
            registry.refuses(&token(&p256, &by_kid("ES256", kid), &claims())),
            TokenRefused::UnknownKey,
            "{kid}"
        );
    }
    // Without a bundle no chain leads anywhere.
    let alone = root(named("leaf"));
    assert!(matches!(
        registry.refuses(&token(&alone.key, &chained("ES256", &[&alone]), &claims())),
        TokenRefused::Chain(_)
    ));
}

/// Keys of these sizes are nothing that ring makes or signs with, so tokens and public halves lie in a file; nobody kept the private ones.
#[test]
fn rsa_keys_have_as_many_bits_as_the_limits_say_and_no_more_and_no_less() {
    let made: Vec<Value> = serde_json::from_str(include_str!("../testing/rsa-sizes.json")).unwrap();
    let seen: Vec<_> = made.iter().map(|made| made["bits"].as_u64().unwrap()).collect();
    assert_eq!(seen, [2047, 2048, 8192, 8193]);
    for made in made {
        let (kid, token) = (made["bits"].to_string(), made["token"].as_str().unwrap());
        let registry = Trusting::keys(&json!({"keys": [{"kty": "RSA", "n": made["n"], "e": "AQAB", "kid": kid}]}));
        let believed = RSA_BITS.contains(&kid.parse().unwrap());
        let expected = if believed { None } else { Some(TokenRefused::UnknownKey) };
        assert_eq!(registry.verify(token).err(), expected, "{kid} bits");
        // ring looks at whole bytes: 2047 bits are enough for it, and only our own look refuses them.
        let (head, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{head}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
        let expected = if believed { TokenRefused::Signature } else { TokenRefused::UnknownKey };
        assert_eq!(registry.refuses(&forged), expected, "{kid} bits");
    }
}

/// The other of the two signatures that ECDSA has for every message: s replaced by n − s. Some signer always makes either.
#[test]
fn a_high_s_is_as_good_as_a_low_one() {
    const ORDER_OF_P256: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let trusted = root(authority("trusted", None));
    let registry = Trusting::bundle(&[&trusted]);
    let one = token(&trusted.key, &by_kid("ES256", &trusted.key.kid()), &claims());
    let (head, signature) = one.rsplit_once('.').unwrap();
    let mut mirrored = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (digit, own) in ORDER_OF_P256.iter().zip(&mut mirrored[32..]).rev() {
        let difference = i16::from(*digit) - i16::from(*own) - borrow;
        borrow = i16::from(difference < 0);
        *own = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let other = format!("{head}.{}", URL_SAFE_NO_PAD.encode(mirrored));
    assert_ne!(one, other);
    registry.accepts(&one);
    registry.accepts(&other);
}

fn rsa_numbers(spki: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};
    let (_, parsed) = SubjectPublicKeyInfo::from_der(spki).unwrap();
    let Ok(PublicKey::RSA(rsa)) = parsed.parsed() else { panic!("not RSA") };
    (rsa.modulus.strip_prefix(&[0]).unwrap_or(rsa.modulus).to_vec(), rsa.exponent.to_vec())
}

#[test]
fn a_fetched_key_set_counts_from_when_it_comes() {
    let key = Key::p256();
    let raw = key.pair.public_key_raw().to_vec();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&raw[1..33]), URL_SAFE_NO_PAD.encode(&raw[33..]));
    let trust = TrustStore::open(None, None, now()).unwrap();
    let registry = Trusting::with(tempfile::tempdir().unwrap(), trust);
    let signed = token(&key, &by_kid("ES256", "k"), &claims());
    assert_eq!(registry.refuses(&signed), TokenRefused::UnknownKey);
    let document = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k"}]});
    registry.verifier.trust().take_fetched(document.to_string().as_bytes()).unwrap();
    registry.accepts(&signed);
    assert!(registry.verifier.trust().take_fetched(b"{}").is_err());
    registry.accepts(&signed);
}
