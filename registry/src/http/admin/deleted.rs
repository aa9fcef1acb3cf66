//! What was deleted and can still come back.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use shared::{clock::Timestamp, digest::Digest, repository::RepositoryName, tag::Tag};
use utoipa::ToSchema;

use super::{
    Desk,
    access::NamespaceAdmin,
    error::ApiError,
    input,
    page::{self, PageOf},
};
use crate::lifecycle::deleted::{Cursor, Deleted, Gone};

/// Which part of which list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    repository: Option<RepositoryName>,
    after: Option<String>,
    limit: Option<u32>,
}

/// Something that can come back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schema(as = Deleted)]
pub(super) enum DeletedOut {
    Repository {
        repository: RepositoryName,
        id: i64,
        #[serde(flatten)]
        gone: GoneOut,
    },
    Manifest {
        repository: RepositoryName,
        digest: Digest,
        media_type: String,
        size: u64,
        /// Those that it carried.
        tags: Vec<Tag>,
        #[serde(flatten)]
        gone: GoneOut,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gone)]
pub(super) struct GoneOut {
    deleted_at: Timestamp,
    deleted_by: Option<String>,
    until: Timestamp,
}

impl From<Gone> for GoneOut {
    fn from(Gone { at, by, until }: Gone) -> Self {
        Self { deleted_at: at, deleted_by: by, until }
    }
}

impl From<Deleted> for DeletedOut {
    fn from(deleted: Deleted) -> Self {
        match deleted {
            Deleted::Repository(one) => Self::Repository { repository: one.name, id: one.id.0, gone: one.gone.into() },
            Deleted::Manifest(one) => Self::Manifest {
                repository: one.repository,
                digest: one.digest,
                media_type: one.media_type,
                size: one.size,
                tags: one.tags,
                gone: one.gone.into(),
            },
        }
    }
}

/// `GET /api/v1/registry/namespaces/{namespace}/deleted`: what can come back, repositories first, and until when.
pub(super) async fn list(
    admin: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Asked(asked): input::Asked<Asked>,
) -> Result<Json<PageOf<DeletedOut>>, ApiError> {
    let limit = page::limit(asked.limit)?;
    let after = asked.after.map(|text| text.parse::<Cursor>()).transpose();
    let after = after.map_err(|error| ApiError::Invalid(error.to_string()))?;
    let part = desk.lifecycle().deleted(&admin.namespace, asked.repository.as_ref(), after, limit).await?;
    let items = part.found.into_iter().map(DeletedOut::from).collect();
    Ok(Json(PageOf { items, next: part.next.map(|cursor| cursor.to_string()) }))
}
