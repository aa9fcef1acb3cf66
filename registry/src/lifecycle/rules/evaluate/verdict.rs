//! What becomes of something, by which rule, and why, in words that a person checks a rule by.

use std::fmt;

use shared::clock::Timestamp;

use super::End;
use crate::lifecycle::rules::{age::Age, rule::Rule, version::Version};

/// What becomes of a tag, or of an untagged manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// That.
    pub fate: Fate<'r>,
    /// Its annotation, where a rule heeds annotations and this one is unreadable.
    pub ignored: Option<String>,
}

/// What becomes of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate<'r> {
    /// A rule keeps it.
    Kept(&'r Rule, Keeps),
    /// A rule lets it go.
    Expires(&'r Rule, LetsGo),
    /// It stays for now: a rule will let it go then, if nothing happens to it.
    Later(&'r Rule, LetsGo, Timestamp),
    /// No rule says anything about it.
    Untouched,
}

/// Why something is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// By its name.
    Named,
    /// It is among those pushed last.
    Newest {
        /// How many are kept.
        of: usize,
    },
    /// It is a version.
    Version {
        /// Which.
        version: Version,
        /// How many of the highest are kept, where not all are.
        newest: Option<usize>,
    },
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetsGo {
    /// Nobody pushed it.
    Unpushed {
        /// Since then.
        since: Timestamp,
    },
    /// Nobody pulled it, nor pushed it.
    Unpulled {
        /// Since then.
        since: Timestamp,
    },
    /// Nothing holds it.
    Untagged {
        /// Since then.
        since: Timestamp,
    },
    /// It says so itself.
    Annotated {
        /// How long it was to live.
        life: Age,
        /// From then on.
        since: Timestamp,
    },
}

impl<'r> Fate<'r> {
    /// To be kept comes before everything.
    pub(super) fn of(kept: Option<(&'r Rule, Keeps)>, first_end: Option<End<'r>>, now: Timestamp) -> Self {
        match (kept, first_end) {
            (Some((rule, why)), _) => Self::Kept(rule, why),
            (None, Some((at, rule, why))) if at <= now => Self::Expires(rule, why),
            (None, Some((at, rule, why))) => Self::Later(rule, why, at),
            (None, None) => Self::Untouched,
        }
    }

    /// The rule that lets it go now.
    pub const fn expires(&self) -> Option<&'r Rule> {
        match self {
            Self::Expires(rule, _) => Some(rule),
            _ => None,
        }
    }

    /// The rule that speaks.
    pub const fn rule(&self) -> Option<&'r Rule> {
        match self {
            Self::Kept(rule, _) | Self::Expires(rule, _) | Self::Later(rule, ..) => Some(rule),
            Self::Untouched => None,
        }
    }

    /// One word for what becomes of it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Kept(..) => "kept",
            Self::Expires(..) => "expires",
            Self::Later(..) => "later",
            Self::Untouched => "untouched",
        }
    }
}

/// The reason.
impl fmt::Display for Fate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(_, Keeps::Named) => f.write_str("by its name"),
            Self::Kept(_, Keeps::Newest { of }) => write!(f, "among the {of} pushed last"),
            Self::Kept(_, Keeps::Version { version, newest: None }) => write!(f, "version {version}"),
            Self::Kept(_, Keeps::Version { version, newest: Some(of) }) => {
                write!(f, "version {version}, among the {of} highest")
            }
            Self::Expires(_, why) => why.fmt(f),
            Self::Later(_, why, at) => write!(f, "{why}; goes at {}", seconds(*at)),
            Self::Untouched => f.write_str("no rule lets it go"),
        }
    }
}

impl fmt::Display for LetsGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpushed { since } => write!(f, "pushed at {}", seconds(*since)),
            Self::Unpulled { since } => write!(f, "last used at {}", seconds(*since)),
            Self::Untagged { since } => write!(f, "held by nothing since {}", seconds(*since)),
            Self::Annotated { life, since } => write!(f, "to live {life} from {}", seconds(*since)),
        }
    }
}

/// To the second: nobody compares by eye what is finer.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.seconds())
}
