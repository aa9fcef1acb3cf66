use std::{net::IpAddr, time::Duration};

use shared::{clock::Timestamp, on, revocation::Revoked};

use super::fixture::{Fixture, new_credential, on_both};
use crate::{
    accounts::{
        Accounts, CredentialId, Error, Refusal,
        credentials::{
            CredentialKind, IDENTITY_TOKEN_IDLE, MAX_IDENTITY_TOKENS, MAX_ROBOT_KEYS, MAX_TOKENS, NewCredential,
            OtherKeys,
            uses::{BATCH, WRITTEN_FOR},
        },
        networks::{KNOWN_FOR, Network},
        principals::Page,
        services::NewService,
    },
    permissions::{Catalog, Visibility},
};

on_both! {
    a_stored_secret_is_found_by_its_public_part_with_all_that_bounds_it
    a_robot_has_at_most_five_live_keys
    rotation_lets_both_keys_work_for_a_while
    a_use_is_written_once_a_minute_and_the_last_one_is
    at_two_processes_a_use_is_written_once_a_minute_too
    uses_that_the_database_did_not_take_are_kept
    tokens_are_counted
    only_the_owners_credentials_are_revoked
    a_password_is_not_revoked_but_replaced
    the_least_recently_used_identity_token_goes_first
    an_identity_token_dies_when_idle_and_lives_when_used
    somebody_is_warned_once_before_a_credential_ends
    many_endings_are_warned_of_in_their_order
    a_known_network_is_forgotten_after_its_time
    a_service_is_found_by_its_credential_and_named_once
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn a_stored_secret_is_found_by_its_public_part_with_all_that_bounds_it(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let mut new = new_credential(alice.id);
    new.scope = Some("acme/**:pull,push".parse().unwrap());
    new.networks = Some("10.0.0.0/8 2001:db8::/32".parse().unwrap());
    new.api = crate::permissions::ApiLevel::Read;
    new.expires_at = Some(fixture.clock.now() + DAY);
    let made = fixture.accounts.create_token(&fixture.actor, new.clone()).await.unwrap();

    let found = fixture.accounts.credential_with_lookup(new.lookup.as_deref().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.credential.id, &found.principal, found.verifier.as_str()), (made.id, &alice, "an HMAC"));
    assert_eq!(found.credential.scope, new.scope);
    assert_eq!(found.credential.networks, new.networks);
    assert_eq!(found.credential.api, new.api);
    assert!(found.credential.is_live(fixture.clock.now()));
    assert!(!found.credential.is_live(fixture.clock.now() + DAY));
    assert!(fixture.accounts.credential_with_lookup("nobody's").await.unwrap().is_none());
    assert_eq!(fixture.accounts.master_ids().await.unwrap(), ["m1"]);

    fixture.accounts.revoke_credential(&fixture.actor, alice.id, made.id).await.unwrap();
    let revoked = fixture.accounts.credential_with_lookup(new.lookup.as_deref().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.credential.revoked_at, revoked.credential.revoked_at), (None, Some(fixture.clock.now())));
    assert!(!revoked.credential.is_live(fixture.clock.now()));
}

