//! What goes on while a directory is away, or shows nothing of what it has; and what waits for it.

use std::time::Duration;

use shared::secret::Secret;

use super::{AWAY, Door, GROUPS_LAST, HIDDEN, NO_GROUP, NO_GROUPS, NOBODY, REMEMBERED_FOR, unavailable};
use crate::{
    accounts::{
        ServiceId,
        credentials::CredentialKind,
        principals::{AccountState, Principal},
        tests::fixture::{Fixture, new_credential, on_both},
    },
    identity::{Attempt, Identity, NotIdentified, Peer},
    permissions::Catalog,
    secrets::{SecretKind, mint},
};

on_both! {
    tokens_go_on_while_the_directory_is_away_and_passwords_wait
    groups_that_are_not_shown_are_no_fewer_rights
    who_is_not_shown_is_not_gone
}

/// Somebody with a password of the directory, what `docker login` keeps instead of it, and a token of their own.
struct Person {
    account: Principal,
    kept: Secret<String>,
    service: ServiceId,
    token: Secret<String>,
}

impl Person {
    async fn of(fixture: &Fixture, door: &Door) -> Self {
        let alice = door.sign_in("alice").await.unwrap();
        let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
        let kept =
            door.identities.keep_identity(&alice, service, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();
        let secret = mint(SecretKind::PersonalToken);
        let mut new = new_credential(alice.principal.id);
        new.lookup = Some(secret.lookup);
        new.verifier = door.identities.keys().current().verifier(secret.text.expose());
        fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
        Self { account: alice.principal, kept, service, token: secret.text }
    }

    async fn shows_what_is_kept(&self, door: &Door) -> Result<Identity, NotIdentified> {
        let peer = Peer::Address("192.0.2.1".parse().unwrap());
        let attempt = Attempt { username: None, secret: &self.kept, service: Some(self.service), peer };
        door.identities.identify(&attempt).await
    }

    async fn state(&self, fixture: &Fixture) -> AccountState {
        fixture.accounts.principal(self.account.id).await.unwrap().unwrap().state
    }
}

/// The groups are older than an hour: a password and what stands for one wait for the directory, a token does not.
async fn tokens_go_on_while_the_directory_is_away_and_passwords_wait(fixture: &Fixture) {
    let door = Door::with_groups(fixture).await;
    door.is_in(1);
    let alice = Person::of(fixture, &door).await;
    fixture.pass(GROUPS_LAST + Duration::from_secs(1));
    // It says nothing at all; and it proves the password and says nothing of groups.
    for (state, group) in [(AWAY, 1), (0, 0)] {
        door.is(state);
        door.is_in(group);
        let before = door.asked();
        let shown = door.show(Some("alice"), alice.token.expose()).await.unwrap();
        assert_eq!((shown.kind, shown.principal.id), (CredentialKind::Pat, alice.account.id));
        assert_eq!(door.asked(), before, "nobody is asked for a token");
        assert_eq!(door.groups(fixture, alice.account.id).await, ["cn=g1"], "with what was known last");
        assert!(unavailable(&door.sign_in("alice").await), "the password waits");
        assert!(unavailable(&alice.shows_what_is_kept(&door).await), "and so does what stands for it");
        assert_eq!(alice.state(fixture).await, AccountState::Active);
    }
    door.is_in(2);
    door.sign_in("alice").await.unwrap();
    alice.shows_what_is_kept(&door).await.unwrap();
    assert_eq!(door.groups(fixture, alice.account.id).await, ["cn=g2"]);
}

/// Whoever may no longer read groups is told that there are none.
async fn groups_that_are_not_shown_are_no_fewer_rights(fixture: &Fixture) {
    let door = Door::with_groups(fixture).await;
    door.is_in(1);
    let alice = Person::of(fixture, &door).await;
    fixture.pass(REMEMBERED_FOR);
    door.is_in(NO_GROUPS);
    door.sign_in("alice").await.unwrap();
    assert_eq!(door.groups(fixture, alice.account.id).await, ["cn=g1"], "those of the last hour hold");
    fixture.pass(GROUPS_LAST);
    assert!(unavailable(&door.sign_in("alice").await));
    assert!(unavailable(&alice.shows_what_is_kept(&door).await));
    assert_eq!(door.groups(fixture, alice.account.id).await, ["cn=g1"]);
    // There are groups, and she is in none: that is an answer.
    door.is_in(NO_GROUP);
    door.sign_in("alice").await.unwrap();
    assert_eq!(door.groups(fixture, alice.account.id).await, [""; 0]);
}

/// Whoever may no longer read users is told that there is nobody.
async fn who_is_not_shown_is_not_gone(fixture: &Fixture) {
    let door = Door::with_groups(fixture).await;
    door.is_in(1);
    let alice = Person::of(fixture, &door).await;
    fixture.pass(GROUPS_LAST);
    door.is(HIDDEN);
    assert!(unavailable(&door.sign_in("alice").await), "whether the password is right is not known");
    assert!(unavailable(&alice.shows_what_is_kept(&door).await));
    assert_eq!(alice.state(fixture).await, AccountState::Active);
    door.is(NOBODY);
    assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Wrong)));
    assert!(matches!(alice.shows_what_is_kept(&door).await, Err(NotIdentified::Wrong)));
    assert_eq!(alice.state(fixture).await, AccountState::Disabled);
}
