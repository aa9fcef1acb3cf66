//! What namespaces may have, and what they have.

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    Desk,
    access::{NamespaceAdmin, SystemAdmin},
    error::ApiError,
    input,
    page::{self, PageOf},
};
use crate::lifecycle::quotas::{Change, Count, Standing};

/// A namespace as it is served. Bytes are bytes; `quota` is null where there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NamespaceStanding)]
pub(super) struct Served {
    namespace: String,
    bytes: Bytes,
    tags: Counted,
    repositories: Counted,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BytesStanding)]
struct Bytes {
    quota: Option<u64>,
    used: u64,
    reserved: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CountStanding)]
struct Counted {
    quota: Option<u64>,
    used: u64,
    /// Whether there are more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

impl Counted {
    const fn new(quota: Option<u64>, Count { counted, more }: Count) -> Self {
        Self { quota, used: counted, more }
    }
}

impl From<Standing> for Served {
    fn from(standing: Standing) -> Self {
        let Standing { namespace, quota, used, reserved, tags, repositories } = standing;
        Self {
            namespace,
            bytes: Bytes { quota: quota.bytes, used, reserved },
            tags: Counted::new(quota.tags, tags),
            repositories: Counted::new(quota.repositories, repositories),
        }
    }
}

/// What to change: null is unlimited, and what is not named stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuotaWanted)]
pub(super) struct Wanted {
    #[serde(default, deserialize_with = "named")]
    bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    tags: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    repositories: Option<Option<u64>>,
}

/// A member that is there, null too.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Wanted {
    fn change(self) -> Result<Change, ApiError> {
        let Self { bytes, tags, repositories } = self;
        let change = Change { bytes, tags, repositories };
        if change.is_nothing() {
            return Err(ApiError::Invalid("say what to set: bytes, tags or repositories".to_owned()));
        }
        let largest = [bytes, tags, repositories].into_iter().flatten().flatten().max();
        if largest.is_some_and(|largest| i64::try_from(largest).is_err()) {
            return Err(ApiError::Invalid(format!("a quota is at most {}", i64::MAX)));
        }
        Ok(change)
    }
}

/// Which page of the list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/v1/registry/namespaces`: every namespace that somebody has pushed to or that has a quota.
pub(super) async fn list(
    _: SystemAdmin,
    State(desk): State<Desk>,
    input::Asked(paging): input::Asked<Paging>,
) -> Result<Json<PageOf<Served>>, ApiError> {
    let limit = page::limit(paging.limit)?;
    let standings = desk.lifecycle().standings(&paging.after.unwrap_or_default(), limit).await?;
    Ok(Json(PageOf::new(standings, limit, |standing| standing.namespace.clone(), Served::from)))
}

/// `GET /api/v1/registry/namespaces/{namespace}/quota`: what it may have and has.
pub(super) async fn show(admin: NamespaceAdmin, State(desk): State<Desk>) -> Result<Json<Served>, ApiError> {
    Ok(Json(desk.lifecycle().standing(&admin.namespace).await?.into()))
}

/// `PUT /api/v1/registry/namespaces/{namespace}/quota`: changes what it may have, and answers how it stands now. For system administrators: a bound that
/// those can lift whom it binds is none.
pub(super) async fn set(
    SystemAdmin(caller): SystemAdmin,
    input::Namespace(namespace): input::Namespace,
    State(desk): State<Desk>,
    input::Body(wanted): input::Body<Wanted>,
) -> Result<Json<Served>, ApiError> {
    let change = wanted.change()?;
    Ok(Json(desk.lifecycle().set_quota(namespace, change, caller.actor).await?.into()))
}
