//! What is written holds.

use crate::{
    scenarios::{
        BY_HAND, GRACE, HEALING, LENIENT, LINKS, MANIFESTS, ONE_HOLDER, ONE_REPOSITORY, PATIENT, PROMISES,
        REPOSITORIES, REPOSITORIES_AND_MANIFESTS, TAGS, TOGETHER, TOGETHER_WITH_A_REFERRER, UNDELETE,
    },
    search::holds,
};

#[test]
fn links_of_two_repositories() {
    holds(LINKS);
}

#[test]
fn links_of_patient_pushers() {
    holds(PATIENT);
}

#[test]
fn links_of_one_repository() {
    holds(ONE_REPOSITORY);
}

#[test]
fn links_collected_by_hand() {
    holds(BY_HAND);
}

#[test]
fn two_pushes_of_one_holder() {
    holds(ONE_HOLDER);
}

#[test]
fn promises() {
    holds(PROMISES);
}

#[test]
fn healing() {
    holds(HEALING);
}

#[test]
fn manifests() {
    holds(MANIFESTS);
}

#[test]
fn grace() {
    holds(GRACE);
}

#[test]
fn tags() {
    holds(TAGS);
}

#[test]
fn manifests_that_come_back() {
    holds(UNDELETE);
}

#[test]
fn repositories_that_come_back() {
    holds(REPOSITORIES);
}

#[test]
fn repositories_and_manifests_that_come_back() {
    holds(REPOSITORIES_AND_MANIFESTS);
}

#[test]
fn everything_meets() {
    holds(TOGETHER);
}

#[test]
fn everything_meets_with_a_referrer() {
    holds(TOGETHER_WITH_A_REFERRER);
}

#[test]
fn lenient_references() {
    holds(LENIENT);
}
