//! The audit's chain over real databases: who seals, what a hand in the tables does, what is removed.

use std::time::Duration;

use shared::{on, secret::Secret};
use tempfile::TempDir;

use super::{
    events::{failure, token},
    fixture::{Fixture, on_both},
};
use crate::{
    accounts::trail::WantedEvents,
    audit::{
        EventName,
        seal::LEASE,
        verify::{Break, Verifier, Whole},
        witness::Witness,
    },
    permissions::Visibility,
    sealing::{Retention, Sealing, TOKENS_KEPT},
    secrets::{MasterKey, MasterKeys},
};

on_both! {
    events_are_sealed_and_the_trail_is_whole
    a_hand_in_the_tables_is_named
    an_end_cut_off_under_a_running_server_becomes_an_event
    a_damaged_witness_is_not_taken_for_none
    what_is_old_goes_in_batches_and_the_trail_stays_whole
    what_was_changed_is_not_removed_and_signed_away
    a_backlog_is_sealed_batch_by_batch
    events_are_found_by_who_what_where_and_when
}

struct Office {
    sealing: Sealing,
    data: TempDir,
}

fn master(seed: u8) -> MasterKeys {
    MasterKeys::of(MasterKey::from_bytes(&Secret::new([seed; 32])), None)
}

fn office(fixture: &Fixture) -> Office {
    let data = tempfile::tempdir().unwrap();
    let sealing = Sealing::new(&fixture.accounts, &master(7), data.path(), Retention::default()).unwrap();
    Office { sealing, data }
}

async fn verify(fixture: &Fixture, sealing: &Sealing) -> Result<Whole, Break> {
    let mut verifier = Verifier::new(sealing.keys().to_vec(), sealing.known().into_iter().collect(), Vec::new());
    let mut after = 0;
    loop {
        let part = fixture.accounts.trail(after).await.unwrap();
        part.lines.iter().try_for_each(|line| verifier.take(line))?;
        match part.next {
            Some(next) => after = next,
            None => return verifier.end(),
        }
    }
}

/// Changes in three batches, and a batch of tokens.
async fn sealed(fixture: &Fixture) -> Office {
    let office = office(fixture);
    for name in ["acme", "beta"] {
        fixture.namespace(name, Visibility::Private).await;
        fixture.user(&format!("{name}-owner")).await;
        office.sealing.seal().await.unwrap();
    }
    fixture.accounts.note_token(token(fixture, "repository:acme/web:pull", ""));
    fixture.accounts.note_failed_login(failure("alice"));
    fixture.accounts.flush_events().await.unwrap();
    fixture.user("carol").await;
    office.sealing.seal().await.unwrap();
    office
}

async fn events_are_sealed_and_the_trail_is_whole(fixture: &Fixture) {
    let office = sealed(fixture).await;
    let whole = verify(fixture, &office.sealing).await.unwrap();
    assert_eq!((whole.events, whole.checkpoints, whole.head.unwrap().seq), (7, 4, 7));
    assert_eq!(fixture.accounts.unsealed().await.unwrap().events, 0);
    fixture.namespace("later", Visibility::Private).await;
    let unsealed = fixture.accounts.unsealed().await.unwrap();
    assert_eq!((unsealed.events, unsealed.since), (1, Some(fixture.clock.now())));
    assert_eq!(verify(fixture, &office.sealing).await.unwrap(), whole, "what is not sealed is no break");
    let stranger = Sealing::new(&fixture.accounts, &master(8), office.data.path(), Retention::default()).unwrap();
    assert_eq!(verify(fixture, &stranger).await, Err(Break::Forged { seq: 2 }), "another master key");
}

