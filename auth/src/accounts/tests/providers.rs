use shared::revocation::Revoked;

use super::fixture::{Fixture, new_credential, on_both};
use crate::{
    accounts::{
        Error, ProviderId, Refusal,
        credentials::Stored,
        principals::AccountState,
        providers::{Known, Proved, ProviderKind},
    },
    permissions::{Catalog, Visibility},
};

on_both! {
    a_provider_owns_the_names_it_created
    a_provisioned_name_never_meets_an_account_or_a_namespace
    a_password_changed_there_ends_what_the_old_one_opened
    who_is_gone_there_is_disabled_and_who_is_back_is_active
}

async fn provider(fixture: &Fixture) -> ProviderId {
    fixture.accounts.ensure_provider("htpasswd", ProviderKind::Htpasswd).await.unwrap()
}

async fn sign_in(fixture: &Fixture, name: &str, fingerprint: &str) -> Stored {
    let proved = Proved {
        external_id: name.to_owned(),
        external_name: name.to_owned(),
        handle: name.parse().unwrap(),
        display_name: String::new(),
        fingerprint: Some(fingerprint.to_owned()),
    };
    fixture.accounts.provision(provider(fixture).await, proved).await.unwrap()
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
