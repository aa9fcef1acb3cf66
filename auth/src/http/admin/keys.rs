//! The keys that sign tokens, `/api/v1/keys`: which there are, turning them, and refusing all that one has signed.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::clock::Timestamp;

use super::{access::SystemAdmin, output::PageOf};
use crate::{
    accounts::signing::{KeyState, StoredKey},
    http::{App, error::ApiError, input::Named},
    signing::SigningError,
};

#[derive(Debug, Serialize)]
pub(super) struct KeyOut {
    /// The RFC 7638 thumbprint, `kid` in a token's header.
    id: String,
    algorithm: String,
    state: KeyState,
    created_at: Timestamp,
    active_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    /// When its certificate ends.
    not_after: Timestamp,
}

impl From<StoredKey> for KeyOut {
    fn from(key: StoredKey) -> Self {
        let StoredKey { kid, algorithm, state, created_at, active_at, retired_at, not_after, .. } = key;
        Self { id: kid, algorithm, state, created_at, active_at, retired_at, not_after }
    }
}

pub(super) async fn list(State(app): State<App>, _: SystemAdmin) -> Result<Json<PageOf<KeyOut>>, ApiError> {
    Ok(Json(PageOf::whole(app.signing.list().await?, KeyOut::from)))
}

pub(super) async fn rotate(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
) -> Result<Json<PageOf<KeyOut>>, ApiError> {
    app.signing.rotate(admin.actor).await?;
    Ok(Json(PageOf::whole(app.signing.list().await?, KeyOut::from)))
}

pub(super) async fn revoke(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(key): Named<String>,
) -> Result<StatusCode, ApiError> {
    app.signing.revoke(admin.actor, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SigningError> for ApiError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Accounts(error) => error.into(),
            SigningError::Brought => Self::Invalid(error.to_string()),
            SigningError::Pki(_) | SigningError::Unusable { .. } => Self::NoKey(error),
        }
    }
}