async fn a_hand_in_the_tables_is_named(fixture: &Fixture) {
    let office = sealed(fixture).await;
    let damage = [
        ("UPDATE audit SET body = replace(body, 'beta', 'gamma') WHERE seq = 3", Break::Changed { seq: 3 }),
        (
            "UPDATE audit SET event = 'token.issue' WHERE seq = 3",
            Break::Relabelled { seq: 3, column: "event".to_owned() },
        ),
        ("UPDATE audit SET at = at - 1 WHERE seq = 3", Break::Relabelled { seq: 3, column: "at".to_owned() }),
        (
            "UPDATE audit SET namespace_id = 99 WHERE seq = 3",
            Break::Relabelled { seq: 3, column: "namespace_id".to_owned() },
        ),
        ("UPDATE audit SET hash = NULL WHERE seq = 3", Break::Changed { seq: 3 }),
        ("UPDATE audit SET seq = NULL WHERE seq = 3", Break::Missing { from: 3, to: 3 }),
        ("DELETE FROM audit WHERE seq = 3", Break::Missing { from: 3, to: 3 }),
        ("DELETE FROM audit WHERE seq > 5", Break::Missing { from: 6, to: 7 }),
        ("DELETE FROM audit_checkpoint WHERE seq = 4", Break::Unsigned { from: 3, to: 4 }),
        ("DELETE FROM audit_checkpoint WHERE seq = 7", Break::Unsigned { from: 6, to: 7 }),
        ("UPDATE audit_checkpoint SET at = at + 1 WHERE seq = 4", Break::Forged { seq: 4 }),
        ("UPDATE audit_checkpoint SET kept = 'short' WHERE seq = 4", Break::Forged { seq: 4 }),
        ("UPDATE audit_checkpoint SET kept = 'no such word' WHERE seq = 4", Break::Forged { seq: 4 }),
        ("UPDATE audit_checkpoint SET hash = signature WHERE seq = 4", Break::Forged { seq: 4 }),
        (
            "UPDATE audit_checkpoint SET removed_first = 3, removed_at = 1, removed_signature = signature WHERE seq = 4",
            Break::Misplaced { seq: 4 },
        ),
    ];
    save(fixture).await;
    for (sql, expected) in damage {
        fixture.tamper(sql).await;
        let found = verify(fixture, &office.sealing).await;
        let forged = matches!(found, Err(Break::Forged { .. })) && matches!(expected, Break::Misplaced { .. });
        assert!(found == Err(expected) || forged, "{sql}: {found:?}");
        restore(fixture).await;
        assert!(verify(fixture, &office.sealing).await.is_ok(), "restored after {sql}");
    }
}

async fn save(fixture: &Fixture) {
    fixture.tamper("CREATE TABLE saved AS SELECT * FROM audit").await;
    fixture.tamper("CREATE TABLE saved_checkpoint AS SELECT * FROM audit_checkpoint").await;
}

async fn restore(fixture: &Fixture) {
    for sql in [
        "DELETE FROM audit",
        "DELETE FROM audit_checkpoint",
        "INSERT INTO audit SELECT * FROM saved",
        "INSERT INTO audit_checkpoint SELECT * FROM saved_checkpoint",
    ] {
        fixture.tamper(sql).await;
    }
}

/// Rows and checkpoints together: what is left is whole by itself.
async fn an_end_cut_off_under_a_running_server_becomes_an_event(fixture: &Fixture) {
    let office = sealed(fixture).await;
    for sql in ["DELETE FROM audit WHERE seq > 4", "DELETE FROM audit_checkpoint WHERE seq > 4"] {
        fixture.tamper(sql).await;
    }
    assert_eq!(verify(fixture, &office.sealing).await, Err(Break::Truncated { from: 4, to: 7 }));
    // A restart forgets nothing: what was seen lies beside the database.
    let again = Sealing::new(&fixture.accounts, &master(7), office.data.path(), Retention::default()).unwrap();
    assert_eq!(verify(fixture, &again).await, Err(Break::Truncated { from: 4, to: 7 }));
    fixture.user("dave").await;
    fixture.pass(LEASE + Duration::from_secs(1));
    again.seal().await.unwrap();
    assert!(fixture.events().await.contains(&"audit.end_lost".to_owned()));
    assert_eq!(verify(fixture, &again).await, Err(Break::Lost { seq: 6 }), "sealed, and a break for ever");
    fixture.user("erin").await;
    again.seal().await.unwrap();
    let lost = fixture.events().await.into_iter().filter(|event| event == "audit.end_lost").count();
    assert_eq!(lost, 1, "said once");
}

