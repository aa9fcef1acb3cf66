//! The groups of somebody, as a real directory knows them.

use super::{
    ldap,
    slapd::{Slapd, entry_of, group},
};
use crate::identity::ldap::{
    Fault, Ldap, Person, Verdict,
    config::{Config, Groups, Nested},
    names::Filter,
};

pub(super) fn with_groups(slapd: &Slapd, member_of: bool, nested: Nested) -> Config {
    let base = "ou=groups,dc=corp,dc=test".to_owned();
    Config { groups: Some(Groups { base, filter: Filter::everything(), member_of, nested }), ..slapd.config() }
}

async fn alice(ldap: &Ldap) -> Person {
    match ldap.sign_in("alice", &"alice's password".into()).await.unwrap() {
        Verdict::Proved(person) => *person,
        other => panic!("{other:?}"),
    }
}

/// The names of Alice's groups.
async fn groups(config: Config) -> Vec<String> {
    let ldap = ldap(config);
    let found = ldap.groups(&alice(&ldap).await).await.unwrap();
    let name =
        |dn: &super::super::names::Dn| dn.as_str().trim_start_matches("cn=").split(',').next().unwrap().to_owned();
    found.iter().map(name).collect()
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn groups_of_every_kind_are_found_and_groups_in_groups_without_end() {
    let slapd = Slapd::start(&["alice", "bob"], "");
    let (alice, bob) = (entry_of("alice"), entry_of("bob"));
    slapd.group("Names", "groupOfNames", "member", &[&alice, &bob]);
    slapd.group("Unique", "groupOfUniqueNames", "uniqueMember", &[&alice]);
    slapd.group("posix", "posixGroup", "memberUid", &["alice"]);
    slapd.group("others", "groupOfNames", "member", &[&bob]);
    slapd.group("outer", "groupOfNames", "member", &[&group("names")]);
    slapd.group("outermost", "groupOfUniqueNames", "uniqueMember", &[&group("outer")]);
    slapd.group("loop a", "groupOfNames", "member", &[&group("outermost")]);
    slapd.group("loop b", "groupOfNames", "member", &[&group("loop a")]);
    slapd.modify(&format!("dn: {}\nchangetype: modify\nadd: member\nmember: {}\n", group("loop a"), group("loop b")));
    let direct = ["names", "posix", "unique"];
    assert_eq!(groups(with_groups(&slapd, false, Nested::No)).await, direct);
    for nested in [Nested::Auto, Nested::Walk] {
        let all = ["loop a", "loop b", "names", "outer", "outermost", "posix", "unique"];
        assert_eq!(groups(with_groups(&slapd, false, nested)).await, all, "{nested:?}");
    }
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn member_of_counts_where_the_settings_say_so() {
    let slapd = Slapd::with(
        &["alice"],
        "dn: ou=elsewhere,dc=corp,dc=test\nobjectClass: organizationalUnit\nou: elsewhere\n\n",
        "overlay memberof",
    );
    slapd.modify(&format!(
        "dn: cn=far,ou=elsewhere,dc=corp,dc=test\nchangetype: add\nobjectClass: groupOfNames\ncn: far\nmember: {}\n",
        entry_of("alice")
    ));
    slapd.group("outer", "groupOfNames", "member", &["cn=far,ou=elsewhere,dc=corp,dc=test"]);
    assert_eq!(groups(with_groups(&slapd, false, Nested::Auto)).await, Vec::<String>::new());
    assert_eq!(groups(with_groups(&slapd, true, Nested::Auto)).await, ["far", "outer"]);
}

/// A name with everything that has to be escaped is one name, in filters and in the answer.
#[tokio::test]
#[ignore = "needs slapd"]
async fn names_with_every_special_character_are_names() {
    let slapd = Slapd::start(&["alice"], "");
    let odd = "a\\, b\\+c \\\"d\\\" (e)*\\\\";
    slapd.modify(&format!(
        "dn: cn={odd},ou=groups,dc=corp,dc=test\nchangetype: add\nobjectClass: groupOfNames\nmember: {}\n",
        entry_of("alice")
    ));
    slapd.group("outer", "groupOfNames", "member", &[&group(odd)]);
    let ldap = ldap(with_groups(&slapd, false, Nested::Auto));
    let found = ldap.groups(&alice(&ldap).await).await.unwrap();
    let expected = [group(odd), group("outer")].map(|name| name.parse().unwrap());
    assert_eq!(found, expected.into_iter().collect());
}

/// Half of somebody's groups would be fewer rights.
#[tokio::test]
#[ignore = "needs slapd"]
async fn groups_that_cannot_all_be_read_are_none() {
    let slapd =
        Slapd::with(&["alice"], "", "limits dn.exact=cn=reader,dc=corp,dc=test size.soft=2 size.hard=2 size.prtotal=2");
    for name in ["one", "two", "three"] {
        slapd.group(name, "groupOfNames", "member", &[&entry_of("alice")]);
    }
    let ldap = ldap(with_groups(&slapd, false, Nested::Auto));
    let fault = ldap.groups(&alice(&ldap).await).await.unwrap_err().fault;
    assert!(matches!(fault, Fault::Incomplete { code: 4, .. }), "{fault}");
}
