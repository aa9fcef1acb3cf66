//! Tokens and keys that somebody should look at, everybody's and a namespace's: `/api/v1/credentials`,
//! `/api/v1/namespaces/{namespace}/credentials`.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    access::{NamespaceAdmin, SystemAdmin},
    output::{CredentialOut, PageOf},
    secrets::MAX_IDLE_DAYS,
};
use crate::{
    accounts::{CredentialId, NamespaceId, credentials::upkeep::Neglected},
    http::{
        App,
        error::ApiError,
        input::{Asked, Paging},
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    after: Option<String>,
    limit: Option<u32>,
    /// Only what nobody has used for so many days.
    unused_days: Option<u32>,
    /// Only what ends within so many days.
    ending_days: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialWithOwner)]
pub(super) struct OwnedOut {
    /// Whose it is.
    owner: String,
    #[serde(flatten)]
    credential: CredentialOut,
}

pub(super) async fn list_all(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(filter): Asked<Filter>,
) -> Result<Json<PageOf<OwnedOut>>, ApiError> {
    page(&app, None, filter).await
}

pub(super) async fn list(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Asked(filter): Asked<Filter>,
) -> Result<Json<PageOf<OwnedOut>>, ApiError> {
    page(&app, Some(admin.namespace.id), filter).await
}

async fn page(app: &App, namespace: Option<NamespaceId>, filter: Filter) -> Result<Json<PageOf<OwnedOut>>, ApiError> {
    let paging = Paging::new(filter.after, filter.limit);
    let (limit, now) = (paging.limit()?, app.clock.now());
    let wanted = Neglected {
        namespace,
        unused_since: days("unused_days", filter.unused_days)?.map(|span| now - span),
        ending_before: days("ending_days", filter.ending_days)?.map(|span| now + span),
    };
    let found = app.accounts.neglected(wanted, paging.after_number()?.map(CredentialId), limit).await?;
    let cursor = |stored: &crate::accounts::credentials::Stored| stored.credential.id.to_string();
    let serve = |stored: crate::accounts::credentials::Stored| OwnedOut {
        owner: stored.principal.handle,
        credential: stored.credential.into(),
    };
    Ok(Json(PageOf::new(found, limit, cursor, serve)))
}

fn days(name: &str, days: Option<u32>) -> Result<Option<Duration>, ApiError> {
    match days {
        Some(days) if days > MAX_IDLE_DAYS => Err(ApiError::Invalid(format!("{name} is at most {MAX_IDLE_DAYS}"))),
        days => Ok(days.map(|days| DAY * days)),
    }
}
