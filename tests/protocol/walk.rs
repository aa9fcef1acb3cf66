//! The life of a data set: pushed, listed, looked at, pulled, found as referrers, deleted.

use std::collections::BTreeSet;

use super::{
    Suite, blobs,
    pushes::{Expect, Way},
    report::Report,
    samples::{DataSet, Tagging},
};

pub(crate) async fn group(suite: &Suite, report: &mut Report, set: &DataSet) {
    report.enter(set.name);
    push(suite, report, set).await;
    report.case("tag-list", suite.tags_listed(set)).await;
    read(suite, report, set).await;
    let referrers = set.referrers();
    if !referrers.is_empty() {
        report.case("referrers", suite.referrers_listed(&referrers)).await;
    }
    delete(suite, report, set).await;
    report.leave();
}

async fn push(suite: &Suite, report: &mut Report, set: &DataSet) {
    report.enter("push");
    for (blob, way) in set.blobs.iter().zip(Way::IN_TURN.iter().cycle()) {
        report.case(way.name(), suite.push_blob(&suite.repository, blob, *way, Expect::Stored)).await;
    }
    for manifest in &set.manifests {
        let expect = if set.refused { Expect::BadDigest } else { Expect::Stored };
        report.case("manifest-by-digest", suite.put_manifest(manifest.digest(), manifest, expect)).await;
    }
    for (tag, manifest) in set.tags().filter(|(_, manifest)| manifest.tagging == Tagging::ByPath) {
        report.case("manifest-by-tag", suite.put_manifest(tag, manifest, Expect::Stored)).await;
    }
    report.leave();
}

async fn read(suite: &Suite, report: &mut Report, set: &DataSet) {
    let by_digest = set.manifests.iter().filter(|_| !set.refused).map(|manifest| (manifest.digest(), manifest));
    let references: Vec<_> = set.tags().chain(by_digest).collect();
    report.enter("head");
    for (reference, manifest) in &references {
        report.case("manifest-head", suite.head_manifest(reference, manifest)).await;
    }
    for blob in &set.blobs {
        report.case("blob-head", suite.head_blob(blob)).await;
    }
    report.leave();
    report.enter("pull");
    for (reference, manifest) in &references {
        report.case("manifest-get", suite.get_manifest(reference, manifest)).await;
    }
    for blob in &set.blobs {
        report.case("blob-get", suite.get_blob(blob)).await;
    }
    report.leave();
}

/// Deletes tags, then manifests from the last pushed to the first, then blobs; each must be gone at once.
pub(crate) async fn delete(suite: &Suite, report: &mut Report, set: &DataSet) {
    report.enter("delete");
    let tags: BTreeSet<&str> = set.tags().map(|(tag, _)| tag).collect();
    for tag in tags {
        report.case("tag-delete", suite.delete_manifest(tag)).await;
        report.case("tag-delete, gone at once", suite.manifest_gone(tag)).await;
    }
    for manifest in set.manifests.iter().rev() {
        report.case("manifest-delete", suite.delete_manifest(manifest.digest())).await;
        report.case("manifest-delete, gone at once", suite.manifest_gone(manifest.digest())).await;
    }
    for blob in &set.blobs {
        blobs::delete(suite, report, &suite.repository, blob).await;
    }
    report.leave();
}
