//! Single manifests.

use axum::{Json, extract::State};
use serde::Deserialize;
use shared::digest::Digest;
use utoipa::ToSchema;

use super::{Desk, access::RepositoryAdmin, error::ApiError, input, tags::RestoredOut};
use crate::content::undelete::{Carried, RestoreManifest};

/// Which manifest is to come back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ManifestRestoreWanted)]
pub(super) struct Wanted {
    digest: Digest,
    /// Whether the tags come along that it carried when it was deleted.
    #[serde(default)]
    tags: bool,
    #[serde(default)]
    force: bool,
}

/// `POST /api/v1/registry/manifests:restore?repository=`: a deleted manifest comes back.
pub(super) async fn restore(
    RepositoryAdmin { caller, repository }: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Body(wanted): input::Body<Wanted>,
) -> Result<Json<RestoredOut>, ApiError> {
    let tags = if wanted.tags { Carried::Tags } else { Carried::Nothing };
    let by = desk.restorer(caller, wanted.force);
    let restore = RestoreManifest { repository: repository.clone(), digest: wanted.digest, tags, by };
    Ok(Json(RestoredOut::new(repository, desk.content().restore_manifest(restore).await?)))
}
