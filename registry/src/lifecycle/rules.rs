//! Lifecycle rules: which tags and untagged manifests go with time, and which stay.
//!
//! A namespace has a set of rules, and a repository may have one beside it. [`document`] makes one of what a person wrote, whole and valid or not at all;
//! [`evaluate`] decides by it, a pure function. [`preview`] tells what would go and [`run`] lets it go, each a page at a time: what was decided by a page is
//! looked at again in the operation that does it, so a tag that moved stays. A run keeps where it stands in the database; whoever comes next goes on there.

pub mod age;
pub mod by_pattern;
mod counts;
pub mod document;
pub mod evaluate;
mod everything;
mod expire;
mod ground;
pub mod preview;
mod removal;
pub mod rule;
pub mod run;
mod schedule;
pub mod set;
#[cfg(test)]
mod tests;
pub mod version;

use std::{convert::Infallible, sync::Arc, time::Duration};

use shared::{
    clock::{Clock, Timestamp},
    database::{DatabaseError, WriteError},
    repository::RepositoryName,
};

use self::counts::Counts;
use crate::{
    failpoints::Failed,
    metadata::{Metadata, manifests::MANIFEST_GRACE},
};

pub use self::{
    counts::Counted,
    document::{Document, Everything, InvalidRules, Rules},
    rule::About,
};

/// How rules are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long after the beginning of a run the next one begins; None leaves it to people.
    pub every: Option<Duration>,
    /// How long an untagged manifest stays at least.
    pub grace: Duration,
    /// How long a deleted manifest can be brought back; zero purges it at once.
    pub undelete: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: Some(Duration::from_secs(60 * 60)), grace: MANIFEST_GRACE, undelete: Duration::ZERO }
    }
}

/// Why rules were not set, shown or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was sent is no set of rules.
    #[error(transparent)]
    Invalid(#[from] InvalidRules),
    /// Every tag of everything would go.
    #[error("{by} every tag of every repository of {about} go; say \"confirm\": true if that is meant")]
    Unconfirmed {
        /// By which rule.
        by: Everything,
        /// Of what.
        about: RepositoryName,
    },
    /// What is stored is no set of rules: nothing is deleted by it.
    #[error("the rules of {about} cannot be read, so nothing is deleted by them; set them anew ({reason})")]
    Unreadable {
        /// Of what.
        about: RepositoryName,
        /// Why.
        reason: InvalidRules,
    },
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NoRepository(RepositoryName),
    /// No rules were ever set.
    #[error("{0} has no rules")]
    NoRules(RepositoryName),
    /// A run is under way.
    #[error("a run is under way since {since}, asked for by {actor}; GET tells how far it is")]
    Running {
        /// Who asked for it.
        actor: String,
        /// When.
        since: Timestamp,
    },
    /// The token is none, or of another namespace.
    #[error("this token names no preview of {0}")]
    ForeignPreview(RepositoryName),
    /// The preview is too old.
    #[error("this preview has expired, or newer ones have ended it; look at a new one")]
    ExpiredPreview,
    /// Rules were set since the preview.
    #[error("the rules were set since this preview was made; look at a new one")]
    RulesChanged,
    /// It was told to stop, or nobody listens any more.
    #[error("it was stopped")]
    Stopped,
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::Unavailable(failed.into())
    }
}

impl From<WriteError<Infallible>> for Error {
    fn from(error: WriteError<Infallible>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The rules of all namespaces. Clones share it.
#[derive(Clone, Debug)]
pub struct Expiry(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    metadata: Metadata,
    clock: Clock,
    settings: Settings,
    counts: Counts,
}

impl Expiry {
    /// The rules that are in `metadata`.
    #[must_use]
    pub fn new(metadata: Metadata, clock: Clock, settings: Settings) -> Self {
        Self(Arc::new(Parts { metadata, clock, settings, counts: Counts::default() }))
    }

    /// What was done by rules since the process began.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.0.counts.now()
    }

    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }
}
