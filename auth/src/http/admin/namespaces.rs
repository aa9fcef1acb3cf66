//! `/api/v1/namespaces`.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    access::{NamespaceAdmin, SystemAdmin},
    output::{NamespaceOut, PageOf, Tagged},
};
use crate::{
    accounts::{Refusal, names::NamespaceName, principals::Page, versions::Thing},
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    permissions::Visibility,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NamespaceWanted)]
pub(super) struct NamespaceIn {
    name: String,
    #[serde(default)]
    visibility: Visibility,
}

pub(super) async fn list(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<NamespaceOut>>, ApiError> {
    let limit = paging.limit()?;
    let namespaces = app.accounts.namespaces(&Page { after: paging.after, limit }).await?;
    Ok(Json(PageOf::new(namespaces, limit, |namespace| namespace.name.clone(), NamespaceOut::from)))
}

pub(super) async fn create(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(wanted): Body<NamespaceIn>,
) -> Result<(StatusCode, Json<NamespaceOut>), ApiError> {
    let name: NamespaceName = wanted.name.parse()?;
    let made = app.accounts.create_namespace(&admin.actor, &name, wanted.visibility).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

pub(super) async fn show(admin: NamespaceAdmin) -> Tagged<NamespaceOut> {
    Tagged(admin.namespace.into())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NamespaceChange)]
pub(super) struct Change {
    visibility: Visibility,
}

pub(super) async fn change(
    State(app): State<App>,
    admin: NamespaceAdmin,
    seen: IfMatch,
    Body(change): Body<Change>,
) -> Result<Tagged<NamespaceOut>, ApiError> {
    let accounts = seen.on(&app.accounts, Thing::Namespace(admin.namespace.id));
    let changed = accounts.set_visibility(&admin.caller.actor, &admin.name, change.visibility).await?;
    Ok(Tagged(changed.into()))
}

pub(super) async fn remove(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Named(name): Named<String>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let name: NamespaceName = name.parse().map_err(|_| ApiError::NotFound)?;
    let namespace = app.accounts.namespace(&name).await?.ok_or(Refusal::NamespaceUnknown)?;
    seen.on(&app.accounts, Thing::Namespace(namespace.id)).delete_namespace(&admin.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
