//! What is asked of the token server, whoever asks: the HTTP face, or a registry in the same process.
//!
//! Credentials become an identity, the identity's rules and the revocation counter are read in one snapshot, the decision is made
//! and signed (design: "How a request goes").

mod introspect;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use shared::{
    access::{Access, Action, ResourceKind},
    basic::BasicCredentials,
    claims::TokenClaims,
    clock::{Clock, Timestamp},
    readable::Readable,
    revocation::Revocation,
    scope::{Scope, Scopes},
    secret::Secret,
    shortfall::Shortfall,
    telemetry::RequestId,
    token_response::TokenResponse,
};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    accounts::{
        self, Accounts, CredentialId, PrincipalId, ServiceId,
        credentials::CredentialKind,
        events::IssuedToken,
        names::Label,
        rules::{About, Reach, Situation},
        services::RegistryService,
    },
    identity::{Attempt, Identities, Identity, NotIdentified, Peer},
    issuer::{Bearer, Issuer, NotOurs, NotSigned, Order},
    metrics::{self, Cause},
    permissions::{self, Decision},
    secrets::{SecretKind, Shape},
};
pub use introspect::Introspected;

/// How long a reader of the revocation feed is kept waiting for news. Half of the silence that registries take for an alarm.
pub const FEED_WAIT: Duration = Duration::from_secs(30);
/// How often the feed looks for what other replicas wrote, which wakes nobody here.
const FEED_LOOK: Duration = Duration::from_secs(1);
/// How long a registry's entry is remembered. Only its settings can change, never what its name means.
const SERVICE_REMEMBERED: Duration = Duration::from_secs(10);
/// The most registries that are remembered.
const MAX_SERVICES: u64 = 1_000;

/// Somebody asks for a token.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    /// The registry that the token is to be for.
    pub service: &'a str,
    /// What is asked for.
    pub scopes: &'a Scopes,
    /// What was shown.
    pub shown: Shown<'a>,
    /// The name of the client, if it asks for an identity token to keep instead of a password.
    pub keeper: Option<Label>,
    /// Where the request comes from.
    pub peer: Peer,
}