async fn a_damaged_witness_is_not_taken_for_none(fixture: &Fixture) {
    let office = sealed(fixture).await;
    let witness = Witness::in_directory(office.data.path());
    assert_eq!(witness.head().unwrap(), office.sealing.known());
    std::fs::write(witness.path(), "").unwrap();
    assert!(Sealing::new(&fixture.accounts, &master(7), office.data.path(), Retention::default()).is_err());
}

async fn what_is_old_goes_in_batches_and_the_trail_stays_whole(fixture: &Fixture) {
    let office = sealed(fixture).await;
    assert_eq!(office.sealing.remove_old().await.unwrap(), 0);
    for _ in 0..3 {
        fixture.pass(Duration::from_secs(60));
        fixture.accounts.note_token(token(fixture, "", ""));
        fixture.accounts.flush_events().await.unwrap();
        office.sealing.seal().await.unwrap();
    }
    fixture.pass(TOKENS_KEPT - Duration::from_secs(100));
    assert_eq!(office.sealing.remove_old().await.unwrap(), 3, "the first batch of tokens, and the one after it");
    let changes = ["namespace.create", "user.create", "namespace.create", "user.create", "user.create"];
    let left: Vec<String> = fixture.events().await.into_iter().filter(|event| event != "token.issue").collect();
    assert_eq!(left, [&changes[..], &["audit.removed"]].concat());
    let whole = verify(fixture, &office.sealing).await.unwrap();
    assert_eq!((whole.removed, whole.events), (3, 7));
    office.sealing.seal().await.unwrap();
    fixture.pass(TOKENS_KEPT);
    assert_eq!(office.sealing.remove_old().await.unwrap(), 2);
    office.sealing.seal().await.unwrap();
    let whole = verify(fixture, &office.sealing).await.unwrap();
    assert_eq!((whole.removed, whole.events), (5, 7));
    assert_eq!(whole.checkpoints, 6, "three changes' batches, what is left of removed ones, and two that tell of it");
}

/// Who can write the database can tell the server that something is old.
async fn what_was_changed_is_not_removed_and_signed_away(fixture: &Fixture) {
    let office = sealed(fixture).await;
    let whole = verify(fixture, &office.sealing).await.unwrap();
    save(fixture).await;
    // Changes are kept for good, and a moment later the checkpoint says again what was signed.
    fixture.tamper("UPDATE audit_checkpoint SET kept = 'short', at = 0 WHERE seq = 4").await;
    assert_eq!(office.sealing.remove_old().await.unwrap(), 0);
    let signed = "SELECT at FROM saved_checkpoint AS saved WHERE saved.seq = audit_checkpoint.seq";
    fixture.tamper(&format!("UPDATE audit_checkpoint SET kept = 'long', at = ({signed}) WHERE seq = 4")).await;
    assert_eq!(verify(fixture, &office.sealing).await.unwrap(), whole, "nothing has gone");
    // Some of a batch whose time comes.
    fixture.tamper("DELETE FROM audit WHERE seq = 6").await;
    fixture.pass(TOKENS_KEPT + Duration::from_secs(60));
    assert_eq!(office.sealing.remove_old().await.unwrap(), 0);
    assert_eq!(verify(fixture, &office.sealing).await, Err(Break::Missing { from: 6, to: 6 }));
    restore(fixture).await;
    // Changes taken out, and a removal that nobody signed, right before a batch that goes.
    fixture.tamper("DELETE FROM audit WHERE seq = 5").await;
    fixture.tamper("UPDATE audit_checkpoint SET removed_first = 5, removed_at = 1, removed_signature = signature WHERE seq = 5").await;
    assert_eq!(office.sealing.remove_old().await.unwrap(), 2, "the tokens");
    assert_eq!(verify(fixture, &office.sealing).await, Err(Break::Forged { seq: 5 }));
}

