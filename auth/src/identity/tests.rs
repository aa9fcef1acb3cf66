//! Signing in, on both databases.

use std::{net::IpAddr, path::PathBuf, sync::mpsc, time::Duration};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
use shared::secret::Secret;
use tempfile::TempDir;

use super::{
    Attempt, Identities, Identity, NotIdentified, Peer, Providers,
    htpasswd::{Htpasswd, PROVIDER},
    passwords::OURS,
    queue::Queue,
    remembered::REMEMBERED_FOR,
    throttle::PER_ACCOUNT,
};
use crate::{
    accounts::{
        ServiceId,
        credentials::{CredentialKind, OtherKeys},
        names::MAX_HANDLE_BYTES,
        principals::{AccountState, Principal},
        providers::ProviderKind,
        tests::fixture::{Fixture, new_credential, on_both},
    },
    permissions::{Catalog, Visibility},
    secrets::{MasterKey, MasterKeys, SecretKind, mint},
};

on_both! {
    a_right_password_identifies_and_a_wrong_one_does_not
    a_right_password_is_remembered_for_half_a_minute
    a_name_that_nobody_has_is_hashed_like_any_other
    failed_passwords_are_throttled_and_own_secrets_are_not
    names_longer_than_any_name_are_neither_looked_up_nor_remembered
    strangers_do_not_lock_an_account_out_of_where_it_signs_in
    a_token_is_good_beside_its_owners_name_only
    a_robot_may_have_a_key_that_somebody_chose
    an_identity_token_is_good_for_one_service_until_the_password_changes
    a_credential_works_only_where_it_may_be_used
    an_account_of_an_htpasswd_file_comes_changes_and_goes
    a_local_account_owns_its_name
    a_password_that_another_program_hashed_is_stored_anew_when_it_was_shown
    a_name_that_nobody_has_takes_as_long_as_one_with_an_imported_password
}

struct Door {
    identities: Identities,
    queue: Queue,
    _directory: TempDir,
    file: PathBuf,
}

const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.1";

impl Door {
    async fn of(fixture: &Fixture) -> Self {
        Self::with_lines(fixture, "").await
    }

    async fn with_lines(fixture: &Fixture, lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("htpasswd");
        std::fs::write(&file, lines).unwrap();
        let queue = Queue::new(1, 0);
        let provider = fixture.accounts.ensure_provider(PROVIDER, ProviderKind::Htpasswd).await.unwrap();
        let htpasswd = Htpasswd::open(&file, provider, queue.clone()).unwrap();
        let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
        let providers = Providers { htpasswd: Some(htpasswd), ldap: Vec::new() };
        let identities =
            Identities::new(fixture.accounts.clone(), keys, queue.clone(), providers, fixture.clock.clone());
        Self { identities, queue, _directory: directory, file }
    }

    async fn user(&self, fixture: &Fixture, handle: &str, password: &str) -> Principal {
        let stored = self.identities.passwords().hash(&password.into()).await.unwrap();
        fixture.user_with(handle, None, Some(&stored)).await
    }

    async fn sign_in(&self, name: &str, secret: &str) -> Result<Identity, NotIdentified> {
        self.sign_in_from(HOME, name, secret).await
    }

    async fn sign_in_from(&self, from: &str, name: &str, secret: &str) -> Result<Identity, NotIdentified> {
        self.show(Some(name), secret, None, from).await
    }

    async fn show(
        &self,
        name: Option<&str>,
        secret: &str,
        service: Option<ServiceId>,
        from: &str,
    ) -> Result<Identity, NotIdentified> {
        let (secret, peer): (_, IpAddr) = (Secret::from(secret), from.parse().unwrap());
        self.identities.identify(&Attempt { username: name, secret: &secret, service, peer: Peer::Address(peer) }).await
    }

    /// A token of that kind for the account, as somebody else keeps it.
    async fn mint(&self, fixture: &Fixture, owner: &Principal, kind: SecretKind) -> String {
        let secret = mint(kind);
        let mut new = new_credential(owner.id);
        new.lookup = Some(secret.lookup);
        new.verifier = self.identities.keys().current().verifier(secret.text.expose());
        match kind {
            SecretKind::RobotKey => fixture.accounts.add_robot_key(&fixture.actor, new, OtherKeys::Stay).await.unwrap(),
            _ => fixture.accounts.create_token(&fixture.actor, new).await.unwrap(),
        };
        secret.text.expose().clone()
    }

