//! Groups by the thousand, groups in groups too deep to be meant, and a reader who may not read: at a real directory.

use std::{fmt::Write as _, time::Instant};

use super::{
    ldap,
    slapd::{READER, SUFFIX, Slapd, entry_of, group},
    true_groups::with_groups,
};
use crate::identity::ldap::{
    Fault, Ldap, Person, Verdict,
    config::{Config, Nested},
    groups::{MAX_DEPTH, MAX_GROUPS},
};

/// All groups of this directory: five answers as long as it gives at once.
const GROUPS: usize = 5000;

async fn known(ldap: &Ldap, name: &str) -> Person {
    match ldap.sign_in(name, &format!("{name}'s password").into()).await.unwrap() {
        Verdict::Proved(person) => *person,
        other => panic!("{other:?}"),
    }
}

/// How many groups somebody is in.
async fn count(config: &Config, name: &str) -> Result<usize, Fault> {
    let ldap = ldap(config.clone());
    let groups = ldap.groups(&known(&ldap, name).await).await;
    groups.map(|groups| groups.len()).map_err(|error| error.fault)
}

/// A group as it stands in the file that a directory begins with.
fn written(name: &str, members: &[&str]) -> String {
    let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
    format!("dn: {}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n", group(name))
}

/// All groups name Carol, and as many as anybody may be in name Bob. Alice is in one fewer, and in one more.
#[tokio::test]
#[ignore = "needs slapd"]
async fn somebody_may_be_in_two_thousand_groups_and_in_no_more() {
    let (alice, bob, carol) = (entry_of("alice"), entry_of("bob"), entry_of("carol"));
    let mut groups = String::new();
    for number in 0..GROUPS {
        let few: &[&str] = match number {
            number if number < MAX_GROUPS - 1 => &[&alice, &bob, &carol],
            number if number < MAX_GROUPS => &[&bob, &carol],
            _ => &[&carol],
        };
        groups.write_str(&written(&format!("g{number}"), few)).unwrap();
    }
    let slapd = Slapd::start(&["alice", "bob", "carol"], &groups);
    let config = |nested| with_groups(&slapd, false, nested);
    let too_many = Err(Fault::TooMany { what: "groups of one person", limit: MAX_GROUPS });
    let begun = Instant::now();
    assert_eq!(count(&config(Nested::No), "alice").await, Ok(MAX_GROUPS - 1));
    assert_eq!(count(&config(Nested::Auto), "bob").await, Ok(MAX_GROUPS));
    assert_eq!(count(&config(Nested::No), "carol").await, too_many);
    let took = begun.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
    // One more, by a group in a group.
    slapd.group("above", "groupOfNames", "member", &[&group("g0")]);
    assert_eq!(count(&config(Nested::No), "bob").await, Ok(MAX_GROUPS));
    assert_eq!(count(&config(Nested::Walk), "alice").await, Ok(MAX_GROUPS));
    assert_eq!(count(&config(Nested::Walk), "bob").await, too_many);
    eprintln!("{GROUPS} groups in the directory, {MAX_GROUPS} of one person: {took:?} for three people");
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn groups_may_lie_sixteen_deep_and_no_deeper() {
    let name = |level: usize| format!("level{level}");
    let mut groups = written(&name(1), &[&entry_of("alice")]);
    for level in 2..=MAX_DEPTH {
        groups.write_str(&written(&name(level), &[&group(&name(level - 1))])).unwrap();
    }
    let slapd = Slapd::start(&["alice"], &groups);
    let config = with_groups(&slapd, false, Nested::Walk);
    assert_eq!(count(&config, "alice").await, Ok(MAX_DEPTH));
    // A loop adds no depth.
    let first = group(&name(1));
    let top = group(&name(MAX_DEPTH));
    slapd.modify(&format!("dn: {first}\nchangetype: modify\nadd: member\nmember: {top}\n"));
    assert_eq!(count(&config, "alice").await, Ok(MAX_DEPTH));
    slapd.group("deeper", "groupOfNames", "member", &[&top]);
    let deeper = Fault::TooMany { what: "levels of groups in groups", limit: MAX_DEPTH };
    assert_eq!(count(&config, "alice").await, Err(deeper.clone()));
    assert!(deeper.is_of_the_settings(), "waiting does not help");
}

/// To whoever may search and not read, a directory says that it has nothing (RFC 4511 knows no other answer). Nobody is unknown by that,
/// nobody has no groups by it, and nobody is gone.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_reader_who_may_not_read_is_no_answer() {
    let mut slapd = Slapd::start(&["alice"], &written("dev", &[&entry_of("alice")]));
    let config = with_groups(&slapd, false, Nested::Auto);
    let alice = known(&ldap(config.clone()), "alice").await;
    let blind = |base: &str| Fault::Blind { base: format!("{base},{SUFFIX}"), filter: "(objectClass=*)".to_owned() };

    let everything = format!("access to * by dn.exact={READER} read");
    let hidden = |part: &str, more: &str| {
        format!("access to dn.subtree={part},{SUFFIX} by dn.exact={READER} search by anonymous auth by * none\n{more}")
    };
    let groups = hidden("ou=groups", &everything);
    slapd.reconfigure(&everything, &groups);
    let ldap = ldap(config);
    assert_eq!(known(&ldap, "alice").await, alice);
    assert_eq!(ldap.groups(&alice).await.unwrap_err().fault, blind("ou=groups"));

    slapd.reconfigure(&groups, &hidden("ou=people", &everything));
    assert_eq!(ldap.groups(&alice).await.unwrap().len(), 1);
    assert_eq!(ldap.sign_in("alice", &"alice's password".into()).await.unwrap_err().fault, blind("ou=people"));
    assert_eq!(ldap.person(&alice.external_id).await.unwrap_err().fault, blind("ou=people"));
    assert_eq!(ldap.everybody().await, Ok(Vec::new()), "what becomes of it is the reading's to say");
}
