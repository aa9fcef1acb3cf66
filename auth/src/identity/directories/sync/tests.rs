//! A real directory changes, and the accounts follow; or they do not, because it cannot be believed.

mod crowd;
mod half_way;

use std::time::Duration;

use shared::{logins::queue::Times, revocation::Revoked, secret::Secret};

use crate::{
    accounts::{
        PrincipalId, ProviderId, principals::AccountState, providers::ProviderKind, teams::Team,
        tests::fixture::Fixture,
    },
    identity::{
        Attempt, Identities, Peer, Providers,
        ldap::{
            Fault, Ldap,
            config::{Config, Groups, Nested},
            names::{Dn, Filter},
            tests::slapd::{READER, SUFFIX, Slapd, entry_of, group},
        },
        queue::Queue,
    },
    permissions::Visibility,
    secrets::{MasterKey, MasterKeys},
};

struct Firm {
    fixture: Fixture,
    slapd: Slapd,
    identities: Identities,
    provider: ProviderId,
    team: Team,
    people: Vec<(String, PrincipalId)>,
}

/// True if whoever reads the metrics is told that a reading was stopped (the alarm `PortreeveSyncStopped`).
fn alarms(identities: &Identities) -> bool {
    let text = identities.metrics().text(Times::default());
    let line = |value: u8| format!("portreeve_auth_directory_sync_stopped{{provider=\"corp\"}} {value}\n");
    assert!(text.contains(&line(0)) != text.contains(&line(1)), "{text}");
    text.contains(&line(1))
}

fn settings(slapd: &Slapd) -> Config {
    let groups = Groups {
        base: "ou=groups,dc=corp,dc=test".to_owned(),
        filter: Filter::everything(),
        member_of: false,
        nested: Nested::Auto,
    };
    Config { groups: Some(groups), ..slapd.config() }
}

impl Firm {
    /// So many people who have signed in, all of them in the group that feeds the team.
    async fn of(count: usize, lines: &str) -> Self {
        let names: Vec<String> = (0..count).map(|number| format!("user{number}")).collect();
        let slapd = Slapd::with(&names.iter().map(String::as_str).collect::<Vec<_>>(), "", lines);
        let members: Vec<String> = names.iter().map(|name| entry_of(name)).collect();
        slapd.group("dev", "groupOfNames", "member", &members.iter().map(String::as_str).collect::<Vec<_>>());
        let mut firm = Self::around(slapd).await;
        for name in names {
            let id = firm.sign_in(&name).await;
            firm.people.push((name, id));
        }
        firm
    }

    /// Nobody has signed in yet.
    async fn around(slapd: Slapd) -> Self {
        let fixture = Fixture::sqlite().await;
        let provider = fixture.accounts.ensure_provider("corp", ProviderKind::Ldap).await.unwrap();
        shared::crypto::install();
        let ldap = vec![Ldap::new(provider, settings(&slapd)).unwrap()];
        let keys = MasterKeys::of(MasterKey::from_bytes(&Secret::new([7; 32])), None);
        let providers = Providers { htpasswd: None, ldap };
        let identities =
            Identities::new(fixture.accounts.clone(), keys, Queue::new(2, 64), providers, fixture.clock.clone());
        fixture.namespace("acme", Visibility::Private).await;
        let acme = "acme".parse().unwrap();
        let team = fixture.accounts.create_team(&fixture.actor, &acme, "dev".parse().unwrap()).await.unwrap();
        let key: Dn = group("dev").parse().unwrap();
        fixture.accounts.map_group(&fixture.actor, team.id, provider, key.as_str()).await.unwrap();
        Self { fixture, slapd, identities, provider, team, people: Vec::new() }
    }

    async fn sign_in(&self, name: &str) -> PrincipalId {
        let secret = Secret::new(format!("{name}'s password"));
        let attempt = Attempt { username: Some(name), secret: &secret, service: None, peer: Peer::Socket };
        self.identities.identify(&attempt).await.unwrap().principal.id
    }

    async fn members(&self) -> usize {
        self.fixture.accounts.members(self.team.id, None, 500).await.unwrap().len()
    }

    async fn active(&self) -> usize {
        let fed = self.fixture.accounts.fed(self.provider).await.unwrap();
        fed.iter().filter(|fed| fed.state == AccountState::Active).count()
    }

    async fn stopped(&self) -> bool {
        self.fixture.events().await.contains(&"provider.sync_stopped".to_owned())
    }

    fn leave_group(&self, people: std::ops::Range<usize>) {
        for number in people {
            let member = entry_of(&format!("user{number}"));
            self.slapd.modify(&format!("dn: {}\nchangetype: modify\ndelete: member\nmember: {member}\n", group("dev")));
        }
    }

