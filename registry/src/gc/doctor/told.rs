//! What a run of the doctor tells.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Check, Depth, Fault, Invariant};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schema(as = DoctorEvent)]
pub enum Event {
    /// Something is wrong.
    Finding(Box<Finding>),
    /// A check is on its way.
    Progress {
        /// Which.
        check: Check,
        /// How much it has looked at.
        looked: u64,
    },
    /// A check is over.
    Checked {
        /// Which.
        check: Check,
        /// How much it looked at,
        looked: u64,
        /// and how much of it was wrong.
        findings: u64,
    },
    /// The end.
    Done(Totals),
    /// It broke off.
    Failed {
        /// Why.
        detail: String,
    },
}

/// Something that is wrong, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// What it breaks.
    pub invariant: Invariant,
    /// What is wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// The same as a sentence.
    pub sentence: String,
    /// What was done about it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Finding {
    pub(super) fn new(fault: Fault, outcome: Outcome) -> Self {
        Self { invariant: fault.invariant(), sentence: fault.to_string(), fault, outcome }
    }
}

/// What was done about a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FindingOutcome)]
pub enum Outcome {
    /// Nothing: it was only looked for.
    Told {},
    /// It is put right.
    Repaired {
        /// How.
        repaired: String,
    },
    /// Nothing can be done here.
    Left {
        /// What a person can do, or why nothing was done.
        left: String,
    },
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DoctorTotals)]
pub struct Totals {
    /// How closely bytes were looked at.
    pub depth: Depth,
    /// Rows and files that were looked at.
    pub looked: u64,
    /// What was wrong,
    pub findings: u64,
    /// and what of that was put right.
    pub repaired: u64,
    /// Whether it went on where an earlier run was ended: what that one looked at and found counts, too.
    pub resumed: bool,
}
