//! `GET /api/v1/revocations?after=`: the revocation feed, for registries that show their service credential.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use shared::revocation::Revocation;
use tracing::warn;

use super::{App, Peer, admin::unknown_method, error::ApiError, input::Asked, readable::bearer};
use crate::tokens::FEED_WAIT;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// The number of the last row that the reader has seen; 0 if none.
    #[serde(default)]
    after: u64,
}

#[derive(Serialize)]
struct Feed {
    revocations: Vec<Revocation>,
}

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/api/v1/revocations", get(revocations)).method_not_allowed_fallback(unknown_method)
}

/// Answers when there are rows behind `after`, or with none after a while.
async fn revocations(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    Asked(Reading { after }): Asked<Reading>,
) -> Result<Response, ApiError> {
    let credential = bearer(&headers).ok_or(ApiError::NoServiceCredential)?;
    let Some(registry) = app.tokens.registry_of(credential).await? else {
        warn!(
            peer = peer.address().map(tracing::field::display),
            "somebody who is no registry asked for the revocation feed"
        );
        return Err(ApiError::NoServiceCredential);
    };
    app.tokens.feeds(&registry.name);
    let revocations = app.tokens.revocations(after, FEED_WAIT).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(Feed { revocations })).into_response())
}

#[cfg(test)]
mod tests;
