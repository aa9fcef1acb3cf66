//! Whether the registry can serve, for those who decide whom to send requests to.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    routing::{any, get},
};
use serde_json::{Value, json};
use tracing::warn;

use super::admin;
use crate::health::{Checks, Readiness};

/// What a registry on a port of its own answers beside the protocol: `/healthz` while the process runs, `/readyz`
/// while it can serve, an empty `/`, which is where the stock registries' probes look, and that the auth service's API is not here.
pub fn probes(readiness: Readiness, checks: Checks) -> Router {
    let ready = get(ready).with_state(readiness);
    let root = any(root).with_state(checks);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", ready)
        .route("/", root)
        .merge(admin::elsewhere())
}

/// `GET /debug/health`: which checks fail, as the stock registries' debug server tells it. Nothing else of theirs is
/// there.
pub fn debug(checks: Checks) -> Router {
    Router::new().route("/debug/health", get(failures)).with_state(checks)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    match readiness.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}

async fn root(State(checks): State<Checks>) -> (StatusCode, [(HeaderName, &'static str); 1]) {
    let status = if checks.fail() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, [(header::CACHE_CONTROL, "no-cache")])
}

async fn failures(State(checks): State<Checks>) -> (StatusCode, Json<Value>) {
    let failures = checks.failures();
    let status = if failures.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!(failures)))
}