    /// Takes every place of the hash queue until the sender is dropped.
    async fn block(&self) -> mpsc::Sender<()> {
        let (release, hold) = mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();
        let queue = self.queue.clone();
        tokio::spawn(async move {
            let work = move || {
                began.send(()).unwrap();
                hold.recv().unwrap_err();
            };
            queue.run(work).await.unwrap();
        });
        begun.await.unwrap();
        release
    }
}

fn wrong(result: &Result<Identity, NotIdentified>) -> bool {
    matches!(result, Err(NotIdentified::Wrong))
}

/// What whoever showed a right secret is told.
fn told(result: Result<Identity, NotIdentified>) -> String {
    match result {
        Err(NotIdentified::Void(void)) => void.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn a_right_password_identifies_and_a_wrong_one_does_not(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let alice = door.user(fixture, "Alice", "correct horse").await;
    let identity = door.sign_in("alice", "correct horse").await.unwrap();
    assert_eq!((identity.principal.id, identity.kind), (alice.id, CredentialKind::Password));
    assert!(identity.may_keep_an_identity_token());
    for (name, password) in [
        ("alice", "correct horsf"),
        ("alice", ""),
        ("alice", "correct horse\0"),
        ("bob", "correct horse"),
        ("", "x"),
        ("'", "' OR 1=1"),
    ] {
        assert!(wrong(&door.sign_in(name, password).await), "{name} {password}");
    }
    assert!(wrong(&door.sign_in("alice", &"x".repeat(2000)).await));
    assert!(wrong(&door.show(None, "correct horse", None, HOME).await));

    fixture.accounts.suspend(&fixture.actor, alice.id).await.unwrap();
    let suspended = told(door.sign_in("alice", "correct horse").await);
    assert_eq!(suspended, NotIdentified::Wrong.to_string(), "remembered or not; that a password is right is not said");
    assert!(wrong(&door.sign_in("alice", "correct horsf").await), "whoever guesses is told nothing");
    fixture.accounts.resume(&fixture.actor, alice.id).await.unwrap();
    door.sign_in("alice", "correct horse").await.unwrap();
}

async fn a_right_password_is_remembered_for_half_a_minute(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let alice = door.user(fixture, "alice", "correct horse").await;
    let next = door.identities.passwords().hash(&"battery staple".into()).await.unwrap();
    door.sign_in("alice", "correct horse").await.unwrap();

    let blocked = door.block().await;
    fixture.pass(REMEMBERED_FOR - Duration::from_secs(1));
    door.sign_in("alice", "correct horse").await.unwrap();
    assert!(matches!(door.sign_in("alice", "correct horsf").await, Err(NotIdentified::Busy(_))));
    fixture.pass(Duration::from_secs(1));
    assert!(matches!(door.sign_in("alice", "correct horse").await, Err(NotIdentified::Busy(_))));
    drop(blocked);
    while door.sign_in("alice", "correct horse").await.is_err() {}

    fixture.accounts.set_password(&fixture.actor, alice.id, next).await.unwrap();
    assert!(wrong(&door.sign_in("alice", "correct horse").await), "a remembered password ends with the password");
    door.sign_in("alice", "battery staple").await.unwrap();
}

/// Whoever is told "busy" would have been hashed: no name is answered without the cost of one.
async fn a_name_that_nobody_has_is_hashed_like_any_other(fixture: &Fixture) {
    let door = Door::with_lines(fixture, &format!("listed:{}", bcrypt::hash("x", 4).unwrap())).await;
    fixture.namespace("acme", Visibility::Private).await;
    fixture.robot("acme", "ci").await;
    fixture.user_with("without", None, None).await;
    door.user(fixture, "alice", "correct horse").await;
    let _blocked = door.block().await;
    for name in ["alice", "nobody", "robot.acme.ci", "robot.acme.none", "without", "listed"] {
        assert!(matches!(door.sign_in(name, "guess").await, Err(NotIdentified::Busy(_))), "{name}");
    }
}

async fn failed_passwords_are_throttled_and_own_secrets_are_not(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let alice = door.user(fixture, "alice", "correct horse").await;
    let token = door.mint(fixture, &alice, SecretKind::PersonalToken).await;
    for _ in 0..PER_ACCOUNT.burst {
        assert!(wrong(&door.sign_in("alice", "guess").await));
    }
    let throttled = door.sign_in("alice", "correct horse").await;
    assert!(
        matches!(throttled, Err(NotIdentified::Throttled { retry_after }) if retry_after == PER_ACCOUNT.forgiven_after)
    );
    for _ in 0..3 {
        door.sign_in("alice", &token).await.unwrap();
    }
    door.sign_in_from(AWAY, "alice", "correct horse").await.unwrap();
    // Now the password is remembered, which nobody finds out where no try is left: it would be guessed at without end and without a hash.
    assert!(matches!(door.sign_in("alice", "correct horse").await, Err(NotIdentified::Throttled { .. })));
    fixture.pass(PER_ACCOUNT.forgiven_after);
    assert!(wrong(&door.sign_in("ALICE", "guess").await), "one try was forgiven, in any spelling");
    assert!(matches!(door.sign_in("Alice", "guess").await, Err(NotIdentified::Throttled { .. })));
}

/// The throttle keeps the names that were tried: strangers who send forty thousand bytes for each must not fill memory.
async fn names_longer_than_any_name_are_neither_looked_up_nor_remembered(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let _blocked = door.block().await;
    let endless = "a".repeat(40_000);
    for _ in 0..=PER_ACCOUNT.burst {
        assert!(wrong(&door.sign_in(&endless, "guess").await));
    }
    let longest = "\u{1d400}".repeat(MAX_HANDLE_BYTES);
    assert!(matches!(door.sign_in(&longest, "guess").await, Err(NotIdentified::Busy(_))), "this might be somebody");
}

async fn strangers_do_not_lock_an_account_out_of_where_it_signs_in(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    door.user(fixture, "alice", "correct horse").await;
    door.sign_in("alice", "correct horse").await.unwrap();
    fixture.pass(REMEMBERED_FOR);
    let mut tried = 0;
    // Somebody in the same office tries names until the whole network is throttled.
    while !matches!(door.sign_in(&format!("user-{}", tried / 5), "guess").await, Err(NotIdentified::Throttled { .. })) {
        tried += 1;
        assert!(tried < 1000, "never throttled");
    }
    door.sign_in("alice", "correct horse").await.unwrap();
}

async fn a_token_is_good_beside_its_owners_name_only(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let (alice, _bob) = (door.user(fixture, "alice", "correct horse").await, door.user(fixture, "bob", "x").await);
    let token = door.mint(fixture, &alice, SecretKind::PersonalToken).await;
    let identity = door.sign_in("ALICE", &token).await.unwrap();
    assert_eq!((identity.principal.id, identity.kind), (alice.id, CredentialKind::Pat));
    assert!(!identity.may_keep_an_identity_token());
    assert_eq!(door.show(None, &token, None, HOME).await.unwrap().principal.id, alice.id);
    for name in ["bob", "nobody", "", "__token__"] {
        assert!(wrong(&door.sign_in(name, &token).await), "{name:?}");
    }
    let same_lookup = {
        let other = mint(SecretKind::PersonalToken).text;
        format!("{}{}", &token[..20], &other.expose()[20..])
    };
    assert!(wrong(&door.sign_in("alice", &same_lookup).await));
    assert!(wrong(&door.sign_in("alice", mint(SecretKind::PersonalToken).text.expose()).await));
    assert!(wrong(&door.sign_in("alice", mint(SecretKind::Service).text.expose()).await));
    assert!(wrong(&door.sign_in("alice", "prt_pat_").await));
}

async fn a_robot_may_have_a_key_that_somebody_chose(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    fixture.namespace("acme", Visibility::Private).await;
    let (ci, cd) = (fixture.robot("acme", "ci").await, fixture.robot("acme", "cd").await);
    let chosen = "a secret that was chosen elsewhere, long enough";
    let mut new = new_credential(ci.id);
    new.lookup = None;
    new.verifier = door.identities.keys().current().verifier(chosen);
    fixture.accounts.add_robot_key(&fixture.actor, new, OtherKeys::Stay).await.unwrap();
    let minted = door.mint(fixture, &ci, SecretKind::RobotKey).await;

    for secret in [chosen, &minted] {
        let identity = door.sign_in("robot.acme.ci", secret).await.unwrap();
        assert_eq!((identity.principal.id, identity.kind), (ci.id, CredentialKind::RobotKey));
        assert!(!identity.may_keep_an_identity_token());
        for name in [cd.handle.as_str(), "alice", "robot.acme"] {
            assert!(wrong(&door.sign_in(name, secret).await), "{name}");
        }
    }
    assert!(wrong(&door.sign_in("robot.acme.ci", &chosen[1..]).await));
    // Wrong ones are counted, and a right one is never made to wait.
    for _ in 0..PER_ACCOUNT.burst {
        let _ = door.sign_in("robot.acme.ci", "a guess").await;
    }
    assert!(matches!(door.sign_in("robot.acme.ci", "a guess").await, Err(NotIdentified::Throttled { .. })));
    door.sign_in("robot.acme.ci", chosen).await.unwrap();
}

async fn an_identity_token_is_good_for_one_service_until_the_password_changes(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let alice = door.user(fixture, "alice", "correct horse").await;
    let service = |name: &str| fixture.accounts.ensure_service(name.parse().unwrap(), Catalog::Filtered);
    let (ours, other) = (service("ours").await.unwrap().id, service("other").await.unwrap().id);
    let identity = door.sign_in("alice", "correct horse").await.unwrap();
    let token = door.identities.keep_identity(&identity, ours, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();

    for name in [None, Some("alice")] {
        let again = door.show(name, token.expose(), Some(ours), HOME).await.unwrap();
        assert_eq!((again.principal.id, again.kind), (alice.id, CredentialKind::Identity));
        assert!(!again.may_keep_an_identity_token(), "it does not multiply");
        let elsewhere = told(door.show(name, token.expose(), Some(other), HOME).await);
        let expected = match name {
            Some(_) => "the login of alice that docker kept is good for another registry".to_owned(),
            None => NotIdentified::Wrong.to_string(),
        };
        assert_eq!(elsewhere, expected, "without a name, whose secret it is is not said");
        assert!(wrong(&door.show(name, token.expose(), None, HOME).await));
    }
    fixture.accounts.set_password(&fixture.actor, alice.id, "another".into()).await.unwrap();
    assert_eq!(told(door.show(None, token.expose(), Some(ours), HOME).await), NotIdentified::Wrong.to_string());
    let revoked = told(door.show(Some("alice"), token.expose(), Some(ours), HOME).await);
    assert!(revoked.starts_with("the login of alice that docker kept was revoked at 20"), "{revoked}");
    assert!(matches!(
        door.identities.keep_identity(&identity, ours, &"docker".parse().unwrap(), Peer::Socket).await,
        Err(NotIdentified::Wrong)
    ));
}

async fn a_credential_works_only_where_it_may_be_used(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let alice = door.user(fixture, "alice", "correct horse").await;
    let secret = mint(SecretKind::PersonalToken);
    let mut new = new_credential(alice.id);
    new.lookup = Some(secret.lookup);
    new.verifier = door.identities.keys().current().verifier(secret.text.expose());
    new.networks = Some("192.0.2.0/24".parse().unwrap());
    new.expires_at = Some(fixture.clock.now() + Duration::from_secs(60));
    fixture.accounts.create_token(&fixture.actor, new).await.unwrap();

    door.sign_in("alice", secret.text.expose()).await.unwrap();
    let away = told(door.sign_in_from(AWAY, "alice", secret.text.expose()).await);
    assert!(away.starts_with("the token \"") && away.contains(" of alice may not be used from "), "{away}");
    assert!(!away.contains("192.0.2.0/24"), "a thief is not told where to go: {away}");
    assert!(
        wrong(&door.sign_in_from(AWAY, "bob", secret.text.expose()).await),
        "beside another's name it proves nothing"
    );
    fixture.pass(Duration::from_secs(60));
    let ended = told(door.sign_in("alice", secret.text.expose()).await);
    assert!(ended.contains(" of alice ended at 20"), "{ended}");
}

async fn an_account_of_an_htpasswd_file_comes_changes_and_goes(fixture: &Fixture) {
    let hashed = |password: &str| bcrypt::hash(password, 4).unwrap();
    let (first, second) = (hashed("first"), hashed("second"));
    let door = Door::with_lines(fixture, &format!("alice:{first}\n")).await;
    let write = |lines: String| {
        std::fs::write(&door.file, lines).unwrap();
        door.identities.0.htpasswd.as_ref().unwrap().generation()
    };
    assert!(
        fixture.accounts.principal_called("alice").await.unwrap().is_none(),
        "nothing is made before a first sign-in"
    );
    assert!(wrong(&door.sign_in("alice", "second").await));
    assert!(wrong(&door.sign_in("Alice", "first").await), "a name of the file is spelled as there");
    let identity = door.sign_in("alice", "first").await.unwrap();
    assert_eq!(door.sign_in("alice", "first").await.unwrap().credential, identity.credential);
    let service = fixture.accounts.ensure_service("ours".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let token =
        door.identities.keep_identity(&identity, service, &"docker".parse().unwrap(), Peer::Socket).await.unwrap();

    assert_eq!(write(format!("alice:{second}\nbob:{first}\n")), 1);
    assert!(wrong(&door.sign_in("alice", "first").await), "remembered or not");
    let again = door.sign_in("alice", "second").await.unwrap();
    assert_eq!(again.principal.id, identity.principal.id);
    assert_ne!(again.credential, identity.credential);
    assert!(told(door.show(Some("alice"), token.expose(), Some(service), HOME).await).contains(" was revoked at "));

    assert_eq!(write(format!("bob:{first}\n")), 2);
    door.identities.reconcile().await.unwrap();
    assert!(wrong(&door.sign_in("alice", "second").await));
    let state = fixture.accounts.principal(identity.principal.id).await.unwrap().unwrap().state;
    assert_eq!(state, AccountState::Disabled);
    assert_eq!(write(format!("alice:{second}\n")), 3);
    door.identities.reconcile().await.unwrap();
    door.sign_in("alice", "second").await.unwrap();
    assert_eq!(write("alice:$apr1$refused\n".into()), 3, "a bad file is not used");
    door.sign_in("alice", "second").await.unwrap();
}

async fn a_local_account_owns_its_name(fixture: &Fixture) {
    let door = Door::with_lines(fixture, &format!("alice:{}\n", bcrypt::hash("theirs", 4).unwrap())).await;
    let alice = door.user(fixture, "alice", "ours, longer").await;
    assert!(wrong(&door.sign_in("alice", "theirs").await));
    assert_eq!(door.sign_in("alice", "ours, longer").await.unwrap().principal.id, alice.id);
}

async fn a_password_that_another_program_hashed_is_stored_anew_when_it_was_shown(fixture: &Fixture) {
    let door = Door::of(fixture).await;
    let cheap = argon2_of("correct horse");
    for (name, hash) in [("alice", bcrypt::hash("correct horse", 4).unwrap()), ("bob", cheap)] {
        let account = fixture.user_with(name, None, Some(&hash)).await;
        assert!(wrong(&door.sign_in(name, "correct horsf").await));
        assert_eq!(verifier(fixture, name).await, hash, "a wrong password changes nothing");
        let first = door.sign_in(name, "correct horse").await.unwrap();
        let stored = verifier(fixture, name).await;
        assert!(stored.starts_with(OURS), "{stored}");

        // In another process, which remembers nothing: what it opens is the same credential.
        let again = Door::of(fixture).await.sign_in(name, "correct horse").await.unwrap();
        assert_eq!((again.principal.id, again.credential), (account.id, first.credential));
        assert_eq!(verifier(fixture, name).await, stored, "once");

        // Whoever read it before that, and is slow, overwrites nothing.
        fixture.accounts.restate_password(first.credential, &hash, "$argon2id$late").await.unwrap();
        assert_eq!(verifier(fixture, name).await, stored);
    }
}

async fn a_name_that_nobody_has_takes_as_long_as_one_with_an_imported_password(fixture: &Fixture) {
    let door = Door::with_lines(fixture, &format!("listed:{}", bcrypt::hash("x", 6).unwrap())).await;
    let listed = door.identities.0.samples().await.unwrap();
    assert!(listed.len() == 1 && listed[0].starts_with("$2b$06$"), "{listed:?}");
    door.user(fixture, "ours", "correct horse").await;
    let hashes =
        [("a", 4), ("b", 4), ("c", 5)].map(|(name, cost)| (name, bcrypt::hash("correct horse", cost).unwrap()));
    for (name, hash) in &hashes {
        fixture.user_with(name, None, Some(hash)).await;
    }
    for name in ["d", "e"] {
        fixture.user_with(name, None, Some(&argon2_of(name))).await;
    }
    let costs = async || {
        let mut costs: Vec<String> = door.identities.0.samples().await.unwrap();
        costs.iter_mut().for_each(|hash| hash.truncate(if hash.starts_with("$2") { 7 } else { 27 }));
        costs
    };
    assert_eq!(costs().await, ["$2b$06$", "$2b$04$", "$2b$05$", "$argon2i$v=19$m=64,t=1,p=1$"]);

    // Whom an import brought a moment ago counts at once; who was stored anew, when it is looked at again.
    door.sign_in("c", "correct horse").await.unwrap();
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(costs().await, ["$2b$06$", "$2b$04$", "$argon2i$v=19$m=64,t=1,p=1$"]);
}

fn argon2_of(password: &str) -> String {
    let params = Params::new(64, 1, 1, None).unwrap();
    let cheap = Argon2::new(Algorithm::Argon2i, Version::V0x13, params);
    let salt = format!("a salt for {password:9.9}");
    cheap.hash_password_with_salt(password.as_bytes(), salt.as_bytes()).unwrap().to_string()
}

/// What stands for the account's password.
async fn verifier(fixture: &Fixture, name: &str) -> String {
    let claimed = fixture.accounts.claimed(name).await.unwrap().unwrap();
    claimed.proofs.into_iter().find(|(one, _)| one.kind == CredentialKind::Password).unwrap().1
}
