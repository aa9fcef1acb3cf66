//! Readings that end before their end, and such as say that nobody is there: nobody loses anything by them.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::secret::Secret;

use super::alarms;
use crate::{
    accounts::{
        ProviderId,
        principals::AccountState,
        providers::ProviderKind,
        teams::Team,
        tests::fixture::{Fixture, on_both},
    },
    identity::{
        Attempt, Identities, Peer, Providers,
        ldap::{
            Ldap,
            config::{Config, Groups, Limits, Nested},
            names::Filter,
            tests::{
                config,
                fake::{BIND, Does, Fake, SEARCH, entry, last_page, page, result},
            },
        },
        queue::Queue,
    },
    permissions::Visibility,
    secrets::{MasterKey, MasterKeys},
};

on_both! {
    a_reading_that_breaks_off_takes_nothing_away
    that_nobody_is_there_any_more_is_an_alarm
    whoever_is_in_too_many_groups_holds_up_nobody
    without_a_reader_nobody_is_read
}

/// Four people on two pages, until the last one leaves.
const PEOPLE: u8 = 4;
const NEXT: &[u8] = b"page two";

/// What becomes of the second page, where it does not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// With one of its entries and this result code.
    Code(u8),
    /// With the connection, in the middle of an entry.
    Cut,
    /// Never.
    Stalled,
    /// It comes, but the connection ends when the groups of the second person are asked for.
    WithoutGroups,
}

/// What the directory says, to be changed while it runs.
struct Book {
    people: AtomicU8,
    end: std::sync::Mutex<End>,
    /// Who is in more groups than anybody may be.
    crowded: AtomicU8,
    /// How many pages it was asked for.
    pages: AtomicUsize,
}

impl Book {
    fn answer(&self, id: u8, operation: u8, request: &[u8]) -> Does {
        let has = |text: &[u8]| request.windows(text.len()).any(|part| part == text);
        let whom = (0..PEOPLE).find(|number| has(format!("user{number}").as_bytes()));
        let end = *self.end.lock().unwrap();
        match (operation, whom) {
            (BIND, _) => Does::Says(result(id, 0x61, 0)),
            (SEARCH, Some(1)) if has(b"uniqueMember") && end == End::WithoutGroups => Does::SaysAndLeaves(Vec::new()),
            (SEARCH, Some(whom)) if has(b"uniqueMember") => Does::Says([self.groups(id, whom), last_page(id)].concat()),
            (SEARCH, Some(whom)) => Does::Says([people(id, whom..whom + 1), result(id, 0x65, 0)].concat()),
            (SEARCH, None) if has(b"1.2.840.113556.1.4.319") => self.page(id, has(NEXT), end),
            _ => Does::Says([people(id, 0..self.people().min(1)), result(id, 0x65, 0)].concat()),
        }
    }

    fn people(&self) -> u8 {
        self.people.load(Ordering::SeqCst)
    }

    fn page(&self, id: u8, second: bool, end: End) -> Does {
        self.pages.fetch_add(1, Ordering::SeqCst);
        let all = self.people();
        if !second && all > 2 {
            return Does::Says([people(id, 0..2), page(id, NEXT)].concat());
        }
        let first = people(id, if second { 2..3 } else { 0..all });
        match end {
            End::Whole | End::WithoutGroups if second => Does::Says([people(id, 2..all), last_page(id)].concat()),
            End::Whole | End::WithoutGroups => Does::Says([first, last_page(id)].concat()),
            End::Code(code) => Does::Says([first, result(id, 0x65, code)].concat()),
            End::Cut => Does::SaysAndLeaves([&first[..], &first[..first.len() / 2]].concat()),
            End::Stalled => Does::Stalls,
        }
    }

    fn groups(&self, id: u8, whom: u8) -> Vec<u8> {
        let count = if whom == self.crowded.load(Ordering::SeqCst) { 2001 } else { 0 };
        let more = (0..count).flat_map(|number| entry(id, &format!("cn=g{number}"), &[]));
        entry(id, "cn=dev", &[]).into_iter().chain(more).collect()
    }
}

fn people(id: u8, numbers: Range<u8>) -> Vec<u8> {
    let person = |number: u8| {
        let (name, uuid) = (format!("user{number}"), format!("7b1e5e2a-0000-1040-8000-abcdef01234{number}"));
        entry(id, &format!("uid={name}"), &[("uid", name.as_bytes()), ("entryUUID", uuid.as_bytes())])
    };
    numbers.flat_map(person).collect()
}

/// The people of the book have signed in, and their group feeds a team.
struct Office<'f> {
    fixture: &'f Fixture,
    identities: Identities,
    provider: ProviderId,
    team: Team,
    book: Arc<Book>,
    _fake: Fake,
}

