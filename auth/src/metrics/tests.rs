//! What is told, line by line.

use std::time::Duration;

use shared::{clock::Timestamp, logins::queue::Times};

use super::*;
use crate::accounts::{
    census::{Census, OfKind},
    credentials::CredentialKind,
    signing::KeyState,
    tests::fixture::{Fixture, new_credential, on_both},
};

on_both! {
    what_counts_is_counted
}

fn told(metrics: &Metrics) -> String {
    metrics.text(Times { hashes: 3, took: Duration::from_millis(90), waiting: 2 })
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|written| written == *line), "{line}\n{text}");
    }
}

#[test]
fn counters_are_told_by_kind_and_by_cause() {
    let metrics = Metrics::default();
    metrics.token(Shown::RobotKey, false, false);
    metrics.token(Shown::Password, true, true);
    metrics.refused(Cause::NotSigned);
    metrics.login_failed(Cause::Throttled);
    metrics.login_failed(Cause::Throttled);
    metrics.request(Route::Token, Ended::Refused, Duration::from_millis(1500));
    let text = told(&metrics);
    has(
        &text,
        &[
            "# TYPE portreeve_auth_tokens_total counter",
            "portreeve_auth_tokens_total{kind=\"robot_key\"} 1",
            "portreeve_auth_tokens_total{kind=\"anonymous\"} 0",
            "portreeve_auth_tokens_reduced_total 1",
            "portreeve_auth_identity_tokens_total 1",
            "portreeve_auth_tokens_refused_total{cause=\"not_signed\"} 1",
            "portreeve_auth_logins_failed_total{cause=\"throttled\"} 2",
            "portreeve_auth_password_hashes_total 3",
            "portreeve_auth_password_hash_seconds_total 0.09",
            "portreeve_auth_passwords_waiting 2",
            "portreeve_auth_requests_total{route=\"token\",ended=\"refused\"} 1",
            "portreeve_auth_request_seconds_total{route=\"token\"} 1.5",
        ],
    );
    for absent in ["portreeve_auth_directory", "revocations_read", "audit"] {
        assert!(!text.contains(absent), "what is not known is no zero: {text}");
    }
}

#[test]
fn directories_are_told_by_the_name_that_settings_gave_them() {
    let metrics = Metrics::default();
    metrics.knows_only(["corp"].into_iter());
    has(&told(&metrics), &["portreeve_auth_directory_sync_stopped{provider=\"corp\"} 0"]);
    assert!(!told(&metrics).contains("synced"), "never is no time");
    metrics.leads(true);
    metrics.asked("corp", Answer::Failed, Duration::from_secs(10));
    metrics.read("corp", Reading::Done, Timestamp::from_seconds(1_800_000_000));
    metrics.read("corp", Reading::Stopped, Timestamp::from_seconds(1_800_000_900));
    metrics.read("corp", Reading::Failed, Timestamp::from_seconds(1_800_001_800));
    has(
        &told(&metrics),
        &[
            "portreeve_auth_directory_leader 1",
            "portreeve_auth_directory_answers_total{provider=\"corp\",answer=\"failed\"} 1",
            "portreeve_auth_directory_answers_total{provider=\"corp\",answer=\"proved\"} 0",
            "portreeve_auth_directory_seconds_total{provider=\"corp\"} 10",
            "portreeve_auth_directory_synced_timestamp_seconds{provider=\"corp\"} 1800000000",
            "portreeve_auth_directory_syncs_total{provider=\"corp\",outcome=\"done\"} 1",
            "portreeve_auth_directory_syncs_total{provider=\"corp\",outcome=\"stopped\"} 1",
            "portreeve_auth_directory_syncs_total{provider=\"corp\",outcome=\"failed\"} 1",
            "portreeve_auth_directory_sync_stopped{provider=\"corp\"} 1",
        ],
    );
    metrics.leads(false);
    let text = told(&metrics);
    has(&text, &["portreeve_auth_directory_leader 0", "portreeve_auth_directory_sync_stopped{provider=\"corp\"} 0"]);
    assert!(!text.contains("synced_timestamp"), "another process knows better: {text}");
}

#[test]
fn what_the_database_holds_is_told_as_it_was_seen() {
    let metrics = Metrics::default();
    let at = Timestamp::from_seconds(1_800_000_000);
    metrics.feed_read(at);
    metrics.saw(Census {
        at,
        credentials: vec![OfKind { kind: CredentialKind::RobotKey, live: 7, ending: 2 }],
        unsealed: 5,
        unsealed_for: Duration::from_secs(2),
        head: 41,
        keys: vec![(KeyState::Active, 1)],
        signing_since: Some(at),
        signing_until: None,
        revocations: 9,
    });
    let text = told(&metrics);
    has(
        &text,
        &[
            "portreeve_auth_credentials{kind=\"robot_key\"} 7",
            "portreeve_auth_credentials_ending{kind=\"robot_key\"} 2",
            "portreeve_auth_audit_unsealed 5",
            "portreeve_auth_audit_unsealed_age_seconds 2",
            "portreeve_auth_audit_head 41",
            "portreeve_auth_signing_keys{state=\"active\"} 1",
            "portreeve_auth_signing_key_active_timestamp_seconds 1800000000",
            "portreeve_auth_revocations_head 9",
            "portreeve_auth_revocations_read_timestamp_seconds 1800000000",
            "portreeve_auth_looked_timestamp_seconds 1800000000",
        ],
    );
    assert!(!text.contains("key_expiry"), "a key that was brought has no certificate of ours: {text}");
}

async fn what_counts_is_counted(fixture: &Fixture) {
    let (alice, bob) = (fixture.user("alice").await, fixture.user("bob").await);
    let day = Duration::from_secs(24 * 3600);
    for days in [1, 6, 8] {
        let mut new = new_credential(alice.id);
        new.expires_at = Some(fixture.clock.now() + day * days);
        fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
    }
    fixture.token(&bob).await;
    let of = async |kind| {
        let census = fixture.accounts.census().await.unwrap();
        let of = *census.credentials.iter().find(|of| of.kind == kind).unwrap();
        (of.live, of.ending)
    };
    assert_eq!(of(CredentialKind::Pat).await, (4, 2));
    assert_eq!((of(CredentialKind::Password).await, of(CredentialKind::RobotKey).await), ((2, 0), (0, 0)));
    fixture.pass(day * 2);
    assert_eq!(of(CredentialKind::Pat).await, (3, 2), "one has ended, and another ends within the week by now");
    fixture.accounts.suspend(&fixture.actor, bob.id).await.unwrap();
    assert_eq!(of(CredentialKind::Pat).await, (2, 2), "nothing of somebody who is suspended counts");
    let census = fixture.accounts.census().await.unwrap();
    assert!(census.unsealed > 5 && census.unsealed_for == day * 2, "{census:?}");
    assert_eq!((census.head, census.revocations), (0, fixture.epoch().await));
}
