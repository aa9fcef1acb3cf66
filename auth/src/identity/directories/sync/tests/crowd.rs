//! A group of thousands, in a process of its own whose memory and time are looked at.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

use super::{Firm, settings};
use crate::{
    accounts::providers::Proved,
    identity::ldap::{
        Ldap, Person,
        tests::{
            alone::{is_alone, memory_mib},
            slapd::{Slapd, entry_of, group},
        },
    },
};

const MEMBERS: usize = 5000;
/// Of those so many have signed in here: the groups of each are asked for.
const ACCOUNTS: usize = 1000;
/// How long one reading may take here, in a build without optimisation on a busy machine. Alone it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a reading may take in memory, in MiB: people as they are read, their groups, and what is to be done about each.
const MOST_MIB: u64 = 64;

impl Firm {
    /// Accounts for the first of them, as if each had signed in.
    async fn provision(&self) {
        let ldap = Ldap::new(self.provider, settings(&self.slapd)).unwrap();
        let everybody = ldap.everybody().await.unwrap();
        assert_eq!(everybody.len(), MEMBERS, "five answers as long as this directory gives at once");
        let has_account = |person: &Person| person.name.trim_start_matches("user").parse::<usize>().unwrap() < ACCOUNTS;
        for person in everybody.into_iter().filter(has_account) {
            let proved = Proved {
                external_id: person.external_id,
                handle: person.name.parse().unwrap(),
                external_name: person.name,
                display_name: person.display_name,
                fingerprint: person.fingerprint,
            };
            self.fixture.accounts.provision(self.provider, proved).await.unwrap();
        }
    }

    async fn in_the_team(&self) -> usize {
        let members = self.fixture.accounts.feeding(self.provider).await.unwrap().members;
        members.iter().collect::<BTreeSet<_>>().len()
    }

    async fn reads(&self, what: &str) {
        let begun = Instant::now();
        self.identities.sync().await;
        let took = begun.elapsed();
        eprintln!("{MEMBERS} members, {ACCOUNTS} accounts, {what}: {took:?}");
        assert!(took < PATIENCE, "{took:?}");
    }
}

fn members(numbers: impl Iterator<Item = usize>) -> String {
    numbers.fold(String::new(), |mut lines, number| {
        writeln!(lines, "member: {}", entry_of(&format!("user{number}"))).unwrap();
        lines
    })
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn five_thousand_members_of_a_group_are_followed() {
    if !is_alone(module_path!(), "five_thousand_members_of_a_group_are_followed") {
        return;
    }
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("user{number}")).collect();
    let dev = format!("dn: {}\nobjectClass: groupOfNames\ncn: dev\n{}\n", group("dev"), members(0..MEMBERS));
    let slapd = Slapd::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), &dev);
    let firm = Firm::around(slapd).await;
    firm.provision().await;
    assert_eq!(firm.in_the_team().await, 0);
    let before = memory_mib("VmRSS");
    firm.reads("all new to the team").await;
    assert_eq!((firm.in_the_team().await, firm.active().await), (ACCOUNTS, ACCOUNTS));
    let epoch = firm.fixture.epoch().await;
    firm.reads("nothing new").await;
    assert_eq!(firm.fixture.epoch().await, epoch);

    // Some leave the group, and some the firm.
    let leave = (0..20).fold(String::new(), |mut text, number| {
        let (member, gone) = (entry_of(&format!("user{number}")), entry_of(&format!("user{}", number + 20)));
        let dev = group("dev");
        writeln!(text, "dn: {dev}\nchangetype: modify\ndelete: member\nmember: {member}\n").unwrap();
        writeln!(text, "dn: {gone}\nchangetype: delete\n").unwrap();
        text
    });
    firm.slapd.modify(&leave);
    firm.reads("forty leave").await;
    assert_eq!((firm.in_the_team().await, firm.active().await), (ACCOUNTS - 20, ACCOUNTS - 20));
    assert_eq!(firm.fixture.revoked_after(epoch).await.len(), 40);

    let grown = memory_mib("VmHWM").saturating_sub(before);
    eprintln!("{MEMBERS} members: {grown} MiB more at most");
    assert!(grown < MOST_MIB, "{grown} MiB more");
}
