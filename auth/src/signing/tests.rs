//! Keys take turns, on both databases.

use shared::{revocation::Revoked, secret::Secret};
use tempfile::TempDir;

use super::*;
use crate::{
    accounts::tests::fixture::{Fixture, on_both},
    pki::TokenKey,
    secrets::MasterKey,
};

on_both! {
    a_key_is_made_once_and_found_again_sealed
    keys_take_turns_every_week_and_are_gone_when_their_last_token_has_ended
    the_file_of_earlier_releases_is_taken_over_and_removed
    a_revoked_key_is_refused_as_long_as_its_certificate_lasts
    processes_that_turn_keys_at_once_agree
    a_key_that_cannot_sign_here_gives_way
    a_key_that_was_brought_takes_no_turns
}

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Office {
    keys: TempDir,
}

impl Office {
    fn new() -> Self {
        Self { keys: tempfile::tempdir().unwrap() }
    }

    fn authority(&self, fixture: &Fixture) -> TokenAuthority {
        TokenAuthority::open(self.keys.path(), TokenKey::Own, fixture.clock.now()).unwrap()
    }

    async fn open(&self, fixture: &Fixture) -> Signing {
        self.open_under(fixture, 7).await
    }

    async fn open_under(&self, fixture: &Fixture, master: u8) -> Signing {
        let master = MasterKeys::of(MasterKey::from_bytes(&Secret::new([master; 32])), None);
        let (accounts, authority) = (fixture.accounts.clone(), self.authority(fixture));
        Signing::open("portreeve", accounts, authority, master, fixture.clock.clone()).await.unwrap()
    }
}

fn signs(signing: &Signing) -> String {
    signing.issuer().keys().signing().public().id().as_str().to_owned()
}

fn published(signing: &Signing) -> usize {
    signing.issuer().keys().published().count()
}

async fn states(signing: &Signing) -> Vec<(String, KeyState)> {
    signing.list().await.unwrap().into_iter().map(|key| (key.kid, key.state)).collect()
}

async fn in_state(signing: &Signing, state: KeyState) -> String {
    let of: Vec<_> = states(signing).await.into_iter().filter(|(_, is)| *is == state).collect();
    let [(kid, _)] = &of[..] else { panic!("one key is {state}: {of:?}") };
    kid.clone()
}

async fn a_key_is_made_once_and_found_again_sealed(fixture: &Fixture) {
    let office = Office::new();
    let first = office.open(fixture).await;
    let (active, next) = (in_state(&first, KeyState::Active).await, in_state(&first, KeyState::Next).await);
    assert_eq!((signs(&first), published(&first)), (active.clone(), 2));
    let again = office.open(fixture).await;
    assert_eq!(signs(&again), active);
    assert_eq!(states(&again).await, [(active, KeyState::Active), (next, KeyState::Next)]);
    for key in again.list().await.unwrap() {
        let pkcs8 = &again.0.opened(&key).unwrap().pkcs8;
        // The last 32 bytes of the private half stand nowhere in the row.
        assert!(!key.sealed.windows(32).any(|window| pkcs8.windows(32).any(|private| private == window)));
    }
    let files: Vec<_> = std::fs::read_dir(office.keys.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!files.contains(&"signing.key".into()), "{files:?}");
}

async fn keys_take_turns_every_week_and_are_gone_when_their_last_token_has_ended(fixture: &Fixture) {
    let office = Office::new();
    let signing = office.open(fixture).await;
    let (first, second) = (in_state(&signing, KeyState::Active).await, in_state(&signing, KeyState::Next).await);
    fixture.pass(LEAF_ROTATION - Duration::from_secs(1));
    signing.tend().await.unwrap();
    assert_eq!(signs(&signing), first);
    fixture.pass(Duration::from_secs(1));
    signing.tend().await.unwrap();
    assert_eq!(signs(&signing), second, "published for a week, and now it signs");
    assert_eq!(in_state(&signing, KeyState::Retiring).await, first);
    assert_eq!(published(&signing), 3);
    let active = signing.list().await.unwrap().into_iter().find(|key| key.kid == second).unwrap();
    assert_eq!(active.not_after, fixture.clock.now() + 13 * DAY, "its certificate begins anew");
    fixture.pass(RETIRING);
    signing.tend().await.unwrap();
    assert_eq!(in_state(&signing, KeyState::Retiring).await, first, "its last token may just have ended");
    fixture.pass(Duration::from_secs(1));
    signing.tend().await.unwrap();
    signing.tend().await.unwrap();
    assert_eq!(in_state(&signing, KeyState::Gone).await, first);
    assert_eq!(published(&signing), 2);
    let gone = signing.list().await.unwrap().into_iter().find(|key| key.kid == first).unwrap();
    assert!(gone.sealed.is_empty(), "nothing is left to be stolen");
    assert!(fixture.accounts.revocations_after(0).await.unwrap().is_empty(), "a turn takes nothing away");

    signing.rotate(fixture.actor.clone()).await.unwrap();
    assert_ne!(signs(&signing), second, "by command");
    assert_eq!(fixture.events().await.iter().filter(|event| *event == "signing_key.rotate").count(), 3);
}

