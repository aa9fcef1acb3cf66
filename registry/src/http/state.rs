//! What every handler works with.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use shared::{
    access::{Action, Permit, Resource},
    clock::Clock,
    readable::Readable,
    repository::RepositoryName,
    tag::TagPattern,
};

use super::{
    error::{Denied, Error},
    operation::Operation,
    origin::Addresses,
    place::Places,
};
use crate::{
    access::{Access, Caller},
    content::{self, Content, Promise, Pusher, TagLimits, manifests::References},
    health::Checks,
    settings::{Deletes, Lives, Writes},
};

/// The registry as requests see it.
pub(super) struct Registry {
    pub(super) content: Content,
    pub(super) access: Arc<Access>,
    pub(super) checks: Checks,
    pub(super) clock: Clock,
    pub(super) addresses: Addresses,
    pub(super) places: Places,
    pub(super) rules: Rules,
}

/// What the settings say about requests.
pub(super) struct Rules {
    pub(super) deletes: Deletes,
    pub(super) writes: Writes,
    pub(super) catalog_entries: u64,
    pub(super) tag_entries: u64,
    pub(super) manifest_limit: u64,
    pub(super) references: References,
    pub(super) lives: Lives,
    /// Set on every answer below `/v2/`.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// One request whose sender was let in.
pub(super) struct Visit {
    pub(super) registry: Arc<Registry>,
    pub(super) headers: HeaderMap,
    pub(super) caller: Caller,
    /// The sender's own address.
    pub(super) address: Option<IpAddr>,
    /// Scheme and authority as the sender wrote them.
    pub(super) origin: Option<String>,
}

impl Visit {
    pub(super) fn content(&self) -> &Content {
        &self.registry.content
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.registry.rules
    }

    /// Where an operation is found, for `Location`.
    pub(super) fn location(&self, operation: &Operation) -> String {
        self.registry.addresses.location(self.origin.as_deref(), operation)
    }

    /// `Link` to the next page of a list.
    pub(super) fn next_page(&self, operation: &Operation) -> String {
        format!("<{}>; rel=\"next\"", self.registry.addresses.path(operation))
    }

    /// Who pushes: parallel pushes of one subject count as one.
    pub(super) fn pusher(&self) -> Pusher {
        let actor = self.caller.name().unwrap_or("anonymous").to_owned();
        let address = || self.address.map_or_else(|| actor.clone(), |address| address.to_string());
        let holder = self.caller.name().map_or_else(address, str::to_owned);
        Pusher { holder, actor }
    }

    /// A look by somebody who may push is a promise that what was seen stays; nobody else's look writes anything.
    /// Where nobody is asked who they are, everybody may push, so everybody's HEAD is one.
    pub(super) fn promise<'a>(&self, repository: &RepositoryName, pusher: &'a Pusher) -> Promise<'a> {
        let reads_only = self.registry.rules.writes == Writes::Refused
            || self.caller.permit(repository, &Action::Push) == Permit::No;
        if reads_only { Promise::Nothing } else { Promise::To(pusher) }
    }

    /// The tags that the caller may push, or delete.
    pub(super) fn limits(&self, repository: &RepositoryName, action: &Action) -> TagLimits {
        match self.caller.permit(repository, action) {
            Permit::Yes => TagLimits::Everything,
            Permit::OnlyTags(patterns) => TagLimits::Matching(patterns),
            Permit::No => TagLimits::Matching(Vec::new()),
        }
    }

    /// Content's refusal of an action, with the name and the patterns that make a sentence of it.
    pub(super) fn refusal(
        &self,
        error: content::Error,
        action: Action,
        repository: &RepositoryName,
        limits: &TagLimits,
    ) -> Error {
        let (content::Error::Denied(denial), TagLimits::Matching(patterns)) = (&error, limits) else {
            return error.into();
        };
        Error::Denied(Denied {
            caller: self.caller.name().unwrap_or("anonymous").to_owned(),
            rule: self.caller.why(&Resource::repository(repository), &action).cloned(),
            action,
            patterns: patterns.iter().map(TagPattern::as_str).collect::<Vec<_>>().join(", "),
            repository: repository.clone(),
            reason: denial.to_string(),
        })
    }

    /// Where a mount that names no source may look: everywhere if whoever gets in may read everything, else where the
    /// companion says.
    pub(super) async fn sources(&self) -> Result<Option<Readable>, Error> {
        match *self.registry.access {
            Access::Token(_) => self.readable().await,
            Access::Htpasswd(_) | Access::None => Ok(Some(Readable::everything())),
        }
    }

    /// What the caller may read, if there is a companion to ask.
    pub(super) async fn readable(&self) -> Result<Option<Readable>, Error> {
        let companion = self.registry.access.token().and_then(|access| access.companion());
        let (Some(companion), Some(token)) = (companion, self.caller.token()) else { return Ok(None) };
        let readable = companion.readable(token, token.raw()).await;
        readable.map(Some).map_err(|error| Error::Unavailable { reason: error.to_string() })
    }
}

impl From<crate::settings::References> for References {
    fn from(policy: crate::settings::References) -> Self {
        match policy {
            crate::settings::References::Lenient => Self::Lenient,
            crate::settings::References::Normal => Self::Image,
            crate::settings::References::Strict => Self::Strict,
        }
    }
}
