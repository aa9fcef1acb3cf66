//! Who may call what. A handler that has one of these among its parameters was called by somebody who may; there is no other way
//! to get one.
//!
//! Only bearer credentials with an API level count, and the data directory's socket. Basic never does: what `docker login` leaves in a
//! file must not administer. GET and HEAD ask for the level `read`, everything else for `write`.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams},
    http::{HeaderMap, Method, request::Parts},
};
use shared::{
    access::{Action, Resource},
    clock::Timestamp,
    scope::Scope,
    secret::Secret,
    telemetry::RequestId,
};

use crate::{
    accounts::{
        names::NamespaceName,
        namespaces::Namespace,
        principals::Principal,
        rules::{About, Reach, Situation},
        services::RegistryService,
    },
    audit::Actor,
    http::{App, Peer, error::ApiError},
    identity::{Attempt, NotIdentified},
    permissions::{ApiLevel, Caller, CallerKind, Subject, SystemRole, decide},
};

/// Somebody who may use the admin API, for themselves at least.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    /// What decisions are made about.
    pub caller: Caller,
    /// Whose rules to read; None on the socket.
    about: Option<About>,
    /// The account; None on the socket.
    pub principal: Option<Principal>,
    /// How it is written down.
    pub actor: Actor,
    /// When the credential that was shown ends.
    pub ends: Option<Timestamp>,
    /// How long it lives unused, if that is bounded.
    pub idle: Option<Duration>,
    /// True if that credential counts in some networks only.
    pub confined: bool,
}

impl ApiCaller {
    async fn identify(app: &App, parts: &Parts) -> Result<Self, ApiError> {
        Self::identify_at(app, parts, level(&parts.method)).await
    }

    /// Somebody whose credential has that level at least.
    async fn identify_at(app: &App, parts: &Parts, needed: ApiLevel) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::Unknown);
        if peer == Peer::Socket {
            return Ok(Self {
                caller: local(),
                about: None,
                principal: None,
                actor: Actor::local(),
                ends: None,
                idle: None,
                confined: false,
            });
        }
        let secret = bearer(&parts.headers).ok_or(ApiError::Unauthenticated)?;
        let attempt = Attempt { username: None, secret: &secret, service: None, peer };
        let identity = match app.identities.identify(&attempt).await {
            Err(NotIdentified::Wrong | NotIdentified::Void(_)) => return Err(ApiError::Unauthenticated),
            identified => identified?,
        };
        let situation = app.accounts.rules_for(identity.about(), &Reach::repositories([])).await?;
        let caller = situation.ok_or(ApiError::Unauthenticated)?.caller;
        if caller.api < needed {
            return Err(ApiError::Level);
        }
        let actor = Actor {
            principal: Some(identity.principal.id),
            name: identity.principal.handle.clone(),
            credential: Some(identity.credential),
            address: peer.address(),
            request: RequestId::current(),
        };
        Ok(Self {
            caller,
            about: Some(identity.about()),
            ends: identity.ends,
            idle: identity.idle,
            confined: identity.confined,
            principal: Some(identity.principal),
            actor,
        })
    }

    /// True if this is a system administrator, or, to look only, an auditor; with a credential that is confined to nothing.
    #[must_use]
    pub fn oversees(&self, method: &Method) -> bool {
        let role = match (self.caller.system_role, level(method)) {
            (Some(SystemRole::Administrator), _) => true,
            (Some(SystemRole::Auditor), wanted) => wanted == ApiLevel::Read,
            (None, _) => false,
        };
        role && self.caller.credential_scope.is_none()
    }

    /// Caller and rules now. The caller on the socket stays what it is.
    ///
    /// # Errors
    /// The credential has just ended.
    pub async fn situation(&self, app: &App, reach: &Reach<'_>) -> Result<Situation, ApiError> {
        let about = self.about.unwrap_or(About::Anonymous);
        let mut situation = app.accounts.rules_for(about, reach).await?.ok_or(ApiError::Unauthenticated)?;
        if self.about.is_none() {
            situation.caller = self.caller.clone();
        }
        Ok(situation)
    }

    /// True if decide grants the caller that on the namespace.
    pub(super) async fn may(&self, app: &App, namespace: &NamespaceName, action: Action) -> Result<bool, ApiError> {
        let situation = self.situation(app, &Reach::repositories([namespace.as_str()])).await?;
        let Ok(resource) = Resource::namespace(namespace.as_str()) else { return Ok(false) };
        let scope = Scope::new(resource, [action]);
        Ok(!decide(app.clock.now(), &situation.caller, &situation.rules, &[scope]).access.is_empty())
    }
}

