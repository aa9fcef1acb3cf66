//! What is written when a directory speaks: who is in which team by which group, and whose account counts.

use std::collections::BTreeSet;

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
};

use super::{Said, source};
use crate::{
    accounts::{
        Failure, NamespaceId, PrincipalId, ProviderId, Refusal, TeamId,
        leader::Lease,
        principals::{self, AccountState},
        providers::{added::is_there, set_state},
        revocations::revoke_principal,
        stored::undecodable,
        teams,
    },
    audit::{Actor, Event, EventName, record},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::accounts) enum Change {
    Map,
    Unmap,
}

pub(in crate::accounts) struct MapGroup {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) team: TeamId,
    pub(in crate::accounts) provider: ProviderId,
    pub(in crate::accounts) group: String,
    pub(in crate::accounts) change: Change,
}

impl Operation for MapGroup {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "map_group";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let team = teams::lock(tx, self.team).await?;
        let statement = match self.change {
            Change::Map => {
                "INSERT INTO team_mapping (team_id, provider_id, group_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
            }
            Change::Unmap => "DELETE FROM team_mapping WHERE team_id = $1 AND provider_id = $2 AND group_key = $3",
        };
        let changed = on!(tx, c => sqlx::query(statement).bind(team.id.0).bind(self.provider.0).bind(&self.group)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if changed == 0 {
            return if self.change == Change::Map { Ok(()) } else { Err(Failure::Refused(Refusal::MappingUnknown)) };
        }
        let name = if self.change == Change::Map { EventName::GroupMapped } else { EventName::GroupUnmapped };
        let event = Event::done(name, &team.name).within(team.namespace);
        record(tx, &self.actor, &event.with(json!({ "provider": self.provider, "group": self.group }))).await?;
        let known: Vec<(i64, Option<String>)> = on!(tx, c => sqlx::query_as(
            "SELECT principal_id, groups FROM identity WHERE provider_id = $1 ORDER BY principal_id").bind(self.provider.0).fetch_all(c).await)?;
        let mut lost = Vec::new();
        for (principal, groups) in known {
            let groups: BTreeSet<String> =
                groups.map(|text| serde_json::from_str(&text).map_err(undecodable)).transpose()?.unwrap_or_default();
            // Nobody else is concerned.
            if groups.contains(&self.group) {
                let principal = PrincipalId(principal);
                lost.extend(follow(tx, &self.actor, self.provider, principal, &groups).await?.then_some(principal));
            }
        }
        for principal in lost {
            revoke_principal(tx, principal).await?;
        }
        Ok(())
    }
}

pub(super) struct SetGroups {
    pub(super) actor: Actor,
    pub(super) provider: ProviderId,
    pub(super) external_id: String,
    pub(super) groups: BTreeSet<String>,
    pub(super) said: Said,
}

impl Operation for SetGroups {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "set_groups";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT principal_id FROM identity WHERE provider_id = $1 AND external_id = $2")
            .bind(self.provider.0).bind(&self.external_id).fetch_optional(c).await)?;
        let Some((id,)) = found else { return Ok(()) };
        let principal = principals::lock(tx, PrincipalId(id)).await?.id;
        if !self.said.counts(tx, self.provider, &self.external_id).await? {
            return Ok(());
        }
        let now = tx.now().micros();
        let text = json!(self.groups).to_string();
        on!(tx, c => sqlx::query("UPDATE identity SET groups = $1, groups_at = $2 WHERE provider_id = $3 AND external_id = $4")
            .bind(&text).bind(now).bind(self.provider.0).bind(&self.external_id).execute(c).await.map(drop))?;
        if follow(tx, &self.actor, self.provider, principal, &self.groups).await? {
            revoke_principal(tx, principal).await?;
        }
        Ok(())
    }
}

