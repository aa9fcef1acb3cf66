//! Directories that stall, lie and leave.

use std::time::Duration;

use shared::secret::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{
    config,
    fake::{BIND, Does, EXTENDED, Fake, SEARCH, alice, entry, friendly, head, result, tlv},
    ldap,
};
use crate::identity::ldap::{
    Fault, Verdict,
    config::{Config, Limits, Password, Searcher, Security},
};

fn word() -> Secret<String> {
    "a password".into()
}

async fn fault_of(fake: &Fake) -> Fault {
    let ldap = ldap(config(std::slice::from_ref(&fake.url)));
    ldap.sign_in("alice", &word()).await.unwrap_err().fault
}

fn proved(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Proved(person) if person.name == "alice")
}

/// T36: a name with an empty password is "signed in" by every directory (RFC 4513, section 5.1.2), so none is asked.
#[tokio::test]
async fn t36_an_empty_password_is_refused_before_a_byte_is_sent() {
    let fake = Fake::start(friendly).await;
    let mut by_template = config(std::slice::from_ref(&fake.url));
    by_template.template = Some("uid={username},ou=people,dc=corp,dc=test".parse().unwrap());
    for config in [config(std::slice::from_ref(&fake.url)), by_template] {
        let ldap = ldap(config);
        for password in ["", " ", "\t \r\n", "\0", "\0\0 "] {
            assert_eq!(ldap.sign_in("alice", &password.into()).await, Ok(Verdict::Rejected), "{password:?}");
        }
    }
    assert_eq!(fake.seen(), Vec::<Vec<u8>>::new());
}

/// T34, on the wire: what was typed is the value of the filter, byte for byte, whatever it looks like.
#[tokio::test]
async fn t34_a_name_is_a_value_of_the_filter() {
    let long = "ü".repeat(2048);
    for name in ["*", "a)(uid=*", "\0", "admin)(|(a=b", "a\\2a", "ünal", &long] {
        let fake = Fake::start(|id, _| Does::Says(if id == 1 { result(id, 0x65, 0) } else { alice(id) })).await;
        let ldap = ldap(config(std::slice::from_ref(&fake.url)));
        assert_eq!(ldap.sign_in(name, &word()).await, Ok(Verdict::Unknown), "{name}");
        let filter = tlv(0xa3, &[tlv(0x04, b"uid"), tlv(0x04, name.as_bytes())].concat());
        let short = |bytes: &[u8]| bytes.windows(name.len()).any(|part| part == name.as_bytes());
        let seen = fake.seen();
        let [request, anybody] = &seen[..] else { panic!("{} requests", seen.len()) };
        assert!(name.len() < 3 || !short(anybody), "whether there is anybody is asked without a name");
        assert!(short(request) && (name == long || request.windows(filter.len()).any(|part| part == filter)), "{name}");
    }
}

/// What nobody asked for is not taken for an answer.
#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    // The entry again, where the password was asked about.
    let fake = Fake::start(|id, _| Does::Says(alice(id))).await;
    assert!(matches!(fault_of(&fake).await, Fault::Nonsense(_)));
}

/// The limits are those of the operator's pages; the stories below shorten them.
#[test]
fn a_directory_is_waited_for_five_and_ten_seconds() {
    let limits = Limits::default();
    assert_eq!((limits.connect.as_secs(), limits.operation.as_secs(), limits.reading.as_secs()), (5, 10, 300));
}

pub(super) const SHORT: Limits = Limits {
    connect: Duration::from_millis(400),
    operation: Duration::from_millis(600),
    reading: Duration::from_millis(1200),
};

async fn slow(url: String) -> Duration {
    let begun = Instant::now();
    let ldap = ldap(Config { limits: SHORT, ..config(&[url]) });
    let fault = ldap.sign_in("alice", &word()).await.unwrap_err().fault;
    assert!(matches!(fault, Fault::Slow { .. }), "{fault}");
    begun.elapsed()
}

#[tokio::test]
async fn a_stalled_directory_is_waited_for_as_long_as_an_operation_may_take() {
    let fake = Fake::start(|_, _| Does::Stalls).await;
    let took = slow(fake.url.clone()).await;
    assert!((SHORT.operation..SHORT.operation * 3).contains(&took), "{took:?}");
}

