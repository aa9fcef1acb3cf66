//! Tokens and failed logins in the audit.

use std::time::Duration;

use serde_json::{Value, json};
use shared::on;

use super::fixture::{Fixture, on_both};
use crate::accounts::events::{FailedLogin, IssuedToken};

on_both! {
    tokens_and_failed_logins_are_written_together_afterwards
    t49_an_unknown_name_is_not_written_down
    what_the_database_did_not_take_is_kept
}

pub(super) fn token(fixture: &Fixture, requested: &str, granted: &str) -> IssuedToken {
    IssuedToken {
        at: fixture.clock.now(),
        principal: None,
        handle: String::new(),
        credential: None,
        address: Some("192.0.2.1".parse().unwrap()),
        service: "registry.test".to_owned(),
        id: "jti".to_owned(),
        requested: requested.to_owned(),
        granted: granted.to_owned(),
        whole: requested == granted,
        request: None,
    }
}

pub(super) fn failure(name: &str) -> FailedLogin {
    FailedLogin {
        name: Some(name.to_owned()),
        pseudonym: "0123".to_owned(),
        address: Some("192.0.2.1".parse().unwrap()),
        reason: "wrong",
    }
}

/// What the audit says of events of that name: outcome and body.
async fn audit(fixture: &Fixture, event: &str) -> Vec<(String, Value)> {
    let mut reader = fixture.accounts.database.reader().await.unwrap();
    let rows: Vec<(String, String)> =
        on!(reader, c => sqlx::query_as("SELECT outcome, body FROM audit WHERE event = $1 ORDER BY id")
        .bind(event).fetch_all(c).await)
        .unwrap();
    rows.into_iter().map(|(outcome, body)| (outcome, serde_json::from_str(&body).unwrap())).collect()
}

async fn tokens_and_failed_logins_are_written_together_afterwards(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let pull = "repository:acme/web:pull";
    let hers = IssuedToken { principal: Some(alice.id), handle: "alice".into(), ..token(fixture, pull, pull) };
    fixture.accounts.note_token(hers);
    fixture.accounts.note_token(token(fixture, "repository:acme/web:pull,push", pull));
    for _ in 0..3 {
        fixture.accounts.note_failed_login(failure("alice"));
    }
    fixture.accounts.note_failed_login(FailedLogin { name: None, ..failure("") });
    assert!(audit(fixture, "token.issue").await.is_empty(), "off the request path");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.accounts.flush_events().await.unwrap();
    fixture.accounts.flush_events().await.unwrap();

    let [(outcome, issued)] = &audit(fixture, "token.issue").await[..] else { panic!("one token") };
    assert_eq!((outcome.as_str(), &issued["target"]), ("done", &json!("registry.test")));
    assert_eq!(issued["actor"], json!({ "id": alice.id, "name": "alice", "credential": null }));
    assert_eq!(issued["details"], json!({ "token": "jti", "requested": pull, "granted": pull }));
    assert_eq!((&issued["at"], &issued["address"]), (&json!("2027-01-15T08:00:00Z"), &json!("192.0.2.1")));
    let [(outcome, reduced)] = &audit(fixture, "token.deny").await[..] else { panic!("one that grants less") };
    assert_eq!((outcome.as_str(), &reduced["actor"]["name"]), ("refused", &json!("anonymous")));
    let failed = audit(fixture, "login.fail").await;
    let mut told: Vec<_> = failed.iter().map(|(_, body)| (&body["target"], &body["details"]["times"])).collect();
    told.sort_by_key(|(target, _)| target.to_string());
    assert_eq!(told, [(&json!("alice"), &json!(3)), (&json!("unnamed"), &json!(1))]);
}

async fn t49_an_unknown_name_is_not_written_down(fixture: &Fixture) {
    fixture.accounts.note_failed_login(failure("hunter2, typed into the wrong field"));
    fixture.accounts.flush_events().await.unwrap();
    let [(outcome, failed)] = &audit(fixture, "login.fail").await[..] else { panic!("one event") };
    assert_eq!((outcome.as_str(), &failed["target"]), ("refused", &json!("unknown:0123")));
    assert!(!failed.to_string().contains("hunter2"), "{failed}");
}

async fn what_the_database_did_not_take_is_kept(fixture: &Fixture) {
    fixture.close().await;
    fixture.accounts.note_token(token(fixture, "", ""));
    fixture.accounts.note_failed_login(failure("alice"));
    for _ in 0..2 {
        fixture.accounts.flush_events().await.unwrap_err();
        assert_eq!(fixture.accounts.waiting_events(), (1, 1));
    }
}
