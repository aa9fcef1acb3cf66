//! Whether the server lives, and whether it can answer.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::server::Auth;

/// `/healthz`: the process answers. `/readyz`: so do the accounts.
pub(crate) fn router(auth: Auth) -> Router {
    Router::new().route("/healthz", get(async || StatusCode::OK)).route("/readyz", get(ready)).with_state(auth)
}

async fn ready(State(auth): State<Auth>) -> StatusCode {
    match auth.ready().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
