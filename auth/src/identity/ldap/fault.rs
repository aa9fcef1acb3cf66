//! Why a directory could not be asked. None of it says anything about a password.

use std::{io, time::Duration};

use thiserror::Error;

use super::message::BadMessage;
use crate::accounts::names::Label;

/// A provider that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the directory {provider:?} cannot be asked: {fault}", provider = provider.as_str())]
pub struct NotAsked {
    /// Which.
    pub provider: Label,
    /// Why.
    pub fault: Fault,
}

/// What is wrong with a directory, or on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// No server answers.
    #[error("{0}")]
    Unreachable(String),
    /// A certificate that is not trusted, or not the server's.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server does not begin TLS, and nothing is asked without.
    #[error("the server refuses StartTLS (result code {code}), and is asked nothing without it")]
    NoStartTls {
        /// What it answered.
        code: u32,
    },
    /// The connection ended in the middle.
    #[error("the connection was lost")]
    Lost,
    /// Something took too long.
    #[error("{what} took more than {} s", limit.as_secs())]
    Slow {
        /// What.
        what: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// What came is not what a directory says.
    #[error("{0}")]
    Nonsense(String),
    /// More than one operation may bring.
    #[error("its answer is larger than {} MiB", super::message::MAX_WEIGHT >> 20)]
    TooMuch,
    /// More than one person may be in, or than one search may bring.
    #[error("its answer has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Nothing at all is shown where the settings say that there is something: whoever may not read gets the answer of whoever finds nothing.
    #[error("no entry below {base:?} that may be read matches {filter}")]
    Blind {
        /// Where nothing is shown.
        base: String,
        /// What was looked for.
        filter: String,
    },
    /// There is more than the answer says.
    #[error("its answer is not whole: {} (result code {code}){}", meaning(*code), quoted(text))]
    Incomplete {
        /// The result code.
        code: u32,
        /// What the server says about it.
        text: String,
    },
    /// The directory does not do what is asked of it.
    #[error("{what} was refused: {} (result code {code}){}", meaning(*code), quoted(text))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The result code.
        code: u32,
        /// What the server says about it.
        text: String,
    },
    /// Too many wait for it already.
    #[error("too many sign-ins wait for it")]
    Crowded,
    /// Several entries answer to one name, so nobody knows whose password it would be.
    #[error("several entries answer to one name")]
    Ambiguous,
    /// An entry lacks what every user's must have, or the searcher may not read it.
    #[error("the entry {name:?} has no {attribute} that can be read")]
    Unreadable {
        /// The entry.
        name: String,
        /// What it lacks.
        attribute: String,
    },
    /// A file of the settings.
    #[error("{0}")]
    Here(String),
}

impl Fault {
    pub(super) fn unreachable(error: &io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }

    pub(super) fn here(error: &io::Error) -> Self {
        Self::Here(error.to_string())
    }

    /// True if another server of the directory, or another connection, may do better.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Tls(_)
            | Self::NoStartTls { .. }
            | Self::Lost
            | Self::Slow { .. }
            | Self::Nonsense(_) => true,
            // Busy, unavailable, and what a server answers whose own backend is away.
            Self::Refused { code, .. } => matches!(code, 1 | 51 | 52 | 80),
            Self::TooMuch
            | Self::TooMany { .. }
            | Self::Blind { .. }
            | Self::Incomplete { .. }
            | Self::Ambiguous
            | Self::Unreadable { .. }
            | Self::Here(_)
            | Self::Crowded => false,
        }
    }

    /// True if waiting does not help: somebody has to change something, here or in the directory.
    #[must_use]
    pub fn is_of_the_settings(&self) -> bool {
        match self {
            // A way to sign in that the server does not offer, or not without TLS.
            Self::Refused { code, .. } => matches!(code, 7 | 8 | 13),
            Self::Ambiguous | Self::Unreadable { .. } | Self::TooMany { .. } => true,
            _ => false,
        }
    }
}

impl From<BadMessage> for Fault {
    fn from(error: BadMessage) -> Self {
        Self::Nonsense(error.to_string())
    }
}

/// What a result code is called (RFC 4511, appendix A), for those that people meet.
fn meaning(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "other",
    }
}

/// A server's own words, without what would break a line of a log.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 200;
    let text: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if text.is_empty() { text } else { format!(": {text:?}") }
}
