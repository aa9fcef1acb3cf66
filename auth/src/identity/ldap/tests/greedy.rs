//! T37: directories that send more than anybody can hold. These stories run in a process of their own, whose memory is nobody else's.

use std::time::{Duration, Instant};

use super::{
    alone::{is_alone, memory_mib},
    config,
    fake::{BIND, Does, Fake, entry, page, result, tlv},
    ldap,
    strange::SHORT,
};
use crate::identity::ldap::{
    Fault, Ldap,
    config::{Config, Limits},
    connection::MAX_KEPT_MIB,
    message::{self, MAX_WEIGHT},
};

/// What a weight of 64 MiB may be in truth: the answer as it comes, as the library reads it and as it is kept.
const MOST_MIB: u64 = 192;
/// Whatever a directory sends, an operation ends with its limit; what was read until then is looked at.
const MOST_TIME: Duration = Duration::from_secs(15);

async fn directory(does: Does) -> (Fake, Ldap) {
    let fake = Fake::start(move |_, _| does.clone()).await;
    let ldap = ldap(config(std::slice::from_ref(&fake.url)));
    (fake, ldap)
}

/// Two gigabytes are announced, or come; a nesting that no stack holds; references and referrals without end.
#[tokio::test]
async fn t37_what_no_directory_says_ends_the_connection() {
    if !is_alone(module_path!(), "t37_what_no_directory_says_ends_the_connection") {
        return;
    }
    let deep = (0..5000).fold(Vec::new(), |inner, _| tlv(0x30, &inner));
    let answer = |operation: Vec<u8>| tlv(0x30, &[tlv(0x02, &[1]), operation].concat());
    let elsewhere = tlv(0x04, b"ldap://elsewhere.corp.test/ou=people,dc=corp,dc=test??sub");
    let referral = [tlv(0x0a, &[10]), tlv(0x04, b""), tlv(0x04, b""), tlv(0xa3, &elsewhere.repeat(100_000))].concat();
    let cases: Vec<(Does, &str)> = vec![
        (Does::Says(vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), "more than"),
        (Does::Says(answer(deep)), "not LDAP"),
        (Does::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "not LDAP"),
        (Does::Says(result(1, 0x61, 0)), "not LDAP"),
        (Does::Repeats(entry(1, "uid=x", &[("uid", &[b'x'; 1000])]).repeat(100)), "larger than"),
        // What costs two bytes on the way, and a hundred here.
        (Does::Repeats(entry(1, "uid=x", &[("uid", &b""[..]); 10_000])), "larger than"),
        (Does::Repeats(entry(1, "uid=x", &[("uid", &vec![b'x'; 15 << 20])])), "larger than"),
        (Does::Repeats(answer(tlv(0x73, &elsewhere.repeat(1000)))), "larger than"),
        (Does::Says(answer(tlv(0x65, &referral))), "referral (result code 10)"),
    ];
    let before = memory_mib("VmRSS");
    for (does, expected) in cases {
        let (_fake, ldap) = directory(does).await;
        let begun = Instant::now();
        let error = ldap.sign_in("alice", &"a password".into()).await.unwrap_err().to_string();
        assert!(error.starts_with("the directory \"corp\" cannot be asked: ") && error.contains(expected), "{error}");
        assert!(begun.elapsed() < MOST_TIME, "{expected}: {:?}", begun.elapsed());
        let grown = memory_mib("VmHWM").saturating_sub(before);
        assert!(grown < MOST_MIB, "{expected}: {grown} MiB more");
        eprintln!("{expected}: {grown} MiB more at most, {:?}", begun.elapsed());
    }
}

/// What weighs as much as an answer may is taken, and one entry more is not.
#[tokio::test]
async fn an_answer_may_weigh_so_much_and_no_more() {
    if !is_alone(module_path!(), "an_answer_may_weigh_so_much_and_no_more") {
        return;
    }
    let (one, end) = (entry(1, "uid=x", &[("uid", &[b'x'; 1000])]), result(1, 0x65, 0));
    let weight = |bytes: &[u8]| message::read(bytes).unwrap().weight;
    let most = (MAX_WEIGHT - weight(&end)) / weight(&one);
    let before = memory_mib("VmRSS");
    for (count, expected) in [(most, Fault::Ambiguous), (most + 1, Fault::TooMuch)] {
        let (_fake, ldap) = directory(Does::Says([one.repeat(count), end.clone()].concat())).await;
        assert_eq!(ldap.sign_in("alice", &"a password".into()).await.unwrap_err().fault, expected, "{count}");
    }
    let grown = memory_mib("VmHWM").saturating_sub(before);
    // The tests' directory holds what it says, too.
    let said = u64::try_from((most * one.len()) >> 20).unwrap() * 2;
    assert!(grown < MOST_MIB + said, "{grown} MiB more");
    eprintln!("{most} entries: {grown} MiB more at most");
}

/// Page after page, each as large as one may be: they have an end together, too.
#[tokio::test]
async fn t37_pages_without_end_have_one() {
    if !is_alone(module_path!(), "t37_pages_without_end_have_one") {
        return;
    }
    let photo = entry(1, "uid=x", &[("uid", b"x"), ("photo", &vec![b'x'; 15 << 20])]);
    let fake = Fake::start(move |id, operation| match operation {
        BIND => Does::Says(result(id, 0x61, 0)),
        _ => {
            let numbered = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                // Behind the head of six bytes stand tag and length of the number.
                bytes[8] = id;
                bytes
            };
            Does::Says([numbered(&photo).repeat(4), page(id, b"and so on")].concat())
        }
    })
    .await;
    let ldap = ldap(config(std::slice::from_ref(&fake.url)));
    let (before, begun) = (memory_mib("VmRSS"), Instant::now());
    let fault = ldap.everybody().await.unwrap_err().fault;
    assert_eq!(fault, Fault::TooMany { what: "MiB of entries", limit: MAX_KEPT_MIB });
    let grown = memory_mib("VmHWM").saturating_sub(before);
    assert!(grown < u64::try_from(MAX_KEPT_MIB).unwrap() + MOST_MIB, "{grown} MiB more");
    assert!(begun.elapsed() < Limits::default().operation * 5, "{:?}", begun.elapsed());
    eprintln!("{} pages: {grown} MiB more at most, {:?}", fake.seen().len(), begun.elapsed());
}

/// Page after page, each in time and with somebody on it: a reading ends all the same, and the next directory has its turn.
#[tokio::test(flavor = "multi_thread")]
async fn t37_a_reading_that_drips_ends_with_its_time() {
    let fake = Fake::start(|id, operation| match operation {
        BIND => Does::Says(result(id, 0x61, 0)),
        _ => {
            std::thread::sleep(SHORT.operation / 6);
            Does::Says([entry(id, "uid=x", &[("uid", b"x")]), page(id, b"and so on")].concat())
        }
    })
    .await;
    let ldap = ldap(Config { limits: SHORT, ..config(std::slice::from_ref(&fake.url)) });
    let begun = Instant::now();
    let fault = ldap.everybody().await.unwrap_err().fault;
    assert_eq!(fault, Fault::Slow { what: "reading everybody", limit: SHORT.reading });
    assert!(fake.seen().len() > 2, "it was never late with a page");
    assert!(begun.elapsed() < SHORT.reading * 4, "{:?}", begun.elapsed());
}
