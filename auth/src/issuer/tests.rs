use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;
use shared::access::{Action, Limit, Resource};

use super::*;
use crate::pki::{TokenAuthority, TokenKey};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn issuer_with(directory: &std::path::Path, key: TokenKey) -> Issuer {
    shared::crypto::install();
    let authority = TokenAuthority::open(directory, key, NOW).unwrap();
    Issuer::new("https://auth.example.com", authority.keys(NOW).unwrap())
}

fn issuer() -> Issuer {
    issuer_with(tempfile::tempdir().unwrap().path(), TokenKey::Own)
}

fn robot() -> Bearer {
    Bearer { subject: "robot.acme.ci".into(), principal: Some(17), credential: Some(42), ends: None }
}

fn repository(name: &str) -> Resource {
    Resource::repository(&name.parse().unwrap())
}

fn order(bearer: &Bearer, access: Vec<Access>) -> Order<'_> {
    Order { bearer, audience: "registry.example.com", epoch: 1031, access, short: Vec::new(), life: DEFAULT_LIFE }
}

/// The claims, after the signature was checked with the published key by a library that is not ours.
fn verified(issuer: &Issuer, token: &str) -> Value {
    let keys: JwkSet = serde_json::from_str(&issuer.jwks()).unwrap();
    let header = decode_header(token).unwrap();
    let jwk = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.set_audience(&["registry.example.com"]);
    decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims
}

#[test]
fn a_token_says_what_the_design_says_it_says() {
    let issuer = issuer();
    let mut access = Access::new(repository("acme/web"), [Action::Pull]);
    access.limited = vec![Limit::to_tags([Action::Push], vec!["pr-*".parse().unwrap()])];
    let bearer = robot();
    let issued = issuer.issue(order(&bearer, vec![access]), NOW).unwrap();

    let header = decode_header(&issued.token).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("JWT"), Algorithm::ES256));
    assert_eq!(header.kid.as_deref(), Some(issuer.keys().signing().public().id().as_str()));
    assert_eq!(header.x5c.as_ref().map(Vec::len), Some(1));

    let mut claims = verified(&issuer, &issued.token);
    let id = claims["jti"].take();
    assert_eq!(id.as_str(), Some(issued.id.as_str()));
    assert_eq!(issued.id.len(), 22, "128 bits");
    let expected = json!({
        "iss": "https://auth.example.com", "sub": "robot.acme.ci", "aud": "registry.example.com",
        "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_300, "jti": null,
        "cid": 42, "pid": 17, "ep": 1031,
        "access": [{"type": "repository", "name": "acme/web", "actions": ["pull"],
                    "limited": [{"actions": ["push"], "tags": ["pr-*"]}]}],
    });
    assert_eq!(claims, expected);
}

#[test]
fn anonymous_has_an_empty_subject_and_no_ids() {
    let issuer = issuer();
    let claims = verified(&issuer, &issuer.issue(order(&Bearer::default(), Vec::new()), NOW).unwrap().token);
    assert_eq!(claims["sub"], "");
    assert_eq!(claims["access"], json!([]));
    assert!(claims.get("cid").is_none() && claims.get("pid").is_none());
}

#[test]
fn the_verifier_of_the_other_half_reads_it() {
    let issuer = issuer();
    let bearer = robot();
    let access = vec![Access::new(repository("acme/web"), [Action::Pull, Action::Push])];
    let issued = issuer.issue(order(&bearer, access.clone()), NOW).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(issued.token.split('.').nth(1).unwrap()).unwrap();
    let claims = TokenClaims::parse(&payload).unwrap();
    assert_eq!(claims.access, access);
    assert_eq!(claims.epoch, Some(1031));
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(issued.token.split('.').next().unwrap()).unwrap()).unwrap();
    let x5c: Vec<String> = serde_json::from_value(header["x5c"].clone()).unwrap();
    assert_eq!(shared::x5c::decode(&x5c).unwrap().len(), 1);
}

#[test]
fn a_token_lives_between_a_minute_and_an_hour() {
    let issuer = issuer();
    let bearer = robot();
    for (asked, expected) in [(0, 60), (59, 60), (300, 300), (3600, 3600), (86_400, 3600)] {
        let order = Order { life: Duration::from_secs(asked), ..order(&bearer, Vec::new()) };
        let issued = issuer.issue(order, NOW).unwrap();
        assert_eq!(issued.life, Duration::from_secs(expected));
        let claims = verified(&issuer, &issued.token);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), i64::try_from(expected).unwrap());
    }
}

/// A workload that shows a key of its last two seconds must not go on for five minutes.
#[test]
fn a_token_does_not_outlive_what_was_shown_for_it() {
    let issuer = issuer();
    for (left, expected) in [(2, 2), (59, 59), (300, 300), (301, 300)] {
        let bearer = Bearer { ends: Some(NOW + Duration::from_secs(left)), ..robot() };
        let issued = issuer.issue(order(&bearer, Vec::new()), NOW).unwrap();
        assert_eq!(issued.life, Duration::from_secs(expected));
        let claims = verified(&issuer, &issued.token);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), i64::try_from(expected).unwrap());
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rsa.pem");
    std::fs::write(&path, include_str!("../pki/tests/rsa-2048.pem")).unwrap();
    let bearer = robot();
    for key in [TokenKey::Own, TokenKey::Brought(path)] {
        let issuer = issuer_with(directory.path(), key);
        let long = "a".repeat(200);
        let access: Vec<Access> =
            (0..64).map(|n| Access::new(repository(&format!("acme/{long}{n}")), [Action::Pull])).collect();
        let issued = issuer.issue(order(&bearer, access.clone()), NOW).unwrap();
        assert!(issued.token.len() <= MAX_TOKEN_BYTES, "{}", issued.token.len());
        assert!(issued.token.len() > MAX_TOKEN_BYTES - 400, "it is filled: {}", issued.token.len());
        assert_eq!(issued.access, access[..issued.access.len()]);
        let claims = verified(&issuer, &issued.token);
        assert_eq!(claims["access"].as_array().unwrap().len(), issued.access.len());
    }
}

