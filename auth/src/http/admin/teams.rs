//! Teams of a namespace, by hand and by groups of directories: `/api/v1/namespaces/{namespace}/teams`.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    access::NamespaceAdmin,
    output::{MappingOut, MemberOut, PageOf, Tagged, TeamOut},
};
use crate::{
    accounts::{ProviderId, memberships::Mapping, names::Label, principals::Principal, teams::Team, versions::Thing},
    http::{
        App,
        error::ApiError,
        input::{Asked, Body, IfMatch, Named, Nothing, Paging},
    },
    identity::ldap::names::{Dn, NameError as NotAName},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TeamWanted)]
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

pub(super) async fn show(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team)): Named<(String, String)>,
) -> Result<Tagged<TeamOut>, ApiError> {
    Ok(Tagged(find(&app, &admin, &team).await?.into()))
}

pub(super) async fn remove(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team)): Named<(String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    seen.on(&app.accounts, Thing::Team(team.id)).delete_team(&admin.caller.actor, team.id).await?;
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
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let member = account(&app, &member).await?;
    seen.on(&app.accounts, Thing::Team(team.id)).add_member(&admin.caller.actor, team.id, member.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_member(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team, member)): Named<(String, String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let member = account(&app, &member).await?;
    seen.on(&app.accounts, Thing::Team(team.id)).remove_member(&admin.caller.actor, team.id, member.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn mappings(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team)): Named<(String, String)>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<PageOf<MappingOut>>, ApiError> {
    let limit = paging.limit()?;
    let team = find(&app, &admin, &team).await?;
    let mappings = app.accounts.mappings(team.id).await?;
    let cursor = |mapping: &Mapping| format!("{}/{}", mapping.provider_name, mapping.group);
    Ok(Json(PageOf::of_all(mappings, (paging.after, limit), cursor, MappingOut::from)))
}

pub(super) async fn map(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team, provider, group)): Named<(String, String, String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let (provider, group) = group_of(&app, &provider, &group).await?;
    seen.on(&app.accounts, Thing::Team(team.id))
        .map_group(&admin.caller.actor, team.id, provider, group.as_str())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unmap(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Named((_, team, provider, group)): Named<(String, String, String, String)>,
    seen: IfMatch,
    _: Nothing,
) -> Result<StatusCode, ApiError> {
    let team = find(&app, &admin, &team).await?;
    let (provider, group) = group_of(&app, &provider, &group).await?;
    seen.on(&app.accounts, Thing::Team(team.id))
        .unmap_group(&admin.caller.actor, team.id, provider, group.as_str())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A group in its one spelling: the directory's own may change between two answers.
async fn group_of(app: &App, provider: &str, group: &str) -> Result<(ProviderId, Dn), ApiError> {
    let unknown = || ApiError::Invalid(format!("there is no directory called {provider:?}"));
    let provider = app.accounts.provider_called(provider).await?.ok_or_else(unknown)?;
    Ok((provider, group.parse().map_err(|error: NotAName| ApiError::Invalid(error.to_string()))?))
}

async fn find(app: &App, admin: &NamespaceAdmin, name: &str) -> Result<Team, ApiError> {
    app.accounts.team(admin.namespace.id, name).await?.ok_or(ApiError::NotFound)
}

async fn account(app: &App, name: &str) -> Result<Principal, ApiError> {
    app.accounts.principal_called(name).await?.ok_or(ApiError::NotFound)
}
