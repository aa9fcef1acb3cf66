//! Directories that were added here, beside those of the settings: what describes one stands in its row, its secrets sealed.

use serde_json::json;
use shared::{
    database::{Dialect, Operation, Transaction},
    on,
};

use super::{ProviderKind, ProviderState, set_state};
use crate::{
    accounts::{
        Accounts, Error, Failure, PrincipalId, ProviderId, Refusal,
        names::Label,
        principals::{self, AccountState},
        stored::undecodable,
    },
    audit::{Actor, Event, EventName, record},
};

/// Accounts that one operation disables, so that nobody waits long for the next.
const BATCH: u32 = 200;

/// Secrets of a provider, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// As they are stored.
    pub sealed: Vec<u8>,
    /// The master key that sealed them.
    pub master_id: String,
}

/// A directory that is to be added.
#[derive(Clone, Debug)]
pub struct NewDirectory {
    /// What it is to be called.
    pub name: Label,
    /// What describes it, as JSON without secrets.
    pub settings: String,
    /// Its servers, for the audit: where passwords go from now on.
    pub urls: Vec<String>,
    /// Its secrets, if it has any.
    pub secret: Option<SealedSecret>,
    /// How many directories there may be with it, those of the settings not counted.
    pub most: usize,
}

/// A directory as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedDirectory {
    /// Its number.
    pub id: ProviderId,
    /// What it is called.
    pub name: String,
    /// What describes it, as JSON without secrets.
    pub settings: String,
    /// Its secrets, if it has any.
    pub secret: Option<SealedSecret>,
}

/// What hung on a directory that was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many accounts it has made.
    pub accounts: u64,
    /// How many of them are disabled because of it.
    pub disabled: u64,
    /// How many mappings of its groups wait for it.
    pub mappings: u64,
}

impl Accounts {
    /// Adds a directory. One that was removed under that name comes back, and its accounts with it as soon as it is read.
    ///
    /// # Errors
    /// [`Refusal::ProviderTaken`], [`Refusal::TooManyDirectories`].
    pub async fn add_directory(&self, actor: &Actor, new: NewDirectory) -> Result<ProviderId, Error> {
        self.change(AddDirectory { actor: actor.clone(), new }).await
    }

    /// Removes a directory that was added: from here on it makes no account and lets nobody in. Its accounts are disabled by
    /// [`Self::disable_removed`].
    ///
    /// # Errors
    /// [`Refusal::ProviderUnknown`], [`Refusal::ProviderOfSettings`], [`Refusal::LastAdministrator`].
    pub async fn remove_directory(&self, actor: &Actor, name: &str) -> Result<Removed, Error> {
        self.change(RemoveDirectory { actor: actor.clone(), name: name.to_owned() }).await
    }

    /// Disables the accounts of directories that were removed, in batches. Whoever finds some left goes on, whoever began.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn disable_removed(&self, actor: &Actor) -> Result<(), Error> {
        while self.change(DisableRemoved { actor: actor.clone() }).await? {}
        Ok(())
    }

    /// The directories that were added, in that order, and whether accounts of removed ones are left to be disabled.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn added_directories(&self) -> Result<(Vec<AddedDirectory>, bool), Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<AddedRow> = on!(reader, c => sqlx::query_as(
            "SELECT id, name, settings, sealed_secret, master_id, state FROM provider WHERE state IN ('added', 'removing') ORDER BY id")
            .fetch_all(c).await)?;
        let (mut added, mut is_removing) = (Vec::with_capacity(rows.len()), false);
        for (id, name, settings, sealed, master_id, state) in rows {
            if state.parse::<ProviderState>().map_err(undecodable)? == ProviderState::Removing {
                is_removing = true;
                continue;
            }
            let secret = sealed.zip(master_id).map(|(sealed, master_id)| SealedSecret { sealed, master_id });
            added.push(AddedDirectory { id: ProviderId(id), name, settings, secret });
        }
        Ok((added, is_removing))
    }

    /// Puts secrets that were sealed anew in the place of those that are known, if they still are what is stored.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn reseal_directory(&self, known: &AddedDirectory, secret: SealedSecret) -> Result<(), Error> {
        let Some(before) = known.secret.clone() else { return Ok(()) };
        Ok(self.database.write(Reseal { id: known.id, before, after: secret }).await?)
    }
}

type AddedRow = (i64, String, String, Option<Vec<u8>>, Option<String>, String);

