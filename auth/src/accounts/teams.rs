//! Teams: named sets of accounts, owned by one namespace, whose administrators alone change members.

use serde_json::json;
use shared::{
    database::{Dialect, Operation, Transaction},
    on,
};

use super::{
    Accounts, Error, Failure, NamespaceId, PrincipalId, Refusal, TeamId,
    names::{Label, NamespaceName},
    namespaces,
    principals::{self, PrincipalKind},
    revocations::revoke_principal,
    stored::undecodable,
    versions::Version,
};
use crate::{
    audit::{Actor, Event, EventName, record},
    permissions::Actions,
};

/// Why somebody is a member who was added by hand.
const BY_HAND: &str = "hand";

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its number.
    pub id: TeamId,
    /// Its owner.
    pub namespace: NamespaceId,
    /// Its name there.
    pub name: String,
    /// What it is now, with the members and the groups that administrators have put into it; whom a directory puts there changes nothing of it.
    pub version: Version,
}

/// What a row of `team` says, with what administrators have put into it, in one order.
macro_rules! select_team {
    ($condition:literal) => {
        concat!(
            "SELECT id, namespace_id, name, ",
            "(SELECT string_agg(CAST(m.principal_id AS TEXT), ',' ORDER BY m.principal_id) FROM team_member m ",
            "WHERE m.team_id = team.id AND m.source = 'hand') AS members, ",
            "(SELECT string_agg(CAST(g.provider_id AS TEXT) || ':' || g.group_key, ',' ORDER BY g.provider_id, g.group_key) ",
            "FROM team_mapping g WHERE g.team_id = team.id) AS mappings FROM team WHERE ",
            $condition
        )
    };
}

type Row = (i64, i64, String, Option<String>, Option<String>);

fn read((id, namespace, name, members, mappings): Row) -> Team {
    let version = Version::of(&(id, namespace, &name, members, mappings));
    Team { id: TeamId(id), namespace: NamespaceId(namespace), name, version }
}

/// A member, and every reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub principal: PrincipalId,
    /// Its name.
    pub handle: String,
    /// `hand`, or the number of the provider whose group it came from.
    pub source: String,
}

impl Accounts {
    /// Makes a team.
    ///
    /// # Errors
    /// [`Refusal::NamespaceUnknown`], [`Refusal::TeamTaken`].
    pub async fn create_team(&self, actor: &Actor, namespace: &NamespaceName, name: Label) -> Result<Team, Error> {
        self.change(Create { actor: actor.clone(), namespace: namespace.clone(), name }).await
    }

    /// Deletes a team, with what it was given.
    ///
    /// # Errors
    /// [`Refusal::TeamUnknown`].
    pub async fn delete_team(&self, actor: &Actor, team: TeamId) -> Result<(), Error> {
        self.change(Delete { actor: actor.clone(), team }).await
    }

    /// Puts an account into a team, by hand. Twice is once.
    ///
    /// # Errors
    /// [`Refusal::TeamUnknown`], [`Refusal::PrincipalUnknown`], [`Refusal::RobotInAdminTeam`].
    pub async fn add_member(&self, actor: &Actor, team: TeamId, member: PrincipalId) -> Result<(), Error> {
        self.change(AddMember { actor: actor.clone(), team, member }).await
    }

    /// Takes out of a team an account that was put there by hand; what a directory says stays.
    ///
    /// # Errors
    /// [`Refusal::TeamUnknown`], [`Refusal::PrincipalUnknown`] if it was not there by hand.
    pub async fn remove_member(&self, actor: &Actor, team: TeamId, member: PrincipalId) -> Result<(), Error> {
        self.change(RemoveMember { actor: actor.clone(), team, member }).await
    }

    /// The teams of a namespace, by name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn teams(&self, namespace: NamespaceId, after: Option<&str>, limit: u32) -> Result<Vec<Team>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as(
            select_team!("namespace_id = $1 AND name > $2 ORDER BY name LIMIT $3"))
            .bind(namespace.0).bind(after.unwrap_or_default()).bind(i64::from(limit.min(super::MAX_PAGE))).fetch_all(c).await)?;
        Ok(rows.into_iter().map(read).collect())
    }

    /// A namespace's team of that name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn team(&self, namespace: NamespaceId, name: &str) -> Result<Option<Team>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as(select_team!("namespace_id = $1 AND name = $2"))
            .bind(namespace.0).bind(name).fetch_optional(c).await)?;
        Ok(row.map(read))
    }

    /// The members of a team, by folded name; one entry for each reason.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn members(&self, team: TeamId, after: Option<&str>, limit: u32) -> Result<Vec<Member>, Error> {
        let after = after.map(super::names::folded).unwrap_or_default();
        let mut reader = self.database.reader().await?;
        let rows: Vec<(i64, String, String)> = on!(reader, c => sqlx::query_as(
            "SELECT p.id, p.handle, m.source FROM team_member m JOIN principal p ON p.id = m.principal_id \
             WHERE m.team_id = $1 AND p.folded > $2 ORDER BY p.folded, m.source LIMIT $3")
            .bind(team.0).bind(&after).bind(i64::from(limit.min(super::MAX_PAGE))).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(id, handle, source)| Member { principal: PrincipalId(id), handle, source }).collect())
    }
}

pub(super) struct Create {
    pub(super) actor: Actor,
    pub(super) namespace: NamespaceName,
    pub(super) name: Label,
}

