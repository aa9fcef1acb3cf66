//! Repositories deleted and brought back as a whole.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::repository::RepositoryName;
use utoipa::ToSchema;

use super::{Desk, access::RepositoryAdmin, error::ApiError, input};
use crate::lifecycle::repositories::{DeleteRepository, RepositoryId, RestoreRepository};

/// How a repository is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Which; the caller's proof was made for it.
    #[serde(rename = "name", alias = "repository")]
    _name: RepositoryName,
    /// Although tags in it have to stay.
    #[serde(default)]
    force: bool,
}

/// `DELETE /api/v1/registry/repositories?name=&force=`: hides a repository with everything in it.
pub(super) async fn delete(
    RepositoryAdmin { caller, repository }: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Asked(which): input::Asked<Which>,
    input::Body(input::Nothing {}): input::Body<input::Nothing>,
) -> Result<StatusCode, ApiError> {
    let delete = DeleteRepository { name: repository, force: which.force.into(), actor: caller.actor };
    desk.lifecycle().delete_repository(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which repository is to come back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RepositoryRestoreWanted)]
pub(super) struct Wanted {
    id: Option<i64>,
    force: bool,
}

/// What came back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepositoryRestored)]
pub(super) struct RestoredOut {
    repository: RepositoryName,
    id: i64,
}

/// `POST /api/v1/registry/repositories:restore?name=`: a deleted repository comes back as it was.
pub(super) async fn restore(
    RepositoryAdmin { caller, repository }: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Body(Wanted { id, force }): input::Body<Wanted>,
) -> Result<Json<RestoredOut>, ApiError> {
    let (name, id) = (repository.clone(), id.map(RepositoryId));
    let restore = RestoreRepository { name, id, force: force.into(), actor: caller.actor };
    let id = desk.lifecycle().restore_repository(restore).await?.0;
    Ok(Json(RestoredOut { repository, id }))
}