/// True if the provider is there, which it is then to the end of the operation: nobody is let in by one that is being removed.
pub(in crate::accounts) async fn is_there(tx: &mut Transaction<'_>, id: ProviderId) -> Result<bool, sqlx::Error> {
    let query = match tx.dialect() {
        Dialect::Sqlite => "SELECT state FROM provider WHERE id = $1",
        Dialect::Postgres => "SELECT state FROM provider WHERE id = $1 FOR SHARE",
    };
    let found: Option<(String,)> = on!(tx, c => sqlx::query_as(query).bind(id.0).fetch_optional(c).await)?;
    let state = found.map(|(state,)| state.parse::<ProviderState>().map_err(undecodable)).transpose()?;
    Ok(matches!(state, Some(ProviderState::Settings | ProviderState::Added)))
}

/// The row of that name, locked until the operation ends.
async fn lock(
    tx: &mut Transaction<'_>,
    name: &str,
) -> Result<Option<(ProviderId, ProviderKind, ProviderState)>, sqlx::Error> {
    let query = match tx.dialect() {
        Dialect::Sqlite => "SELECT id, kind, state FROM provider WHERE name = $1",
        Dialect::Postgres => "SELECT id, kind, state FROM provider WHERE name = $1 FOR UPDATE",
    };
    let row: Option<(i64, String, String)> = on!(tx, c => sqlx::query_as(query).bind(name).fetch_optional(c).await)?;
    let Some((id, kind, state)) = row else { return Ok(None) };
    Ok(Some((ProviderId(id), kind.parse().map_err(undecodable)?, state.parse().map_err(undecodable)?)))
}

struct AddDirectory {
    actor: Actor,
    new: NewDirectory,
}

impl Operation for AddDirectory {
    type Output = ProviderId;
    type Refusal = Refusal;
    const NAME: &'static str = "add_directory";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<ProviderId, Failure> {
        let NewDirectory { name, settings, urls, secret, most } = &self.new;
        let name = name.as_str();
        match lock(tx, name).await? {
            Some((_, kind, state)) if kind != ProviderKind::Ldap || state == ProviderState::Added => {
                return Err(Failure::Refused(Refusal::ProviderTaken(name.to_owned())));
            }
            // The settings of this process have it no more; those of another one may.
            Some((_, _, ProviderState::Settings)) if tx.dialect() == Dialect::Postgres => {
                return Err(Failure::Refused(Refusal::ProviderOfSettings(name.to_owned())));
            }
            Some(_) | None => {}
        }
        let (added,): (i64,) =
            on!(tx, c => sqlx::query_as("SELECT count(*) FROM provider WHERE state = 'added'").fetch_one(c).await)?;
        if added.unsigned_abs() >= *most as u64 {
            return Err(Failure::Refused(Refusal::TooManyDirectories { limit: super::MAX_DIRECTORIES }));
        }
        let (sealed, master_id) = secret.as_ref().map(|secret| (&secret.sealed, &secret.master_id)).unzip();
        let (id,): (i64,) = on!(tx, c => sqlx::query_as(
            "INSERT INTO provider (name, kind, settings, sealed_secret, master_id, state) VALUES ($1, $2, $3, $4, $5, 'added') \
             ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, sealed_secret = excluded.sealed_secret, \
             master_id = excluded.master_id, state = excluded.state RETURNING id")
            .bind(name).bind(ProviderKind::Ldap.word()).bind(settings).bind(sealed).bind(master_id).fetch_one(c).await)?;
        let event = Event::done(EventName::ProviderAdded, name);
        record(tx, &self.actor, &event.with(json!({ "kind": ProviderKind::Ldap, "urls": urls }))).await?;
        Ok(ProviderId(id))
    }
}

struct RemoveDirectory {
    actor: Actor,
    name: String,
}

impl Operation for RemoveDirectory {
    type Output = Removed;
    type Refusal = Refusal;
    const NAME: &'static str = "remove_directory";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Removed, Failure> {
        let id = match lock(tx, &self.name).await? {
            Some((id, _, ProviderState::Added)) => id,
            Some((_, _, ProviderState::Settings)) => {
                return Err(Failure::Refused(Refusal::ProviderOfSettings(self.name.clone())));
            }
            Some(_) | None => return Err(Failure::Refused(Refusal::ProviderUnknown)),
        };
        keep_an_administrator(tx, id).await?;
        let removed = hanging_on(tx, id).await?;
        // A name that nothing hangs on is free, of every kind of provider.
        let statement = match removed {
            Removed { accounts: 0, mappings: 0, .. } => "DELETE FROM provider WHERE id = $1",
            _ => {
                "UPDATE provider SET state = 'removing', settings = '{}', sealed_secret = NULL, master_id = NULL WHERE id = $1"
            }
        };
        on!(tx, c => sqlx::query(statement).bind(id.0).execute(c).await.map(drop))?;
        let Removed { accounts, disabled, mappings } = removed;
        let details = json!({ "accounts": accounts, "disabled": disabled, "mappings": mappings });
        record(tx, &self.actor, &Event::done(EventName::ProviderRemoved, &self.name).with(details)).await?;
        Ok(removed)
    }
}

