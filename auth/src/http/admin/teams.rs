//! Teams of a namespace, by hand: `/api/v1/namespaces/{namespace}/teams`.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use super::{
    access::NamespaceAdmin,
    output::{MemberOut, PageOf, TeamOut},
};
use crate::{
    accounts::{names::Label, principals::Principal, teams::Team},
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, Named, Paging},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamIn {
    name: String,
}

pub(super) async fn list(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<TeamOut>>, ApiError> {
    let limit = paging.limit()?;
    let teams = app.accounts.teams(admin.namespace.id, paging.after.as_deref(), limit).await?;
    Ok(Json(PageOf::new(teams, limit, |team| team.name.clone(), TeamOut::from)))
}

pub(super) async fn create(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Body(wanted): Body<TeamIn>,
) -> Result<(StatusCode, Json<TeamOut>), ApiError> {
    let name: Label = wanted.name.parse()?;
    // Grants write `team:acme/dev`.
    if name.as_str().contains('/') {
        return Err(ApiError::Invalid("a team's name has no /".to_owned()));
    }
    let made = app.accounts.create_team(&admin.caller.actor, &admin.name, name).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

pub(super) async fn remove(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team)): Named<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    app.accounts.delete_team(&admin.caller.actor, team.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn members(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team)): Named<(String, String)>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<MemberOut>>, ApiError> {
    let limit = paging.limit()?;
    let team = find(&app, &admin, &team).await?;
    let members = app.accounts.members(team.id, paging.after.as_deref(), limit).await?;
    Ok(Json(PageOf::new(members, limit, |member| member.handle.clone(), MemberOut::from)))
}

pub(super) async fn add_member(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team, member)): Named<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let member = account(&app, &member).await?;
    app.accounts.add_member(&admin.caller.actor, team.id, member.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_member(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team, member)): Named<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let member = account(&app, &member).await?;
    app.accounts.remove_member(&admin.caller.actor, team.id, member.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, admin: &NamespaceAdmin, name: &str) -> Result<Team, ApiError> {
    app.accounts.team(admin.namespace.id, name).await?.ok_or(ApiError::NotFound)
}

async fn account(app: &App, name: &str) -> Result<Principal, ApiError> {
    app.accounts.principal_called(name).await?.ok_or(ApiError::NotFound)
}
