//! Accounts that a directory provides, on both databases: whose name is whose, and what holds while the directory is away.

mod active_directory;
mod away;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{revocation::Revoked, secret::Secret};

use crate::{
    accounts::{
        PrincipalId, ProviderId,
        credentials::CredentialKind,
        principals::AccountState,
        providers::ProviderKind,
        tests::fixture::{Fixture, new_credential, on_both},
    },
    identity::{
        Attempt, Identities, Identity, NotIdentified, Peer, Providers,
        directories::GROUPS_LAST,
        ldap::{
            Ldap,
            config::{Groups, Nested},
            names::Filter,
            tests::{
                config,
                fake::{BIND, Does, Fake, SEARCH, entry, last_page, result},
            },
        },
        queue::Queue,
        remembered::REMEMBERED_FOR,
        throttle::PER_ACCOUNT,
    },
    permissions::{Catalog, Visibility},
    secrets::{MasterKey, MasterKeys, SecretKind, mint},
};

on_both! {
    an_account_is_made_at_the_first_sign_in_and_found_again
    a_right_password_is_remembered_while_the_directory_is_away
    a_directory_that_is_away_is_no_wrong_password
    a_name_that_is_taken_here_gets_a_suffix_and_keeps_its_owner
    a_disabled_account_is_refused_everywhere_and_comes_back
    a_changed_password_ends_what_the_old_one_opened
    wrong_passwords_are_counted_and_an_absent_directory_is_not
    a_directory_that_is_away_lets_no_other_answer_for_its_names
    groups_of_the_last_hour_hold_and_older_ones_are_no_fewer_rights
    what_docker_keeps_asks_for_groups_that_are_older_than_an_hour
}

/// What the directory says, to be changed while it runs.
#[derive(Default)]
struct Mood {
    /// 0: it knows one user and takes every password; the others have names below.
    state: AtomicU8,
    /// When the user's password was changed.
    changed: AtomicU8,
    asked: AtomicUsize,
    /// The group that the user is in; with 0 the directory does not say, and two more have names below.
    group: AtomicU8,
}

struct Door {
    identities: Identities,
    provider: ProviderId,
    mood: Arc<Mood>,
    _fakes: Vec<Fake>,
}

const AWAY: u8 = 1;
const DISABLED: u8 = 2;
/// Somebody else is there, and nobody of that name.
const NOBODY: u8 = 3;
/// Nobody is shown.
const HIDDEN: u8 = 4;
/// There are groups, and the user is in none.
const NO_GROUP: u8 = 254;
/// No group is shown.
const NO_GROUPS: u8 = 255;

async fn directory(name: &'static str, mood: Arc<Mood>) -> Fake {
    Fake::reading(move |id, operation, request| {
        mood.asked.fetch_add(1, Ordering::SeqCst);
        let changed = mood.changed.load(Ordering::SeqCst).to_string();
        let control: &[u8] = if mood.state.load(Ordering::SeqCst) == DISABLED { b"514" } else { b"512" };
        let known: [(&str, &[u8]); 4] = [
            ("uid", name.as_bytes()),
            ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345"),
            ("userAccountControl", control),
            ("pwdLastSet", changed.as_bytes()),
        ];
        match (operation, mood.state.load(Ordering::SeqCst)) {
            (_, AWAY) => Does::SaysAndLeaves(Vec::new()),
            (BIND, _) => Does::Says(result(id, 0x61, 0)),
            (SEARCH, _) if request.windows(12).any(|part| part == b"uniqueMember") => Does::Says(mood.groups(id)),
            (SEARCH, _) if request.windows(9).any(|part| part == b"ou=groups") => Does::Says(mood.any_group(id)),
            (SEARCH, HIDDEN) => Does::Says(result(id, 0x65, 0)),
            (SEARCH, NOBODY) if asks_for_somebody(request) => Does::Says(result(id, 0x65, 0)),
            _ => Does::Says([entry(id, &format!("uid={name}"), &known), result(id, 0x65, 0)].concat()),
        }
    })
    .await
}

/// True where a filter compares something, be it a name or an id.
fn asks_for_somebody(request: &[u8]) -> bool {
    request.windows(3).any(|part| matches!(part, [0xa3, _, 0x04]))
}

