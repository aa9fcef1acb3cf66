//! What directories say about teams: groups of a directory feed teams here by mappings, and what a directory said last replaces what it
//! said before. Whoever was put into a team by hand stays there by hand.

use std::collections::BTreeSet;

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
};

use super::{
    Accounts, Error, Failure, NamespaceId, PrincipalId, ProviderId, Refusal, TeamId,
    leader::Lease,
    principals::{self, AccountState},
    providers::set_state,
    revocations::revoke_principal,
    stored::undecodable,
    teams,
};
use crate::audit::{Actor, Event, EventName, record};

/// Accounts whose groups are confirmed by one operation.
const BATCH: usize = 500;

/// A group of a directory whose members are members of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Whose group.
    pub provider: ProviderId,
    /// What the provider is called.
    pub provider_name: String,
    /// The group, in its one spelling.
    pub group: String,
}

/// An account of a provider, with what the provider last said about it.
#[derive(Debug, Clone)]
pub struct Fed {
    /// Its id there.
    pub external_id: String,
    /// The account.
    pub principal: PrincipalId,
    /// Whether its credentials count.
    pub state: AccountState,
    /// Its groups; None if nobody ever asked.
    pub groups: Option<BTreeSet<String>>,
    /// When the provider said so.
    pub groups_at: Option<Timestamp>,
}

/// When a provider said something about an account, for whoever writes it down.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Just now, to somebody who signs in: nothing newer is known.
    Now,
    /// To a reading of everybody, which takes minutes and may be held up in the middle. It counts while the process that read still leads, and while
    /// the account is as it was then: a later sign-in, or another process's reading, knows better.
    Before {
        /// Who leads.
        lease: Lease,
        /// When the provider had spoken of the account's groups, as it was read.
        groups_at: Option<Timestamp>,
    },
}

impl Said {
    pub(super) async fn counts(
        &self,
        tx: &mut Transaction<'_>,
        provider: ProviderId,
        external_id: &str,
    ) -> Result<bool, sqlx::Error> {
        let Self::Before { lease, groups_at } = self else { return Ok(true) };
        if !lease.take(tx).await? {
            return Ok(false);
        }
        let found: Option<(Option<i64>,)> = on!(tx, c => sqlx::query_as(
            "SELECT groups_at FROM identity WHERE provider_id = $1 AND external_id = $2")
            .bind(provider.0).bind(external_id).fetch_optional(c).await)?;
        Ok(found.is_some_and(|(now,)| now == groups_at.map(Timestamp::micros)))
    }
}

/// Which teams a provider feeds, and who is in them because of it.
#[derive(Debug, Clone, Default)]
pub struct Feeding {
    /// Teams and the groups that feed them.
    pub mappings: Vec<(TeamId, String)>,
    /// Teams and their members by this provider.
    pub members: Vec<(TeamId, PrincipalId)>,
}

impl Accounts {
    /// Lets a group feed a team. Whoever is known to be in the group is in the team at once. Twice is once.
    ///
    /// # Errors
    /// [`Refusal::TeamUnknown`].
    pub async fn map_group(&self, actor: &Actor, team: TeamId, provider: ProviderId, group: &str) -> Result<(), Error> {
        let change = Change::Map;
        self.change(MapGroup { actor: actor.clone(), team, provider, group: group.to_owned(), change }).await
    }

    /// Ends that; who is in the team by no other mapping of the provider leaves it, unless they are there by hand.
    ///
    /// # Errors
    /// [`Refusal::TeamUnknown`], [`Refusal::MappingUnknown`].
    pub async fn unmap_group(
        &self,
        actor: &Actor,
        team: TeamId,
        provider: ProviderId,
        group: &str,
    ) -> Result<(), Error> {
        let change = Change::Unmap;
        self.change(MapGroup { actor: actor.clone(), team, provider, group: group.to_owned(), change }).await
    }