async fn a_backlog_is_sealed_batch_by_batch(fixture: &Fixture) {
    let office = office(fixture);
    for number in 0..1_203 {
        fixture.accounts.note_token(token(fixture, &number.to_string(), ""));
    }
    fixture.accounts.flush_events().await.unwrap();
    office.sealing.seal().await.unwrap();
    let whole = verify(fixture, &office.sealing).await.unwrap();
    assert_eq!((whole.events, whole.checkpoints), (1_203, 3));
}

async fn events_are_found_by_who_what_where_and_when(fixture: &Fixture) {
    sealed(fixture).await;
    let found = async |wanted: WantedEvents, limit: usize| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.accounts.events(&wanted, after, limit).await.unwrap();
            assert!(page.events.len() <= limit);
            found.extend(page.events.iter().map(|event| event.body["target"].as_str().unwrap().to_owned()));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let all = WantedEvents::default();
    assert_eq!(found(all.clone(), 500).await.len(), 7);
    assert_eq!(found(all.clone(), 2).await, found(all.clone(), 500).await);
    let users = WantedEvents { what: vec![EventName::UserCreated], ..all.clone() };
    assert_eq!(found(users.clone(), 2).await, ["carol", "beta-owner", "acme-owner"]);
    assert_eq!(found(WantedEvents { who: Some("LOCAL".into()), ..users.clone() }, 9).await.len(), 3);
    assert_eq!(found(WantedEvents { who: Some("alice".into()), ..users.clone() }, 9).await.len(), 0);
    let acme = fixture.accounts.namespaces_ever_called("acme").await.unwrap();
    assert_eq!(found(WantedEvents { namespaces: Some(acme), ..all.clone() }, 9).await, ["acme"]);
    assert_eq!(found(WantedEvents { namespaces: Some(Vec::new()), ..all.clone() }, 9).await.len(), 0);
    assert_eq!(found(WantedEvents { target: Some("carol".into()), ..all.clone() }, 9).await, ["carol"]);
    let refused = WantedEvents { outcome: Some(crate::audit::Outcome::Refused), ..all.clone() };
    assert_eq!(found(refused, 9).await.len(), 2);
    let now = fixture.clock.now();
    assert_eq!(found(WantedEvents { until: Some(now), ..all.clone() }, 9).await.len(), 0);
    assert_eq!(found(WantedEvents { since: Some(now), ..all.clone() }, 9).await.len(), 7);
    assert_eq!(found(WantedEvents { since: Some(now + Duration::from_secs(1)), ..all }, 9).await.len(), 0);
}

/// Two processes over one PostgreSQL: one seals, the other takes over when the first has not been heard of for a while.
#[tokio::test]
#[ignore = "needs PostgreSQL (PORTREEVE_TEST_POSTGRES)"]
async fn of_two_processes_one_seals_and_the_other_takes_over() {
    let fixture = Fixture::postgres().await;
    let (one, two) = (office(&fixture), office(&fixture));
    fixture.namespace("acme", Visibility::Private).await;
    one.sealing.seal().await.unwrap();
    fixture.namespace("beta", Visibility::Private).await;
    two.sealing.seal().await.unwrap();
    assert_eq!((one.sealing.known().unwrap().seq, two.sealing.known()), (1, None), "the first has the lease");
    assert_eq!(fixture.accounts.unsealed().await.unwrap().events, 1);
    fixture.pass(LEASE + Duration::from_secs(1));
    two.sealing.seal().await.unwrap();
    assert_eq!(two.sealing.known().unwrap().seq, 2, "the first has died");
    fixture.namespace("gamma", Visibility::Private).await;
    let (first, second) = tokio::join!(one.sealing.seal(), two.sealing.seal());
    first.and(second).unwrap();
    assert_eq!(verify(&fixture, &two.sealing).await.unwrap().events, 3);
    let mut reader = fixture.accounts.database.reader().await.unwrap();
    let (leaders,): (i64,) =
        on!(reader, c => sqlx::query_as("SELECT count(*) FROM leader").fetch_one(c).await).unwrap();
    assert_eq!(leaders, 1);
    drop(reader);
    fixture.clear().await;
}
