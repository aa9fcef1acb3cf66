//! A real Active Directory, from a sign-in to somebody who is disabled there.

use std::collections::BTreeSet;

use shared::{revocation::Revoked, secret::Secret};

use crate::{
    accounts::{principals::AccountState, providers::ProviderKind, tests::fixture::Fixture},
    identity::{
        Attempt, Examined, Identities, Identity, NotIdentified, Peer, Providers,
        ldap::{
            By, Fault, Ldap, Verdict, What,
            names::Dn,
            tests::samba::{Samba, entry_of, password_of},
        },
        queue::Queue,
    },
    permissions::Visibility,
    secrets::{MasterKey, MasterKeys},
};

struct Domain {
    fixture: Fixture,
    samba: Samba,
    identities: Identities,
}

impl Domain {
    async fn of(samba: Samba, fixture: Fixture) -> Self {
        shared::crypto::install();
        let provider = fixture.accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
        let providers = Providers { htpasswd: None, ldap: vec![Ldap::new(provider, samba.config("ldaps")).unwrap()] };
        let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
        let identities =
            Identities::new(fixture.accounts.clone(), keys, Queue::new(2, 64), providers, fixture.clock.clone());
        fixture.namespace("acme", Visibility::Private).await;
        let team = fixture
            .accounts
            .create_team(&fixture.actor, &"acme".parse().unwrap(), "dev".parse().unwrap())
            .await
            .unwrap();
        let group: Dn = entry_of("everybody").parse().unwrap();
        fixture.accounts.map_group(&fixture.actor, team.id, provider, group.as_str()).await.unwrap();
        Self { fixture, samba, identities }
    }

    async fn sign_in(&self, name: &str, password: &str) -> Result<Identity, NotIdentified> {
        let secret = Secret::from(password);
        let attempt = Attempt { username: Some(name), secret: &secret, service: None, peer: Peer::Socket };
        self.identities.identify(&attempt).await
    }

    async fn members(&self) -> BTreeSet<String> {
        let acme = self.fixture.accounts.namespace(&"acme".parse().unwrap()).await.unwrap().unwrap();
        let team = self.fixture.accounts.team(acme.id, "dev").await.unwrap().unwrap();
        let members = self.fixture.accounts.members(team.id, None, 500).await.unwrap();
        members.into_iter().map(|member| member.handle).collect()
    }

    async fn examine(&self, name: &str, password: &str) -> Examined {
        self.identities.examine("corp", Some(name), Some(&password.into()), Peer::Socket).await.unwrap().unwrap()
    }
}

fn said(seen: &Examined, what: What) -> &Result<String, String> {
    &seen.steps.iter().find(|step| step.what == what).unwrap().said
}

/// One story, because making a domain takes seconds: Alice is in a group in a group in the group that feeds the team.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs samba, root"]
async fn people_of_an_active_directory_sign_in_and_are_followed() {
    let samba = tokio::task::spawn_blocking(Samba::start).await.unwrap();
    for (name, control) in [("Alice", 512), ("bob", 512), ("carol", 514)] {
        samba.add_person(name, control);
    }
    samba.group("developers", &[&entry_of("Alice"), &entry_of("carol")]);
    samba.group("engineers", &[&entry_of("developers")]);
    samba.group("everybody", &[&entry_of("engineers"), &entry_of("bob")]);
    samba.modify(&format!(
        "dn: {}\nchangetype: modify\nadd: member\nmember: {}\n",
        entry_of("developers"),
        entry_of("everybody")
    ));
    let domain = Domain::of(samba, Fixture::sqlite().await).await;

    // By either name, in any spelling; the groups in chains come from the directory, loops and all.
    let alice = domain.sign_in("ALICE@corp.test", &password_of("Alice")).await.unwrap().principal;
    assert_eq!(alice.handle, "alice");
    let seen = domain.examine("alice", &password_of("Alice")).await;
    assert!(seen.is_well(), "{:?}", seen.steps);
    assert!(said(&seen, What::Nesting).as_ref().unwrap().starts_with("inchain: the directory's root says"));
    let chain: Vec<&str> = seen.groups.iter().map(|(group, ..)| group.as_str().split(',').next().unwrap()).collect();
    assert_eq!(chain, ["cn=developers", "cn=engineers", "cn=everybody"]);
    assert!(seen.groups.iter().all(|(_, by, _)| *by == By::InChain));
    assert_eq!(seen.teams(), BTreeSet::from(["acme/dev"]));
    let bob = domain.sign_in("bob", &password_of("bob")).await.unwrap().principal;
    assert_eq!(domain.members().await, ["alice", "bob"].map(str::to_owned).into());

    what_it_refuses_is_told_apart(&domain).await;
    an_account_is_known_by_what_never_changes(&domain).await;

    a_lock_is_no_suspension(&domain).await;

    // Everybody is read from the domain's root, where each page ends with references to other parts of the forest.
    domain.identities.sync().await;
    assert_eq!(domain.members().await.len(), 2);
    let epoch = domain.fixture.epoch().await;
    domain.samba.control("bob", 514);
    domain.identities.sync().await;
    let state = async |id| domain.fixture.accounts.principal(id).await.unwrap().unwrap().state;
    assert_eq!((state(alice.id).await, state(bob.id).await), (AccountState::Active, AccountState::Disabled));
    assert_eq!(domain.fixture.revoked_after(epoch).await, [Revoked::Principal(bob.id.0)]);
    domain.samba.control("bob", 512);
    domain.identities.sync().await;
    assert_eq!(state(bob.id).await, AccountState::Active);

    // Whoever tries to sign in is disabled at once: the domain says so beside its no.
    domain.samba.control("bob", 514);
    domain.fixture.pass(crate::identity::remembered::REMEMBERED_FOR);
    assert!(matches!(domain.sign_in("bob", &password_of("bob")).await, Err(NotIdentified::Wrong)));
    assert_eq!(state(bob.id).await, AccountState::Disabled);
}

