//! Who may do what here: bearer tokens, a password file, or nobody is asked.
//!
//! The registry believes nobody. [`Access::authorize`] turns what a request presents into a [`Caller`], and a
//! [`Caller`] is the only thing that answers what its owner may do; there is no other way to get one.

mod administration;
pub mod chain;
pub mod companion;
mod exchange;
pub mod htpasswd;
pub mod jwks;
pub mod key;
mod presented;
mod realm;
pub mod revocations;
mod token;
pub mod trust;
mod upkeep;
pub mod verifier;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use shared::{
    access::{self as granted, Action, CatalogView, Permit, Resource},
    challenge::ChallengeError,
    clock::Timestamp,
    repository::RepositoryName,
    shortfall::Sentence,
};

pub use self::{
    companion::{Companion, CompanionUnavailable, Exchanged},
    htpasswd::Htpasswd,
    presented::Presented,
    realm::Realm,
    token::TokenAccess,
    upkeep::upkeep,
    verifier::VerifiedToken,
};

/// How a registry decides whom to serve.
pub enum Access {
    /// Bearer tokens of an issuer that is trusted.
    Token(Box<TokenAccess>),
    /// Basic credentials, checked against a file; whoever has some may do everything.
    Htpasswd(Box<Htpasswd>),
    /// Everybody may do everything.
    None,
}

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No credentials, or none that suffice: a challenge is due.
    Unauthorized {
        /// What the challenge says about a token that was presented.
        error: Option<ChallengeError>,
        /// Why, in a sentence of the token's own that the client may print.
        sentence: Option<Sentence>,
        /// What stands in the log, and in no answer.
        reason: String,
    },
    /// Whoever would know cannot be asked.
    Unavailable {
        /// What stands in the log, and in no answer.
        reason: String,
    },
    /// Too many passwords were tried: nobody has looked at this one.
    Throttled {
        /// When it is worth another try.
        retry_after: Duration,
        /// What stands in the log, and in no answer.
        reason: String,
    },
}

impl Refusal {
    fn nothing_presented() -> Self {
        Self::Unauthorized { error: None, sentence: None, reason: "no credentials".to_owned() }
    }

    fn insufficient(caller: &Caller, required: &[granted::Access]) -> Self {
        let holder = caller.name().unwrap_or("nobody in particular");
        let reason = format!("the token of {holder} does not cover the request");
        let sentence = caller.shortfall(required).cloned();
        Self::Unauthorized { error: Some(ChallengeError::InsufficientScope), sentence, reason }
    }
}

impl Access {
    /// Decides about one request.
    ///
    /// # Errors
    /// [`Refusal`]: 401 with the challenge of [`Access::challenge`], 429 or 503.
    pub async fn authorize(
        &self,
        presented: Presented<'_>,
        required: &[granted::Access],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        match self {
            Self::Token(access) => access.authorize(presented, required, peer, now).await,
            Self::Htpasswd(access) => access.authorize(presented, peer).await,
            Self::None => Ok(Caller(Identity::Anyone)),
        }
    }

    /// What `WWW-Authenticate` says to a refused request: what was wrong with a token, in a word and in a sentence, and what the request
    /// requires. `origin` is scheme and authority as the client wrote them, for a realm that follows the request.
    #[must_use]
    pub fn challenge(
        &self,
        error: Option<(ChallengeError, Option<&Sentence>)>,
        required: &[granted::Access],
        origin: Option<&str>,
    ) -> Option<String> {
        match self {
            Self::Token(access) => Some(access.challenge(error, required, origin)),
            Self::Htpasswd(access) => Some(access.challenge()),
            Self::None => None,
        }
    }

    /// The token access, where that is the kind.
    #[must_use]
    pub fn token(&self) -> Option<&TokenAccess> {
        match self {
            Self::Token(access) => Some(access),
            Self::Htpasswd(_) | Self::None => None,
        }
    }
}

/// Somebody whom [`Access::authorize`] has let in.
#[derive(Clone, Debug)]
pub struct Caller(Identity);

#[derive(Clone, Debug)]
enum Identity {
    Token(Arc<VerifiedToken>),
    User(Arc<str>),
    Anyone,
}

impl Caller {
    /// The name to write into histories: a token's subject or a user's name; nobody is anonymous.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Identity::Token(token) => token.claims.subject.as_deref().filter(|subject| !subject.is_empty()),
            Identity::User(name) => Some(name),
            Identity::Anyone => None,
        }
    }

    /// The token, where the caller came with one.
    #[must_use]
    pub fn token(&self) -> Option<&VerifiedToken> {
        match &self.0 {
            Identity::Token(token) => Some(token),
            Identity::User(_) | Identity::Anyone => None,
        }
    }

    /// Whether an action is allowed, and on which tags.
    #[must_use]
    pub fn permit(&self, repository: &RepositoryName, action: &Action) -> Permit {
        match &self.0 {
            Identity::Token(token) => granted::allows(&token.claims.access, &Resource::repository(repository), action),
            Identity::User(_) | Identity::Anyone => Permit::Yes,
        }
    }

    /// Why an action is not allowed, or on some tags only, where the token says so.
    #[must_use]
    pub fn why(&self, resource: &Resource, action: &Action) -> Option<&Sentence> {
        let short = self.token().map(|token| token.claims.short.as_slice()).unwrap_or_default();
        let about = short.iter().find(|one| one.resource == *resource && one.actions.contains(action));
        about.map(|one| &one.sentence)
    }

    /// Why the first thing that is required and not allowed is not, where the token says so.
    fn shortfall(&self, required: &[granted::Access]) -> Option<&Sentence> {
        let each = required.iter().flat_map(|access| access.actions.iter().map(move |action| (access, action)));
        let missing = each.filter(|(access, action)| {
            !self.may(&[granted::Access::new(access.resource.clone(), [(*action).clone()])])
        });
        missing.filter_map(|(access, action)| self.why(&access.resource, action)).next()
    }

    /// How much of the catalog the caller may list.
    #[must_use]
    pub fn catalog(&self) -> CatalogView {
        match &self.0 {
            Identity::Token(token) => granted::catalog_view(&token.claims.access),
            Identity::User(_) | Identity::Anyone => CatalogView::Everything,
        }
    }

    /// Whether everything that an operation requires is allowed, within limits at least.
    fn may(&self, required: &[granted::Access]) -> bool {
        required.iter().all(|access| {
            if access.resource == Resource::catalog() {
                return self.catalog() != CatalogView::Nothing;
            }
            access.actions.iter().all(|action| match &self.0 {
                Identity::Token(token) => granted::allows(&token.claims.access, &access.resource, action) != Permit::No,
                Identity::User(_) | Identity::Anyone => true,
            })
        })
    }
}
