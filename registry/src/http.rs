//! The registry on the wire: requests become operations, operations become answers.
//!
//! One handler takes everything below `/v2/`: parse, authorize, do, dress the answer. What a handler of a kind of
//! thing does stands in the module of that name; none of them decides anything that [`content`](crate::content)
//! could decide.

pub mod admin;
mod answer;
mod blobs;
mod code;
mod conditional;
mod error;
mod health;
mod lists;
mod manifests;
mod metrics;
pub mod operation;
mod origin;
mod place;
mod range;
mod state;
#[cfg(test)]
mod tests;
mod uploads;

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header, request::Parts},
    response::IntoResponse,
    routing::any,
};
use futures_util::FutureExt;
use shared::{
    clock::Clock,
    listen::{Peer, Refuse, Unacceptable},
    telemetry::RequestId,
};

use self::{
    admin::error::ApiError,
    answer::Answer,
    error::{Error, log_refusal},
    operation::Operation,
    origin::Addresses,
    place::Places,
    state::{Registry, Rules, Visit},
};
use crate::{
    access::{Access, Presented, Refusal},
    content::Content,
    health::Checks,
    settings::{Deletes, Settings, Writes},
};

pub use self::{
    health::{debug, probes},
    metrics::{MoreMetrics, metrics},
    origin::Scheme,
};

/// On every answer below `/v2/`: how clients recognise a registry, and what keeps browsers from running what people
/// push.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
];

/// A setting of `http.headers` that no header can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("http.headers: {0:?} is no header, or its value is none")]
pub struct InvalidHeader(String);

/// The admin API over the same access.
pub fn administration(
    settings: &Settings,
    access: Arc<Access>,
    rooms: admin::Rooms,
    clock: Clock,
) -> admin::Administration {
    admin::Administration::new(access, addresses(settings), rooms, clock)
}

fn addresses(settings: &Settings) -> Addresses {
    let http = &settings.http;
    let scheme = if http.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let proxies = http.trusted_proxies.clone();
    Addresses::new(http.host.as_ref(), &http.prefix, http.relative_urls, proxies, scheme)
}

/// The routes of the protocol, below the configured prefix.
///
/// # Errors
/// [`InvalidHeader`] among the headers to set.
pub fn router(
    settings: &Settings,
    content: Content,
    access: Arc<Access>,
    checks: Checks,
    clock: Clock,
) -> Result<Router, InvalidHeader> {
    let addresses = addresses(settings);
    let prefix = addresses.prefix.clone();
    let places = Places::new(settings.http.secret.as_ref());
    let registry = Arc::new(Registry { content, access, checks, clock, addresses, places, rules: rules(settings)? });
    let routes = Router::new()
        .route(&format!("{prefix}/v2"), any(serve))
        .route(&format!("{prefix}/v2/"), any(serve))
        .route(&format!("{prefix}/v2/{{*path}}"), any(serve));
    Ok(routes.with_state(registry))
}

/// Answers requests that the listener shows to no router, where they are of the protocol.
///
/// # Errors
/// [`InvalidHeader`] among the headers to set.
pub fn refusal(settings: &Settings) -> Result<Refuse, InvalidHeader> {
    let (root, rules) = (format!("{}/v2", addresses(settings).prefix), rules(settings)?);
    Ok(Arc::new(move |reason: Unacceptable, target: &Uri| {
        if is_below(target, admin::ROOT) {
            return Some(ApiError::Unacceptable(reason).into_response());
        }
        is_below(target, &root).then(|| {
            let mut response = Error::Unacceptable(reason).into_response(None);
            dress(response.headers_mut(), &rules);
            response
        })
    }))
}

fn is_below(target: &Uri, root: &str) -> bool {
    target.path().strip_prefix(root).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

fn rules(settings: &Settings) -> Result<Rules, InvalidHeader> {
    let header = |(name, value): &(String, String)| {
        let invalid = || InvalidHeader(name.clone());
        let name: HeaderName = name.parse().map_err(|_| invalid())?;
        Ok((name.clone(), HeaderValue::from_str(value).map_err(|_| invalid())?))
    };
    Ok(Rules {
        deletes: settings.storage.deletes,
        writes: settings.storage.writes,
        catalog_entries: settings.catalog_entries,
        tag_entries: settings.tag_entries,
        manifest_limit: settings.manifest_limit,
        references: settings.references.into(),
        lives: settings.lives,
        headers: settings.http.headers.iter().map(header).collect::<Result<_, _>>()?,
    })
}

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response<Body> {
    let id = request.extensions().get::<RequestId>().cloned();
    // A panic is a fault of ours and costs its own request only.
    let answer = AssertUnwindSafe(answer(&registry, request)).catch_unwind().await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(id.as_ref()),
        Err(_) => Error::Panicked.into_response(id.as_ref()),
    };
    dress(response.headers_mut(), &registry.rules);
    response
}