impl<'f> Office<'f> {
    async fn of(fixture: &'f Fixture, settings: impl FnOnce(&mut Config)) -> Self {
        shared::crypto::install();
        let book = Arc::new(Book {
            people: AtomicU8::new(PEOPLE),
            end: std::sync::Mutex::new(End::Whole),
            crowded: AtomicU8::new(PEOPLE),
            pages: AtomicUsize::default(),
        });
        let said = book.clone();
        let fake = Fake::reading(move |id, operation, request| said.answer(id, operation, request)).await;
        let provider = fixture.accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
        let mut config = config(std::slice::from_ref(&fake.url));
        config.limits = Limits { operation: Duration::from_millis(400), ..config.limits };
        config.groups = Some(Groups {
            base: "ou=groups".to_owned(),
            filter: Filter::everything(),
            member_of: false,
            nested: Nested::No,
        });
        settings(&mut config);
        let providers = Providers { htpasswd: None, ldap: vec![Ldap::new(provider, config).unwrap()] };
        let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
        let identities =
            Identities::new(fixture.accounts.clone(), keys, Queue::new(2, 64), providers, fixture.clock.clone());
        fixture.namespace("acme", Visibility::Private).await;
        let (acme, dev) = ("acme".parse().unwrap(), "dev".parse().unwrap());
        let team = fixture.accounts.create_team(&fixture.actor, &acme, dev).await.unwrap();
        fixture.accounts.map_group(&fixture.actor, team.id, provider, "cn=dev").await.unwrap();
        let office = Self { fixture, identities, provider, team, book, _fake: fake };
        for number in 0..PEOPLE {
            office.sign_in(&format!("user{number}")).await;
        }
        office
    }

    async fn sign_in(&self, name: &str) {
        let secret = Secret::from("a password");
        let attempt = Attempt { username: Some(name), secret: &secret, service: None, peer: Peer::Socket };
        self.identities.identify(&attempt).await.unwrap();
    }

    fn has(&self, people: u8) {
        self.book.people.store(people, Ordering::SeqCst);
    }

    /// Reads everybody, and says how many pages that took.
    async fn sync(&self, end: End) -> usize {
        *self.book.end.lock().unwrap() = end;
        let before = self.book.pages.load(Ordering::SeqCst);
        self.identities.sync().await;
        self.book.pages.load(Ordering::SeqCst) - before
    }

    /// Members of the team, those among them who are disabled included, and accounts that count.
    async fn left(&self) -> (usize, usize) {
        let members = self.fixture.accounts.members(self.team.id, None, 500).await.unwrap().len();
        let fed = self.fixture.accounts.fed(self.provider).await.unwrap();
        (members, fed.iter().filter(|fed| fed.state == AccountState::Active).count())
    }

    /// How many readings were stopped, and whether the last one was.
    async fn stopped(&self) -> (usize, bool) {
        let events = self.fixture.events().await;
        let count = events.iter().filter(|event| *event == "provider.sync_stopped").count();
        (count, alarms(&self.identities))
    }
}

/// A time limit, a size limit, a referral, a limit of administrators, a busy server, a lost connection, silence: each after the first
/// page, whose people are there; the others are not known.
async fn a_reading_that_breaks_off_takes_nothing_away(fixture: &Fixture) {
    let office = Office::of(fixture, |_| {}).await;
    assert_eq!(office.left().await, (4, 4));
    office.has(3);
    let epoch = fixture.epoch().await;
    let codes = [3, 4, 10, 11, 1, 51, 52, 80].map(End::Code);
    for end in codes.into_iter().chain([End::Cut, End::Stalled, End::WithoutGroups]) {
        let pages = office.sync(end).await;
        assert!(pages >= 2, "{end:?}: it ended half-way, not before: {pages}");
        assert_eq!(office.left().await, (4, 4), "{end:?}");
    }
    assert_eq!(fixture.revoked_after(epoch).await, []);
    assert_eq!(office.stopped().await, (0, false), "nothing was read that could be too much");
    assert_eq!(office.sync(End::Whole).await, 2);
    assert_eq!(office.left().await, (4, 3));
}

/// However few they are: to whoever may no longer read a directory says that there is nobody.
async fn that_nobody_is_there_any_more_is_an_alarm(fixture: &Fixture) {
    let office = Office::of(fixture, |_| {}).await;
    office.has(0);
    office.sync(End::Whole).await;
    assert_eq!((office.left().await, office.stopped().await), ((4, 4), (1, true)));
    // All but one: so few may go at once.
    office.has(1);
    office.sync(End::Whole).await;
    assert_eq!((office.left().await, office.stopped().await), ((4, 1), (1, false)));
    office.has(0);
    office.sync(End::Whole).await;
    assert_eq!((office.left().await, office.stopped().await), ((4, 1), (2, true)));
    // What somebody did by hand about it ends the alarm.
    let last =
        office.fixture.accounts.provided_as(office.provider, "user0").await.unwrap().unwrap().stored.principal.id;
    fixture.accounts.suspend(&fixture.actor, last).await.unwrap();
    office.sync(End::Whole).await;
    assert_eq!(office.stopped().await, (2, false));
}

/// One person's groups cannot be read; what is known of the others counts.
async fn whoever_is_in_too_many_groups_holds_up_nobody(fixture: &Fixture) {
    let office = Office::of(fixture, |_| {}).await;
    office.book.crowded.store(0, Ordering::SeqCst);
    office.has(3);
    office.sync(End::Whole).await;
    assert_eq!(office.left().await, (4, 3), "who left has left, and nobody else");
}

/// By a template users sign in alone, and what a directory shows to nobody in particular is no reading.
async fn without_a_reader_nobody_is_read(fixture: &Fixture) {
    let office = Office::of(fixture, |config| {
        config.template = Some("uid={username}".parse().unwrap());
        config.groups = None;
    })
    .await;
    assert_eq!(office.left().await, (0, 4));
    office.has(0);
    assert_eq!(office.sync(End::Whole).await, 0, "nobody is asked");
    assert_eq!((office.left().await, office.stopped().await), ((0, 4), (0, false)));
}