/// What somebody shows to prove who they are.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// Nothing: an anonymous request.
    Nothing,
    /// A name with a password, or with a secret of ours in its place.
    Basic(&'a BasicCredentials),
    /// An identity token, as the refresh token of the protocol.
    IdentityToken(&'a Secret<String>),
}

/// Why there is no token. That nothing is granted is no reason: there is one then, and it says so.
#[derive(Debug, Error)]
pub enum NotIssued {
    /// No registry of that name is known here.
    #[error("no registry called {0:?} is known here: it is the service= of a token request")]
    UnknownService(String),
    /// Nobody was identified, or could be.
    #[error(transparent)]
    NotIdentified(#[from] NotIdentified),
    /// The rules could not be read.
    #[error(transparent)]
    Unavailable(#[from] accounts::Error),
    /// The key did not sign.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
}

/// Why somebody is not told what they may read.
#[derive(Debug, Error)]
pub enum NotTold {
    /// The token is not ours, or ended, or its account or credential did.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The rules could not be read.
    #[error(transparent)]
    Unavailable(#[from] accounts::Error),
}

/// Answers for the token server. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Parts>);

struct Parts {
    accounts: Accounts,
    identities: Identities,
    issuer: Issuer,
    clock: Clock,
    life: Duration,
    services: Cache<String, RegistryService>,
    closing: CancellationToken,
    /// When each registry last asked for the feed.
    fed: Mutex<HashMap<String, Timestamp>>,
}

impl Tokens {
    /// Puts the parts together. Tokens live for `life`, where their registry has no setting of its own.
    #[must_use]
    pub fn new(accounts: Accounts, identities: Identities, issuer: Issuer, life: Duration, clock: Clock) -> Self {
        let services = Cache::builder().max_capacity(MAX_SERVICES).time_to_live(SERVICE_REMEMBERED).build();
        let closing = CancellationToken::new();
        Self(Arc::new(Parts { accounts, identities, issuer, clock, life, services, closing, fed: Mutex::default() }))
    }

    /// Lets nobody wait for news any more: a server that shuts down waits for those who do.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// The issuer that signs.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// Makes a token that says what of the request is granted.
    ///
    /// # Errors
    /// [`NotIssued`]
    pub async fn issue(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, NotIssued> {
        let issued = self.issued(request).await;
        if let Err(error) = &issued {
            self.0.identities.metrics().refused(error.into());
        }
        issued
    }

    async fn issued(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, NotIssued> {
        let service = self.0.service(request.service).await?;
        let identity = self.0.identify(request, service.id).await?;
        let situation = self.0.situation(identity.as_ref(), request).await?;
        let now = self.0.clock.now();
        let (access, short) = decided(now, &situation, request.scopes);
        let bearer = identity.as_ref().map(bearer).unwrap_or_default();
        let life = service.token_life.unwrap_or(self.0.life);
        let order = Order { bearer: &bearer, audience: &service.name, epoch: situation.epoch, access, short, life };
        let issued = self.0.issuer.issue(order, now)?;
        let refresh_token = self.0.keep(request, identity.as_ref(), service.id).await?;
        let id = issued.id.clone();
        let granted = Decision { access: issued.access }.scopes();
        let issued = (issued.token, issued.life);
        let answer = answer(issued, &granted, refresh_token, now);
        debug!(subject = bearer.subject, service = service.name, scope = answer.scope, "issued a token");
        let whole = is_whole(request.scopes, &granted);
        let made = matches!(request.shown, Shown::Basic(_)) && answer.refresh_token.is_some();
        self.0.identities.metrics().token(shown(identity.as_ref()), !whole, made);
        self.0.accounts.note_token(IssuedToken {
            at: now,
            principal: identity.as_ref().map(|identity| identity.principal.id),
            credential: identity.as_ref().map(|identity| identity.credential),
            handle: bearer.subject,
            address: request.peer.address(),
            service: service.name,
            id,
            requested: request.scopes.to_string(),
            granted: answer.scope.clone(),
            whole,
            request: RequestId::current(),
        });
        Ok(answer)
    }

    /// What the bearer of one of our tokens may read.
    ///
    /// # Errors
    /// [`NotTold`]
    pub async fn readable_by_token(&self, token: &str) -> Result<Readable, NotTold> {
        let claims = self.0.issuer.recognise(token, self.0.clock.now())?;
        self.readable_by(&claims).await
    }

    /// What the bearer of a token with these claims may read; the token has been verified.
    ///
    /// # Errors
    /// [`NotTold`]
    pub async fn readable_by(&self, claims: &TokenClaims) -> Result<Readable, NotTold> {
        let about = match (claims.principal, claims.credential) {
            (Some(principal), Some(credential)) => About::Proved(PrincipalId(principal), CredentialId(credential)),
            (None, None) => About::Anonymous,
            _ => return Err(NotOurs.into()),
        };
        let situation = self.0.accounts.rules_for(about, &Reach::everything()).await?.ok_or(NotOurs)?;
        Ok(permissions::readable(self.0.clock.now(), &situation.caller, &situation.rules))
    }

    /// The rows of the revocation feed behind `after`; where there are none, it waits for some until `wait` has passed, or the
    /// server closes.
    ///
    /// # Errors
    /// The rows could not be read.
    pub async fn revocations(&self, after: u64, wait: Duration) -> Result<Vec<Revocation>, accounts::Error> {
        self.0.identities.metrics().feed_read(self.0.clock.now());
        let end = Instant::now() + wait;
        let mut changes = self.0.accounts.changes();
        loop {
            // Marked as seen before looking, so that a change between looking and waiting ends the wait.
            changes.mark_unchanged();
            let rows = self.0.accounts.revocations_after(after).await?;
            if !rows.is_empty() || Instant::now() >= end || self.0.closing.is_cancelled() {
                return Ok(rows);
            }
            // However the wait ends, it is time to look again: something changed here, or may have changed elsewhere.
            tokio::select! {
                _ = timeout_at(end.min(Instant::now() + FEED_LOOK), changes.changed()) => {}
                () = self.0.closing.cancelled() => {}
            }
        }
    }

    /// Notes that a registry asks for the feed now.
    pub fn feeds(&self, service: &str) {
        let mut fed = self.0.fed.lock().unwrap_or_else(PoisonError::into_inner);
        fed.insert(service.to_owned(), self.0.clock.now());
    }

    /// When a registry last asked for the feed, since this server began.
    #[must_use]
    pub fn fed_at(&self, service: &str) -> Option<Timestamp> {
        self.0.fed.lock().unwrap_or_else(PoisonError::into_inner).get(service).copied()
    }

    /// How long tokens live where their registry has no setting of its own.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.0.life
    }

    /// The registry that a service credential belongs to.
    ///
    /// # Errors
    /// The registries could not be read.
    pub async fn registry_of(&self, credential: &str) -> Result<Option<RegistryService>, accounts::Error> {
        if !matches!(Shape::of(credential), Shape::Ours { kind: SecretKind::Service, .. }) {
            return Ok(None);
        }
        for key in self.0.identities.keys().iter() {
            if let Some(found) = self.0.accounts.service_with_verifier(&key.verifier(credential)).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Parts {
    async fn service(&self, name: &str) -> Result<RegistryService, NotIssued> {
        if let Some(known) = self.services.get(name) {
            return Ok(known);
        }
        let unknown = || NotIssued::UnknownService(name.chars().take(64).collect());
        // What can be no name is looked up nowhere: PostgreSQL takes a NUL in a text for a fault of ours.
        let label: Label = name.parse().map_err(|_| unknown())?;
        let found = self.accounts.service(label.as_str()).await?.ok_or_else(unknown)?;
        self.services.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    async fn identify(&self, request: &TokenRequest<'_>, service: ServiceId) -> Result<Option<Identity>, NotIssued> {
        let (username, secret) = match request.shown {
            Shown::Nothing => return Ok(None),
            // `curl -u :SECRET` names nobody, which is not the same as naming somebody else.
            Shown::Basic(basic) => (Some(basic.username.as_str()).filter(|name| !name.is_empty()), &basic.password),
            Shown::IdentityToken(token) => (None, token),
        };
        if username.is_some_and(|name| name.contains(char::is_control)) {
            return Err(NotIdentified::Wrong.into());
        }
        let attempt = Attempt { username, secret, service: Some(service), peer: request.peer };
        let identity = self.identities.identify(&attempt).await?;
        let right_kind = identity.kind == CredentialKind::Identity || !matches!(request.shown, Shown::IdentityToken(_));
        if right_kind { Ok(Some(identity)) } else { Err(NotIdentified::Wrong.into()) }
    }

    /// The rules for the caller, with the counter of the same snapshot. An account that ended since it was identified has none.
    async fn situation(&self, identity: Option<&Identity>, request: &TokenRequest<'_>) -> Result<Situation, NotIssued> {
        let about = identity.map_or(About::Anonymous, Identity::about);
        let named = request
            .scopes
            .iter()
            .filter(|scope| matches!(scope.resource.kind, ResourceKind::Repository | ResourceKind::Namespace));
        let names = named.map(|scope| scope.resource.name.as_str());
        let situation = self.accounts.rules_for(about, &Reach::repositories(names).at(request.service)).await?;
        Ok(situation.ok_or(NotIdentified::Wrong)?)
    }

    /// The identity token for a client that asked for one. The one that it shows stays as it is: docker never stores another.
    async fn keep(
        &self,
        request: &TokenRequest<'_>,
        identity: Option<&Identity>,
        service: ServiceId,
    ) -> Result<Option<String>, NotIssued> {
        match (&request.keeper, identity, request.shown) {
            (Some(_), _, Shown::IdentityToken(token)) => Ok(Some(token.expose().clone())),
            (Some(client), Some(identity), Shown::Basic(_)) if identity.may_keep_an_identity_token() => {
                let token = self.identities.keep_identity(identity, service, client, request.peer).await?;
                Ok(Some(token.expose().clone()))
            }
            _ => Ok(None),
        }
    }
}

/// What is granted, and why not the rest, where there is any.
fn decided(now: Timestamp, situation: &Situation, requested: &Scopes) -> (Vec<Access>, Vec<Shortfall>) {
    let Situation { caller, rules, .. } = situation;
    let decision = permissions::decide(now, caller, rules, requested.as_slice());
    let is_limited = decision.access.iter().any(|access| !access.limited.is_empty());
    let short = if is_limited || !is_whole(requested, &decision.scopes()) {
        permissions::shortfalls(now, caller, rules, requested.as_slice())
    } else {
        Vec::new()
    };
    (decision.access, short)
}

impl From<&NotIssued> for Cause {
    fn from(error: &NotIssued) -> Self {
        match error {
            NotIssued::UnknownService(_) => Self::Service,
            NotIssued::NotIdentified(error) => error.into(),
            NotIssued::Unavailable(_) => Self::Unavailable,
            NotIssued::NotSigned(_) => Self::NotSigned,
        }
    }
}

/// What the bearer of a new token showed for it.
fn shown(identity: Option<&Identity>) -> metrics::Shown {
    match identity.map(|identity| identity.kind) {
        None => metrics::Shown::Nothing,
        Some(CredentialKind::Password) => metrics::Shown::Password,
        Some(CredentialKind::Pat) => metrics::Shown::PersonalToken,
        Some(CredentialKind::RobotKey) => metrics::Shown::RobotKey,
        Some(CredentialKind::Identity) => metrics::Shown::IdentityToken,
    }
}

fn bearer(identity: &Identity) -> Bearer {
    Bearer {
        subject: identity.principal.handle.clone(),
        principal: Some(identity.principal.id.0),
        credential: Some(identity.credential.0),
        ends: identity.ends,
    }
}

/// Whether all that was asked for was granted. `*` asks for all that can be done with a repository, and is never signed for one.
fn is_whole(requested: &Scopes, granted: &Scopes) -> bool {
    let has = |given: &Scope, action: &Action| match action {
        Action::Any => {
            given.actions.contains(&Action::Any)
                || [Action::Pull, Action::Push, Action::Delete].iter().all(|action| given.actions.contains(action))
        }
        action => given.actions.contains(action),
    };
    requested.iter().all(|asked| {
        asked.actions.is_empty()
            || granted
                .iter()
                .any(|given| given.resource == asked.resource && asked.actions.iter().all(|action| has(given, action)))
    })
}

fn answer(
    (token, life): (String, Duration),
    granted: &Scopes,
    refresh_token: Option<String>,
    now: Timestamp,
) -> TokenResponse {
    TokenResponse {
        access_token: token.clone(),
        token,
        expires_in: life.as_secs(),
        issued_at: Timestamp::from_seconds(now.seconds()).rfc3339(),
        scope: granted.to_string(),
        refresh_token,
    }
}
