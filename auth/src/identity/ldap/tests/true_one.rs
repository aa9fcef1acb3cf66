//! Signing in to a real directory.

use std::time::{Duration, Instant};

use shared::secret::Secret;

use super::{
    ldap,
    slapd::{READER, Slapd},
    strange::SHORT,
};
use crate::identity::ldap::{
    Fault, Ldap, Person, Verdict,
    config::{Config, Password, Pem, Scope, Searcher, Server},
    connection::{Reading, Search},
    directory::Directory,
    names::Filter,
};

async fn sign_in(ldap: &Ldap, name: &str) -> Verdict {
    ldap.sign_in(name, &Secret::new(format!("{name}'s password"))).await.unwrap()
}

fn person(verdict: Verdict) -> Person {
    match verdict {
        Verdict::Proved(person) => *person,
        other => panic!("{other:?}"),
    }
}

async fn fault(config: Config) -> Fault {
    ldap(config).sign_in("alice", &"alice's password".into()).await.unwrap_err().fault
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn whoever_has_the_password_is_who_the_directory_says() {
    let slapd = Slapd::start(&["Alice", "bob"], "");
    let ldap = ldap(slapd.config());
    let alice = person(ldap.sign_in("aLICE", &"Alice's password".into()).await.unwrap());
    assert_eq!((&*alice.name, &*alice.display_name), ("Alice", "Alice of Corp"), "the directory's spelling");
    assert_eq!(alice.external_id.len(), 36);
    assert_eq!(ldap.person(&alice.external_id).await.unwrap(), Some(alice));
    assert_eq!(ldap.person("7b1e5e2a-0000-1040-8000-abcdef012345").await, Ok(None));
    assert_eq!(ldap.sign_in("alice", &"bob's password".into()).await, Ok(Verdict::Rejected));
    assert_eq!(ldap.sign_in("carol", &"carol's password".into()).await, Ok(Verdict::Unknown));
    for injected in ["*", "alice)(uid=*", "a*"] {
        assert_eq!(ldap.sign_in(injected, &"Alice's password".into()).await, Ok(Verdict::Unknown), "{injected}");
    }
}

/// An account that was moved and renamed is the same account.
#[tokio::test]
#[ignore = "needs slapd"]
async fn an_account_is_known_by_what_never_changes() {
    let slapd = Slapd::start(&["alice"], "");
    let ldap = ldap(slapd.config());
    let before = person(sign_in(&ldap, "alice").await);
    slapd.modify("dn: uid=alice,ou=people,dc=corp,dc=test\nchangetype: modrdn\nnewrdn: uid=alice.b\ndeleteoldrdn: 1\n");
    let after = person(ldap.sign_in("alice.b", &"alice's password".into()).await.unwrap());
    assert_eq!((before.external_id, &*after.name), (after.external_id, "alice.b"));
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn start_tls_and_ldaps_are_trusted_by_their_certificate() {
    let slapd = Slapd::start(&["alice"], "");
    let with = |url: &str, ca: &str| {
        let mut config = slapd.config();
        config.servers = vec![Server::from_url(url, false).unwrap()];
        config.tls.authorities = Some(Pem::File(slapd.file(ca)));
        config
    };
    for url in [slapd.tls(), slapd.plain()] {
        person(sign_in(&ldap(with(&url, "ca.pem")), "alice").await);
        assert!(matches!(fault(with(&url, "stranger.pem")).await, Fault::Tls(_)), "{url}");
        // The certificate says localhost.
        assert!(matches!(fault(with(&url.replace("localhost", "127.0.0.1"), "ca.pem")).await, Fault::Tls(_)), "{url}");
    }
    let mut machine = with(&slapd.tls(), "ca.pem");
    machine.tls.authorities = None;
    assert!(matches!(fault(machine).await, Fault::Tls(_)), "the machine does not know the test's CA");
}

/// It was the right one, until it ended.
#[tokio::test]
#[ignore = "needs slapd"]
async fn a_certificate_that_has_ended_is_not_trusted() {
    let mut slapd = Slapd::start(&["alice"], "");
    person(sign_in(&ldap(slapd.config()), "alice").await);
    slapd.reconfigure("/server.", "/expired.");
    for url in [slapd.tls(), slapd.plain()] {
        let config = Config { servers: vec![Server::from_url(&url, false).unwrap()], ..slapd.config() };
        let fault = fault(config).await;
        assert!(matches!(&fault, Fault::Tls(text) if text.contains("expired")), "{url}: {fault}");
    }
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_certificate_may_say_who_searches() {
    let slapd = Slapd::start(&["alice"], "");
    let mut config = slapd.config();
    config.tls.certificate = Some((Pem::File(slapd.file("reader.pem")), Pem::File(slapd.file("reader.key"))));
    config.searcher = Searcher::Certificate;
    person(sign_in(&ldap(config.clone()), "alice").await);
    config.tls.certificate = None;
    assert!(matches!(fault(config).await, Fault::Refused { .. }));
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_template_needs_nobody_who_searches() {
    let slapd = Slapd::start(&["alice"], "");
    let mut config = slapd.config();
    config.searcher = Searcher::Anonymous;
    assert!(matches!(fault(config.clone()).await, Fault::Refused { code: 50, .. }), "strangers see nothing");
    config.template = Some("uid={username},ou=people,dc=corp,dc=test".parse().unwrap());
    let ldap = ldap(config);
    assert_eq!(person(sign_in(&ldap, "alice").await).name, "alice");
    for injected in ["alice,ou=people", "alice,dc=corp", "alice+sn=alice", "bob"] {
        let verdict = ldap.sign_in(injected, &"alice's password".into()).await;
        assert_eq!(verdict, Ok(Verdict::Rejected), "{injected}");
    }
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn the_readers_password_is_read_again_from_its_file() {
    let slapd = Slapd::start(&["alice"], "");
    let mut config = slapd.config();
    let file = slapd.file("password");
    std::fs::write(&file, "not yet\n").unwrap();
    config.searcher = Searcher::Account { name: READER.to_owned(), password: Password::File(file.clone()) };
    let ldap = ldap(config);
    let refused = ldap.sign_in("alice", &"alice's password".into()).await.unwrap_err().fault;
    assert!(matches!(&refused, Fault::Refused { code: 49, .. }), "{refused}");
    assert!(!refused.is_of_the_settings());
    std::fs::write(&file, "the reader's own\n").unwrap();
    person(sign_in(&ldap, "alice").await);
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_that_wants_tls_says_so() {
    let slapd = Slapd::with(&["alice"], "", "security simple_bind=128");
    let mut config = slapd.config();
    config.servers = vec![Server::from_url(&slapd.plain(), true).unwrap()];
    let fault = fault(config).await;
    assert!(matches!(fault, Fault::Refused { code: 8 | 13, .. }), "{fault}");
    assert!(fault.is_of_the_settings());
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_that_comes_back_is_asked_again() {
    let mut slapd = Slapd::start(&["alice"], "");
    let ldap = ldap(slapd.config());
    person(sign_in(&ldap, "alice").await);
    slapd.stop();
    let gone = ldap.sign_in("alice", &"alice's password".into()).await.unwrap_err();
    assert!(matches!(gone.fault, Fault::Unreachable(_)), "{gone}");
    slapd.run();
    person(sign_in(&ldap, "alice").await);
}

/// More than the thousand entries that this directory answers at once.
#[tokio::test]
#[ignore = "needs slapd"]
async fn long_answers_are_read_in_pages() {
    let names: Vec<String> = (0..2345).map(|number| format!("user{number}")).collect();
    let slapd = Slapd::start(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let directory = Directory::new(&slapd.config()).unwrap();
    let search = |reading| Search {
        base: "ou=people,dc=corp,dc=test".to_owned(),
        scope: Scope::One,
        filter: Filter::everything(),
        attributes: vec!["uid".to_owned()],
        reading,
    };
    let mut found: Vec<String> = Vec::new();
    for entry in directory.search(&search(Reading::All)).await.unwrap() {
        found.push(entry.text("uid").unwrap().to_owned());
    }
    found.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(found, expected);
    let cut = directory.search(&search(Reading::AtMost(2000))).await.unwrap_err();
    assert!(matches!(cut, Fault::Incomplete { code: 4, .. }), "{cut}");
}

#[tokio::test]
#[ignore = "needs slapd"]
async fn a_directory_that_stalls_is_waited_for_so_long_and_no_longer() {
    let slapd = Slapd::start(&["alice"], "");
    let mut config = slapd.config();
    config.limits = SHORT;
    let ldap = ldap(config);
    person(sign_in(&ldap, "alice").await);
    slapd.stall();
    let begun = Instant::now();
    let stalled = ldap.sign_in("alice", &"alice's password".into()).await.unwrap_err();
    assert!(matches!(stalled.fault, Fault::Slow { .. }), "{stalled}");
    // The open connection is tried, then a new one.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
