//! Robots of a namespace and their keys: `/api/v1/namespaces/{namespace}/robots`.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use shared::{clock::Timestamp, secret::Secret};
use utoipa::ToSchema;

use super::{
    access::NamespaceAdmin,
    output::{CredentialOut, PageOf, PrincipalOut, Tagged, WithSecret},
    secrets::{CredentialIn, in_the_future, time},
    users::shown_as,
};
use crate::{
    accounts::{
        CredentialId,
        credentials::{CredentialKind, OtherKeys},
        names::RobotName,
        principals::{NewRobot, Page, Principal, PrincipalKind},
        versions::Thing,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    secrets::SecretKind,
};

/// Longest overlap of an old key with a new one, in seconds: 30 days.
pub(super) const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 3600;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RobotWanted)]
pub(super) struct RobotIn {
    name: String,
    #[serde(default)]
    purpose: String,
    #[serde(default, deserialize_with = "time")]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyWanted)]
pub(super) struct KeyIn {
    #[serde(flatten)]
    credential: serde_json::Map<String, serde_json::Value>,
    /// A secret that the caller chose; missing: one is made and answered.
    #[schema(value_type = Option<String>, format = Password)]
    secret: Option<Secret<String>>,
    /// Rotation: after so many seconds the robot's other keys end. Missing: they stay.
    others_end_after: Option<u64>,
}

pub(super) async fn list(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<PrincipalOut>>, ApiError> {
    let limit = paging.limit()?;
    let page = Page { after: paging.after, limit };
    let robots = app.accounts.accounts(PrincipalKind::Robot, admin.namespace.id, &page).await?;
    Ok(Json(PageOf::new(robots, limit, |robot| robot.principal.handle.clone(), PrincipalOut::from)))
}

pub(super) async fn create(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Body(wanted): Body<RobotIn>,
) -> Result<(StatusCode, Json<PrincipalOut>), ApiError> {
    in_the_future(wanted.expires_at, &app)?;
    let name: RobotName = wanted.name.parse()?;
    if wanted.purpose.len() > super::users::MAX_DISPLAY_NAME_BYTES || wanted.purpose.contains(char::is_control) {
        return Err(ApiError::Invalid("a purpose is a short text without control characters".to_owned()));
    }
    let robot =
        NewRobot { namespace: admin.name.clone(), name, purpose: wanted.purpose, expires_at: wanted.expires_at };
    let made = app.accounts.create_robot(&admin.caller.actor, robot).await?.id;
    Ok((StatusCode::CREATED, Json(shown_as(&app, made).await?)))
}

pub(super) async fn show(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
) -> Result<Tagged<PrincipalOut>, ApiError> {
    Ok(Tagged(shown_as(&app, find(&app, &admin, &robot).await?.id).await?))
}

pub(super) async fn remove(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let robot = find(&app, &admin, &robot).await?;
    seen.on(&app.accounts, Thing::Principal(robot.id)).delete_principal(&admin.caller.actor, robot.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn suspend(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let robot = find(&app, &admin, &robot).await?;
    seen.on(&app.accounts, Thing::Principal(robot.id)).suspend(&admin.caller.actor, robot.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let robot = find(&app, &admin, &robot).await?;
    seen.on(&app.accounts, Thing::Principal(robot.id)).resume(&admin.caller.actor, robot.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn keys(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<CredentialOut>>, ApiError> {
    let robot = find(&app, &admin, &robot).await?;
    let keys = app.accounts.credentials(robot.id, CredentialKind::RobotKey).await?;
    super::users::credentials_page(keys, &paging)
}

pub(super) async fn add_key(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot)): Named<(String, String)>,
    Body(wanted): Body<KeyIn>,
) -> Result<(StatusCode, Json<WithSecret<CredentialOut>>), ApiError> {
    let robot = find(&app, &admin, &robot).await?;
    let others = match wanted.others_end_after {
        None => OtherKeys::Stay,
        Some(seconds) if seconds <= MAX_OVERLAP_SECONDS => OtherKeys::EndAfter(Duration::from_secs(seconds)),
        Some(_) => return Err(ApiError::Invalid(format!("others_end_after is at most {MAX_OVERLAP_SECONDS}"))),
    };
    // `flatten` and `deny_unknown_fields` exclude each other; the rest is read strictly here.
    let credential: CredentialIn =
        serde_json::from_value(wanted.credential.into()).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let (new, secret) = credential.prepare(&app, robot.id, SecretKind::RobotKey, wanted.secret)?;
    let made = app.accounts.add_robot_key(&admin.caller.actor, new, others).await?;
    let secret = secret.map(|secret| secret.expose().clone());
    Ok((StatusCode::CREATED, Json(WithSecret { made: made.into(), secret })))
}

pub(super) async fn revoke_key(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, robot, key)): Named<(String, String, i64)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let (robot, key) = (find(&app, &admin, &robot).await?, CredentialId(key));
    let accounts = seen.on(&app.accounts, Thing::Credential(robot.id, key));
    accounts.revoke_credential(&admin.caller.actor, robot.id, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A robot of this namespace, by its name there.
async fn find(app: &App, admin: &NamespaceAdmin, name: &str) -> Result<Principal, ApiError> {
    let name: RobotName = name.parse().map_err(|_| ApiError::NotFound)?;
    let found = app.accounts.principal_called(&name.handle_in(&admin.name)).await?;
    found.filter(|robot| robot.namespace == admin.namespace.id).ok_or(ApiError::NotFound)
}
