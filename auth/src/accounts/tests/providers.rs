use shared::revocation::Revoked;

use super::fixture::{Fixture, new_credential, on_both};
use crate::{
    accounts::{
        Error, ProviderId, Refusal,
        credentials::Stored,
        memberships::Said,
        principals::AccountState,
        providers::{
            Known, Proved, ProviderKind, ProviderState,
            added::{NewDirectory, Removed},
        },
    },
    audit::Actor,
    permissions::{Catalog, Visibility},
};

on_both! {
    a_provider_owns_the_names_it_created
    a_provisioned_name_never_meets_an_account_or_a_namespace
    a_password_changed_there_ends_what_the_old_one_opened
    who_is_gone_there_is_disabled_and_who_is_back_is_active
    nobody_comes_in_by_a_directory_that_was_removed
}

async fn provider(fixture: &Fixture) -> ProviderId {
    fixture.accounts.ensure_provider("htpasswd", ProviderKind::Htpasswd).await.unwrap()
}

async fn sign_in(fixture: &Fixture, name: &str, fingerprint: &str) -> Stored {
    fixture.accounts.provision(provider(fixture).await, proved(name, fingerprint)).await.unwrap()
}

fn proved(name: &str, fingerprint: &str) -> Proved {
    Proved {
        external_id: name.to_owned(),
        external_name: name.to_owned(),
        handle: name.parse().unwrap(),
        display_name: String::new(),
        fingerprint: Some(fingerprint.to_owned()),
    }
}

fn known(name: &str, fingerprint: &str) -> Known {
    Known { external_id: name.to_owned(), fingerprint: fingerprint.to_owned() }
}

async fn a_provider_owns_the_names_it_created(fixture: &Fixture) {
    let first = sign_in(fixture, "alice", "f1").await;
    let again = sign_in(fixture, "alice", "f1").await;
    assert_eq!((first.principal.id, first.credential.id), (again.principal.id, again.credential.id));
    assert!(fixture.accounts.provided(provider(fixture).await, "bob").await.unwrap().is_none());
    let local = fixture.accounts.set_password(&fixture.actor, first.principal.id, "argon2".into()).await;
    assert!(matches!(local, Err(Error::Refused(Refusal::ForeignPassword(name))) if name == "htpasswd"));
}

async fn a_provisioned_name_never_meets_an_account_or_a_namespace(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    fixture.user("Bob").await;
    for (name, handle) in [("acme", "acme-2"), ("bob", "bob-2"), ("ACME", "ACME-3"), ("carol", "carol")] {
        assert_eq!(sign_in(fixture, name, "f").await.principal.handle, handle);
    }
}

async fn a_password_changed_there_ends_what_the_old_one_opened(fixture: &Fixture) {
    let before = sign_in(fixture, "alice", "f1").await;
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let identity = fixture
        .accounts
        .issue_identity_token(new_credential(before.principal.id), service, before.credential.id, None)
        .await
        .unwrap();
    let epoch = fixture.epoch().await;
    fixture.accounts.reconcile(provider(fixture).await, vec![known("alice", "f1")]).await.unwrap();
    assert_eq!(fixture.revoked_after(epoch).await, []);

    fixture.accounts.reconcile(provider(fixture).await, vec![known("alice", "f2")]).await.unwrap();
    let ended = [Revoked::Credential(before.credential.id.0), Revoked::Credential(identity.id.0)];
    assert_eq!(fixture.revoked_after(epoch).await, ended);
    assert_ne!(sign_in(fixture, "alice", "f2").await.credential.id, before.credential.id);
}

async fn who_is_gone_there_is_disabled_and_who_is_back_is_active(fixture: &Fixture) {
    let alice = sign_in(fixture, "alice", "f1").await.principal.id;
    let bob = sign_in(fixture, "bob", "f1").await.principal.id;
    let local = fixture.user("carol").await.id;
    fixture.accounts.suspend(&fixture.actor, bob).await.unwrap();
    let epoch = fixture.epoch().await;
    let states = async || {
        let mut states = Vec::new();
        for id in [alice, bob, local] {
            states.push(fixture.accounts.principal(id).await.unwrap().unwrap().state);
        }
        states
    };

    fixture.accounts.reconcile(provider(fixture).await, vec![]).await.unwrap();
    assert_eq!(states().await, [AccountState::Disabled, AccountState::Suspended, AccountState::Active]);
    assert_eq!(fixture.revoked_after(epoch).await, [Revoked::Principal(alice.0)]);
    fixture.accounts.reconcile(provider(fixture).await, vec![known("alice", "f1"), known("bob", "f1")]).await.unwrap();
    assert_eq!(states().await, [AccountState::Active, AccountState::Suspended, AccountState::Active]);
}

/// Who removes a directory may die before its accounts are disabled: from the removal on nobody comes in, and whoever looks next goes on.
async fn nobody_comes_in_by_a_directory_that_was_removed(fixture: &Fixture) {
    let accounts = &fixture.accounts;
    let new = NewDirectory {
        name: "corp".parse().unwrap(),
        settings: "{}".to_owned(),
        urls: Vec::new(),
        secret: None,
        most: 8,
    };
    let corp = accounts.add_directory(&fixture.actor, new.clone()).await.unwrap();
    let mut ids = Vec::new();
    // More than one operation disables.
    for number in 0..201 {
        ids.push(accounts.provision(corp, proved(&format!("user{number}"), "f")).await.unwrap().principal.id);
    }
    accounts.suspend(&fixture.actor, ids[0]).await.unwrap();
    let removed = accounts.remove_directory(&fixture.actor, "corp").await.unwrap();
    assert_eq!(removed, Removed { accounts: 201, disabled: 200, mappings: 0 });
    let refused = accounts.provision(corp, proved("user1", "f")).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ProviderUnknown))), "{refused:?}");
    let again = accounts.remove_directory(&fixture.actor, "corp").await;
    assert!(matches!(again, Err(Error::Refused(Refusal::ProviderUnknown))), "{again:?}");

    let epoch = fixture.epoch().await;
    let (added, is_removing) = accounts.added_directories().await.unwrap();
    assert!(added.is_empty() && is_removing);
    accounts.disable_removed(&Actor::system()).await.unwrap();
    assert_eq!(accounts.added_directories().await.unwrap(), (Vec::new(), false));
    assert_eq!(fixture.revoked_after(epoch).await.len(), 200, "each is told to registries");
    let state = async |number: usize| accounts.principal(ids[number]).await.unwrap().unwrap().state;
    assert_eq!((state(0).await, state(200).await), (AccountState::Suspended, AccountState::Disabled));
    accounts.enable_provided(corp, "user200", Said::Now).await.unwrap();
    assert_eq!(state(200).await, AccountState::Disabled, "a reading that was under way brings nobody back");
    let listed = accounts.providers().await.unwrap();
    assert_eq!((listed[0].state, listed[0].accounts), (ProviderState::Removed, 201));

    assert_eq!(accounts.add_directory(&fixture.actor, new).await.unwrap(), corp, "it is the same one");
    accounts.enable_provided(corp, "user200", Said::Now).await.unwrap();
    assert_eq!((state(0).await, state(200).await), (AccountState::Suspended, AccountState::Active));
}
