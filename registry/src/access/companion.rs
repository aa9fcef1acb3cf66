//! The auth service that a registry may know, design.md section 3, "The companion".
//!
//! The trait has two implementations: over HTTP here, and in the same process where the program runs both services.

mod remote;

use std::{net::IpAddr, time::Duration};

use futures_util::future::BoxFuture;
use shared::{basic::BasicCredentials, readable::Readable, revocation::Revocation, scope::Scope, secret::Secret};

use super::verifier::VerifiedToken;

pub use remote::RemoteCompanion;
pub(super) use remote::fetch;

/// What a registry asks its auth service.
pub trait Companion: Send + Sync + 'static {
    /// Which repositories the owner of this token may read. `raw` is the token as it was presented.
    ///
    /// # Errors
    /// [`CompanionUnavailable`] if nobody could be asked.
    fn readable<'a>(
        &'a self,
        token: &'a VerifiedToken,
        raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>>;

    /// A token for these credentials with as much of `scopes` as they allow. `peer` is whose guesses count
    /// against whom.
    ///
    /// # Errors
    /// [`CompanionUnavailable`] if nobody could be asked.
    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        scopes: &'a [Scope],
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>>;

    /// The rows of the revocation feed behind `after`, waiting for some for a while.
    ///
    /// # Errors
    /// [`CompanionUnavailable`] if nobody could be asked.
    fn revocations(&self, after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>>;
}

/// What became of credentials.
#[derive(Debug)]
pub enum Exchanged {
    /// They are good; this is a registry token.
    Token(Secret<String>),
    /// They are not.
    Refused,
    /// Too many passwords were tried, or are being checked: nobody has looked at these.
    Throttled {
        /// When it is worth another try.
        retry_after: Duration,
    },
}

/// The companion could not be asked, or did not answer what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the companion does not answer: {0}")]
pub struct CompanionUnavailable(pub String);
