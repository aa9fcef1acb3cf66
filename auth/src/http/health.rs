//! Whether the server lives, and whether it can answer.

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::accounts::Accounts;

/// `/healthz`: the process answers. `/readyz`: so do the accounts.
pub(crate) fn router(accounts: Accounts) -> Router {
    Router::new().route("/healthz", get(async || StatusCode::OK)).route("/readyz", get(ready)).with_state(accounts)
}

async fn ready(State(accounts): State<Accounts>) -> StatusCode {
    match accounts.ready().await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
