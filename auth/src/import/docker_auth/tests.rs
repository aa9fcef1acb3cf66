//! The list of docker_auth's own documentation, and lists that order decides.

use super::{Imported, docker_auth};

const HASH: &str = "$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC";

fn imported(users: &str, acl: &str, repositories: &[&str]) -> Imported {
    let repositories: Vec<_> = repositories.iter().map(|name| name.parse().unwrap()).collect();
    let text = format!("server: {{addr: ':5001'}}\nusers:\n{users}acl:\n{acl}");
    docker_auth("auth_config.yml", &text, &repositories).unwrap()
}

fn user(name: &str, labels: &str) -> String {
    format!("  \"{name}\": {{password: \"{HASH}\", labels: {{{labels}}}}}\n")
}

fn people() -> String {
    ["admin", "test", "alice"].map(|name| user(name, "")).concat() + "  \"\": {}\n"
}

/// account, repository, before, after.
fn changed(imported: &Imported) -> Vec<[&str; 4]> {
    let row = |one: &'_ super::Changed| -> [String; 4] {
        [one.account.clone(), one.repository.clone(), one.before.clone(), one.after.clone()]
    };
    let rows: Vec<[String; 4]> = imported.differences.iter().map(row).collect();
    rows.into_iter().map(|row| row.map(|text| &*text.leak())).collect()
}

fn warned(imported: &Imported, line: usize, text: &str) {
    let found = imported.warnings.iter().any(|warning| warning.line == line && warning.text.contains(text));
    assert!(found, "nothing says {text:?} of line {line}: {:#?}", imported.warnings);
}

fn grants(imported: &Imported) -> Vec<String> {
    let within = imported.document.namespaces.iter().flatten().flat_map(|part| part.grants.iter().flatten());
    let all = within.chain(imported.document.grants.iter().flatten());
    all.map(|grant| format!("{} {} {}", grant.subject, grant.repositories, grant.actions)).collect()
}

