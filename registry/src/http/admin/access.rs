//! Who may call what. A handler that has one of these among its parameters was called by somebody who may; there is no other way to get one.
//!
//! GET and HEAD ask for `read`, everything else for `admin`. What is not the caller's is answered like what does not exist.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{Method, request::Parts},
};
use shared::{
    access::{self as granted, Action, Resource},
    challenge::ChallengeError,
    listen::Peer,
    repository::RepositoryName,
};
use tracing::info;
use url::form_urlencoded;

use super::{Desk, Door, error::ApiError};
use crate::{
    access::{Presented, Refusal},
    http::{authorization, network_address},
};

/// How somebody on the data directory's socket is written down.
const LOCAL: &str = "local";

/// Somebody who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCaller {
    /// Who is written into histories, events and the log.
    pub actor: String,
}

/// A system administrator; where the method only looks, an auditor too.
#[derive(Clone, Debug)]
pub struct SystemAdmin(pub ApiCaller);

/// Root or the server's own user on the data directory's socket: what is asked for happens to files of this machine, and a credential that travels is
/// no key to those.
#[derive(Clone, Debug)]
pub struct LocalAdmin(pub ApiCaller);

/// Somebody who administers the namespace that the path names as `{namespace}`; where the method only looks, somebody who may see it.
#[derive(Clone, Debug)]
pub struct NamespaceAdmin {
    /// Who.
    pub caller: ApiCaller,
    /// The namespace: a repository name of one segment.
    pub namespace: RepositoryName,
}

/// Somebody who administers the namespace of the repository that the query names as `repository` or `name`.
#[derive(Clone, Debug)]
pub struct RepositoryAdmin {
    /// Who.
    pub caller: ApiCaller,
    /// The repository, whether there is one or not.
    pub repository: RepositoryName,
}

/// Somebody who may pull from the repository that the query names, or see its namespace.
#[derive(Clone, Debug)]
pub struct RepositoryReader {
    /// Who.
    pub caller: ApiCaller,
    /// The repository, whether there is one or not.
    pub repository: RepositoryName,
    /// Whether the caller may see the namespace, and so who does what there. Of a public one everybody may pull.
    pub sees_the_namespace: bool,
}

impl FromRequestParts<Desk> for SystemAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, ApiError> {
        let caller = prove(parts, desk, &[system(parts)]).await?;
        caller.map(Self).ok_or(ApiError::SystemOnly)
    }
}

impl FromRequestParts<Desk> for LocalAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, ApiError> {
        // Whoever is nobody hears so first, as everywhere.
        let caller = prove(parts, desk, &[system(parts)]).await?;
        caller.filter(|_| is_local(parts, desk)).map(Self).ok_or(ApiError::LocalOnly)
    }
}

impl FromRequestParts<Desk> for NamespaceAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, ApiError> {
        let named = RawPathParams::from_request_parts(parts, desk).await.map_err(|_| ApiError::NotFound)?;
        let named = named.iter().find(|(key, _)| *key == "namespace").and_then(|(_, name)| name.parse().ok());
        // Who cannot be told apart from a stranger is answered like one, whatever the name.
        let named = named.filter(|name: &RepositoryName| name.namespace() == name.as_str());
        let one_of = alternatives(parts, named.as_ref());
        let caller = prove(parts, desk, &one_of).await?;
        match (caller, named) {
            (Some(caller), Some(namespace)) => Ok(Self { caller, namespace }),
            _ => Err(ApiError::NotFound),
        }
    }
}

impl FromRequestParts<Desk> for RepositoryAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, ApiError> {
        let repository = named_repository(parts)?;
        let one_of = alternatives(parts, Some(&repository));
        let caller = prove(parts, desk, &one_of).await?.ok_or(ApiError::NotFound)?;
        Ok(Self { caller, repository })
    }
}

impl FromRequestParts<Desk> for RepositoryReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, ApiError> {
        let repository = named_repository(parts)?;
        if let Some(caller) = prove(parts, desk, &alternatives(parts, Some(&repository))).await? {
            return Ok(Self { caller, repository, sees_the_namespace: true });
        }
        let pull = granted::Access::new(Resource::repository(&repository), [Action::Pull]);
        let caller = prove(parts, desk, &[pull]).await?.ok_or(ApiError::NotFound)?;
        Ok(Self { caller, repository, sees_the_namespace: false })
    }
}

/// What the method asks for.
fn action(method: &Method) -> Action {
    if *method == Method::GET || *method == Method::HEAD { Action::Read } else { Action::Admin }
}

fn system(parts: &Parts) -> granted::Access {
    granted::Access::new(Resource::system(), [action(&parts.method)])
}

/// The whole system, or the namespace of `name`.
fn alternatives(parts: &Parts, name: Option<&RepositoryName>) -> Vec<granted::Access> {
    let namespace = name.and_then(|name| Resource::namespace(name.namespace()).ok());
    let namespace = namespace.map(|namespace| granted::Access::new(namespace, [action(&parts.method)]));
    [system(parts)].into_iter().chain(namespace).collect()
}

fn named_repository(parts: &Parts) -> Result<RepositoryName, ApiError> {
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let mut named = query.filter(|(key, _)| key == "repository" || key == "name").map(|(_, name)| name);
    let missing = || ApiError::Invalid("name one repository: ?repository=acme/web".to_owned());
    match (named.next(), named.next()) {
        (Some(name), None) => name.parse().map_err(|error| ApiError::Invalid(format!("repository: {error}"))),
        _ => Err(missing()),
    }
}

/// Who asks, if it is somebody who holds one of these; None for somebody who is known and may not.
async fn prove(parts: &Parts, desk: &Desk, one_of: &[granted::Access]) -> Result<Option<ApiCaller>, ApiError> {
    let peer = parts.extensions.get::<Peer>();
    if is_local(parts, desk) {
        return Ok(Some(ApiCaller { actor: LOCAL.to_owned() }));
    }
    let administration = &desk.administration.0;
    if administration.access.token().is_none() {
        return Err(ApiError::SocketOnly);
    }
    let field = authorization(&parts.headers).map_err(|_| ApiError::Unauthenticated)?;
    let Presented::Bearer(bearer) = Presented::read(field) else { return Err(ApiError::Unauthenticated) };
    let address = administration.addresses.client(&parts.headers, peer.and_then(network_address));
    match administration.access.administer(bearer, one_of, address, administration.clock.now()).await {
        Ok(caller) => Ok(Some(ApiCaller { actor: caller.name().unwrap_or("anonymous").to_owned() })),
        Err(Refusal::Unauthorized { error: Some(ChallengeError::InsufficientScope), .. }) => Ok(None),
        Err(Refusal::Unauthorized { reason, .. }) => {
            info!(reason, "refused at the admin API");
            Err(ApiError::Unauthenticated)
        }
        Err(Refusal::Throttled { retry_after, reason }) => {
            info!(reason, "refused at the admin API");
            Err(ApiError::Throttled { retry_after })
        }
        Err(Refusal::Unavailable { reason }) => Err(ApiError::NobodyToAsk { reason }),
    }
}

fn is_local(parts: &Parts, desk: &Desk) -> bool {
    desk.door == Door::DataDirectory && parts.extensions.get::<Peer>().is_some_and(is_own)
}

/// Whether root or the server's own user is at the other end, as the kernel vouches.
fn is_own(peer: &Peer) -> bool {
    match peer {
        Peer::Unix { uid, .. } => *uid == 0 || *uid == rustix::process::geteuid().as_raw(),
        Peer::Tcp(_) => false,
    }
}