/// The handshake of TLS is a part of connecting.
#[tokio::test]
async fn a_server_that_never_greets_is_waited_for_as_long_as_connecting_may_take() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let took = slow(format!("ldaps://{}", listener.local_addr().unwrap())).await;
    assert!((SHORT.connect..SHORT.operation).contains(&took), "{took:?}");
}

/// One byte now and then keeps nobody waiting longer.
#[tokio::test]
async fn a_dripping_directory_is_waited_for_no_longer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        for byte in alice(1) {
            tokio::time::sleep(SHORT.operation / 4).await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let took = slow(url).await;
    assert!(took < SHORT.operation * 3, "{took:?}");
    dripping.abort();
}

#[tokio::test]
async fn start_tls_that_is_refused_is_the_end() {
    let fake = Fake::start(|id, operation| match operation {
        EXTENDED => Does::Says(result(id, 0x78, 2)),
        _ => friendly(id, operation),
    })
    .await;
    let mut config = config(std::slice::from_ref(&fake.url));
    config.servers[0].security = Security::StartTls;
    let fault = ldap(config).sign_in("alice", &word()).await.unwrap_err().fault;
    assert_eq!(fault, Fault::NoStartTls { code: 2 });
    let seen = fake.seen();
    assert_eq!(seen.len(), 1, "nothing is asked without TLS");
    assert!(!seen.concat().windows(5).any(|part| part == b"alice"));
}

/// Somebody on the way who answers before TLS stands does not get a word into what comes behind it.
#[tokio::test]
async fn what_comes_behind_the_yes_to_start_tls_ends_the_connection() {
    let fake = Fake::start(|id, _| Does::Says([result(id, 0x78, 0), alice(2)].concat())).await;
    let mut config = config(std::slice::from_ref(&fake.url));
    config.servers[0].security = Security::StartTls;
    assert!(matches!(ldap(config).sign_in("alice", &word()).await.unwrap_err().fault, Fault::Nonsense(_)));
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_asked_last() {
    let dead = Fake::start(|_, _| Does::SaysAndLeaves(Vec::new())).await;
    let alive = Fake::start(friendly).await;
    let ldap = ldap(config(&[dead.url.clone(), alive.url.clone()]));
    for _ in 0..3 {
        assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    }
    assert_eq!(dead.seen().len(), 1, "it is asked once, then it rests");
    assert_eq!(alive.seen().len(), 6);
}

#[tokio::test]
async fn a_directory_without_any_server_cannot_be_asked() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", closed.local_addr().unwrap());
    drop(closed);
    let fault = ldap(config(&[url])).sign_in("alice", &word()).await.unwrap_err().fault;
    assert!(matches!(fault, Fault::Unreachable(_)), "{fault}");
}

/// A connection that was cut while nobody searched is replaced without anybody noticing.
#[tokio::test]
async fn the_pool_heals() {
    let fake = Fake::start(|id, operation| match (operation, id) {
        (SEARCH, 1) => Does::SaysAndLeaves(alice(id)),
        _ => friendly(id, operation),
    })
    .await;
    let ldap = ldap(config(std::slice::from_ref(&fake.url)));
    for _ in 0..4 {
        assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    }
}

/// Searches share a connection, and nobody signs in on it.
#[tokio::test]
async fn users_sign_in_on_connections_of_their_own() {
    let fake = Fake::start(friendly).await;
    let mut config = config(std::slice::from_ref(&fake.url));
    config.searcher =
        Searcher::Account { name: "cn=reader".to_owned(), password: Password::Here("of the reader".into()) };
    let ldap = ldap(config);
    for _ in 0..3 {
        assert!(proved(&ldap.sign_in("alice", &word()).await.unwrap()));
    }
    let seen = fake.seen();
    let has = |request: &Vec<u8>, text: &str| request.windows(text.len()).any(|part| part == text.as_bytes());
    assert_eq!(seen.iter().filter(|request| has(request, "of the reader")).count(), 1);
    let users: Vec<&Vec<u8>> = seen.iter().filter(|request| has(request, "a password")).collect();
    assert_eq!(users.len(), 3);
    assert!(users.iter().all(|request| head(request) == (1, BIND)), "the first message of its connection");
}

