//! What the server answers over HTTP. Handlers translate; accounts, identity, permissions and issuer decide.

pub mod admin;
mod certs;
pub mod error;
mod health;
#[cfg(test)]
pub(crate) mod house;
pub mod input;
mod metrics;
mod peer;
mod readable;
mod revocations;
mod token;

use std::sync::Arc;

use axum::{
    Router,
    http::Uri,
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
};
use shared::{
    clock::Clock,
    listen::{Refuse, Unacceptable},
};

use self::error::ApiError;
use crate::{
    accounts::Accounts, first_start::FirstPassword, identity::Identities, sealing::Sealing, signing::Signing,
    tokens::Tokens,
};
pub(crate) use health::router as health_router;
pub(crate) use metrics::metrics_router;
pub use peer::Proxies;

pub use crate::identity::Peer;
pub use token::MAX_REQUEST_BYTES;

/// What every handler may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Who there is and what they were given.
    pub accounts: Accounts,
    /// Who is asking.
    pub identities: Identities,
    /// What is granted, and signed.
    pub tokens: Tokens,
    /// Which key signs.
    pub signing: Signing,
    /// The audit's chain.
    pub sealing: Sealing,
    /// What registries are to trust, in PEM.
    pub bundle: Arc<str>,
    /// Where the first administrator's password lies until it is changed.
    pub first_password: FirstPassword,
    /// What time it is.
    pub clock: Clock,
}

/// Every route of the server, for listeners that anybody reaches.
pub fn router(app: App, proxies: Proxies) -> Router {
    routes(app).layer(from_fn_with_state(proxies, peer::from_anywhere))
}

/// Every route of the server, for the data directory's socket: root and the server's own user are system administrators there.
pub fn socket_router(app: App) -> Router {
    routes(app).layer(from_fn(peer::from_the_socket))
}

/// Answers requests that the listener shows to no router, where they are for tokens or the admin API.
#[must_use]
pub fn refusal() -> Refuse {
    Arc::new(|reason: Unacceptable, target: &Uri| {
        let path = target.path();
        if token::PATHS.contains(&path) {
            return Some(token::refusal(reason));
        }
        let below = path.strip_prefix(API)?;
        (below.is_empty() || below.starts_with('/')).then(|| ApiError::Unacceptable(reason).into_response())
    })
}

/// Where the admin API lies.
const API: &str = "/api/v1";

fn routes(app: App) -> Router {
    let counted = from_fn_with_state(app.identities.metrics().clone(), metrics::counted);
    admin::router()
        .merge(token::router())
        .merge(certs::router())
        .merge(readable::router())
        .merge(revocations::router())
        .with_state(app)
        .layer(counted)
}
