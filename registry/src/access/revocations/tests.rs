use serde_json::json;

use super::*;
use crate::access::{
    testing::{self, ISSUER, SERVICE, authority, chained, claims_with, later, leaf, now, root},
    trust::TrustStore,
    verifier::Verifier,
};

/// A token of credential 42 and principal 17, made at epoch 5, and its leaf's id.
fn token(epoch: serde_json::Value) -> (Arc<VerifiedToken>, String) {
    let authority = root(authority("CA", None));
    let leaf = authority.issue(leaf("leaf"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let trust = Arc::new(TrustStore::open(Some(file.path()), None, now()).unwrap());
    let algorithms = crate::access::key::TokenAlgorithm::ALL.to_vec();
    let verifier = Verifier::new(ISSUER.into(), SERVICE.into(), algorithms, trust);
    let mut claims = claims_with("ep", epoch);
    claims["cid"] = json!(42);
    claims["pid"] = json!(17);
    let token = testing::token(&leaf.key, &chained("ES256", &[&leaf]), &claims);
    (verifier.verify(&token, now()).unwrap(), leaf.key.kid())
}

fn row(seq: u64, subject: Revoked) -> Revocation {
    Revocation { seq, subject, until: later(300) }
}

#[test]
fn a_row_refuses_older_tokens_of_its_subject() {
    let (token, leaf) = token(json!(5));
    let refused = |subject: Revoked, seq: u64| {
        let revocations = Revocations::default();
        revocations.take(vec![row(seq, subject)], now());
        revocations.refuse(&token, ["acme", "base"].into_iter())
    };
    for subject in [
        Revoked::Credential(42),
        Revoked::Principal(17),
        Revoked::Leaf(leaf),
        Revoked::Everyone,
        Revoked::Namespace("base".into()),
    ] {
        assert!(refused(subject.clone(), 6), "{subject:?}");
        assert!(!refused(subject.clone(), 5), "{subject:?} is known to the token");
    }
    for other in [
        Revoked::Credential(17),
        Revoked::Principal(42),
        Revoked::Leaf("other".into()),
        Revoked::Namespace("acme2".into()),
    ] {
        assert!(!refused(other.clone(), 6), "{other:?}");
    }
}

#[test]
fn a_token_without_an_epoch_has_seen_nothing() {
    let (token, _) = token(serde_json::Value::Null);
    let revocations = Revocations::default();
    assert!(!revocations.refuse(&token, std::iter::empty()));
    revocations.take(vec![row(1, Revoked::Everyone)], now());
    assert!(revocations.refuse(&token, std::iter::empty()));
}

#[test]
fn rows_are_forgotten_when_their_last_token_has_expired() {
    let (token, _) = token(json!(5));
    let revocations = Revocations::default();
    revocations.take(vec![row(7, Revoked::Everyone), row(6, Revoked::Everyone)], now());
    assert_eq!(revocations.last(), 7);
    revocations.take(Vec::new(), later(300));
    assert!(revocations.refuse(&token, std::iter::empty()));
    revocations.take(Vec::new(), later(301));
    assert!(!revocations.refuse(&token, std::iter::empty()));
    assert_eq!(revocations.last(), 7);
}
