//! Changes under a condition: what somebody has seen is still so in the operation that changes it, or nothing happens.

use super::fixture::{Fixture, new_credential, on_both};
use crate::{
    accounts::{
        Accounts, Error, Refusal,
        names::NamespaceName,
        versions::{Seen, Thing},
    },
    permissions::{Subject, Visibility},
};

on_both! {
    what_was_made_anew_is_not_what_was_seen
    t13_what_is_anothers_is_missing_whatever_was_seen
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Between the look and the change the namespace goes, and another gets its name: operations go by the name, and must not take one for the other.
async fn what_was_made_anew_is_not_what_was_seen(fixture: &Fixture) {
    let acme: NamespaceName = "acme".parse().unwrap();
    let seen = fixture.namespace("acme", Visibility::Private).await;
    fixture.accounts.delete_namespace(&fixture.actor, &acme).await.unwrap();
    let conditions = [Seen::Something, Seen::OneOf(vec![seen.version().as_str().to_owned()])];
    let if_as = |seen_as: &Seen| fixture.accounts.only_if(Thing::Namespace(seen.id), Some(seen_as.clone()));
    for seen_as in &conditions {
        let deleted = if_as(seen_as).delete_namespace(&fixture.actor, &acme).await;
        assert_eq!(refused(deleted), Refusal::Changed, "it went after it was looked at");
    }
    let anew = fixture.namespace("acme", Visibility::Private).await;
    for seen_as in &conditions {
        let opened = if_as(seen_as).set_visibility(&fixture.actor, &acme, Visibility::Public).await;
        assert_eq!(refused(opened), Refusal::Changed);
        assert_eq!(refused(if_as(seen_as).delete_namespace(&fixture.actor, &acme).await), Refusal::Changed);
    }
    assert_eq!(fixture.accounts.namespace(&acme).await.unwrap(), Some(anew));
    // Accounts are changed by number, and are told to have gone as well.
    let alice = fixture.user("alice").await;
    fixture.accounts.delete_principal(&fixture.actor, alice.id).await.unwrap();
    let accounts = fixture.accounts.only_if(Thing::Principal(alice.id), Some(Seen::Something));
    assert_eq!(refused(accounts.suspend(&fixture.actor, alice.id).await), Refusal::Changed);
}

/// T13: a number is anybody's guess, and so is a version.
async fn t13_what_is_anothers_is_missing_whatever_was_seen(fixture: &Fixture) {
    let (acme, beta) =
        (fixture.namespace("acme", Visibility::Private).await, fixture.namespace("beta", Visibility::Private).await);
    let (alice, bob) = (fixture.user("alice").await, fixture.user("bob").await);
    let theirs = fixture.accounts.create_token(&fixture.actor, new_credential(bob.id)).await.unwrap();
    let grant = fixture.grant(Subject::Everyone, "beta/**", "pull").await;
    let rule = fixture.accounts.rule(Some(beta.id), grant).await.unwrap().unwrap();
    let conditions = [
        None,
        Some(Seen::Something),
        Some(Seen::OneOf(vec!["x".to_owned()])),
        Some(Seen::OneOf(vec![theirs.version().as_str().to_owned(), rule.version().as_str().to_owned()])),
    ];
    let if_as = |thing: Thing, seen: &Option<Seen>| -> Accounts { fixture.accounts.only_if(thing, seen.clone()) };
    for seen in &conditions {
        let accounts = if_as(Thing::Credential(alice.id, theirs.id), seen);
        let revoked = accounts.revoke_credential(&fixture.actor, alice.id, theirs.id).await;
        assert_eq!(refused(revoked), Refusal::CredentialUnknown, "{seen:?}");
        let accounts = if_as(Thing::Rule(Some(acme.id), grant), seen);
        let removed = accounts.remove_rule(&fixture.actor, acme.id, grant).await;
        assert_eq!(refused(removed), Refusal::GrantUnknown, "{seen:?}");
    }
    // Whose they are says the same of what was seen, and is heard.
    let stale = Some(Seen::OneOf(vec!["x".to_owned()]));
    let accounts = if_as(Thing::Credential(bob.id, theirs.id), &stale);
    assert_eq!(refused(accounts.revoke_credential(&fixture.actor, bob.id, theirs.id).await), Refusal::Changed);
    let accounts = if_as(Thing::Rule(Some(beta.id), grant), &stale);
    assert_eq!(refused(accounts.remove_rule(&fixture.actor, beta.id, grant).await), Refusal::Changed);
}
