use std::time::Duration;

use shared::revocation::Revoked;

use super::fixture::{Fixture, new_credential, new_user, on_both};
use crate::{
    accounts::{
        Error, NamespaceId, Refusal, ServiceId,
        credentials::CredentialKind,
        names::Label,
        principals::{AccountState, Page, PrincipalKind},
        rules::{About, Reach},
    },
    audit::Actor,
    permissions::{Catalog, SystemRole, Visibility},
};

on_both! {
    a_name_in_any_spelling_is_one_account
    t25_users_and_robots_share_one_space_of_names
    of_two_first_starts_one_succeeds
    suspension_refuses_every_credential_and_can_be_undone
    a_deleted_account_frees_its_name_and_passes_nothing_on
    the_last_administrator_stays
    two_administrators_cannot_suspend_each_other
    a_new_password_ends_the_old_one_and_identity_tokens
    losing_a_system_role_is_a_revocation_and_winning_one_is_none
    pages_go_on_where_they_ended
    every_change_leaves_an_event
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn service(fixture: &Fixture) -> ServiceId {
    let name: Label = "portreeve".parse().unwrap();
    fixture.accounts.ensure_service(name, Catalog::Filtered).await.unwrap().id
}

async fn a_name_in_any_spelling_is_one_account(fixture: &Fixture) {
    let alice = fixture.user("Alice").await;
    for spelling in ["alice", "ALICE", "ａｌｉｃｅ"] {
        assert_eq!(fixture.accounts.principal_called(spelling).await.unwrap(), Some(alice.clone()));
        let again = fixture.accounts.create_user(&fixture.actor, new_user(spelling, None, None)).await;
        assert_eq!(refused(again), Refusal::NameTaken(spelling.to_owned()));
    }
    assert_eq!(fixture.accounts.principal_called("bob").await.unwrap(), None);
}

/// A robot's handle is an account's like any other: nothing is inferred from how a name begins.
async fn t25_users_and_robots_share_one_space_of_names(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    assert_eq!((robot.handle.as_str(), robot.kind), ("robot.acme.ci", PrincipalKind::Robot));
    let again = crate::accounts::principals::NewRobot {
        namespace: "acme".parse().unwrap(),
        name: "ci".parse().unwrap(),
        purpose: String::new(),
        expires_at: None,
    };
    assert_eq!(
        refused(fixture.accounts.create_robot(&fixture.actor, again.clone()).await),
        Refusal::NameTaken("robot.acme.ci".into())
    );
    let nowhere = crate::accounts::principals::NewRobot { namespace: "nowhere".parse().unwrap(), ..again };
    assert_eq!(refused(fixture.accounts.create_robot(&fixture.actor, nowhere).await), Refusal::NamespaceUnknown);
}

async fn of_two_first_starts_one_succeeds(fixture: &Fixture) {
    assert!(fixture.accounts.untouched().await.unwrap());
    let first = || fixture.accounts.create_first_user(new_user("admin", Some(SystemRole::Administrator), Some("x")));
    let (one, two) = tokio::join!(first(), first());
    let refusals: Vec<Refusal> =
        [one, two].into_iter().filter_map(Result::err).map(|error| refused::<()>(Err(error))).collect();
    // On PostgreSQL both may pass the look; then the name decides.
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert!(!fixture.accounts.untouched().await.unwrap());
    let admin = fixture.accounts.principal_called("admin").await.unwrap().unwrap();
    assert_eq!(fixture.accounts.claimed("admin").await.unwrap().unwrap().proofs.len(), 1);
    fixture.administrator("other").await;
    fixture.accounts.delete_principal(&fixture.actor, admin.id).await.unwrap();
    let again = fixture.accounts.create_first_user(new_user("admin", None, None)).await;
    assert_eq!(refused(again), Refusal::AlreadyStarted);
}

async fn suspension_refuses_every_credential_and_can_be_undone(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let (password, token) = (fixture.password("alice").await, fixture.token(&alice).await);
    let identity = fixture
        .accounts
        .issue_identity_token(new_credential(alice.id), service(fixture).await, password, None)
        .await
        .unwrap();
    let before = fixture.epoch().await;

    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    for credential in [password, token.id, identity.id] {
        let situation =
            fixture.accounts.rules_for(About::Proved(alice.id, credential), &Reach::everything()).await.unwrap();
        assert!(situation.is_none(), "{credential}");
    }
    assert_eq!(fixture.revoked_after(before).await, [Revoked::Principal(alice.id.0)]);

    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    fixture.accounts.resume(&fixture.actor, alice.id).await.unwrap();
    assert_eq!(fixture.revoked_after(before).await.len(), 1, "twice is once, and resuming takes nothing away");
    for (credential, counts) in [(password, true), (token.id, true), (identity.id, false)] {
        let situation =
            fixture.accounts.rules_for(About::Proved(alice.id, credential), &Reach::everything()).await.unwrap();
        assert_eq!(situation.is_some(), counts, "{credential}");
    }
}

async fn a_deleted_account_frees_its_name_and_passes_nothing_on(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let old = fixture.user("alice").await;
    let token = fixture.token(&old).await;
    fixture.grant(crate::permissions::Subject::Principal(old.id.0), "acme/**", "pull").await;
    fixture.accounts.delete_principal(&fixture.actor, old.id).await.unwrap();
    assert_eq!(refused(fixture.accounts.resume(&fixture.actor, old.id).await), Refusal::PrincipalUnknown);

    let new = fixture.user("alice").await;
    assert_ne!(new.id, old.id);
    let situation = fixture.accounts.rules_for(About::Principal(new.id), &Reach::everything()).await.unwrap().unwrap();
    assert!(situation.rules.grants.is_empty());
    let gone = fixture.accounts.rules_for(About::Proved(old.id, token.id), &Reach::everything()).await.unwrap();
    assert!(gone.is_none());
    assert_eq!(fixture.accounts.principal(old.id).await.unwrap().unwrap().state, AccountState::Deleted);
}

async fn the_last_administrator_stays(fixture: &Fixture) {
    let (one, two) = (fixture.administrator("one").await, fixture.administrator("two").await);
    fixture.accounts.suspend(&fixture.actor, two.id).await.unwrap();
    let accounts = &fixture.accounts;
    assert_eq!(refused(accounts.suspend(&fixture.actor, one.id).await), Refusal::LastAdministrator);
    assert_eq!(refused(accounts.delete_principal(&fixture.actor, one.id).await), Refusal::LastAdministrator);
    assert_eq!(refused(accounts.set_system_role(&fixture.actor, one.id, None).await), Refusal::LastAdministrator);
    accounts.resume(&fixture.actor, two.id).await.unwrap();
    accounts.delete_principal(&fixture.actor, one.id).await.unwrap();
}

async fn two_administrators_cannot_suspend_each_other(fixture: &Fixture) {
    let (one, two) = (fixture.administrator("one").await, fixture.administrator("two").await);
    let (first, second) = tokio::join!(
        fixture.accounts.suspend(&fixture.actor, one.id),
        fixture.accounts.suspend(&fixture.actor, two.id)
    );
    let kept: Vec<Refusal> =
        [first, second].into_iter().filter_map(Result::err).map(|error| refused::<()>(Err(error))).collect();
    assert_eq!(kept, [Refusal::LastAdministrator]);
}

async fn a_new_password_ends_the_old_one_and_identity_tokens(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let (old, token) = (fixture.password("alice").await, fixture.token(&alice).await);
    let identity = fixture
        .accounts
        .issue_identity_token(new_credential(alice.id), service(fixture).await, old, None)
        .await
        .unwrap();
    let before = fixture.epoch().await;

    fixture.accounts.set_password(&fixture.actor, alice.id, "another".into()).await.unwrap();
    assert_ne!(fixture.password("alice").await, old);
    assert_eq!(fixture.revoked_after(before).await, [Revoked::Credential(old.0), Revoked::Credential(identity.id.0)]);
    for (credential, counts) in [(old, false), (identity.id, false), (token.id, true)] {
        let situation =
            fixture.accounts.rules_for(About::Proved(alice.id, credential), &Reach::everything()).await.unwrap();
        assert_eq!(situation.is_some(), counts, "{credential}");
    }
    // A login that was proved by the old password while it was being changed opens nothing.
    let late = fixture.accounts.issue_identity_token(new_credential(alice.id), service(fixture).await, old, None).await;
    assert_eq!(refused(late), Refusal::CredentialUnknown);
}

async fn losing_a_system_role_is_a_revocation_and_winning_one_is_none(fixture: &Fixture) {
    fixture.administrator("root").await;
    let alice = fixture.user("alice").await;
    let before = fixture.epoch().await;
    for role in [Some(SystemRole::Auditor), Some(SystemRole::Administrator)] {
        fixture.accounts.set_system_role(&fixture.actor, alice.id, role).await.unwrap();
    }
    assert_eq!(fixture.revoked_after(before).await, []);
    for role in [Some(SystemRole::Auditor), None] {
        fixture.accounts.set_system_role(&fixture.actor, alice.id, role).await.unwrap();
    }
    assert_eq!(fixture.revoked_after(before).await, [Revoked::Principal(alice.id.0), Revoked::Principal(alice.id.0)]);
}

async fn pages_go_on_where_they_ended(fixture: &Fixture) {
    for handle in ["Carol", "alice", "Bob", "dave"] {
        fixture.user(handle).await;
    }
    let mut seen = Vec::new();
    let mut page = Page { after: None, limit: 3 };
    loop {
        let users = fixture.accounts.accounts(PrincipalKind::User, NamespaceId::SYSTEM, &page).await.unwrap();
        let Some(last) = users.last() else { break };
        page.after = Some(last.principal.handle.clone());
        seen.extend(users.into_iter().map(|user| user.principal.handle));
    }
    assert_eq!(seen, ["alice", "Bob", "Carol", "dave"]);
}

async fn every_change_leaves_an_event(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let alice = fixture.user("alice").await;
    fixture.token(&alice).await;
    let robot = fixture.robot("acme", "ci").await;
    let key = fixture.key(&robot).await;
    fixture.accounts.revoke_credential(&fixture.actor, robot.id, key.id).await.unwrap();
    fixture.accounts.set_password(&Actor::system(), alice.id, "new".into()).await.unwrap();
    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    // What was refused leaves none.
    fixture.accounts.revoke_credential(&fixture.actor, robot.id, key.id).await.unwrap_err();
    let expected = [
        "namespace.create",
        "user.create",
        "credential.create",
        "robot.create",
        "credential.create",
        "credential.revoke",
        "password.set",
        "principal.state",
    ];
    assert_eq!(fixture.events().await, expected);
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.accounts.credentials(robot.id, CredentialKind::RobotKey).await.unwrap().len(), 0);
}