async fn a_robot_has_at_most_five_live_keys(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let mut keys = Vec::new();
    for _ in 0..MAX_ROBOT_KEYS {
        keys.push(fixture.key(&robot).await.id);
    }
    let one_more = || fixture.accounts.add_robot_key(&fixture.actor, new_credential(robot.id), OtherKeys::Stay);
    assert_eq!(refused(one_more().await), Refusal::TooManyKeys { limit: MAX_ROBOT_KEYS });
    fixture.accounts.revoke_credential(&fixture.actor, robot.id, keys[2]).await.unwrap();
    // Two at once find room for one.
    let (one, two) = tokio::join!(one_more(), one_more());
    assert_eq!([one.is_ok(), two.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    assert_eq!(fixture.accounts.credentials(robot.id, CredentialKind::RobotKey).await.unwrap().len(), MAX_ROBOT_KEYS);

    let alice = fixture.user("alice").await;
    let not_a_robot = fixture.accounts.add_robot_key(&fixture.actor, new_credential(alice.id), OtherKeys::Stay).await;
    assert_eq!(refused(not_a_robot), Refusal::PrincipalUnknown);
    let not_a_user = fixture.accounts.create_token(&fixture.actor, new_credential(robot.id)).await;
    assert_eq!(refused(not_a_user), Refusal::PrincipalUnknown);
}

async fn rotation_lets_both_keys_work_for_a_while(fixture: &Fixture) {
    fixture.namespace("acme", Visibility::Private).await;
    let robot = fixture.robot("acme", "ci").await;
    let old = fixture.key(&robot).await.id;
    let before = fixture.epoch().await;
    let rotate = |others| fixture.accounts.add_robot_key(&fixture.actor, new_credential(robot.id), others);
    let live = async || -> Vec<CredentialId> {
        let keys = fixture.accounts.credentials(robot.id, CredentialKind::RobotKey).await.unwrap();
        keys.into_iter().map(|key| key.id).collect()
    };

    let new = rotate(OtherKeys::EndAfter(DAY)).await.unwrap().id;
    assert_eq!(live().await, [old, new]);
    assert_eq!(fixture.events().await.last().map(String::as_str), Some("credential.shorten"));
    assert_eq!(fixture.revoked_after(before).await, []);
    fixture.pass(DAY);
    assert_eq!(live().await, [new]);

    let newest = rotate(OtherKeys::EndAfter(Duration::ZERO)).await.unwrap().id;
    assert_eq!(live().await, [newest]);
    assert!(fixture.revoked_after(before).await.contains(&Revoked::Credential(new.0)));
}

async fn tokens_are_counted(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    for _ in 0..MAX_TOKENS {
        fixture.token(&alice).await;
    }
    let one_more = fixture.accounts.create_token(&fixture.actor, new_credential(alice.id)).await;
    assert_eq!(refused(one_more), Refusal::TooManyTokens { limit: MAX_TOKENS });
}

async fn only_the_owners_credentials_are_revoked(fixture: &Fixture) {
    let (alice, mallory) = (fixture.user("alice").await, fixture.user("mallory").await);
    let token = fixture.token(&alice).await;
    let before = fixture.epoch().await;
    let foreign = fixture.accounts.revoke_credential(&fixture.actor, mallory.id, token.id).await;
    assert_eq!(refused(foreign), Refusal::CredentialUnknown);
    fixture.accounts.revoke_credential(&fixture.actor, alice.id, token.id).await.unwrap();
    assert_eq!(fixture.revoked_after(before).await, [Revoked::Credential(token.id.0)]);
}

async fn a_password_is_not_revoked_but_replaced(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let password = fixture.password("alice").await;
    let refusal = refused(fixture.accounts.revoke_credential(&fixture.actor, alice.id, password).await);
    assert_eq!(refusal, Refusal::CredentialUnknown);
    assert_eq!(fixture.password("alice").await, password);
}

async fn the_least_recently_used_identity_token_goes_first(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let password = fixture.password("alice").await;
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let other = fixture.accounts.ensure_service("b".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let issue = |service| fixture.accounts.issue_identity_token(new_credential(alice.id), service, password, None);
    let elsewhere = issue(other).await.unwrap().id;
    let mut issued = Vec::new();
    for _ in 0..MAX_IDENTITY_TOKENS {
        issued.push(issue(service).await.unwrap().id);
        fixture.pass(Duration::from_secs(1));
    }
    // The oldest was just used, so the second oldest is the one that is not missed.
    fixture.accounts.note_use(issued[0], None);
    let before = fixture.epoch().await;
    let newest = issue(service).await.unwrap().id;

    assert_eq!(fixture.revoked_after(before).await, [Revoked::Credential(issued[1].0)]);
    let live: Vec<CredentialId> =
        fixture.accounts.credentials(alice.id, CredentialKind::Identity).await.unwrap().iter().map(|c| c.id).collect();
    assert_eq!(live.len(), MAX_IDENTITY_TOKENS + 1);
    assert!([elsewhere, issued[0], newest].iter().all(|id| live.contains(id)));
}

async fn an_identity_token_dies_when_idle_and_lives_when_used(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let service = fixture.accounts.ensure_service("a".parse().unwrap(), Catalog::Filtered).await.unwrap().id;
    let new = new_credential(alice.id);
    let lookup = new.lookup.clone().unwrap();
    let password = fixture.password("alice").await;
    let made = fixture.accounts.issue_identity_token(new, service, password, None).await.unwrap();
    let read = async || fixture.accounts.credential_with_lookup(&lookup).await.unwrap().unwrap().credential;
    let address: IpAddr = "192.0.2.7".parse().unwrap();

    fixture.pass(IDENTITY_TOKEN_IDLE - DAY);
    fixture.accounts.note_use(made.id, Some(address));
    assert_eq!(read().await.used_from.as_deref(), Some("192.0.2.7"), "known before it is written");
    fixture.accounts.flush_uses().await.unwrap();
    fixture.pass(IDENTITY_TOKEN_IDLE - DAY);
    let used = read().await;
    assert!(used.is_live(fixture.clock.now()));
    assert_eq!(used.used_from.as_deref(), Some("192.0.2.7"));
    fixture.pass(DAY);
    assert!(!read().await.is_live(fixture.clock.now()));
}

/// What a credential's row says of its last use, time and address.
async fn written(accounts: &Accounts, id: CredentialId) -> (Option<Timestamp>, Option<String>) {
    let mut reader = accounts.database.reader().await.unwrap();
    on!(reader, c => sqlx::query_as("SELECT used_at, used_from FROM credential WHERE id = $1").bind(id.0).fetch_one(c).await)
        .unwrap()
}

/// When the row was written, in whole seconds of a story, while `second` goes on.
async fn writes(fixture: &Fixture, id: CredentialId, seconds: u64, mut second: impl AsyncFnMut(u64)) -> Vec<u64> {
    let (mut writes, mut before) = (Vec::new(), written(&fixture.accounts, id).await);
    for now in 0..seconds {
        second(now).await;
        let after = written(&fixture.accounts, id).await;
        if after != before {
            writes.push(now);
            before = after;
        }
        fixture.pass(Duration::from_secs(1));
    }
    writes
}

const LONGEST_PAUSE: u64 = WRITTEN_FOR.as_secs();

async fn a_use_is_written_once_a_minute_and_the_last_one_is(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let (busy, quiet) = (fixture.token(&alice).await.id, fixture.token(&alice).await.id);
    let address = |last: u64| -> Option<IpAddr> { Some(format!("192.0.2.{last}").parse().unwrap()) };
    // Used each second for four minutes, with everything between that writes uses down.
    let written_at = writes(fixture, busy, 5 * LONGEST_PAUSE, async |second| {
        if second < 4 * LONGEST_PAUSE {
            fixture.accounts.note_use(busy, address(second));
        }
        if second == 90 {
            fixture.accounts.note_use(quiet, address(1));
        }
        fixture.accounts.flush_uses().await.unwrap();
        let known = fixture.accounts.credentials(alice.id, CredentialKind::Pat).await.unwrap();
        let last = format!("192.0.2.{}", second.min(4 * LONGEST_PAUSE - 1));
        assert_eq!(known[0].used_from, Some(last), "what is not written is known");
    })
    .await;
    assert_eq!(written_at, [0, 60, 120, 180, 240], "once a minute, and what came after the last write");
    let last_use = fixture.clock.now() - Duration::from_secs(LONGEST_PAUSE + 1);
    assert_eq!(written(&fixture.accounts, busy).await, (Some(last_use), Some("192.0.2.239".into())));
    let (at, from) = written(&fixture.accounts, quiet).await;
    assert_eq!((at, from.as_deref()), (Some(fixture.clock.now() - Duration::from_secs(210)), Some("192.0.2.1")));
    assert_eq!(fixture.accounts.waiting_uses(), 0);
}

async fn at_two_processes_a_use_is_written_once_a_minute_too(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let id = fixture.token(&alice).await.id;
    let beside = fixture.beside().await;
    let (here, there): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let written_at = writes(fixture, id, 5 * LONGEST_PAUSE, async |second| {
        // Here for a minute and a half, there all the time but for the last minute and a half.
        if second < 90 {
            fixture.accounts.note_use(id, Some(here));
        }
        if second < 210 {
            beside.note_use(id, Some(there));
        }
        for process in [&fixture.accounts, &beside] {
            process.flush_uses().await.unwrap();
        }
    })
    .await;
    assert!(written_at.windows(2).all(|pair| pair[1] - pair[0] >= LONGEST_PAUSE), "{written_at:?}");
    assert!(written_at.len() >= 4, "{written_at:?}");
    let last_use = fixture.clock.now() - Duration::from_secs(91);
    assert_eq!(written(&fixture.accounts, id).await, (Some(last_use), Some("192.0.2.2".into())), "{written_at:?}");
    assert_eq!((fixture.accounts.waiting_uses(), beside.waiting_uses()), (0, 0));
    beside.database.close().await;
}

async fn uses_that_the_database_did_not_take_are_kept(fixture: &Fixture) {
    let more_than_a_batch = 2 * i64::try_from(BATCH).unwrap() + 1;
    (0..more_than_a_batch).for_each(|id| fixture.accounts.note_use(CredentialId(id), None));
    fixture.close().await;
    for _ in 0..2 {
        fixture.accounts.flush_uses().await.unwrap_err();
        assert_eq!(fixture.accounts.waiting_uses(), 2 * BATCH + 1);
    }
}

async fn a_known_network_is_forgotten_after_its_time(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let network = Network::around("192.0.2.7".parse().unwrap());
    let known = async || fixture.accounts.is_known_network(alice.id, &network).await.unwrap();
    assert!(!known().await);
    fixture.accounts.note_network(alice.id, &network).await.unwrap();
    fixture.pass(KNOWN_FOR - DAY);
    assert!(known().await);
    fixture.accounts.note_network(alice.id, &network).await.unwrap();
    fixture.pass(KNOWN_FOR - DAY);
    assert!(known().await);
    fixture.pass(DAY);
    assert!(!known().await);
}

async fn a_service_is_found_by_its_credential_and_named_once(fixture: &Fixture) {
    let accounts = &fixture.accounts;
    let new = |verifier: &str| NewService {
        name: "registry".parse().unwrap(),
        catalog: Catalog::Filtered,
        token_life: Some(Duration::from_secs(60)),
        verifier: Some(verifier.to_owned()),
    };
    // A service that the settings named gets its credential later.
    let named = accounts.ensure_service("registry".parse().unwrap(), Catalog::Admins).await.unwrap();
    let added = accounts.add_service(&fixture.actor, new("v1")).await.unwrap();
    assert_eq!((named.id, added.token_life), (added.id, Some(Duration::from_secs(60))));
    assert_eq!(accounts.service_with_verifier("v1").await.unwrap(), Some(added.clone()));
    assert_eq!(accounts.service_with_verifier("v2").await.unwrap(), None);
    assert_eq!(
        refused(accounts.add_service(&fixture.actor, new("v2")).await),
        Refusal::ServiceTaken("registry".into())
    );
    assert_eq!(accounts.ensure_service("registry".parse().unwrap(), Catalog::Admins).await.unwrap(), added);
    assert_eq!(accounts.services(&Page { after: None, limit: 10 }).await.unwrap(), [added]);
}

async fn somebody_is_warned_once_before_a_credential_ends(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    let warned = async || {
        fixture.accounts.warn_of_endings().await.unwrap();
        fixture.events().await.iter().filter(|event| *event == "credential.ending").count()
    };
    for days in [6, 8] {
        let expires_at = Some(fixture.clock.now() + DAY * days);
        let new = NewCredential { expires_at, ..new_credential(alice.id) };
        fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
    }
    assert_eq!(warned().await, 1);
    assert_eq!(warned().await, 1, "once is enough");
    fixture.pass(DAY * 2);
    assert_eq!(warned().await, 2);
    fixture.pass(DAY * 30);
    assert_eq!(warned().await, 2, "what has ended is no news");
}

async fn many_endings_are_warned_of_in_their_order(fixture: &Fixture) {
    let alice = fixture.user("alice").await;
    // The second, third and fourth end in one moment.
    for hours in [1, 2, 2, 2, 3, 4] {
        let expires_at = Some(fixture.clock.now() + DAY + Duration::from_secs(hours * 3600));
        let new = NewCredential { expires_at, ..new_credential(alice.id) };
        fixture.accounts.create_token(&fixture.actor, new).await.unwrap();
    }
    let mut counts = Vec::new();
    for _ in 0..4 {
        fixture.accounts.warn_of_some(2).await.unwrap();
        counts.push(fixture.events().await.iter().filter(|event| *event == "credential.ending").count());
    }
    assert_eq!(counts, [4, 6, 6, 6], "none twice, none left out");
}
