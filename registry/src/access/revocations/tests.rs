use std::net::IpAddr;

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::json;
use shared::{basic::BasicCredentials, readable::Readable, scope::Scope};
use tokio::{sync::Notify, time::timeout};

use super::*;
use crate::access::{
    companion::{CompanionUnavailable, Exchanged},
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
        let known = !matches!(subject, Revoked::Leaf(_));
        assert_eq!(
            refused(subject.clone(), 5),
            !known,
            "{subject:?}: what a stolen leaf says it knows counts for nothing"
        );
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

/// A companion whose feed is asked and says nothing until it is told to go on; then each answer has one row.
#[derive(Default)]
struct Speechless(Notify);

impl Companion for Speechless {
    fn readable<'a>(
        &'a self,
        _: &'a VerifiedToken,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        async { Err(CompanionUnavailable("not asked here".into())) }.boxed()
    }

    fn exchange<'a>(
        &'a self,
        _: &'a BasicCredentials,
        _: &'a [Scope],
        _: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        async { Ok(Exchanged::Refused) }.boxed()
    }

    fn revocations(&self, after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async move {
            self.0.notified().await;
            Ok(vec![row(after + 1, Revoked::Everyone)])
        }
        .boxed()
    }
}

/// Waits until the feed counts as silent, or no longer does.
async fn until_silent_is(revocations: &Revocations, silent: bool) {
    let becomes = async {
        while revocations.feed_is_silent() != silent {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), becomes).await.unwrap();
}

/// One that refuses connections is found out by its refusals; this one takes the question and hangs.
#[tokio::test]
async fn a_feed_that_hangs_is_an_alarm_after_a_minute_and_goes_on_where_it_was() {
    let (clock, companion) = (Clock::fixed(now()), Arc::new(Speechless::default()));
    let (revocations, stop) = (Arc::new(Revocations::default()), CancellationToken::new());
    let asked = Arc::clone(&companion) as Arc<dyn Companion>;
    let following = tokio::spawn(follow(asked, Arc::clone(&revocations), clock.clone(), stop.clone()));
    companion.0.notify_one();
    timeout(Duration::from_secs(20), async {
        while revocations.last() != 1 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();

    clock.advance(SILENCE - Duration::from_secs(1));
    sleep(2 * PAUSE).await;
    assert!(!revocations.feed_is_silent(), "59 seconds are no alarm");
    clock.advance(Duration::from_secs(1));
    until_silent_is(&revocations, true).await;
    companion.0.notify_one();
    until_silent_is(&revocations, false).await;
    assert_eq!(revocations.last(), 2);
    stop.cancel();
    following.await.unwrap();
}