#[test]
fn a_rotated_key_signs_from_then_on_and_the_old_one_still_verifies() {
    let directory = tempfile::tempdir().unwrap();
    shared::crypto::install();
    let authority = TokenAuthority::open(directory.path(), TokenKey::Own, NOW).unwrap();
    let issuer = Issuer::new("https://auth.example.com", authority.keys(NOW).unwrap());
    let bearer = robot();
    let before = issuer.issue(order(&bearer, Vec::new()), NOW).unwrap().token;
    issuer.rotate(authority.keys(NOW + crate::pki::LEAF_ROTATION).unwrap());
    let after = issuer.issue(order(&bearer, Vec::new()), NOW).unwrap().token;
    assert_ne!(decode_header(&before).unwrap().kid, decode_header(&after).unwrap().kid);
    verified(&issuer, &before);
    verified(&issuer, &after);
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let directory = directory.path().join(name);
        issuer_with(&directory, TokenKey::Own);
        let text = std::fs::read(directory.join("signing.key")).unwrap();
        x509_parser::pem::Pem::iter_from_buffer(&text).map(|block| block.unwrap().contents).collect::<Vec<_>>()
    };
    let (one, other) = (read("one"), read("other"));
    assert!(SigningKey::new(&one[0], &one[1..]).is_ok());
    assert_eq!(SigningKey::new(&one[0], &other[1..]).unwrap_err(), UnusableKey::Mismatch);
    assert_eq!(SigningKey::new(&[], &one[1..]).unwrap_err(), UnusableKey::Private(KeyAlgorithm::Es256));
    assert_eq!(SigningKey::new(&one[0], &[]).unwrap_err(), UnusableKey::Certificate);
    assert_eq!(SigningKey::new(&one[0], &[vec![0x30, 0]]).unwrap_err(), UnusableKey::Certificate);
    assert!(!format!("{:?}", SigningKey::new(&one[0], &one[1..])).contains("Pair"));
}

#[test]
fn an_issuer_recognises_its_own_living_tokens_and_no_others() {
    let (ours, strangers) = (issuer(), issuer());
    let bearer = robot();
    let token = ours.issue(order(&bearer, Vec::new()), NOW).unwrap().token;
    assert_eq!(ours.recognise(&token, NOW).unwrap().principal, Some(17));
    let at = |seconds: i64| ours.recognise(&token, Timestamp::from_seconds(NOW.seconds() + seconds)).is_ok();
    assert!(at(-60) && at(359) && !at(-61) && !at(360));
    assert_eq!(strangers.recognise(&token, NOW), Err(NotOurs));

    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let kid = ours.keys().signing().public().id().as_str().to_owned();
    let other = strangers.issue(order(&bearer, Vec::new()), NOW).unwrap().token;
    let forgeries = [
        String::new(),
        "a.b.c".into(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}.{}.{signature}", encoded(r#"{"iss":"https://auth.example.com"}"#)),
        format!("{}.{claims}.", encoded(&format!(r#"{{"alg":"none","kid":"{kid}"}}"#))),
        format!("{}.{claims}.{signature}", encoded(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#))),
        format!("{}.{claims}.{signature}", encoded(&format!(r#"{{"alg":"ES256","kid":"{kid}","crit":["x"]}}"#))),
        // The stranger's token under our key id: the key that is named must be the key that signed.
        format!("{header}.{}", other.split_once('.').unwrap().1),
        format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES)),
    ];
    for forged in forgeries {
        assert_eq!(ours.recognise(&forged, NOW), Err(NotOurs), "{forged}");
    }
}

/// What explains gives way to what allows.
#[test]
fn a_token_is_never_too_long_for_the_words_in_it() {
    use shared::shortfall::{Sentence, Shortfall};
    let (issuer, bearer) = (issuer(), robot());
    let names = (0..60).map(|number| repository(&format!("acme/{number}")));
    let short = |resource: Resource| Shortfall {
        resource,
        actions: [Action::Delete].into(),
        sentence: Sentence::new(&"because ".repeat(50)),
    };
    let access: Vec<Access> = names.clone().map(|name| Access::new(name, [Action::Pull])).collect();
    let order = Order { short: names.map(short).collect(), ..order(&bearer, access.clone()) };
    let issued = issuer.issue(order, NOW).unwrap();
    assert!(issued.token.len() <= MAX_TOKEN_BYTES, "{}", issued.token.len());
    assert_eq!(issued.access, access, "all that is allowed stands in it");
    let claims = verified(&issuer, &issued.token);
    let said = claims["short"].as_array().map_or(0, Vec::len);
    assert!((1..60).contains(&said), "{said}");
}
