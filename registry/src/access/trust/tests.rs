//! What a bundle may be. Whom a trust believes is the verifier's tests' matter.

use super::*;
use crate::{
    access::testing::{DAY, authority, later, now, root, valid},
    testing::Lines,
};

#[test]
fn a_bundle_may_have_what_the_limit_says_and_no_more() {
    let certificate = root(authority("authority", None)).pem();
    let padded = |length: usize| format!("{}\n{certificate}", "#".repeat(length - certificate.len() - 1));
    assert!(matches!(Bundle::read(padded(MAX_BUNDLE_BYTES).as_bytes()), Ok(Bundle(read)) if read.len() == 1));
    assert_eq!(Bundle::read(padded(MAX_BUNDLE_BYTES + 1).as_bytes()).err(), Some(BundleError::TooLarge));
}

/// By `kid` such a key is believed still (design.md section 3), so whoever starts a registry is told, once.
#[test]
fn a_certificate_out_of_date_is_one_warning_at_the_start() {
    const WARNING: &str = "a certificate of the bundle is out of date";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle.pem");
    let spans = [(-9 * DAY, -DAY), (DAY, 9 * DAY), (-DAY, DAY)];
    let pem = |(from, until)| root(valid(authority("authority", None), from, until)).pem();
    std::fs::write(&path, spans.map(pem).concat()).unwrap();
    let lines = Lines::default();
    let guard = lines.capture();
    let store = TrustStore::open(Some(&path), None, now()).unwrap();
    assert_eq!(lines.warnings(WARNING), 1, "one for both: {}", lines.text());
    store.refresh();
    let _ = store.current();
    assert_eq!(lines.warnings(WARNING), 1, "{}", lines.text());
    // A day ahead the second begins and the third ends, to the second.
    for (span, at, expected) in [(2, DAY, 0), (2, DAY + 1, 1), (1, DAY, 0), (1, DAY - 1, 1)] {
        std::fs::write(&path, pem(spans[span])).unwrap();
        let before = lines.warnings(WARNING);
        TrustStore::open(Some(&path), None, later(at)).unwrap();
        assert_eq!(lines.warnings(WARNING) - before, expected, "{:?} at {at}", spans[span]);
    }
    drop(guard);
}