    /// The groups that feed a team.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn mappings(&self, team: TeamId) -> Result<Vec<Mapping>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<(i64, String, String)> = on!(reader, c => sqlx::query_as(
            "SELECT p.id, p.name, m.group_key FROM team_mapping m JOIN provider p ON p.id = m.provider_id \
             WHERE m.team_id = $1 ORDER BY p.name, m.group_key").bind(team.0).fetch_all(c).await)?;
        let mapping = |(id, name, group)| Mapping { provider: ProviderId(id), provider_name: name, group };
        Ok(rows.into_iter().map(mapping).collect())
    }

    /// The provider of that name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn provider_called(&self, name: &str) -> Result<Option<ProviderId>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<(i64,)> = on!(reader, c => sqlx::query_as("SELECT id FROM provider WHERE name = $1").bind(name).fetch_optional(c).await)?;
        Ok(row.map(|(id,)| ProviderId(id)))
    }

    /// Every living account of a provider.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn fed(&self, provider: ProviderId) -> Result<Vec<Fed>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<FedRow> = on!(reader, c => sqlx::query_as(
            "SELECT i.external_id, i.principal_id, p.state, i.groups, i.groups_at FROM identity i JOIN principal p ON p.id = i.principal_id \
             WHERE i.provider_id = $1 ORDER BY i.principal_id").bind(provider.0).fetch_all(c).await)?;
        rows.into_iter().map(|row| read(row).map_err(Error::from)).collect()
    }

    /// What a provider last said about one account; None for accounts that no provider made.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn fed_by(&self, principal: PrincipalId) -> Result<Option<(ProviderId, Fed)>, Error> {
        let Some((provider, external_id)) = self.origin(principal).await? else { return Ok(None) };
        let mut reader = self.database.reader().await?;
        let row: Option<FedRow> = on!(reader, c => sqlx::query_as(
            "SELECT i.external_id, i.principal_id, p.state, i.groups, i.groups_at FROM identity i JOIN principal p ON p.id = i.principal_id \
             WHERE i.provider_id = $1 AND i.external_id = $2").bind(provider.0).bind(&external_id).fetch_optional(c).await)?;
        Ok(row.map(read).transpose()?.map(|fed| (provider, fed)))
    }

    /// The teams that a provider's groups feed, as `<namespace>/<name>`, each with the group.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn teams_fed_by(&self, provider: ProviderId) -> Result<Vec<(String, String)>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<(String, String)> = on!(reader, c => sqlx::query_as(
            "SELECT n.name || '/' || t.name, m.group_key FROM team_mapping m JOIN team t ON t.id = m.team_id \
             JOIN namespace n ON n.id = t.namespace_id WHERE m.provider_id = $1 AND n.deleted_at IS NULL ORDER BY 1, 2")
            .bind(provider.0).fetch_all(c).await)?;
        Ok(rows)
    }

    /// Which teams a provider feeds, and who is in them because of it, in one snapshot.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn feeding(&self, provider: ProviderId) -> Result<Feeding, Error> {
        let mut reader = self.database.reader().await?;
        let mappings: Vec<(i64, String)> = on!(reader, c => sqlx::query_as(
            "SELECT team_id, group_key FROM team_mapping WHERE provider_id = $1 ORDER BY team_id, group_key")
            .bind(provider.0).fetch_all(c).await)?;
        let members: Vec<(i64, i64)> = on!(reader, c => sqlx::query_as(
            "SELECT team_id, principal_id FROM team_member WHERE source = $1 ORDER BY team_id, principal_id")
            .bind(source(provider)).fetch_all(c).await)?;
        Ok(Feeding {
            mappings: mappings.into_iter().map(|(team, group)| (TeamId(team), group)).collect(),
            members: members.into_iter().map(|(team, member)| (TeamId(team), PrincipalId(member))).collect(),
        })
    }

    /// Replaces what a provider said about an account's groups, and with it the teams that follow from them.
    ///
    /// # Errors
    /// The database did not answer.
    pub(crate) async fn set_groups(
        &self,
        provider: ProviderId,
        external_id: &str,
        groups: BTreeSet<String>,
        said: Said,
    ) -> Result<(), Error> {
        let external_id = external_id.to_owned();
        self.change(SetGroups { actor: Actor::system(), provider, external_id, groups, said }).await
    }

    /// Notes that a provider says the same as before about these accounts, to a process that leads. Each comes with when its groups were told last.
    ///
    /// # Errors
    /// The database did not answer.
    pub(crate) async fn confirm_groups(
        &self,
        provider: ProviderId,
        lease: &Lease,
        accounts: &[(String, Timestamp)],
    ) -> Result<(), Error> {
        for batch in accounts.chunks(BATCH) {
            let confirm = ConfirmGroups { provider, lease: lease.clone(), accounts: batch.to_vec() };
            self.database.write(confirm).await?;
        }
        Ok(())
    }

    /// Lets an account in again that its provider had no more, and has now.
    ///
    /// # Errors
    /// The database did not answer.
    pub(crate) async fn enable_provided(
        &self,
        provider: ProviderId,
        external_id: &str,
        said: Said,
    ) -> Result<(), Error> {
        let external_id = external_id.to_owned();
        self.change(ChangeState { provider, external_id, said, state: AccountState::Active }).await
    }

    /// Disables an account that its provider no longer has, or says is disabled there; it comes back as it went.
    ///
    /// # Errors
    /// The database did not answer.
    pub(crate) async fn disable_provided(
        &self,
        provider: ProviderId,
        external_id: &str,
        said: Said,
    ) -> Result<(), Error> {
        let external_id = external_id.to_owned();
        self.change(ChangeState { provider, external_id, said, state: AccountState::Disabled }).await
    }
}

type FedRow = (String, i64, String, Option<String>, Option<i64>);

fn read((external_id, principal, state, groups, groups_at): FedRow) -> Result<Fed, sqlx::Error> {
    Ok(Fed {
        external_id,
        principal: PrincipalId(principal),
        state: state.parse()?,
        groups: groups.map(|text| serde_json::from_str(&text).map_err(undecodable)).transpose()?,
        groups_at: groups_at.map(Timestamp::from_micros),
    })
}

/// Why somebody is in a team because of a provider.
fn source(provider: ProviderId) -> String {
    provider.0.to_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Map,
    Unmap,
}

pub(super) struct MapGroup {
    pub(super) actor: Actor,
    pub(super) team: TeamId,
    pub(super) provider: ProviderId,
    pub(super) group: String,
    pub(super) change: Change,
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

struct SetGroups {
    actor: Actor,
    provider: ProviderId,
    external_id: String,
    groups: BTreeSet<String>,
    said: Said,
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

struct ConfirmGroups {
    provider: ProviderId,
    lease: Lease,
    accounts: Vec<(String, Timestamp)>,
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
struct ChangeState {
    provider: ProviderId,
    external_id: String,
    said: Said,
    state: AccountState,
}

impl Operation for ChangeState {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "change_provided_state";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
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