impl Mood {
    fn any_group(&self, id: u8) -> Vec<u8> {
        let group = if self.group.load(Ordering::SeqCst) == NO_GROUPS { Vec::new() } else { entry(id, "cn=any", &[]) };
        [group, result(id, 0x65, 0)].concat()
    }

    fn groups(&self, id: u8) -> Vec<u8> {
        match self.group.load(Ordering::SeqCst) {
            0 => result(id, 0x65, 52),
            NO_GROUP | NO_GROUPS => last_page(id),
            number => [entry(id, &format!("cn=G{number}"), &[]), last_page(id)].concat(),
        }
    }
}

impl Door {
    async fn with_groups(fixture: &Fixture) -> Self {
        let mood = Arc::<Mood>::default();
        let fake = directory("alice", mood.clone()).await;
        let groups =
            Groups { base: "ou=groups".to_owned(), filter: Filter::everything(), member_of: false, nested: Nested::No };
        let ldap = opened(fixture, "corp", &fake, Some(groups)).await;
        let provider = ldap.provider();
        Self { identities: identities(fixture, vec![ldap]), provider, mood, _fakes: vec![fake] }
    }

    async fn of(fixture: &Fixture, name: &'static str) -> Self {
        let mood = Arc::<Mood>::default();
        let fake = directory(name, mood.clone()).await;
        let ldap = opened(fixture, "corp", &fake, None).await;
        let provider = ldap.provider();
        Self { identities: identities(fixture, vec![ldap]), provider, mood, _fakes: vec![fake] }
    }