impl Operation for Create {
    type Output = Team;
    type Refusal = Refusal;
    const NAME: &'static str = "create_team";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Team, Failure> {
        let namespace = namespaces::lock(tx, &self.namespace).await?;
        let name = self.name.as_str();
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM team WHERE namespace_id = $1 AND name = $2")
            .bind(namespace.0).bind(name).fetch_optional(c).await)?;
        if found.is_some() {
            return Err(Failure::Refused(Refusal::TeamTaken(name.to_owned())));
        }
        let (id,): (i64,) = on!(tx, c => sqlx::query_as("INSERT INTO team (namespace_id, name) VALUES ($1, $2) RETURNING id")
            .bind(namespace.0).bind(name).fetch_one(c).await)?;
        record(tx, &self.actor, &Event::done(EventName::TeamCreated, name).within(namespace)).await?;
        Ok(read((id, namespace.0, name.to_owned(), None, None)))
    }
}

pub(super) struct Delete {
    pub(super) actor: Actor,
    pub(super) team: TeamId,
}

impl Operation for Delete {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "delete_team";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let team = lock(tx, self.team).await?;
        let members = clear(tx, team.id).await?;
        record(tx, &self.actor, &Event::done(EventName::TeamDeleted, &team.name).within(team.namespace)).await?;
        for member in members {
            revoke_principal(tx, member).await?;
        }
        Ok(())
    }
}

pub(super) struct AddMember {
    pub(super) actor: Actor,
    pub(super) team: TeamId,
    pub(super) member: PrincipalId,
}

impl Operation for AddMember {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "add_member";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let team = lock(tx, self.team).await?;
        let member = principals::lock(tx, self.member).await?;
        if member.kind == PrincipalKind::Robot && gives_admin(tx, team.id).await? {
            return Err(Failure::Refused(Refusal::RobotInAdminTeam));
        }
        let added = on!(tx, c => sqlx::query("INSERT INTO team_member (team_id, principal_id, source) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(team.id.0).bind(member.id.0).bind(BY_HAND).execute(c).await.map(|done| done.rows_affected()))?;
        if added > 0 {
            let event = Event::done(EventName::MemberAdded, &team.name)
                .within(team.namespace)
                .with(json!({ "member": member.handle }));
            record(tx, &self.actor, &event).await?;
        }
        Ok(())
    }
}

/// Whether a grant makes the team's members administrators, today or later.
async fn gives_admin(tx: &mut Transaction<'_>, team: TeamId) -> Result<bool, sqlx::Error> {
    let now = tx.now();
    let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(
        "SELECT actions FROM grants WHERE subject = 'team' AND subject_id = $1 AND effect = 'allow' AND (expires_at IS NULL OR expires_at > $2)")
        .bind(team.0).bind(now.micros()).fetch_all(c).await)?;
    for (actions,) in rows {
        if actions.parse::<Actions>().map_err(undecodable)?.contains(Actions::ADMIN) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) struct RemoveMember {
    pub(super) actor: Actor,
    pub(super) team: TeamId,
    pub(super) member: PrincipalId,
}

impl Operation for RemoveMember {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "remove_member";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let team = lock(tx, self.team).await?;
        let removed = on!(tx, c => sqlx::query("DELETE FROM team_member WHERE team_id = $1 AND principal_id = $2 AND source = $3")
            .bind(team.id.0).bind(self.member.0).bind(BY_HAND).execute(c).await.map(|done| done.rows_affected()))?;
        if removed == 0 {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        let event = Event::done(EventName::MemberRemoved, &team.name)
            .within(team.namespace)
            .with(json!({ "member": self.member }));
        record(tx, &self.actor, &event).await?;
        let stays: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT team_id FROM team_member WHERE team_id = $1 AND principal_id = $2 LIMIT 1")
            .bind(team.id.0).bind(self.member.0).fetch_optional(c).await)?;
        if stays.is_none() {
            revoke_principal(tx, self.member).await?;
        }
        Ok(())
    }
}

pub(super) async fn lock(tx: &mut Transaction<'_>, id: TeamId) -> Result<Team, Failure> {
    if tx.dialect() == Dialect::Postgres {
        // By itself: a statement that waits for the row reads what it aggregates as it was before the wait.
        on!(tx, c => sqlx::query("SELECT id FROM team WHERE id = $1 FOR UPDATE").bind(id.0).execute(c).await.map(drop))?;
    }
    let row: Option<Row> = on!(tx, c => sqlx::query_as(select_team!("id = $1")).bind(id.0).fetch_optional(c).await)?;
    row.map(read).ok_or(Failure::Refused(Refusal::TeamUnknown))
}

/// Deletes the teams of a namespace and says who was in one.
pub(super) async fn delete_all(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
) -> Result<Vec<PrincipalId>, sqlx::Error> {
    let teams: Vec<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM team WHERE namespace_id = $1 ORDER BY id").bind(namespace.0).fetch_all(c).await)?;
    let mut members = Vec::new();
    for (team,) in teams {
        members.extend(clear(tx, TeamId(team)).await?);
    }
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

/// Deletes a team with members, mappings and grants, and says who was in it.
async fn clear(tx: &mut Transaction<'_>, team: TeamId) -> Result<Vec<PrincipalId>, sqlx::Error> {
    let members: Vec<(i64,)> = on!(tx, c => sqlx::query_as("SELECT DISTINCT principal_id FROM team_member WHERE team_id = $1 ORDER BY principal_id")
        .bind(team.0).fetch_all(c).await)?;
    for statement in [
        "DELETE FROM team_member WHERE team_id = $1",
        "DELETE FROM team_mapping WHERE team_id = $1",
        "DELETE FROM grants WHERE subject = 'team' AND subject_id = $1",
        "DELETE FROM team WHERE id = $1",
    ] {
        on!(tx, c => sqlx::query(statement).bind(team.0).execute(c).await.map(drop))?;
    }
    Ok(members.into_iter().map(|(id,)| PrincipalId(id)).collect())
}