async fn what_it_refuses_is_told_apart(domain: &Domain) {
    assert!(matches!(domain.sign_in("alice", "wrong").await, Err(NotIdentified::Wrong)));
    for (name, password, words) in
        [("alice", "wrong".to_owned(), "data 52e"), ("carol", password_of("carol"), "data 533")]
    {
        let seen = domain.examine(name, &password).await;
        let refused = said(&seen, What::Password).as_ref().unwrap_err();
        assert!(refused.contains("result code 49") && refused.contains(words), "{refused}");
    }
    let seen = domain.examine("carol", &password_of("carol")).await;
    assert!(said(&seen, What::User).as_ref().unwrap_err().contains("the account is disabled"));

    let ldap = |scheme| Ldap::new(crate::accounts::ProviderId(1), domain.samba.config(scheme)).unwrap();
    // Without TLS it takes no password, which is a setting to be changed and nobody's wrong password.
    let fault = ldap("ldap").sign_in("alice", &password_of("Alice").into()).await.unwrap_err().fault;
    assert!(matches!(fault, Fault::Refused { code: 8, .. }) && fault.is_of_the_settings(), "{fault}");
    let carol = ldap("ldaps").sign_in("carol", &password_of("carol").into()).await.unwrap();
    assert!(matches!(carol, Verdict::Disabled(_)), "{carol:?}");
}

/// Somebody guesses until the domain locks the account: even the right password is refused then, in words of its own. It unlocks by
/// itself, so nothing else of its owner's is taken away.
async fn a_lock_is_no_suspension(domain: &Domain) {
    let base = crate::identity::ldap::tests::samba::DOMAIN;
    domain.samba.modify(&format!("dn: {base}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 2\n"));
    let bob = domain.fixture.accounts.claimed("bob").await.unwrap().unwrap().principal.id;
    for _ in 0..2 {
        assert!(matches!(domain.sign_in("bob", "a guess").await, Err(NotIdentified::Wrong)));
    }
    let seen = domain.examine("bob", &password_of("bob")).await;
    let refused = said(&seen, What::Password).as_ref().unwrap_err();
    assert!(refused.contains("result code 49") && refused.contains("data 775"), "{refused}");
    domain.fixture.pass(crate::identity::remembered::REMEMBERED_FOR);
    assert!(matches!(domain.sign_in("bob", &password_of("bob")).await, Err(NotIdentified::Wrong)));
    let account = domain.fixture.accounts.principal(bob).await.unwrap().unwrap();
    assert_eq!(account.state, AccountState::Active);
    domain.samba.modify(&format!(
        "dn: {base}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 0\n\n\
         dn: {}\nchangetype: modify\nreplace: lockoutTime\nlockoutTime: 0\n",
        entry_of("bob")
    ));
}

/// Alice marries, and her entry is moved: her objectGUID is the same, and so is her account.
async fn an_account_is_known_by_what_never_changes(domain: &Domain) {
    let before = domain.sign_in("alice", &password_of("Alice")).await.unwrap().principal;
    let base = crate::identity::ldap::tests::samba::DOMAIN;
    domain.samba.modify(&format!(
        "dn: ou=married,{base}\nchangetype: add\nobjectClass: organizationalUnit\n\n\
         dn: {}\nchangetype: modrdn\nnewrdn: cn=Alice Miller\ndeleteoldrdn: 1\nnewsuperior: ou=married,{base}\n",
        entry_of("Alice")
    ));
    domain.samba.modify(&format!(
        "dn: cn=Alice Miller,ou=married,{base}\nchangetype: modify\nreplace: sAMAccountName\nsAMAccountName: amiller\n"
    ));
    domain.fixture.pass(crate::identity::remembered::REMEMBERED_FOR);
    let after = domain.sign_in("amiller", &password_of("Alice")).await.unwrap().principal;
    assert_eq!((before.id, "alice"), (after.id, after.handle.as_str()));
    let (_, id) = domain.fixture.accounts.origin(after.id).await.unwrap().unwrap();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
}
