//! What was rejected breaks, in the way that was its reason. Each of these keeps the search honest: had it looked away, nothing would break here either.

use model::Variant;

use crate::{
    scenarios::{
        BY_HAND, LENIENT, LINKS, MANIFESTS, ONE_HOLDER, ONE_HOLDER_BY_HAND, REPOSITORIES, REPOSITORIES_AND_MANIFESTS,
        UNDELETE,
    },
    search::breaks,
};

const BYTES: &str = "I1 a live blob has its bytes";
const REFERENCES: &str = "I3 what a kept manifest names is readable";
const PROMISES: &str = "I7 a promise is kept";
const HOLDS: &str = "a manifest can expire exactly while nothing holds it";

#[test]
fn bytes_first() {
    breaks(LINKS.under(Variant::BytesFirst), &[REFERENCES]);
}

#[test]
fn reused_keys() {
    breaks(LINKS.under(Variant::ReusedKeys), &[BYTES]);
}

#[test]
fn no_hold_after_a_removal() {
    breaks(ONE_HOLDER.under(Variant::NoHold), &[PROMISES]);
}

#[test]
fn references_by_id() {
    breaks(LENIENT.under(Variant::ReferencesById), &[REFERENCES]);
}

#[test]
fn no_lease() {
    breaks(LINKS.under(Variant::NoLease), &[PROMISES]);
}

#[test]
fn promises_without_a_holder_collected_by_hand() {
    breaks(BY_HAND.under(Variant::NoHolder), &[PROMISES]);
}

#[test]
fn a_look_that_promises_nothing_collected_by_hand() {
    breaks(BY_HAND.under(Variant::HeadPromisesNothing), &[PROMISES]);
}

#[test]
fn children_that_keep_their_expiry() {
    breaks(MANIFESTS.under(Variant::ChildrenKeepTheirExpiry), &[HOLDS]);
}

/// What was read is purged, and its link collected, before it is written.
#[test]
fn an_undelete_that_does_not_look_again() {
    breaks(UNDELETE.under(Variant::UndeleteFromMemory), &[REFERENCES]);
}

#[test]
fn an_undelete_that_only_takes_a_mark_away() {
    breaks(UNDELETE.under(Variant::UndeleteIsAMark), &[HOLDS]);
}

#[test]
fn a_repository_that_comes_back_half_purged() {
    breaks(REPOSITORIES_AND_MANIFESTS.under(Variant::PurgeLeavesTheWindow), &[HOLDS]);
}

#[test]
fn a_purge_that_begins_with_links() {
    breaks(REPOSITORIES.under(Variant::PurgeLinksFirst), &[REFERENCES]);
}

/// Not rejected but accepted, and therefore written down: a robot that pushes twice at once, one image of which is deleted while somebody collects by
/// hand, may have to push the other again.
#[test]
fn two_pushes_of_one_holder_collected_by_hand() {
    breaks(ONE_HOLDER_BY_HAND, &[PROMISES]);
}
