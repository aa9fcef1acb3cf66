//! `/healthz`: the process answers. `/readyz`: so do the databases behind both services.

use auth::server::Auth;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use registry::{health::Readiness, server::Registry};
use tracing::warn;

/// The routes, over both services.
pub(super) fn router(registry: &Registry, auth: &Auth) -> Router {
    let services = (registry.readiness(), auth.clone());
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(services)
}

async fn ready(State((registry, auth)): State<(Readiness, Auth)>) -> (StatusCode, &'static str) {
    let (registry, auth) = tokio::join!(registry.ready(), auth.ready());
    let registry = registry.inspect_err(|error| warn!(%error, "the registry is not ready"));
    let auth = auth.inspect_err(|error| warn!(%error, "auth is not ready"));
    match (registry, auth) {
        (Ok(()), Ok(())) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
