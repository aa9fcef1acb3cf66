//! `/api/v1/services`: the registries that this server makes tokens for.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    access::SystemAdmin,
    output::{PageOf, ServiceOut, WithSecret},
};
use crate::{
    accounts::{principals::Page, services::NewService},
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, Paging},
    },
    issuer::{MAX_LIFE, MIN_LIFE},
    permissions::Catalog,
    secrets::{SecretKind, mint},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServiceWanted)]
pub(super) struct ServiceIn {
    name: String,
    #[serde(default)]
    catalog: Catalog,
    token_seconds: Option<u64>,
}

pub(super) async fn list(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<ServiceOut>>, ApiError> {
    let limit = paging.limit()?;
    let services = app.accounts.services(&Page { after: paging.after, limit }).await?;
    Ok(Json(PageOf::new(services, limit, |service| service.name.clone(), ServiceOut::from)))
}

pub(super) async fn add(
    State(app): State<App>,
    SystemAdmin(admin): SystemAdmin,
    Body(wanted): Body<ServiceIn>,
) -> Result<(StatusCode, Json<WithSecret<ServiceOut>>), ApiError> {
    let token_life = wanted.token_seconds.map(Duration::from_secs);
    if token_life.is_some_and(|life| !(MIN_LIFE..=MAX_LIFE).contains(&life)) {
        let bounds = format!("token_seconds is {} to {}", MIN_LIFE.as_secs(), MAX_LIFE.as_secs());
        return Err(ApiError::Invalid(bounds));
    }
    let secret = mint(SecretKind::Service);
    let new = NewService {
        name: wanted.name.parse()?,
        catalog: wanted.catalog,
        token_life,
        verifier: Some(app.identities.keys().current().verifier(secret.text.expose())),
    };
    let made = app.accounts.add_service(&admin.actor, new).await?;
    let secret = Some(secret.text.expose().clone());
    Ok((StatusCode::CREATED, Json(WithSecret { made: made.into(), secret })))
}
