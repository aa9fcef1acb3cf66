//! Two services over one database: one of them asks the directory, and the other one goes on when it must.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::secret::Secret;

use super::{LEASE, RENEWED, SYNC, Turn};
use crate::{
    accounts::{providers::ProviderKind, tests::fixture::Fixture},
    identity::{
        Attempt, Identities, Peer, Providers,
        ldap::{
            Ldap,
            tests::{
                config,
                fake::{BIND, Does, Fake, SEARCH, entry, last_page, result},
            },
        },
        queue::Queue,
    },
    secrets::{MasterKey, MasterKeys},
};

/// A directory with one user, who has an account, and services over one database that ask it.
struct Firm {
    fixture: Fixture,
    services: Vec<Identities>,
    /// How often it was asked about everybody.
    readings: Arc<AtomicUsize>,
    stalls: Arc<AtomicBool>,
    _fake: Fake,
}

impl Firm {
    async fn of(fixture: Fixture, count: usize) -> Self {
        shared::crypto::install();
        let (readings, stalls) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let fake = directory(readings.clone(), stalls.clone()).await;
        let mut services = Vec::new();
        for _ in 0..count {
            let accounts = fixture.beside().await;
            let provider = accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
            let ldap = vec![Ldap::new(provider, config(std::slice::from_ref(&fake.url))).unwrap()];
            let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
            let providers = Providers { htpasswd: None, ldap };
            services.push(Identities::new(accounts, keys, Queue::new(2, 64), providers, fixture.clock.clone()));
        }
        let secret = Secret::from("a password");
        let attempt = Attempt { username: Some("alice"), secret: &secret, service: None, peer: Peer::Socket };
        services[0].identify(&attempt).await.unwrap();
        Self { fixture, services, readings, stalls, _fake: fake }
    }

    fn readings(&self) -> usize {
        self.readings.load(Ordering::SeqCst)
    }

    async fn take(&self, service: usize, turn: &mut Turn) -> usize {
        let before = self.readings();
        self.services[service].0.take_turn(turn, RENEWED).await;
        self.readings() - before
    }
}

async fn directory(readings: Arc<AtomicUsize>, stalls: Arc<AtomicBool>) -> Fake {
    Fake::reading(move |id, operation, request| {
        let known: [(&str, &[u8]); 2] = [("uid", b"alice"), ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345")];
        let alice = entry(id, "uid=alice", &known);
        // Who asks about everybody names nobody, and reads in pages.
        let everybody = request.windows(22).any(|part| part == b"1.2.840.113556.1.4.319");
        match operation {
            BIND => Does::Says(result(id, 0x61, 0)),
            SEARCH if everybody => {
                readings.fetch_add(1, Ordering::SeqCst);
                if stalls.load(Ordering::SeqCst) { Does::Stalls } else { Does::Says([alice, last_page(id)].concat()) }
            }
            _ => Does::Says([alice, result(id, 0x65, 0)].concat()),
        }
    })
    .await
}

#[tokio::test]
async fn a_process_alone_asks_every_quarter_of_an_hour() {
    let firm = Firm::of(Fixture::sqlite().await, 1).await;
    let mut turn = Turn::default();
    assert_eq!(firm.take(0, &mut turn).await, 1, "at once");
    assert_eq!(firm.take(0, &mut turn).await, 0);
    firm.fixture.pass(SYNC - Duration::from_secs(1));
    assert_eq!(firm.take(0, &mut turn).await, 0);
    firm.fixture.pass(Duration::from_secs(1));
    assert_eq!(firm.take(0, &mut turn).await, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL (PORTREEVE_TEST_POSTGRES)"]
async fn of_two_services_one_asks_and_the_other_follows_when_it_dies() {
    let firm = Firm::of(Fixture::postgres().await, 2).await;
    let (mut first, mut second) = (Turn::default(), Turn::default());
    assert_eq!(firm.take(0, &mut first).await, 1);
    for _ in 0..40 {
        assert_eq!(firm.take(1, &mut second).await, 0, "the other one asks");
        firm.fixture.pass(RENEWED);
        let expected = usize::from(first.asked.is_some_and(|asked| firm.fixture.clock.now() >= asked + SYNC));
        assert_eq!(firm.take(0, &mut first).await, expected);
    }
    assert_eq!(firm.readings(), 2, "once at once, and once a quarter of an hour later");
    // It dies: nothing is said any more.
    firm.fixture.pass(LEASE);
    assert_eq!(firm.take(1, &mut second).await, 0, "the lease holds to its end");
    firm.fixture.pass(Duration::from_secs(1));
    assert_eq!(firm.take(1, &mut second).await, 1);
    assert_eq!(firm.take(0, &mut first).await, 0, "what comes back follows");
    assert!(first.asked.is_none());
    firm.fixture.clear().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL (PORTREEVE_TEST_POSTGRES)"]
async fn who_stops_is_followed_at_once() {
    let firm = Firm::of(Fixture::postgres().await, 2).await;
    let (mut first, mut second) = (Turn::default(), Turn::default());
    assert_eq!(firm.take(0, &mut first).await, 1);
    assert_eq!(firm.take(1, &mut second).await, 0);
    firm.services[0].leave_directories().await;
    assert_eq!(firm.take(1, &mut second).await, 1);
    firm.services[0].leave_directories().await;
    assert_eq!(firm.take(0, &mut first).await, 0, "nobody gives back what another has");
    firm.fixture.clear().await;
}

/// A reading that takes longer than the lease, in a process that is thought dead, ends without having changed anything.
#[tokio::test]
#[ignore = "needs PostgreSQL (PORTREEVE_TEST_POSTGRES)"]
async fn who_has_lost_the_lease_goes_on_with_nothing() {
    let firm = Firm::of(Fixture::postgres().await, 2).await;
    let (mut first, mut second) = (Turn::default(), Turn::default());
    firm.stalls.store(true, Ordering::SeqCst);
    let slow = firm.services[0].0.take_turn(&mut first, Duration::from_millis(20));
    let other = async {
        while firm.readings() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        firm.stalls.store(false, Ordering::SeqCst);
        // Both look at once; the clock has gone past the lease, and the first to look has it. The one that stalls looks every 20 ms.
        loop {
            firm.fixture.pass(LEASE + Duration::from_secs(1));
            firm.services[1].0.take_turn(&mut second, RENEWED).await;
            if second.asked.is_some() {
                break;
            }
        }
    };
    let begun = std::time::Instant::now();
    tokio::join!(slow, other);
    assert!(begun.elapsed() < Duration::from_secs(9), "it did not wait for the directory's ten seconds");
    assert!(first.asked.is_none(), "it follows now");
    assert_eq!(firm.readings(), 2);
    firm.fixture.clear().await;
}
