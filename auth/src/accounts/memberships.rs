//! What directories say about teams: groups of a directory feed teams here by mappings, and what a directory said last replaces what it
//! said before. Whoever was put into a team by hand stays there by hand.

mod changes;

use std::collections::BTreeSet;

use shared::{clock::Timestamp, database::Transaction, on};

pub(super) use self::changes::{Change, MapGroup};
use self::changes::{ChangeState, ConfirmGroups, SetGroups};
use super::{
    Accounts, Error, PrincipalId, ProviderId, TeamId, leader::Lease, principals::AccountState, stored::undecodable,
};
use crate::audit::Actor;

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
    /// [`super::Refusal::TeamUnknown`].
    pub async fn map_group(&self, actor: &Actor, team: TeamId, provider: ProviderId, group: &str) -> Result<(), Error> {
        let change = Change::Map;
        self.change(MapGroup { actor: actor.clone(), team, provider, group: group.to_owned(), change }).await
    }

    /// Ends that; who is in the team by no other mapping of the provider leaves it, unless they are there by hand.
    ///
    /// # Errors
    /// [`super::Refusal::TeamUnknown`], [`super::Refusal::MappingUnknown`].
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