async fn hanging_on(tx: &mut Transaction<'_>, id: ProviderId) -> Result<Removed, sqlx::Error> {
    let (accounts, disabled): (i64, i64) = on!(tx, c => sqlx::query_as(
        "SELECT count(*), count(CASE WHEN p.state = 'active' THEN 1 END) FROM identity i JOIN principal p ON p.id = i.principal_id \
         WHERE i.provider_id = $1").bind(id.0).fetch_one(c).await)?;
    let (mappings,): (i64,) = on!(tx, c => sqlx::query_as("SELECT count(*) FROM team_mapping WHERE provider_id = $1").bind(id.0).fetch_one(c).await)?;
    Ok(Removed {
        accounts: accounts.unsigned_abs(),
        disabled: disabled.unsigned_abs(),
        mappings: mappings.unsigned_abs(),
    })
}

const ADMINISTRATORS: &str = "SELECT p.id, (SELECT count(*) FROM identity i WHERE i.principal_id = p.id AND i.provider_id = $1) \
     FROM principal p WHERE p.system_role = 'administrator' AND p.state = 'active' ORDER BY p.id";

/// Refuses where all active administrators are the directory's: nobody but the data directory's socket could undo it.
async fn keep_an_administrator(tx: &mut Transaction<'_>, leaving: ProviderId) -> Result<(), Failure> {
    // Locked, as everybody does who takes one away.
    let query = match tx.dialect() {
        Dialect::Sqlite => ADMINISTRATORS.to_owned(),
        Dialect::Postgres => format!("{ADMINISTRATORS} FOR UPDATE OF p"),
    };
    let administrators: Vec<(i64, i64)> =
        on!(tx, c => sqlx::query_as(sqlx::AssertSqlSafe(query.as_str())).bind(leaving.0).fetch_all(c).await)?;
    let is_last = !administrators.is_empty() && administrators.iter().all(|(_, theirs)| *theirs > 0);
    if is_last { Err(Failure::Refused(Refusal::LastAdministrator)) } else { Ok(()) }
}

/// Disables some accounts of a removed directory; true if there may be more.
struct DisableRemoved {
    actor: Actor,
}

impl Operation for DisableRemoved {
    type Output = bool;
    type Refusal = Refusal;
    const NAME: &'static str = "disable_removed";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Failure> {
        let query = match tx.dialect() {
            Dialect::Sqlite => "SELECT id FROM provider WHERE state = 'removing' ORDER BY id LIMIT 1",
            Dialect::Postgres => "SELECT id FROM provider WHERE state = 'removing' ORDER BY id LIMIT 1 FOR UPDATE",
        };
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as(query).fetch_optional(c).await)?;
        let Some((provider,)) = found else { return Ok(false) };
        let accounts: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT p.id FROM identity i JOIN principal p ON p.id = i.principal_id WHERE i.provider_id = $1 AND p.state = 'active' \
             ORDER BY p.id LIMIT $2").bind(provider).bind(i64::from(BATCH)).fetch_all(c).await)?;
        for (id,) in &accounts {
            let principal = principals::lock(tx, PrincipalId(*id)).await?;
            if principal.state == AccountState::Active {
                set_state(tx, &self.actor, &principal, AccountState::Disabled).await?;
            }
        }
        if accounts.is_empty() {
            on!(tx, c => sqlx::query("UPDATE provider SET state = 'removed' WHERE id = $1").bind(provider).execute(c).await.map(drop))?;
        }
        Ok(true)
    }
}

struct Reseal {
    id: ProviderId,
    before: SealedSecret,
    after: SealedSecret,
}

impl Operation for Reseal {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "reseal_directory";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        on!(tx, c => sqlx::query("UPDATE provider SET sealed_secret = $1, master_id = $2 WHERE id = $3 AND sealed_secret = $4")
            .bind(&self.after.sealed).bind(&self.after.master_id).bind(self.id.0).bind(&self.before.sealed)
            .execute(c).await.map(drop))?;
        Ok(())
    }
}
