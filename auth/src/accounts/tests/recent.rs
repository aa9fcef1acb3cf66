//! Whatever was read a moment ago: a change counts at once, and so does the time.

use std::time::Duration;

use super::fixture::{Fixture, new_credential, on_both};
use crate::{
    accounts::{
        credentials::{Credential, NewCredential, OtherKeys},
        principals::Principal,
        rules::{About, Reach},
    },
    permissions::{Subject, Visibility},
};

on_both! {
    a_grant_counts_at_once_and_so_does_its_end
    a_key_counts_until_it_is_revoked_or_ends
    an_account_counts_until_it_is_suspended
    a_new_password_takes_the_place_of_the_old_one
}

const LOOKUP: &str = "0123456789abcdef";

async fn robot_with_key(fixture: &Fixture, life: Option<Duration>) -> (Principal, Credential) {
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let expires_at = life.map(|life| fixture.clock.now() + life);
    let new = NewCredential { lookup: Some(LOOKUP.to_owned()), expires_at, ..new_credential(robot.id) };
    let key = fixture.accounts.add_robot_key(&fixture.actor, new, OtherKeys::Stay).await.unwrap();
    (robot, key)
}

/// How many grants the robot has; None if it counts no more. Asked twice, so that what is kept from the first time answers.
async fn grants(fixture: &Fixture, robot: &Principal, key: &Credential) -> Option<usize> {
    let (about, reach) = (About::Proved(robot.id, key.id), Reach::repositories(["acme/web"]));
    let mut answers = Vec::new();
    for _ in 0..2 {
        let situation = fixture.accounts.rules_for(about, &reach).await.unwrap();
        answers.push(situation.map(|situation| (situation.rules.grants.len(), situation.epoch)));
    }
    assert_eq!(answers[0], answers[1]);
    let (grants, epoch) = answers[0]?;
    assert_eq!(epoch, fixture.epoch().await);
    Some(grants)
}

async fn a_grant_counts_at_once_and_so_does_its_end(fixture: &Fixture) {
    let (robot, key) = robot_with_key(fixture, None).await;
    assert_eq!(grants(fixture, &robot, &key).await, Some(0));
    let grant = fixture.grant(Subject::Principal(robot.id.0), "acme/**", "pull").await;
    assert_eq!(grants(fixture, &robot, &key).await, Some(1));
    fixture.accounts.remove_any_rule(&fixture.actor, grant).await.unwrap();
    assert_eq!(grants(fixture, &robot, &key).await, Some(0));
}

async fn a_key_counts_until_it_is_revoked_or_ends(fixture: &Fixture) {
    let (robot, key) = robot_with_key(fixture, Some(Duration::from_secs(60))).await;
    for _ in 0..2 {
        assert!(fixture.accounts.credential_with_lookup(LOOKUP).await.unwrap().is_some());
        assert_eq!(fixture.accounts.claimed("robot.acme.ci").await.unwrap().unwrap().proofs.len(), 1);
    }
    assert!(grants(fixture, &robot, &key).await.is_some());
    fixture.pass(Duration::from_secs(61));
    assert_eq!(grants(fixture, &robot, &key).await, None, "nobody changed anything, but its time is over");
    assert!(fixture.accounts.claimed("robot.acme.ci").await.unwrap().unwrap().proofs.is_empty());
    fixture.accounts.revoke_credential(&fixture.actor, robot.id, key.id).await.unwrap();
    assert!(fixture.accounts.credential_with_lookup(LOOKUP).await.unwrap().unwrap().credential.revoked_at.is_some());
}

async fn an_account_counts_until_it_is_suspended(fixture: &Fixture) {
    let (robot, key) = robot_with_key(fixture, None).await;
    assert!(grants(fixture, &robot, &key).await.is_some());
    fixture.accounts.suspend(&fixture.actor, robot.id).await.unwrap();
    assert_eq!(grants(fixture, &robot, &key).await, None);
    fixture.accounts.resume(&fixture.actor, robot.id).await.unwrap();
    assert!(grants(fixture, &robot, &key).await.is_some());
}

async fn a_new_password_takes_the_place_of_the_old_one(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let old = fixture.password("alice").await;
    assert_eq!(fixture.password("ALICE").await, old, "in any spelling");
    fixture.accounts.set_password(&fixture.actor, alice.id, "argon2 of another".to_owned()).await.unwrap();
    assert_ne!(fixture.password("alice").await, old);
    fixture.accounts.delete_principal(&fixture.actor, alice.id).await.unwrap();
    assert!(fixture.accounts.claimed("alice").await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_token_needs_is_asked_once() {
    let fixture = Fixture::sqlite().await;
    let (robot, key) = robot_with_key(&fixture, None).await;
    let (about, reach) = (About::Proved(robot.id, key.id), Reach::repositories(["acme/web"]));
    for _ in 0..2 {
        assert!(fixture.accounts.credential_with_lookup(LOOKUP).await.unwrap().is_some());
        assert!(fixture.accounts.claimed("robot.acme.ci").await.unwrap().is_some());
        assert!(fixture.accounts.rules_for(about, &reach).await.unwrap().is_some());
        fixture.close().await;
    }
    fixture.clear().await;
}
