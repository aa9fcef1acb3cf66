//! What a bundle may be. Whom a trust believes is the verifier's tests' matter.

use super::*;
use crate::access::testing::{authority, root};

#[test]
fn a_bundle_may_have_what_the_limit_says_and_no_more() {
    let certificate = root(authority("authority", None)).pem();
    let padded = |length: usize| format!("{}\n{certificate}", "#".repeat(length - certificate.len() - 1));
    assert!(matches!(Bundle::read(padded(MAX_BUNDLE_BYTES).as_bytes()), Ok(Bundle(read)) if read.len() == 1));
    assert_eq!(Bundle::read(padded(MAX_BUNDLE_BYTES + 1).as_bytes()).err(), Some(BundleError::TooLarge));
}