impl FromRequestParts<App> for ApiCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::identify(app, parts).await
    }
}

/// Somebody who may use the admin API to look, whatever the method: what is asked needs more room than a query has, and changes nothing.
#[derive(Debug, Clone)]
pub struct Looker(pub ApiCaller);

impl FromRequestParts<App> for Looker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(ApiCaller::identify_at(app, parts, ApiLevel::Read).await?))
    }
}

/// Who may ask what a secret is worth.
#[derive(Debug, Clone)]
pub enum Inquirer {
    /// Somebody who may look.
    Caller(Box<ApiCaller>),
    /// A registry, by its service credential.
    Registry(RegistryService),
}

impl FromRequestParts<App> for Inquirer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(shown) = crate::http::readable::bearer(&parts.headers)
            && let Some(registry) = app.tokens.registry_of(shown).await?
        {
            return Ok(Self::Registry(registry));
        }
        Ok(Self::Caller(ApiCaller::identify_at(app, parts, ApiLevel::Read).await?.into()))
    }
}

/// A system administrator; where the method only looks, an auditor too.
#[derive(Debug, Clone)]
pub struct SystemAdmin(pub ApiCaller);

impl FromRequestParts<App> for SystemAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = ApiCaller::identify(app, parts).await?;
        if caller.oversees(&parts.method) {
            return Ok(Self(caller));
        }
        // That a list is closed may be said; whether somebody's name is on it may not.
        let one_of_many = parts.extensions.get::<MatchedPath>().is_some_and(|path| path.as_str().contains('{'));
        Err(if one_of_many { ApiError::NotFound } else { ApiError::SystemOnly })
    }
}

/// Somebody who administers the namespace that the path names; where the method only looks, somebody who may see it.
#[derive(Debug, Clone)]
pub struct NamespaceAdmin {
    /// Who.
    pub caller: ApiCaller,
    /// Its name.
    pub name: NamespaceName,
    /// The namespace, living.
    pub namespace: Namespace,
}

impl FromRequestParts<App> for NamespaceAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = ApiCaller::identify(app, parts).await?;
        let named = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::NotFound)?;
        let named = named.iter().find(|(key, _)| *key == "namespace").map(|(_, name)| name.parse::<NamespaceName>());
        let Some(Ok(name)) = named else { return Err(ApiError::NotFound) };
        let wanted = if level(&parts.method) == ApiLevel::Read { Action::Read } else { Action::Admin };
        if !caller.may(app, &name, wanted).await? {
            return Err(ApiError::NotFound);
        }
        let namespace = app.accounts.namespace(&name).await?.ok_or(ApiError::NotFound)?;
        Ok(Self { caller, name, namespace })
    }
}

fn level(method: &Method) -> ApiLevel {
    if *method == Method::GET || *method == Method::HEAD { ApiLevel::Read } else { ApiLevel::Write }
}

/// What root and the server's own user are on the data directory's socket.
fn local() -> Caller {
    Caller {
        kind: CallerKind::User,
        subjects: BTreeSet::from([Subject::Authenticated, Subject::Everyone]),
        handle: String::new(),
        system_role: Some(SystemRole::Administrator),
        credential_scope: None,
        api: ApiLevel::Write,
    }
}

/// The secret of the one `Authorization: Bearer` field.
fn bearer(headers: &HeaderMap) -> Option<Secret<String>> {
    crate::http::readable::bearer(headers).map(Secret::from)
}
