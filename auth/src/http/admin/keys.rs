//! The keys that sign tokens, `/api/v1/keys`: which there are, turning them, and refusing all that one has signed.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::clock::Timestamp;
use utoipa::ToSchema;

use super::{access::SystemAdmin, output::PageOf};
use crate::{
    accounts::{
        signing::{KeyState, StoredKey},
        versions::Version,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, IfMatch, Named, Nothing, Paging},
    },
    signing::SigningError,
};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKey)]
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
    version: Version,
}

impl From<StoredKey> for KeyOut {
    fn from(key: StoredKey) -> Self {
        let version = key.version();
        let StoredKey { kid, algorithm, state, created_at, active_at, retired_at, not_after, .. } = key;
        Self { id: kid, algorithm, state, created_at, active_at, retired_at, not_after, version }
    }
}

/// In the order in which they were made, which their ids do not tell: a page begins behind the key that is named.
pub(super) async fn list(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<KeyOut>>, ApiError> {
    let limit = paging.limit()?;
    let keys = app.signing.list().await?;
    let begin = match &paging.after {
        None => 0,
        Some(after) => {
            let at = keys.iter().position(|key| key.kid == *after);
            at.ok_or_else(|| ApiError::Invalid("after is the next of an earlier page".to_owned()))? + 1
        }
    };
    let part = keys.into_iter().skip(begin).take(limit as usize).collect();
    Ok(Json(PageOf::new(part, limit, |key: &StoredKey| key.kid.clone(), KeyOut::from)))
}

pub(super) async fn rotate(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    _: Nothing,
) -> Result<Json<PageOf<KeyOut>>, ApiError> {
    app.signing.rotate(admin.actor).await?;
    // Those that are gone are no part of what was done, and the others are few: what is answered to a change is no list to follow.
    let living = app.signing.list().await?.into_iter().filter(|key| key.state != KeyState::Gone).collect();
    Ok(Json(PageOf::new(living, u32::MAX, |key: &StoredKey| key.kid.clone(), KeyOut::from)))
}

pub(super) async fn revoke(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(key): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    app.signing.revoke(admin.actor, &key, seen.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SigningError> for ApiError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Accounts(error) => error.into(),
            SigningError::Brought => Self::Invalid(error.to_string()),
            SigningError::Pki(_) | SigningError::Unusable { .. } | SigningError::NotSigned(_) => Self::NoKey(error),
        }
    }
}