async fn the_file_of_earlier_releases_is_taken_over_and_removed(fixture: &Fixture) {
    let office = Office::new();
    let before = office.authority(fixture).keys(fixture.clock.now()).unwrap().signing().public().id().to_string();
    assert!(office.keys.path().join("signing.key").exists());
    fixture.pass(3 * DAY);
    let signing = office.open(fixture).await;
    assert_eq!(signs(&signing), before, "tokens go on under the same key");
    assert!(!office.keys.path().join("signing.key").exists());
    fixture.pass(4 * DAY - Duration::from_secs(1));
    signing.tend().await.unwrap();
    assert_eq!(signs(&signing), before);
    fixture.pass(Duration::from_secs(1));
    signing.tend().await.unwrap();
    assert_ne!(signs(&signing), before, "its week began when the file was made");
    // The release before finds no file and makes a leaf of its own, under the same authority.
    office.authority(fixture).keys(fixture.clock.now()).unwrap();
    let signs_now = signs(&signing);
    assert_eq!(signs(&office.open(fixture).await), signs_now, "and what it left behind is not taken for ours");
    assert!(!office.keys.path().join("signing.key").exists());
}

async fn a_revoked_key_is_refused_as_long_as_its_certificate_lasts(fixture: &Fixture) {
    let office = Office::new();
    let signing = office.open(fixture).await;
    let (first, second) = (in_state(&signing, KeyState::Active).await, in_state(&signing, KeyState::Next).await);
    signing.revoke(fixture.actor.clone(), &first, None).await.unwrap();
    assert_eq!(signs(&signing), second);
    assert_eq!(in_state(&signing, KeyState::Gone).await, first);
    let rows = fixture.accounts.revocations_after(0).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].subject, Revoked::Leaf(first.clone()));
    assert_eq!(rows[0].until, fixture.clock.now() + 13 * DAY, "whoever stole it can sign as long");
    fixture.pass(12 * DAY);
    assert_eq!(fixture.accounts.forget_old_revocations().await.unwrap(), 0);

    let next = in_state(&signing, KeyState::Next).await;
    signing.revoke(fixture.actor.clone(), &next, None).await.unwrap();
    assert_eq!(fixture.accounts.revocations_after(1).await.unwrap()[0].subject, Revoked::Leaf(next.clone()));
    signing.rotate(fixture.actor.clone()).await.unwrap();
    assert_ne!(signs(&signing), next, "a revoked key never gets its turn");
    let stale = signing.list().await.unwrap();
    signing.rotate(fixture.actor.clone()).await.unwrap();
    let late = signing.turn(&fixture.accounts, fixture.actor.clone(), &stale, Ending::Revoke).await;
    let changed = accounts::Error::Refused(Refusal::KeysChanged);
    assert!(matches!(late, Err(SigningError::Accounts(error)) if error.to_string() == changed.to_string()));
    assert_eq!(fixture.accounts.revocations_after(2).await.unwrap(), [], "another key than was meant is never revoked");
    let unknown = signing.revoke(fixture.actor.clone(), "nobody's", None).await;
    assert!(matches!(unknown, Err(SigningError::Accounts(accounts::Error::Refused(Refusal::KeyUnknown)))));
}

async fn processes_that_turn_keys_at_once_agree(fixture: &Fixture) {
    let office = Office::new();
    let (one, two, three) = tokio::join!(office.open(fixture), office.open(fixture), office.open(fixture));
    assert_eq!((signs(&one), signs(&two)), (signs(&two), signs(&three)), "one of them made it");
    for _ in 0..3 {
        fixture.pass(LEAF_ROTATION);
        let before = signs(&one);
        let (first, second, third) = tokio::join!(one.tend(), two.tend(), three.tend());
        first.and(second).and(third).unwrap();
        assert_eq!((signs(&one), signs(&two)), (signs(&two), signs(&three)));
        assert_ne!(signs(&one), before);
        in_state(&one, KeyState::Active).await;
        in_state(&one, KeyState::Next).await;
    }
    two.rotate(fixture.actor.clone()).await.unwrap();
    one.tend().await.unwrap();
    assert_eq!(signs(&one), signs(&two), "what another has turned is seen");
}

async fn a_key_that_cannot_sign_here_gives_way(fixture: &Fixture) {
    let office = Office::new();
    let first = signs(&office.open(fixture).await);
    let under_another = signs(&office.open_under(fixture, 8).await);
    assert_ne!(under_another, first, "another master key opens nothing");
    let elsewhere = Office::new();
    let signing = elsewhere.open_under(fixture, 8).await;
    assert_ne!(signs(&signing), under_another, "another authority vouches for nothing");
    let key = signing.list().await.unwrap().into_iter().find(|key| key.state == KeyState::Active).unwrap();
    assert!(signing.0.is_in_time(&key, fixture.clock.now()));
    let before = fixture.clock.now() - DAY - Duration::from_secs(1);
    assert!(!signing.0.is_in_time(&key, before), "a clock that was set back stands before the certificate");
}

async fn a_key_that_was_brought_takes_no_turns(fixture: &Fixture) {
    let office = Office::new();
    let path = office.keys.path().join("brought.pem");
    std::fs::write(&path, include_str!("../pki/tests/rsa-2048.pem")).unwrap();
    let authority = TokenAuthority::open(office.keys.path(), TokenKey::Brought(path), fixture.clock.now()).unwrap();
    let master = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
    let signing = Signing::open("portreeve", fixture.accounts.clone(), authority, master, fixture.clock.clone());
    let signing = signing.await.unwrap();
    let kid = signs(&signing);
    assert!(matches!(signing.rotate(fixture.actor.clone()).await, Err(SigningError::Brought)));
    assert!(matches!(signing.revoke(fixture.actor.clone(), &kid, None).await, Err(SigningError::Brought)));
    fixture.pass(LEAF_ROTATION);
    signing.tend().await.unwrap();
    assert_eq!(signs(&signing), kid);
    assert!(signing.list().await.unwrap().is_empty());
}
