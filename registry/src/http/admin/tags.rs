//! Single tags.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use shared::{repository::RepositoryName, tag::Tag};

use super::{Desk, access::RepositoryAdmin, error::ApiError, input};
use crate::content::{
    TagLimits,
    tags::{DeleteTag, Force},
};

/// Which tag is to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The extractor of the caller has read it.
    #[serde(rename = "repository")]
    _repository: RepositoryName,
    tag: Tag,
    /// Although it has to stay.
    #[serde(default)]
    force: bool,
}

/// `DELETE /api/v1/registry/tags?repository=&tag=&force=`: removes a tag, with `force` also one that has to stay.
pub(super) async fn delete(
    RepositoryAdmin { caller, repository }: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Asked(which): input::Asked<Which>,
) -> Result<StatusCode, ApiError> {
    let (limits, actor) = (TagLimits::Everything, caller.actor);
    let delete = DeleteTag { repository, tag: which.tag, condition: None, limits, actor };
    let force = if which.force { Force::Yes } else { Force::No };
    desk.content().delete_tag_with(delete, force).await?;
    Ok(StatusCode::NO_CONTENT)
}