fn dress(headers: &mut HeaderMap, rules: &Rules) {
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    for (name, value) in &rules.headers {
        // What the operator says of a header of ours does not double it.
        if ALWAYS.iter().all(|(ours, _)| ours != name) {
            headers.append(name, value.clone());
        }
    }
}

async fn answer(registry: &Arc<Registry>, request: Request) -> Result<Response<Body>, Error> {
    if registry.checks.fail() {
        return Err(Error::Unhealthy);
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let path = path.strip_prefix(registry.addresses.prefix.as_str()).unwrap_or(path);
    let operation = Operation::parse(&parts.method, path, parts.uri.query())?;
    let visit = admit(registry, parts, &operation).await?;
    refuse_switched_off(&visit.registry.rules, &operation)?;
    perform(visit, operation, body).await
}

/// Lets the sender in, or tells it what it would need.
async fn admit(registry: &Arc<Registry>, parts: Parts, operation: &Operation) -> Result<Visit, Error> {
    let peer = parts.extensions.get::<Peer>().and_then(network_address);
    let origin = registry.addresses.origin(&parts.headers, &parts.uri, peer);
    let address = registry.addresses.client(&parts.headers, peer);
    let required = operation.required_access();
    let presented = Presented::read(authorization(&parts.headers)?);
    match registry.access.authorize(presented, &required, address, registry.clock.now()).await {
        Ok(caller) => Ok(Visit { registry: Arc::clone(registry), headers: parts.headers, caller, address, origin }),
        Err(Refusal::Unauthorized { error, sentence, reason }) => {
            // Every client's first request comes without credentials; that is no news.
            if parts.headers.contains_key(header::AUTHORIZATION) {
                log_refusal(&reason, operation);
            }
            let error = error.map(|error| (error, sentence.as_ref()));
            let challenge = registry.access.challenge(error, &required, origin.as_deref());
            Err(Error::Unauthorized { challenge, sentence, required })
        }
        Err(Refusal::Throttled { retry_after, reason }) => {
            log_refusal(&reason, operation);
            Err(Error::TooMany { message: "too many passwords were tried", retry_after })
        }
        Err(Refusal::Unavailable { reason }) => Err(Error::Unavailable { reason }),
    }
}

fn network_address(peer: &Peer) -> Option<SocketAddr> {
    match peer {
        Peer::Tcp(address) => Some(*address),
        Peer::Unix { .. } => None,
    }
}

/// The one field of the name. Of two, one would be checked and the other believed by somebody behind us.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let first = fields.next().map(|field| field.to_str().map_err(|_| Error::Credentials)).transpose()?;
    if fields.next().is_some() { Err(Error::Credentials) } else { Ok(first) }
}

fn refuse_switched_off(rules: &Rules, operation: &Operation) -> Result<(), Error> {
    let deletes = matches!(operation, Operation::DeleteManifest { .. } | Operation::DeleteBlob { .. });
    if rules.writes == Writes::Refused && operation.writes() {
        Err(Error::ReadOnly)
    } else if deletes && rules.deletes == Deletes::Disabled {
        Err(Error::DeletesDisabled)
    } else {
        Ok(())
    }
}

async fn perform(visit: Visit, operation: Operation, body: Body) -> Result<Response<Body>, Error> {
    use Operation as O;
    match operation {
        O::Version => Ok(Answer::json("{}".to_owned(), "application/json").finish()),
        O::Catalog { page } => lists::catalog(&visit, page).await,
        O::ListTags { repository, page } => lists::tags(&visit, repository, page).await,
        O::HeadManifest { repository, reference } => manifests::head(&visit, &repository, &reference).await,
        O::GetManifest { repository, reference } => manifests::get(&visit, &repository, &reference).await,
        O::PutManifest { repository, reference, tags } => {
            manifests::put(&visit, repository, reference, tags, body).await
        }
        O::DeleteManifest { repository, reference } => manifests::delete(&visit, repository, reference).await,
        O::HeadBlob { repository, digest } => blobs::head(&visit, &repository, &digest).await,
        O::GetBlob { repository, digest } => blobs::get(&visit, &repository, &digest).await,
        O::DeleteBlob { repository, digest } => blobs::delete(&visit, &repository, &digest).await,
        O::StartUpload { repository, start } => uploads::start(&visit, repository, start, body).await,
        O::UploadStatus { repository, upload } => uploads::status(&visit, repository, upload).await,
        O::AppendUpload { repository, upload } => uploads::append(&visit, repository, upload, body).await,
        O::FinishUpload { repository, upload, digest } => {
            uploads::finish(&visit, repository, upload, digest, body).await
        }
        O::CancelUpload { repository, upload } => uploads::cancel(&visit, &repository, upload).await,
        O::Referrers { repository, subject, artifact_type, last } => {
            lists::referrers(&visit, repository, subject, artifact_type, last).await
        }
    }
}