/// The entries of its reference configuration that a file alone can answer: what each account may do there, entry by entry.
#[test]
fn the_reference_list_is_evaluated_as_its_comments_say() {
    use super::config::{Config, RawConfig};
    let acl = "  - match: {ip: \"127.0.0.0/8\"}
    actions: [\"*\"]
  - match: {account: \"admin\"}
    actions: [\"*\"]
    comment: \"Admin has full access to everything.\"
  - match: {account: \"test\", name: \"test-*\"}
    actions: [\"*\"]
  - match: {account: \"test\"}
    actions: []
  - match: {account: \"/.+/\", name: \"${account}/*\"}
    actions: [\"*\"]
  - match: {account: \"/.+/\", type: \"registry\", name: \"catalog\"}
    actions: [\"*\"]
  - match: {account: \"/.+/\", labels: {\"group\": \"VIP\"}}
    actions: [\"push\"]
  - match: {labels: {\"group\": \"/trainee|dev/\"}}
    actions: [\"push\", \"pull\"]
  - match: {name: \"${labels:group}-shared/*\"}
    actions: [\"push\", \"pull\"]
  - match: {name: \"${labels:project}/*\"}
    actions: [\"push\", \"pull\"]
  - match: {name: \"${labels:project}-${labels:tier}/*\"}
    actions: [\"push\", \"pull\"]
  - match: {account: \"/.+/\"}
    actions: [\"pull\"]
  - match: {account: \"\", name: \"hello-world\"}
    actions: [\"pull\"]
";
    let users = people()
        + &user("vip", "group: [VIP]")
        + &user("dev", "group: [developers, x]")
        + &user("p", "project: [one, two], tier: [db], group: [ops]");
    let text = format!("users:\n{users}acl:\n{acl}");
    let read = shared::settings::Source::text("a.yml", &text).unwrap().read::<RawConfig>().unwrap();
    let config = Config::of(read.value, &read.unknown, &mut Vec::new());
    for (account, repository, expected) in [
        ("admin", "any/thing", "pull,push,delete"),
        ("test", "test-a", "pull,push,delete"),
        ("test", "test-a/b", ""),
        ("test", "test/a", ""),
        ("test", "hello-world", ""),
        ("alice", "alice/web", "pull,push,delete"),
        ("alice", "alice/web/api", "pull"),
        ("alice", "bob/web", "pull"),
        ("alice", "test-a", "pull"),
        ("vip", "a/b", "push"),
        ("vip", "vip/b", "pull,push,delete"),
        ("dev", "a/b", "pull,push"),
        ("p", "ops-shared/x", "pull,push"),
        ("p", "dev-shared/x", "pull"),
        ("p", "one/x", "pull,push"),
        ("p", "two/x", "pull,push"),
        ("p", "two-db/x", "pull,push"),
        ("p", "two-web/x", "pull"),
        ("", "hello-world", "pull"),
        ("", "hello-world/x", ""),
        ("", "a/b", ""),
    ] {
        let user = config.users.iter().find(|user| user.name == account).unwrap();
        let allowed = config.seen_by(user).allows(repository);
        assert_eq!(allowed.to_string(), expected, "{account} {repository}");
    }
}

#[test]
fn what_order_keeps_is_kept_where_grants_can_say_it() {
    let acl = "  - match: {account: \"admin\"}
    actions: [\"*\"]
  - match: {account: \"test\", name: \"acme/*\"}
    actions: [\"*\"]
  - match: {account: \"test\"}
    actions: []
  - match: {account: \"/.+/\", name: \"${account}/*\"}
    actions: [\"*\"]
  - match: {account: \"/.+/\"}
    actions: [\"pull\"]
  - match: {account: \"\", name: \"hello-world\"}
    actions: [\"pull\"]
";
    let made = imported(&people(), acl, &["acme/web", "base/os", "deep/er/still"]);
    assert_eq!(
        grants(&made),
        [
            "test acme/* pull,push,delete",
            "everyone hello-world pull",
            "admin ** pull,push,delete",
            "admin {username}/* pull,push,delete",
            "alice {username}/* pull,push,delete",
            "admin ** pull",
            "alice ** pull",
        ]
    );
    // What everyone may, those may too who were refused it by name.
    let (others, known): (Vec<_>, Vec<_>) = changed(&made).into_iter().partition(|row| row[0] == "*");
    assert_eq!(known, [["test", "hello-world", "nothing", "pull"]]);
    // Who comes later is not among those who are named.
    assert!(!others.is_empty() && others.iter().all(|row| row[3] == "nothing"), "{others:?}");
    warned(&made, 16, "one by one");
    warned(&made, 18, "everyone, signed in or not");
    let users: Vec<&str> = made.document.users.iter().flatten().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["admin", "alice", "test"]);
    assert!(made.document.users.iter().flatten().all(|user| user.password_hash.as_deref() == Some(HASH)));
}

#[test]
fn a_deny_rule_that_shadows_a_part_is_named_and_listed() {
    let acl = "  - match: {account: \"alice\", name: \"acme/secret\"}
    actions: []
  - match: {name: \"acme/*\"}
    actions: [\"pull\"]
";
    let made = imported(&people(), acl, &[]);
    assert_eq!(grants(&made), ["everyone acme/* pull"]);
    assert_eq!(changed(&made), [["alice", "acme/secret", "nothing", "pull"]]);
    warned(&made, 8, "gives nothing and keeps what line 10 gives");
}

#[test]
fn labels_become_teams() {
    let acl = "  - match: {labels: {\"group\": \"dev\"}, name: \"acme/*\"}
    actions: [\"push\", \"pull\"]
  - match: {name: \"${labels:project}/*\"}
    actions: [\"pull\"]
";
    let users = user("a", "group: [dev], project: [one]")
        + &user("b", "group: [dev, ops], project: [one, two]")
        + &user("c", "");
    let made = imported(&users, acl, &[]);
    assert_eq!(grants(&made), ["team:dev acme/* pull,push", "team:acl-line-9 one/* pull", "b two/* pull"]);
    let acme = &made.document.namespaces.as_ref().unwrap()[0];
    let members: Vec<&str> =
        acme.teams.as_ref().unwrap()[0].members.iter().flatten().map(|one| one.value.as_str()).collect();
    assert_eq!((acme.name.as_str(), members), ("acme", vec!["a", "b"]));
    assert_eq!(changed(&made), Vec::<[&str; 4]>::new());
}

#[test]
fn what_has_no_form_here_is_left_out_and_named() {
    let acl = "  - match: {ip: \"10.0.0.0/8\"}
    actions: [\"*\"]
  - match: {account: \"alice\", service: \"one\"}
    actions: [\"*\"]
  - match: {account: \"/^(.+)@test.com$/\", name: \"${account:1}/*\"}
    actions: [pull]
  - match: {account: \"alice\", name: \"/web/\"}
    actions: [pull]
  - match: {account: \"alice\", name: \"[ab]/*\"}
    actions: [pull]
  - match: {account: \"nobody\", name: \"x/*\"}
    actions: [pull]
  - match: {account: \"alice\", type: registry, name: catalog}
    actions: [\"*\"]
  - match: {account: \"alice\", name: \"up/*\"}
    actions: [push]
  - match: {account: \"alice\", name: \"/(?i)x/\"}
    actions: [pull]
  - match: {acount: \"alice\", name: \"of/*\"}
    actions: []
ldap_auth: {addr: \"ldap:636\"}
ext_authz: {command: \"/x\"}
";
    let users =
        people() + "  \"open\": {}\n  \"TEST\": {password: x}\n  \"a b\": {}\n  \"md5\": {password: \"$1$x$y\"}\n";
    let made = imported(&users, acl, &[]);
    assert_eq!(grants(&made), ["alice up/* pull,push"]);
    for (line, text) in [
        (7, "has no password there, and any opens the account"),
        (9, "is not an account name"),
        (10, "is no bcrypt hash"),
        (12, "the condition ip"),
        (14, "the condition service"),
        (16, "nothing stands for ${account:1}"),
        (18, "/web/ is not anchored"),
        (18, "regular expression that no pattern of ours says"),
        (20, "no [classes]"),
        (22, "\"nobody\" is not among the users"),
        (24, "not about repositories"),
        (26, "push without pull"),
        (28, "is not understood here"),
        (30, "acl[9].match.acount is unknown"),
        (32, "ldap_auth is not carried over"),
        (33, "ext_authz is not carried over"),
    ] {
        warned(&made, line, text);
    }
    let twice = made.warnings.iter().filter(|warning| warning.text.contains("another spelling")).count();
    assert_eq!(twice, 1, "TEST and test are one here");
    let rows = changed(&made);
    assert!(rows.contains(&["alice", "up/a", "push", "pull,push"]), "{rows:?}");
    assert!(rows.iter().any(|row| row[0] == "alice" && row[1] == "xweb" && row[2] == "pull"), "unanchored: {rows:?}");
}

/// H3: what is about these accounts is not about whoever signs in.
#[test]
fn a_pattern_that_happens_to_fit_everybody_of_the_file_is_not_for_everybody() {
    let acl = "  - match: {account: \"/^admin/\"}
    actions: [\"*\"]
  - match: {account: \"/.+/\", name: \"pub/*\"}
    actions: [pull]
";
    let made = imported(&user("admin", ""), acl, &[]);
    assert_eq!(grants(&made), ["authenticated pub/* pull", "admin ** pull,push,delete"]);
    warned(&made, 5, "named one by one; who comes later is not among them");
    assert_eq!(changed(&made), Vec::<[&str; 4]>::new());
}

#[test]
fn who_is_refused_and_not_in_the_file_gets_nothing_from_what_is_for_all() {
    for (refused, line) in [
        ("account: mallory", 6),
        ("account: \"/^ext-/\"", 6),
        ("labels: {group: guests}", 6),
        ("account: mallory, name: \"acme/secret\"", 6),
    ] {
        let acl = format!(
            "  - match: {{{refused}}}\n    actions: []\n  - match: {{account: \"/.+/\"}}\n    actions: [\"*\"]\n"
        );
        let made = imported(&(user("admin", "") + &user("alice", "")), &acl, &[]);
        assert_eq!(grants(&made), ["admin ** pull,push,delete", "alice ** pull,push,delete"], "{refused}");
        warned(&made, line, "accounts that are not in this file");
        warned(&made, line + 2, "line 6 keeps it from some");
        // Of whoever is not in the file less is allowed than there, and that is said.
        let rows = changed(&made);
        assert!(rows.iter().all(|row| row[0] == "*" && row[3] == "nothing") && !rows.is_empty(), "{rows:?}");
        assert!(made.differences.iter().all(|row| !row.more));
    }
    // Where nothing behind it is for all, nothing is to be said.
    let acl = "  - match: {account: alice}\n    actions: [pull]\n  - match: {account: mallory}\n    actions: []\n";
    assert_eq!(imported(&user("alice", ""), acl, &[]).warnings.iter().filter(|one| one.line == 7).count(), 0);
}

#[test]
fn a_file_without_people_is_for_those_of_its_directory() {
    let acl = "  - match: {account: \"/.+/\", name: \"pub/*\"}\n    actions: [pull]\n";
    let made = imported("  \"\": {}\n", acl, &[]);
    assert_eq!(grants(&made), ["authenticated pub/* pull"]);
    assert_eq!(changed(&made), Vec::<[&str; 4]>::new());

    let shut = format!("  - match: {{account: \"/.+/\", name: \"pub/secret\"}}\n    actions: []\n{acl}");
    let made = imported(&user("alice", ""), &shut, &[]);
    let opened = ["alice", "*"].map(|account| [account, "pub/secret", "nothing", "pull"]);
    assert_eq!(changed(&made), opened);
    assert!(made.differences.iter().all(|row| row.more), "nobody applies that unseen");
}

/// M4, T39: their shell patterns and labels are not ours.
#[test]
fn t39_what_is_a_letter_there_is_no_pattern_here() {
    let acl = "  - match: {account: alice, name: \"**\"}
    actions: [pull]
  - match: {account: alice, name: \"acme/{web,api}\"}
    actions: [pull]
  - match: {account: alice, name: \"acme/{username}\"}
    actions: [pull]
  - match: {account: alice, name: \"deep/**\"}
    actions: [pull]
  - match: {name: \"${labels:project}/*\"}
    actions: [pull]
";
    let made = imported(&user("alice", "project: [\"*\", \"{a,b}\", \"a/**\", one]"), acl, &["a/b/c", "acme/web"]);
    assert_eq!(grants(&made), ["alice deep/* pull", "alice one/* pull", "alice * pull"]);
    for line in [7, 9] {
        warned(&made, line, "braces are letters");
    }
    for value in ["\"*\"", "\"{a,b}\"", "\"a/**\""] {
        warned(&made, 13, &format!("the label {value} of \"alice\" is no plain name"));
    }
    assert!(made.differences.iter().all(|row| !row.more), "{:?}", made.differences);
}

/// M5: a refusal that has no form here keeps shut what it may have kept shut.
#[test]
fn what_is_behind_a_refusal_that_is_not_understood_is_not_opened() {
    for refusal in [
        "account: alice, ip: \"10.0.0.0/8\"",
        "account: alice, service: other",
        "account: alice, name: \"${name}\"",
        "account: alice, name: \"/(?i)secret/\"",
        "account: \"/(?P<n>alice)/\"",
        "account: alice, name: \"/^acme/[[:alpha:]]+$/\"",
    ] {
        let acl = format!(
            "  - match: {{{refusal}}}
    actions: []
  - match: {{account: alice, name: \"acme/*\"}}
    actions: [pull]
  - match: {{account: bob, name: \"other/*\"}}
    actions: [pull]
"
        );
        let made = imported(&(user("alice", "") + &user("bob", "")), &acl, &[]);
        let bobs = if refusal.contains("?P") { vec![] } else { vec!["bob other/* pull"] };
        assert_eq!(grants(&made), bobs, "{refusal}");
        warned(&made, 6, "it may refuse what line 8");
        warned(&made, 8, "entries before it decide for everybody it is about (line 6)");
        assert!(made.differences.iter().all(|row| !row.more), "{:?}", made.differences);
    }
    // What it gives no less than others, and what it cannot meet, goes on.
    let acl = "  - match: {account: alice, ip: \"10.0.0.0/8\"}
    actions: [\"*\"]
  - match: {account: alice, ip: \"10.0.0.0/8\", name: \"secret/*\"}
    actions: []
  - match: {account: alice, name: \"acme/*\"}
    actions: [pull]
";
    let made = imported(&user("alice", ""), acl, &[]);
    assert_eq!(grants(&made), ["alice acme/* pull"]);
    assert!(made.warnings.iter().all(|one| !one.text.contains("may refuse")), "{:?}", made.warnings);
}

#[test]
fn a_file_that_is_none_is_refused_with_its_line() {
    for (text, why) in [
        ("users: [a]", "line 1: users: "),
        ("acl:\n  - match: {acount: x}\n    actions: pull\n", "line 3: acl[0].actions: a list is expected"),
        ("users:\n  a: {password: x\n", "not YAML"),
    ] {
        let error = docker_auth("auth_config.yml", text, &[]).unwrap_err().to_string();
        assert!(error.starts_with("auth_config.yml, ") && error.contains(why), "{error}");
    }
}
