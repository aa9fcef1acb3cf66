//! Single tags: their history, removed, restored.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{clock::Timestamp, digest::Digest, repository::RepositoryName, tag::Tag};
use utoipa::ToSchema;

use super::{
    Desk,
    access::{RepositoryAdmin, RepositoryReader},
    error::ApiError,
    input,
    page::{self, PageOf},
};
use crate::content::{
    Force, TagLimits,
    tags::{
        DeleteTag,
        history::{Fate, Step},
    },
    undelete::{RestoreTag, Restored},
};

/// Which part of which history.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of which repository; the caller's proof was made for it.
    #[serde(rename = "repository")]
    _repository: RepositoryName,
    tag: Tag,
    after: Option<i64>,
    limit: Option<u32>,
}

/// A step of a tag as it is served.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TagStep)]
pub(super) struct StepOut {
    version: i64,
    digest: Option<Digest>,
    at: Timestamp,
    /// Who made it, for those who may see the namespace: to others a name is none of what they pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    manifest: Fate,
}

/// `GET /api/v1/registry/tags/history?repository=&tag=`: what the tag pointed at, the newest first.
pub(super) async fn history(
    reader: RepositoryReader,
    State(desk): State<Desk>,
    input::Asked(asked): input::Asked<Asked>,
) -> Result<Json<PageOf<StepOut>>, ApiError> {
    let limit = page::limit(asked.limit)?;
    let steps = desk.content().tag_history(&reader.repository, &asked.tag, asked.after, limit).await?;
    let serve = |step: Step| {
        let Step { version, digest, at, actor, fate } = step;
        StepOut { version, digest, at, actor: reader.sees_the_namespace.then_some(actor), manifest: fate }
    };
    // Versions begin at 1 and have no gap: behind that one there is nothing.
    let mut page = PageOf::new(steps, limit, |step| step.version.to_string(), serve);
    page.next = page.next.filter(|next| next != "1");
    Ok(Json(page))
}

/// Which tag is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Of which repository; the caller's proof was made for it.
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
    input::Body(input::Nothing {}): input::Body<input::Nothing>,
) -> Result<StatusCode, ApiError> {
    let (limits, actor) = (TagLimits::Everything, caller.actor);
    let delete = DeleteTag { repository, tag: which.tag, condition: None, limits, actor };
    desk.content().delete_tag_with(delete, Force::from(which.force)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which tag is to come back, and to what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TagRestoreWanted)]
pub(super) struct Wanted {
    tag: Tag,
    version: Option<i64>,
    #[serde(default)]
    force: bool,
}

/// What came back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ManifestRestored)]
pub(super) struct RestoredOut {
    repository: RepositoryName,
    digest: Digest,
    tags: Vec<Tag>,
}

impl RestoredOut {
    pub(super) fn new(repository: RepositoryName, Restored { digest, tags }: Restored) -> Self {
        Self { repository, digest, tags }
    }
}

/// `POST /api/v1/registry/tags:restore?repository=`: the tag points again at what it pointed at.
pub(super) async fn restore(
    RepositoryAdmin { caller, repository }: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Body(wanted): input::Body<Wanted>,
) -> Result<Json<RestoredOut>, ApiError> {
    let Wanted { tag, version, force } = wanted;
    let by = desk.restorer(caller, force);
    let restored = desk.content().restore_tag(RestoreTag { repository: repository.clone(), tag, version, by }).await?;
    Ok(Json(RestoredOut::new(repository, restored)))
}
