use ldap3::asn1::parse_tag;
use proptest::prelude::*;

use super::*;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut bytes = vec![tag];
    if content.len() < 0x80 {
        bytes.push(length[3]);
    } else {
        bytes.push(0x84);
        bytes.extend(length);
    }
    bytes.extend(content);
    bytes
}

fn message(parts: &[Vec<u8>]) -> Vec<u8> {
    let id = tlv(INTEGER, &[7]);
    tlv(SEQUENCE, &[id, parts.concat()].concat())
}

fn result(tag: u8, code: u8, more: &[u8]) -> Vec<u8> {
    tlv(
        tag,
        &[tlv(ENUMERATED, &[code]), tlv(OCTET_STRING, b""), tlv(OCTET_STRING, "no öl".as_bytes()), more.to_vec()]
            .concat(),
    )
}

fn entry() -> Vec<u8> {
    let values = tlv(SET, &[tlv(OCTET_STRING, b"alice"), tlv(OCTET_STRING, &[0xff; 200])].concat());
    let attribute = tlv(SEQUENCE, &[tlv(OCTET_STRING, b"uid"), values].concat());
    tlv(0x64, &[tlv(OCTET_STRING, b"uid=alice"), tlv(SEQUENCE, &attribute)].concat())
}

fn paged(cookie: &[u8]) -> Vec<u8> {
    let value = tlv(SEQUENCE, &[tlv(INTEGER, &[0]), tlv(OCTET_STRING, cookie)].concat());
    let control = [tlv(OCTET_STRING, b"1.2.840.113556.1.4.319"), tlv(BOOLEAN, &[0]), tlv(OCTET_STRING, &value)];
    tlv(CONTROLS, &tlv(SEQUENCE, &control.concat()))
}

#[test]
fn what_directories_say_is_understood() {
    let referral = tlv(REFERRAL, &tlv(OCTET_STRING, b"ldap://elsewhere"));
    let cases = [
        (message(&[result(0x61, 49, b"")]), Answer::Bind, Some(49)),
        (message(&[result(0x61, 0, &tlv(0x87, &[0xfe]))]), Answer::Bind, Some(0)),
        (message(&[entry()]), Answer::SearchGoesOn, None),
        (message(&[tlv(0x73, &tlv(OCTET_STRING, b"ldap://elsewhere"))]), Answer::SearchGoesOn, None),
        (message(&[result(0x65, 10, &referral)]), Answer::SearchEnds, Some(10)),
        (message(&[result(0x65, 0, b""), paged(b"next")]), Answer::SearchEnds, Some(0)),
        (message(&[result(0x78, 0, &tlv(0x8a, b"1.3.6.1.4.1.1466.20037"))]), Answer::Extended, Some(0)),
    ];
    for (bytes, answer, code) in cases {
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let read = read(&bytes).unwrap();
        assert_eq!((read.id, read.answer, read.code), (7, answer, code), "{bytes:02x?}");
        assert!(read.weight > bytes.len());
    }
}

#[test]
fn what_no_directory_says_is_refused() {
    let deep = (0..2000).fold(Vec::new(), |inner, _| tlv(SEQUENCE, &inner));
    let cases: &[(&str, Vec<u8>)] = &[
        ("nothing inside", tlv(SEQUENCE, b"")),
        ("no operation", message(&[])),
        ("a request", message(&[tlv(0x60, b"")])),
        ("an intermediate response", message(&[tlv(0x79, b"")])),
        ("a result without a code", message(&[tlv(0x65, b"")])),
        ("a code that is text", message(&[tlv(0x65, &tlv(OCTET_STRING, b"0"))])),
        ("a negative code", message(&[result(0x65, 0xff, b"")])),
        (
            "words that are no text",
            message(&[tlv(
                0x65,
                &[tlv(ENUMERATED, &[0]), tlv(OCTET_STRING, &[0xff]), tlv(OCTET_STRING, b"")].concat(),
            )]),
        ),
        ("something behind a result", message(&[result(0x65, 0, &tlv(OCTET_STRING, b"x"))])),
        ("an entry without attributes", message(&[tlv(0x64, &tlv(OCTET_STRING, b"uid=a"))])),
        ("values without end", message(&[tlv(0x64, &[tlv(OCTET_STRING, b"uid=a"), deep.clone()].concat())])),
        ("a control without a name", message(&[result(0x65, 0, b""), tlv(CONTROLS, &tlv(SEQUENCE, b""))])),
        ("nesting", message(&[deep])),
        ("two operations", message(&[result(0x65, 0, b""), result(0x65, 0, b"")])),
    ];
    for (name, bytes) in cases {
        assert_eq!(read(bytes), Err(BadMessage::Malformed), "{name}");
    }
}

/// T37: a length of two gigabytes is refused when it is announced, not waited for.
#[test]
fn a_length_is_judged_before_anything_is_waited_for() {
    assert_eq!(length(&[SEQUENCE, 0x84, 0x7f, 0xff, 0xff, 0xff]), Err(BadMessage::Oversized));
    assert_eq!(length(&[SEQUENCE, 0x80]), Err(BadMessage::Malformed), "lengths are definite");
    assert_eq!(length(&[SEQUENCE, 0x88, 0, 0, 0, 0, 0, 0, 0, 1]), Err(BadMessage::Malformed));
    assert_eq!(length(b"HTTP/1.1 400 Bad Request"), Err(BadMessage::Malformed));
    for early in [&[][..], &[SEQUENCE], &[SEQUENCE, 0x82, 1]] {
        assert_eq!(length(early), Ok(None));
    }
}

/// A message of many empty values takes many times its bytes once it is read.
#[test]
fn small_values_weigh_what_they_cost() {
    let values = tlv(SET, &[OCTET_STRING, 0].repeat(100_000));
    let attribute = tlv(SEQUENCE, &[tlv(OCTET_STRING, b"member"), values].concat());
    let bytes = message(&[tlv(0x64, &[tlv(OCTET_STRING, b"cn=g"), tlv(SEQUENCE, &attribute)].concat())]);
    assert!(read(&bytes).unwrap().weight > 100_000 * ELEMENT_WEIGHT);
}

#[test]
fn a_cookie_is_found_or_nothing_is() {
    let value = tlv(SEQUENCE, &[tlv(INTEGER, &[0]), tlv(OCTET_STRING, b"next")].concat());
    assert_eq!(page_cookie(&value).as_deref(), Some(&b"next"[..]));
    for wrong in [&b""[..], b"next", &tlv(SEQUENCE, b""), &value[1..], &[value.clone(), value.clone()].concat()] {
        assert_eq!(page_cookie(wrong), None);
    }
}

proptest! {
    /// Whatever is let through, the library's parser reads to its end: it neither panics nor waits for more.
    #[test]
    fn what_is_let_through_is_whole(which in 0..4_usize, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = match which {
            0 => message(&[entry()]),
            1 => message(&[result(0x61, 49, &tlv(0x87, b"x"))]),
            2 => message(&[result(0x65, 0, b""), paged(b"next")]),
            _ => message(&[tlv(0x73, &tlv(OCTET_STRING, b"ldap://elsewhere"))]),
        };
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(Some(whole)) = length(&bytes) && whole <= bytes.len() && read(&bytes[..whole]).is_ok() {
            let (rest, _) = parse_tag(&bytes[..whole]).unwrap();
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = length(&bytes);
        let _ = read(&bytes);
        let _ = page_cookie(&bytes);
    }
}