    fn leave_firm(&self, people: std::ops::Range<usize>) {
        for number in people {
            self.slapd.modify(&format!("dn: {}\nchangetype: delete\n", entry_of(&format!("user{number}"))));
        }
    }
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn t29_who_left_a_group_or_the_firm_loses_access_without_signing_in() {
    let firm = Firm::of(20, "").await;
    assert_eq!((firm.members().await, firm.active().await), (20, 20));
    firm.identities.sync().await;
    let epoch = firm.fixture.epoch().await;
    firm.leave_group(0..1);
    firm.leave_firm(1..2);
    firm.fixture.pass(Duration::from_secs(900));
    firm.identities.sync().await;
    assert_eq!((firm.members().await, firm.active().await), (19, 19));
    let ids = |index: usize| Revoked::Principal(firm.people[index].1.0);
    assert_eq!(firm.fixture.revoked_after(epoch).await, [ids(0), ids(1)]);
    // Whoever is confirmed is as good as just signed in.
    let fed = firm.fixture.accounts.fed(firm.provider).await.unwrap();
    assert!(
        fed.iter()
            .filter(|fed| fed.state == AccountState::Active)
            .all(|fed| fed.groups_at == Some(firm.fixture.clock.now()))
    );
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn who_comes_back_is_let_in_again() {
    let firm = Firm::of(2, "").await;
    let filter = "dn: uid=user0,ou=people,dc=corp,dc=test\nchangetype: modrdn\nnewrdn: uid=user0\ndeleteoldrdn: 0\nnewsuperior: ";
    firm.slapd.modify(&format!("{filter}dc=corp,dc=test\n"));
    firm.identities.sync().await;
    assert_eq!(firm.active().await, 1);
    firm.slapd.modify(&format!("{}ou=people,dc=corp,dc=test\n", filter.replace("ou=people,", "")));
    firm.identities.sync().await;
    assert_eq!(firm.active().await, 2);
}

/// More than five and more than three in ten: rather a mistake than a truth.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_that_takes_too_many_away_changes_nothing() {
    for leave in [Firm::leave_group, Firm::leave_firm] as [fn(&Firm, std::ops::Range<usize>); 2] {
        let firm = Firm::of(20, "").await;
        leave(&firm, 0..6);
        firm.identities.sync().await;
        assert!(!firm.stopped().await && !alarms(&firm.identities), "six of twenty are three in ten");
        let (members, active) = (firm.members().await, firm.active().await);
        assert_eq!(members.min(active), 14);
        leave(&firm, 6..12);
        firm.identities.sync().await;
        assert!(firm.stopped().await && alarms(&firm.identities));
        assert_eq!((firm.members().await, firm.active().await), (members, active));
    }
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn an_answer_that_is_not_whole_takes_nothing_away() {
    // The reader gets nine entries and no more, however it pages.
    let mut firm =
        Firm::of(4, "limits dn.exact=cn=reader,dc=corp,dc=test size.soft=9 size.hard=9 size.prtotal=3").await;
    firm.leave_group(0..1);
    firm.leave_firm(1..2);
    firm.identities.sync().await;
    assert_eq!((firm.members().await, firm.active().await), (4, 4), "a size limit");
    firm.slapd.stop();
    firm.identities.sync().await;
    assert_eq!((firm.members().await, firm.active().await), (4, 4), "a dead server");
}

/// The users move, and where they were the directory says where to ask (result code 10); nobody is looked for there.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_that_names_another_takes_nothing_away() {
    let firm = Firm::of(3, "").await;
    firm.leave_group(0..1);
    let people = format!("dn: ou=people,{SUFFIX}\nchangetype: ");
    firm.slapd.modify(&format!(
        "{people}modrdn\nnewrdn: ou=moved\ndeleteoldrdn: 1\n\n\
         {people}add\nobjectClass: referral\nobjectClass: extensibleObject\nou: people\n\
         ref: ldap://elsewhere.corp.test/ou=people,{SUFFIX}\n"
    ));
    let ldap = Ldap::new(firm.provider, settings(&firm.slapd)).unwrap();
    let fault = ldap.everybody().await.unwrap_err().fault;
    assert!(matches!(fault, Fault::Incomplete { code: 10, .. }), "{fault}");
    firm.identities.sync().await;
    assert_eq!((firm.members().await, firm.active().await), (3, 3));
}

/// The reader's rights are taken away: to whoever may not read, a directory says that it has nothing. Both times it has no more than
/// three people, whom it may always take away.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_reader_who_may_not_read_takes_nothing_away() {
    let mut firm = Firm::of(3, "").await;
    let everything = format!("access to * by dn.exact={READER} read");
    let mut now = everything.clone();
    for (hidden, stopped) in [("ou=groups", false), ("ou=people", true)] {
        let rule = format!("access to dn.subtree={hidden},{SUFFIX} by dn.exact={READER} search by anonymous auth\n");
        let next = format!("{rule}{everything}");
        firm.slapd.reconfigure(&now, &next);
        now = next;
        firm.identities.sync().await;
        assert_eq!((firm.members().await, firm.active().await), (3, 3), "{hidden}");
        assert_eq!((firm.stopped().await, alarms(&firm.identities)), (stopped, stopped), "{hidden}");
    }
    firm.slapd.reconfigure(&now, &everything);
    firm.leave_group(0..1);
    firm.leave_firm(1..2);
    firm.identities.sync().await;
    assert_eq!((firm.members().await, firm.active().await), (2, 2));
    assert!(!alarms(&firm.identities), "a reading that was good ends the alarm");
}
