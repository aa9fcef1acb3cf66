//! The doctor: it looks for everything that design.md section 6 says cannot be, beside pushes, deletions and collectors.
//!
//! It walks through every table and through the store in pages, without a lock. What one statement finds wrong among rows is wrong: every operation commits
//! whole. What rows and bytes say about each other takes two looks, because bytes come before their row speaks of them and go after it: a finding counts
//! when the second look gives the same, so work in progress is never one. What exactly is compared stands with each [`Check`].

mod bytes;
mod check;
mod memory;
mod payloads;
mod rate;
mod reading;
mod run;
mod strays;
mod told;
mod uploads;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;
use shared::clock::Clock;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

pub use self::{
    check::Check,
    rate::{InvalidRate, Rate},
    reading::{Missing, Named, NamedBlob, Reading},
    told::{Event, Finding, Outcome, Totals},
};
use super::Error;
pub use crate::metadata::examine::fault::{Fault, Invariant};
use crate::{metadata::Metadata, store::Store};

/// What a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// How closely bytes are looked at.
    pub depth: Depth,
    /// How much of the machine it may take.
    pub rate: Rate,
}

/// How closely bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// They are there, and as many as there should be.
    Sizes,
    /// They are read and hashed, those first that nobody has hashed for longest. What is found is written down with the blob.
    Deep,
}

/// Looks for faults. Clones share whether one is at work.
#[derive(Clone, Debug)]
pub struct Doctor {
    metadata: Metadata,
    store: Arc<dyn Store>,
    clock: Clock,
    reading: Reading,
    /// Two at once would look at everything twice, and tell everything twice.
    at_work: Arc<Mutex<()>>,
}

/// How many findings may wait for whoever collects them.
const WAITING: usize = 64;

impl Doctor {
    /// A doctor for what `metadata` says about the bytes in `store`.
    pub fn new(metadata: Metadata, store: Arc<dyn Store>, clock: Clock, reading: Reading) -> Self {
        Self { metadata, store, clock, reading, at_work: Arc::default() }
    }

    /// Looks at everything once, at full speed, and gives every finding.
    ///
    /// # Errors
    /// Database or store failed.
    pub async fn findings(&self, depth: Depth) -> Result<Vec<Finding>, Error> {
        let (listener, mut told) = mpsc::channel(WAITING);
        let listening = async {
            let mut findings = Vec::new();
            while let Some(event) = told.recv().await {
                if let Event::Finding(finding) = event {
                    findings.push(*finding);
                }
            }
            findings
        };
        let never = CancellationToken::new();
        let (done, findings) =
            tokio::join!(self.examine(Order { depth, rate: Rate::ALL }, listener, &never), listening);
        done.map(|_| findings)
    }
}
