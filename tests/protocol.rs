//! The protocol suite: every case that the distribution specification's conformance program checks at version
//! 1.1+dev with every switch on, in our own words, so that it runs wherever Rust does.
//!
//! One [`Suite`] walks one registry through all groups, in the order of the specification's program. A case that fails
//! is reported with the request, the answer and what was expected, and the walk goes on: one run shows all.
//! `make conformance` runs the specification's own program against the same server.

pub(crate) mod answer;
mod blobs;
mod challenge;
pub(crate) mod client;
mod datasets;
mod manifests;
pub(crate) mod pushes;
mod ranges;
mod recipe;
mod report;
mod runs;
pub(crate) mod samples;
mod walk;

use client::Client;
use report::Report;
use samples::Algorithm;

/// The cases of a whole walk. The specification's program counts as many results; a case lost by mistake shows here.
const CASES: usize = 1032;

/// One registry, seen from outside, and the repositories that the suite may fill and empty.
pub(crate) struct Suite {
    client: Client,
    /// Where everything is pushed.
    repository: String,
    /// Where mounts come from.
    source: String,
}

impl Suite {
    pub(crate) fn new(client: Client, repository: &str, source: &str) -> Self {
        Self { client, repository: repository.to_owned(), source: source.to_owned() }
    }

    /// Walks through every group.
    pub(crate) async fn run(&self) -> Report {
        let mut report = Report::default();
        manifests::ping(self, &mut report).await;
        manifests::empty(self, &mut report).await;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            blobs::group(self, &mut report, algorithm).await;
        }
        for data_set in datasets::all() {
            walk::group(self, &mut report, &data_set).await;
        }
        manifests::missing(self, &mut report).await;
        manifests::invalid_digest_format(self, &mut report).await;
        report
    }
}
