use std::{fs, os::unix::fs::PermissionsExt};

use x509_parser::{parse_x509_certificate, pem::Pem};

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An RSA key of 2048 bits that exists for these tests only, in PKCS #8.
const RSA_KEY: &str = include_str!("tests/rsa-2048.pem");
/// Another, one bit shorter.
const SHORT_RSA_KEY: &str = include_str!("tests/rsa-2047.pem");

fn open(directory: &Path, now: Timestamp) -> TokenAuthority {
    TokenAuthority::open(directory, TokenKey::Own, now).unwrap()
}

fn key_id(authority: &TokenAuthority, now: Timestamp) -> String {
    authority.keys(now).unwrap().signing().public().id().as_str().to_owned()
}

fn leaf(directory: &Path) -> Certificate {
    Entry::read(&directory.join(LEAF)).unwrap().unwrap().certificate
}

#[test]
fn the_first_start_makes_an_authority_and_the_next_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let first = open(&keys, START);
    let id = key_id(&first, START);
    let second = open(&keys, START + DAY);
    assert_eq!(second.bundle(), first.bundle());
    assert_eq!(key_id(&second, START + DAY), id);
    for entry in fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_copy_of_the_bundle_lies_where_it_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(&directory.path().join("keys"), START);
    let copy = directory.path().join("trust/bundle.pem");
    authority.publish_bundle(&copy).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), authority.bundle());
    let PkiError::File { path, .. } = authority.publish_bundle(&copy.join("below-a-file")).unwrap_err() else {
        panic!()
    };
    assert!(path.starts_with(&copy));
}

#[test]
fn the_bundle_holds_the_token_authority_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path(), START);
    authority.keys(START).unwrap();
    development_tls(directory.path(), &["localhost".to_owned()], START).unwrap();
    let bundle = fs::read_to_string(directory.path().join(BUNDLE)).unwrap();
    assert_eq!(bundle, authority.bundle());
    let blocks: Vec<Pem> = Pem::iter_from_buffer(bundle.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].label, "CERTIFICATE");
    let root = Certificate(blocks[0].contents.clone());
    assert!(leaf(directory.path()).is_signed_by(&root));
    let tls = Entry::read(&directory.path().join(TLS_SERVER)).unwrap().unwrap();
    assert!(!tls.certificate.is_signed_by(&root), "a TLS certificate under the bundle could mint tokens");
}

#[test]
fn a_leaf_signs_and_can_do_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), START).keys(START).unwrap();
    let leaf = leaf(directory.path());
    let (_, parsed) = parse_x509_certificate(&leaf.0).unwrap();
    assert!(!parsed.basic_constraints().unwrap().unwrap().value.ca);
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    assert!(parsed.extended_key_usage().unwrap().is_none());
    assert_eq!(leaf.validity().unwrap(), (START - DAY, START - DAY + LEAF_LIFE));
}

#[test]
fn a_leaf_rotates_after_seven_days_and_the_one_before_stays_published() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path(), START);
    let first = key_id(&authority, START);
    assert_eq!(key_id(&authority, START + LEAF_ROTATION - Duration::from_secs(1)), first);
    let then = START + LEAF_ROTATION;
    let keys = authority.keys(then).unwrap();
    let published: Vec<&str> = keys.published().map(|key| key.id().as_str()).collect();
    assert_eq!(published.len(), 2);
    assert_ne!(published[0], first);
    assert_eq!(published[1], first);
    assert_eq!(key_id(&authority, then), published[0], "it rotates once");
    // The old certificate ends thirteen days after it was made; its tokens ended long before.
    let keys = authority.keys(START + LEAF_LIFE).unwrap();
    assert!(keys.published().all(|key| key.id().as_str() != first));
}

#[test]
fn a_clock_that_was_set_back_gets_a_leaf_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path(), START);
    let first = key_id(&authority, START);
    assert_ne!(key_id(&authority, START - DAY - Duration::from_secs(1)), first);
}

#[test]
fn what_is_damaged_is_an_error_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path(), START);
    authority.keys(START).unwrap();
    let bundle = fs::read(directory.path().join(BUNDLE)).unwrap();
    for (file, text) in [
        (TOKEN_AUTHORITY, b"".as_slice()),
        (TOKEN_AUTHORITY, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        (TOKEN_AUTHORITY, &bundle),
        (LEAF, b"nonsense"),
    ] {
        let path = directory.path().join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let result = TokenAuthority::open(directory.path(), TokenKey::Own, START).and_then(|one| one.keys(START));
        assert!(matches!(result, Err(PkiError::Damaged { path: named }) if named == path));
        assert_eq!(fs::read(&path).unwrap(), text);
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_key_that_was_brought_signs_with_rs256_under_our_authority_and_is_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("brought.pem");
    fs::write(&path, RSA_KEY).unwrap();
    let keys = directory.path().join("keys");
    let own = key_id(&open(&keys, START), START);
    let authority = TokenAuthority::open(&keys, TokenKey::Brought(path), START).unwrap();
    let set = authority.keys(START).unwrap();
    assert_eq!(set.signing().public().algorithm(), KeyAlgorithm::Rs256);
    let published: Vec<&str> = set.published().map(|key| key.id().as_str()).collect();
    assert_eq!(published.len(), 2);
    assert_eq!(published[1], own, "the key that signed before stays published");
    assert!(!fs::read_to_string(keys.join(LEAF)).unwrap().contains("PRIVATE KEY"));
    assert!(leaf(&keys).is_signed_by(&authority.authority.certificate));
    let later = authority.keys(START + LEAF_ROTATION).unwrap();
    assert_eq!(later.signing().public().id().as_str(), published[0], "the key stays while its leaves change");
    assert_ne!(key_id(&open(&keys, START), START), published[0]);
}

#[test]
fn only_an_rsa_key_of_2048_bits_can_be_brought() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    open(&keys, START).keys(START).unwrap();
    let (missing, short) = (directory.path().join("missing.pem"), directory.path().join("short.pem"));
    fs::write(&short, SHORT_RSA_KEY).unwrap();
    for path in [keys.join(LEAF), keys.join(BUNDLE), missing, short] {
        let authority = TokenAuthority::open(&keys, TokenKey::Brought(path.clone()), START).unwrap();
        assert!(authority.keys(START).is_err(), "{}", path.display());
    }
}

#[test]
fn development_tls_follows_its_names_and_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let make = |names: &[&str], now| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let files = development_tls(directory.path(), &names, now).unwrap();
        (fs::read(files.server).unwrap(), fs::read(files.root).unwrap())
    };
    let (first, root) = make(&["localhost", "127.0.0.1", "::1"], START);
    assert_eq!(make(&["0:0::1", "localhost", "127.0.0.1"], START + DAY), (first.clone(), root.clone()));
    let (other, same_root) = make(&["localhost", "registry.test"], START);
    assert_ne!(other, first);
    assert_eq!(same_root, root, "whoever trusts the authority need not trust anew");
    let (renewed, _) = make(&["localhost", "registry.test"], START + SERVER_LIFE - SERVER_ROTATION);
    assert_ne!(renewed, other);
    let entry = Entry::read(&directory.path().join(TLS_SERVER)).unwrap().unwrap();
    assert_eq!(entry.certificate.names().into_iter().collect::<Vec<_>>(), ["localhost", "registry.test"]);
    let bad = development_tls(directory.path(), &["nö".to_owned()], START);
    assert!(matches!(bad, Err(PkiError::Certificate(_))));
}