    fn is(&self, state: u8) {
        self.mood.state.store(state, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.mood.asked.load(Ordering::SeqCst)
    }

    async fn sign_in(&self, name: &str) -> Result<Identity, NotIdentified> {
        self.show(Some(name), "a password").await
    }

    async fn show(&self, name: Option<&str>, secret: &str) -> Result<Identity, NotIdentified> {
        let peer = Peer::Address("192.0.2.1".parse().unwrap());
        let secret = Secret::from(secret);
        self.identities.identify(&Attempt { username: name, secret: &secret, service: None, peer }).await
    }
}

async fn opened(fixture: &Fixture, name: &str, fake: &Fake, groups: Option<Groups>) -> Ldap {
    shared::crypto::install();
    let provider = fixture.accounts.ensure_provider(name, ProviderKind::Ldap).await.unwrap();
    let mut config = config(std::slice::from_ref(&fake.url));
    config.name = name.parse().unwrap();
    config.groups = groups;
    Ldap::new(provider, config).unwrap()
}

fn identities(fixture: &Fixture, ldap: Vec<Ldap>) -> Identities {
    let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
    let providers = Providers { htpasswd: None, ldap };
    Identities::new(fixture.accounts.clone(), keys, Queue::new(2, 64), providers, fixture.clock.clone())
}

fn unavailable(answer: &Result<Identity, NotIdentified>) -> bool {
    matches!(answer, Err(NotIdentified::NotAsked(error)) if !error.fault.is_of_the_settings())
}

async fn an_account_is_made_at_the_first_sign_in_and_found_again(fixture: &Fixture) {
    let door = Door::of(fixture, "Alice").await;
    let first = door.sign_in("ALICE").await.unwrap();
    assert_eq!(first.principal.handle, "alice", "the directory's spelling, folded");
    assert!(first.may_keep_an_identity_token());
    fixture.pass(REMEMBERED_FOR);
    let again = door.sign_in("alice").await.unwrap();
    assert_eq!((first.principal.id, first.credential), (again.principal.id, again.credential));
    let provided = fixture.accounts.provided_as(door.provider, "aLiCe").await.unwrap().unwrap();
    assert_eq!(provided.external_name, "Alice");
    for (name, password) in [("alice", ""), ("alice", " "), ("", "x")] {
        assert!(matches!(door.show(Some(name), password).await, Err(NotIdentified::Wrong)), "{name:?} {password:?}");
    }
}

async fn a_right_password_is_remembered_while_the_directory_is_away(fixture: &Fixture) {
    let door = Door::of(fixture, "alice").await;
    door.sign_in("alice").await.unwrap();
    let before = door.asked();
    door.is(AWAY);
    door.sign_in("Alice").await.unwrap();
    assert_eq!(door.asked(), before, "nobody was asked");
    assert!(unavailable(&door.show(Some("alice"), "another").await));
    fixture.pass(REMEMBERED_FOR);
    assert!(unavailable(&door.sign_in("alice").await));
}

async fn a_directory_that_is_away_is_no_wrong_password(fixture: &Fixture) {
    let door = Door::of(fixture, "alice").await;
    let alice = door.sign_in("alice").await.unwrap().principal;
    let local = door.identities.passwords().hash(&"of the house".into()).await.unwrap();
    fixture.user_with("root", None, Some(&local)).await;
    let secret = mint(SecretKind::PersonalToken);
    let mut new = new_credential(alice.id);
    new.lookup = Some(secret.lookup);
    new.verifier = door.identities.keys().current().verifier(secret.text.expose());
    fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
    door.is(AWAY);
    fixture.pass(REMEMBERED_FOR);
    assert!(unavailable(&door.sign_in("alice").await));
    assert!(unavailable(&door.sign_in("nobody").await));
    let token = door.show(Some("alice"), secret.text.expose()).await.unwrap();
    assert_eq!(token.kind, CredentialKind::Pat, "tokens need no directory");
    door.show(Some("root"), "of the house").await.unwrap();
}

async fn a_name_that_is_taken_here_gets_a_suffix_and_keeps_its_owner(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let door = Door::of(fixture, "acme").await;
    let acme = door.sign_in("acme").await.unwrap().principal;
    assert_eq!(acme.handle, "acme-2");
    fixture.pass(REMEMBERED_FOR);
    // Under its own name there, and, as long as nobody there has that name, under the one it has here.
    assert_eq!(door.sign_in("acme").await.unwrap().principal.id, acme.id);
    assert_eq!(door.sign_in("acme-2").await.unwrap().principal.id, acme.id);

    let local = door.identities.passwords().hash(&"of the house".into()).await.unwrap();
    let root = fixture.user_with("Root", None, Some(&local)).await;
    assert!(matches!(door.sign_in("root").await, Err(NotIdentified::Wrong)), "a local account owns its name");
    assert_eq!(door.show(Some("root"), "of the house").await.unwrap().principal.id, root.id);
}

async fn a_disabled_account_is_refused_everywhere_and_comes_back(fixture: &Fixture) {
    let door = Door::of(fixture, "alice").await;
    let alice = door.sign_in("alice").await.unwrap();
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let token = door.identities.keep_identity(&alice, service, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();
    let epoch = fixture.epoch().await;
    door.is(DISABLED);
    fixture.pass(REMEMBERED_FOR);
    assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Wrong)));
    let account = fixture.accounts.principal(alice.principal.id).await.unwrap().unwrap();
    assert_eq!(account.state, AccountState::Disabled);
    assert_eq!(fixture.revoked_after(epoch).await, [Revoked::Principal(alice.principal.id.0)]);
    assert!(matches!(door.show(None, token.expose()).await, Err(NotIdentified::Void(_))));

    door.is(0);
    assert_eq!(door.sign_in("alice").await.unwrap().principal.state, AccountState::Active);
    fixture.accounts.suspend(&fixture.actor, alice.principal.id).await.unwrap();
    fixture.pass(REMEMBERED_FOR);
    assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Void(_))), "what an administrator said stays");
}

async fn a_changed_password_ends_what_the_old_one_opened(fixture: &Fixture) {
    let door = Door::of(fixture, "alice").await;
    let alice = door.sign_in("alice").await.unwrap();
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let token = door.identities.keep_identity(&alice, service, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();
    let epoch = fixture.epoch().await;
    fixture.pass(REMEMBERED_FOR);
    door.mood.changed.store(1, Ordering::SeqCst);
    let after = door.sign_in("alice").await.unwrap();
    assert_ne!(after.credential, alice.credential);
    assert_eq!(fixture.revoked_after(epoch).await.len(), 2, "the password and what docker kept instead of it");
    assert!(matches!(door.show(None, token.expose()).await, Err(NotIdentified::Void(_))));
}

async fn wrong_passwords_are_counted_and_an_absent_directory_is_not(fixture: &Fixture) {
    let door = Door::of(fixture, "alice").await;
    door.is(AWAY);
    for _ in 0..PER_ACCOUNT.burst + 5 {
        assert!(unavailable(&door.sign_in("alice").await));
    }
    door.is(NOBODY);
    for _ in 0..PER_ACCOUNT.burst {
        assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Wrong)));
    }
    let before = door.asked();
    assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Throttled { .. })));
    assert_eq!(door.asked(), before, "a directory locks accounts after some tries: it does not see more of them");
}

