//! Secrets that are right and count for nothing: whoever shows one of our making, beside the name of its account, is told why. Nobody else is:
//! whoever guesses reads the same of every name, of every account and of every key; a secret that was found somewhere does not tell whose it is; and
//! of a password, which may be good elsewhere too, it is not said that it was right.

use std::{fmt, net::IpAddr};

use shared::clock::Timestamp;

use super::{Attempt, NotIdentified};
use crate::accounts::{
    credentials::{Credential, CredentialKind, Stored},
    principals::{AccountState, Principal},
};

/// A secret that was proved, and why it counts for nothing here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// `the account alice`, or `the key "ci" of robot.acme.ci`.
    what: String,
    why: Why,
    told: Told,
}

/// Whether whoever shows the secret is told more than that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Why,
    Nothing,
}

impl Told {
    fn to(attempt: &Attempt<'_>, credential: &Credential) -> Self {
        let ours = credential.kind != CredentialKind::Password;
        if ours && attempt.username.is_some() { Self::Why } else { Self::Nothing }
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// The account is suspended or disabled.
    State(AccountState),
    /// It was revoked then.
    Revoked(Timestamp),
    /// It came to its end then.
    Ended(Timestamp),
    /// Nobody used it for as long as it lives unused.
    Unused,
    /// It is confined to other networks than that of this address. Which ones is not said: a thief would know where to go.
    Elsewhere(Option<IpAddr>),
    /// It was made for another registry.
    OtherService,
}

impl Void {
    /// What keeps the proved secret from counting, if anything does. An account that was deleted has no name any more to speak of.
    pub(super) fn of(
        principal: &Principal,
        credential: &Credential,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        let elsewhere = credential.networks.as_ref().is_some_and(|networks| !attempt.peer.is_within(networks));
        let here = || elsewhere.then(|| (Fault::Secret, Why::Elsewhere(attempt.peer.address())));
        let (fault, why) = anywhere(principal, credential, now).or_else(here)?;
        let what = match fault {
            Fault::Account => format!("the account {}", principal.handle),
            Fault::Secret => named(principal, credential),
        };
        Some(Self { what, why, told: Told::to(attempt, credential) })
    }

    /// A secret that another registry's tokens are made for.
    pub(super) fn for_another_service(stored: &Stored, attempt: &Attempt<'_>) -> Self {
        let Stored { principal, credential, .. } = stored;
        Self { what: named(principal, credential), why: Why::OtherService, told: Told::to(attempt, credential) }
    }

    /// True if whoever shows the secret is told that it is right, and why it does not count.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told == Told::Why
    }

    /// The word for it in the audit.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.why {
            Why::State(state) => state.word(),
            Why::Revoked(_) => "revoked",
            Why::Ended(_) => "expired",
            Why::Unused => "unused",
            Why::Elsewhere(_) => "network",
            Why::OtherService => "service",
        }
    }
}

/// Whose fault it is that a secret counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Account,
    Secret,
}

/// True if the secret counts somewhere: neither it nor its account has come to an end.
pub(super) fn counts(principal: &Principal, credential: &Credential, now: Timestamp) -> bool {
    anywhere(principal, credential, now).is_none()
}

/// What keeps a secret from counting wherever it is shown. This is the one place that looks: what signs in and what is told of a secret are the same.
fn anywhere(principal: &Principal, credential: &Credential, now: Timestamp) -> Option<(Fault, Why)> {
    let past = |end: &Timestamp| *end <= now;
    if let Some(at) = credential.revoked_at {
        Some((Fault::Secret, Why::Revoked(at)))
    } else if principal.state != AccountState::Active {
        Some((Fault::Account, Why::State(principal.state)))
    } else if let Some(end) = principal.expires_at.filter(past) {
        Some((Fault::Account, Why::Ended(end)))
    } else if let Some(end) = credential.expires_at.filter(past) {
        Some((Fault::Secret, Why::Ended(end)))
    } else {
        (!credential.is_live(now)).then_some((Fault::Secret, Why::Unused))
    }
}

/// The secret, as its owner knows it.
fn named(principal: &Principal, credential: &Credential) -> String {
    let (handle, name) = (&principal.handle, &credential.name);
    match credential.kind {
        CredentialKind::Password => format!("the password of {handle}"),
        CredentialKind::Pat => format!("the token {name:?} of {handle}"),
        CredentialKind::RobotKey => format!("the key {name:?} of {handle}"),
        CredentialKind::Identity => format!("the login of {handle} that {name} kept"),
    }
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        if !self.is_told() {
            return NotIdentified::Wrong.fmt(f);
        }
        match &self.why {
            Why::State(state) => write!(f, "{what} is {state}"),
            Why::Revoked(at) => write!(f, "{what} was revoked at {}", at.rfc3339()),
            Why::Ended(at) => write!(f, "{what} ended at {}", at.rfc3339()),
            Why::Unused => write!(f, "{what} was unused for longer than it may be"),
            Why::Elsewhere(Some(address)) => write!(f, "{what} may not be used from {address}"),
            Why::Elsewhere(None) => write!(f, "{what} may not be used from everywhere, and nobody knows where this is"),
            Why::OtherService => write!(f, "{what} is good for another registry"),
        }
    }
}

impl std::error::Error for Void {}