#[tokio::test]
async fn what_a_directory_answers_is_what_is_said() {
    let searched = |code: u8| async move {
        let fake = Fake::start(move |id, operation| match operation {
            BIND => Does::Says(result(id, 0x61, 0)),
            _ => Does::Says(result(id, 0x65, code)),
        })
        .await;
        fault_of(&fake).await
    };
    for code in [3, 4, 10, 11] {
        assert!(matches!(searched(code).await, Fault::Incomplete { .. }), "{code}");
    }
    let bound = |code: u8| async move {
        let fake = Fake::start(move |id, operation| match operation {
            BIND => Does::Says(result(id, 0x61, code)),
            _ => friendly(id, operation),
        })
        .await;
        ldap(config(std::slice::from_ref(&fake.url))).sign_in("alice", &word()).await
    };
    for code in [19, 32, 48, 49, 50, 53] {
        assert_eq!(bound(code).await, Ok(Verdict::Rejected), "{code}");
    }
    for (code, settings) in [(7, true), (8, true), (13, true), (51, false), (52, false), (80, false)] {
        assert_eq!(bound(code).await.unwrap_err().fault.is_of_the_settings(), settings, "{code}");
    }
}

/// Whoever finds nothing proves that something can be seen. A directory with more users than it may look through has some.
#[tokio::test]
async fn an_unknown_name_is_unknown_where_somebody_can_be_seen() {
    for (code, unknown) in [(0, false), (3, true), (4, true), (10, false), (11, true), (50, false)] {
        let fake = Fake::start(move |id, _| Does::Says(result(id, 0x65, if id == 1 { 0 } else { code }))).await;
        let verdict = ldap(config(std::slice::from_ref(&fake.url))).sign_in("alice", &word()).await;
        assert_eq!(verdict == Ok(Verdict::Unknown), unknown, "{code}: {verdict:?}");
        assert!(unknown || verdict.is_err(), "{code}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_name_of_two_is_nobodys() {
    let fake = Fake::start(|id, _| {
        let one = alice(id);
        let entry = &one[..one.len() - result(id, 0x65, 0).len()];
        Does::Says([entry, entry, &result(id, 0x65, 4)].concat())
    })
    .await;
    let fault = fault_of(&fake).await;
    assert_eq!(fault, Fault::Ambiguous);
    assert!(fault.is_of_the_settings());
}

#[tokio::test]
async fn an_entry_without_an_id_is_nobodys() {
    let fake = Fake::start(|id, _| {
        let entry = entry(id, "uid=alice", &[("uid", b"alice"), ("entryUUID", b"12345")]);
        Does::Says([entry, result(id, 0x65, 0)].concat())
    })
    .await;
    assert!(matches!(fault_of(&fake).await, Fault::Unreadable { attribute, .. } if attribute == "entryUUID"));
}

#[tokio::test]
async fn a_disabled_account_proves_a_password_for_nothing() {
    for (attribute, value, disabled) in [
        ("userAccountControl", "514", true),
        ("userAccountControl", "512", false),
        ("pwdAccountLockedTime", "000001010000Z", true),
        ("pwdAccountLockedTime", "20260101000000Z", false),
        ("nsAccountLock", "TRUE", true),
    ] {
        let fake = Fake::start(move |id, operation| {
            let known: [(&str, &[u8]); 3] = [
                ("uid", b"alice"),
                ("entryUUID", b"7b1e5e2a-0000-1040-8000-abcdef012345"),
                (attribute, value.as_bytes()),
            ];
            match operation {
                BIND => Does::Says(result(id, 0x61, 0)),
                _ => Does::Says([entry(id, "uid=alice", &known), result(id, 0x65, 0)].concat()),
            }
        })
        .await;
        let verdict = ldap(config(std::slice::from_ref(&fake.url))).sign_in("alice", &word()).await.unwrap();
        assert_eq!(matches!(verdict, Verdict::Disabled(_)), disabled, "{attribute}={value}: {verdict:?}");
    }
}

/// 200 sign-ins at once hold no more connections than are allowed, and all are answered.
#[tokio::test]
async fn many_sign_ins_share_few_connections() {
    let fake = Fake::start(friendly).await;
    let ldap = std::sync::Arc::new(ldap(config(std::slice::from_ref(&fake.url))));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let ldap = ldap.clone();
        all.spawn(async move { proved(&ldap.sign_in("alice", &word()).await.unwrap()) });
    }
    assert!(all.join_all().await.into_iter().all(|proved| proved));
    let searches = fake.seen().iter().filter(|request| head(request) == (1, SEARCH)).count();
    assert!(searches <= 4 + 1, "{searches} connections searched");
}