async fn a_directory_that_is_away_lets_no_other_answer_for_its_names(fixture: &Fixture) {
    let (first, second) = (Arc::<Mood>::default(), Arc::<Mood>::default());
    let fakes = vec![directory("alice", first.clone()).await, directory("alice", second.clone()).await];
    let ldap = vec![opened(fixture, "one", &fakes[0], None).await, opened(fixture, "two", &fakes[1], None).await];
    let (one, two) = (ldap[0].provider(), ldap[1].provider());
    let door = Door { identities: identities(fixture, ldap), provider: one, mood: first.clone(), _fakes: fakes };
    first.state.store(AWAY, Ordering::SeqCst);
    assert!(unavailable(&door.sign_in("alice").await));
    assert!(fixture.accounts.provided_as(two, "alice").await.unwrap().is_none());
    first.state.store(0, Ordering::SeqCst);
    assert_eq!(
        fixture.accounts.origin(door.sign_in("alice").await.unwrap().principal.id).await.unwrap().unwrap().0,
        one
    );
    fixture.pass(REMEMBERED_FOR);
    // It no longer has the name, but the account of that name is still its.
    first.state.store(NOBODY, Ordering::SeqCst);
    assert!(matches!(door.sign_in("alice").await, Err(NotIdentified::Wrong)));
    assert_eq!(second.asked.load(Ordering::SeqCst), 0);
}

impl Door {
    async fn groups(&self, fixture: &Fixture, alice: PrincipalId) -> Vec<String> {
        let (_, fed) = fixture.accounts.fed_by(alice).await.unwrap().unwrap();
        fed.groups.unwrap_or_default().into_iter().collect()
    }

    fn is_in(&self, group: u8) {
        self.mood.group.store(group, Ordering::SeqCst);
    }
}

async fn groups_of_the_last_hour_hold_and_older_ones_are_no_fewer_rights(fixture: &Fixture) {
    let door = Door::with_groups(fixture).await;
    assert!(unavailable(&door.sign_in("alice").await), "nobody knows what they may do");
    door.is_in(1);
    let alice = door.sign_in("alice").await.unwrap().principal.id;
    assert_eq!(door.groups(fixture, alice).await, ["cn=g1"]);
    fixture.pass(REMEMBERED_FOR);
    door.is_in(2);
    door.sign_in("alice").await.unwrap();
    assert_eq!(door.groups(fixture, alice).await, ["cn=g2"], "each sign-in asks again");
    door.is_in(0);
    fixture.pass(GROUPS_LAST - Duration::from_secs(1));
    door.sign_in("alice").await.unwrap();
    assert_eq!(door.groups(fixture, alice).await, ["cn=g2"]);
    fixture.pass(REMEMBERED_FOR);
    assert!(unavailable(&door.sign_in("alice").await));
}

async fn what_docker_keeps_asks_for_groups_that_are_older_than_an_hour(fixture: &Fixture) {
    let door = Door::with_groups(fixture).await;
    door.is_in(1);
    let alice = door.sign_in("alice").await.unwrap();
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let token = door.identities.keep_identity(&alice, service, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();
    let show = async || {
        let peer = Peer::Address("192.0.2.1".parse().unwrap());
        door.identities.identify(&Attempt { username: None, secret: &token, service: Some(service), peer }).await
    };
    let before = door.asked();
    show().await.unwrap();
    assert_eq!(door.asked(), before);
    fixture.pass(GROUPS_LAST);
    door.is_in(0);
    assert!(unavailable(&show().await), "fewer rights than yesterday's are no answer");
    door.is_in(2);
    show().await.unwrap();
    assert_eq!(door.groups(fixture, alice.principal.id).await, ["cn=g2"]);
    fixture.pass(GROUPS_LAST);
    door.is(DISABLED);
    assert!(matches!(show().await, Err(NotIdentified::Wrong)));
    assert_eq!(fixture.accounts.principal(alice.principal.id).await.unwrap().unwrap().state, AccountState::Disabled);
}