/// Makes an account a member of the teams that its groups feed, and of no other by this provider. True if it lost one for good.
async fn follow(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    provider: ProviderId,
    principal: PrincipalId,
    groups: &BTreeSet<String>,
) -> Result<bool, sqlx::Error> {
    let mapped: Vec<(i64, String)> = on!(tx, c => sqlx::query_as(
        "SELECT team_id, group_key FROM team_mapping WHERE provider_id = $1 ORDER BY team_id").bind(provider.0).fetch_all(c).await)?;
    let wanted: BTreeSet<i64> =
        mapped.into_iter().filter(|(_, group)| groups.contains(group)).map(|(team, _)| team).collect();
    let rows: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
        "SELECT team_id FROM team_member WHERE principal_id = $1 AND source = $2 ORDER BY team_id")
        .bind(principal.0).bind(source(provider)).fetch_all(c).await)?;
    let current: BTreeSet<i64> = rows.into_iter().map(|(team,)| team).collect();
    for team in wanted.difference(&current) {
        on!(tx, c => sqlx::query("INSERT INTO team_member (team_id, principal_id, source) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(team).bind(principal.0).bind(source(provider)).execute(c).await.map(drop))?;
        note(tx, actor, EventName::MemberAdded, *team, principal, provider).await?;
    }
    let mut lost = false;
    for team in current.difference(&wanted) {
        on!(tx, c => sqlx::query("DELETE FROM team_member WHERE team_id = $1 AND principal_id = $2 AND source = $3")
            .bind(team).bind(principal.0).bind(source(provider)).execute(c).await.map(drop))?;
        note(tx, actor, EventName::MemberRemoved, *team, principal, provider).await?;
        let stays: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT team_id FROM team_member WHERE team_id = $1 AND principal_id = $2 LIMIT 1")
            .bind(team).bind(principal.0).fetch_optional(c).await)?;
        lost |= stays.is_none();
    }
    Ok(lost)
}

async fn note(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    name: EventName,
    team: i64,
    principal: PrincipalId,
    provider: ProviderId,
) -> Result<(), sqlx::Error> {
    let (namespace, team): (i64, String) = on!(tx, c => sqlx::query_as("SELECT namespace_id, name FROM team WHERE id = $1").bind(team).fetch_one(c).await)?;
    let event = Event::done(name, team).within(NamespaceId(namespace));
    record(tx, actor, &event.with(json!({ "member": principal, "provider": provider }))).await
}

pub(super) struct ConfirmGroups {
    pub(super) provider: ProviderId,
    pub(super) lease: Lease,
    pub(super) accounts: Vec<(String, Timestamp)>,
}

impl Operation for ConfirmGroups {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "confirm_groups";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let now = tx.now().micros();
        if !self.lease.take(tx).await? {
            return Ok(());
        }
        for (external_id, groups_at) in &self.accounts {
            on!(tx, c => sqlx::query(
                "UPDATE identity SET groups_at = $1 WHERE provider_id = $2 AND external_id = $3 AND groups_at = $4")
                .bind(now).bind(self.provider.0).bind(external_id).bind(groups_at.micros()).execute(c).await.map(drop))?;
        }
        Ok(())
    }
}

/// To active from disabled, or the other way round: what a person has decided stays.
pub(super) struct ChangeState {
    pub(super) provider: ProviderId,
    pub(super) external_id: String,
    pub(super) said: Said,
    pub(super) state: AccountState,
}

impl Operation for ChangeState {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "change_provided_state";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        // Nobody comes back by a directory that was removed while it was read.
        if self.state == AccountState::Active && !is_there(tx, self.provider).await? {
            return Ok(());
        }
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT principal_id FROM identity WHERE provider_id = $1 AND external_id = $2")
            .bind(self.provider.0).bind(&self.external_id).fetch_optional(c).await)?;
        let Some((id,)) = found else { return Ok(()) };
        let principal = principals::lock(tx, PrincipalId(id)).await?;
        if !self.said.counts(tx, self.provider, &self.external_id).await? {
            return Ok(());
        }
        let from = if self.state == AccountState::Active { AccountState::Disabled } else { AccountState::Active };
        if principal.state == from {
            set_state(tx, &Actor::system(), &principal, self.state).await?;
        }
        Ok(())
    }
}
