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
mod referrers;
mod repair;
mod run;
mod seen;
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
use utoipa::ToSchema;

use self::seen::Seen;
pub use self::{
    check::Check,
    rate::{InvalidRate, Rate},
    reading::{Missing, Named, NamedBlob, Reading},
    seen::Last,
    told::{Event, Finding, Outcome, Totals},
};
use super::Error;
pub use crate::metadata::examine::fault::{Fault, Invariant};
use crate::{metadata::Metadata, store::Store};

/// What a person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// How closely bytes are looked at.
    pub depth: Depth,
    /// Whether anything is put right.
    pub mode: Mode,
    /// Where it begins.
    pub begin: Begin,
    /// How much of the machine it may take.
    pub rate: Rate,
    /// Who is written into the events of repairs.
    pub actor: String,
}

/// Whether anything is put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is only told.
    Report,
    /// What can be, is.
    Repair,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where the last of its kind was ended, if it was; else at the beginning.
    WhereEnded,
    /// At the beginning.
    Anew,
    /// At the beginning, and it leaves no word of where it is.
    Aside,
}

/// How closely bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
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
    seen: Seen,
}

/// How many findings may wait for whoever collects them.
const WAITING: usize = 64;

impl Doctor {
    /// A doctor for what `metadata` says about the bytes in `store`.
    pub fn new(metadata: Metadata, store: Arc<dyn Store>, clock: Clock, reading: Reading) -> Self {
        Self { metadata, store, clock, reading, at_work: Arc::default(), seen: Seen::default() }
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
        let order = Order { depth, mode: Mode::Report, begin: Begin::Aside, rate: Rate::ALL, actor: String::new() };
        let (done, findings) = tokio::join!(self.examine(order, listener, &never), listening);
        done.map(|_| findings)
    }

    /// What the last run of this depth came to, as far as this process knows.
    #[must_use]
    pub fn last(&self, depth: Depth) -> Option<Last> {
        self.seen.of(depth)
    }

    /// Whether a run is under way.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.at_work.try_lock().is_err()
    }
}
