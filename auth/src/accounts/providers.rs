//! Accounts that live elsewhere: a provider owns the names it created, by its own immutable id for them.

pub mod added;

use serde_json::json;
use shared::{
    database::{Dialect, Operation, Transaction},
    on,
};

use super::{
    Accounts, Error, Failure, NamespaceId, PrincipalId, ProviderId, Refusal,
    credentials::{self, CredentialKind, Stored},
    names::{Handle, folded},
    principals::{self, AccountState, Principal, PrincipalKind},
    revocations::revoke_principal,
    stored::{stored_words, undecodable},
};
use crate::audit::{Actor, Event, EventName, record};

/// Most directories: each is asked for a name that nobody has yet.
pub const MAX_DIRECTORIES: usize = 8;
/// How many suffixes are tried for a provisioned handle that is taken.
const MAX_SUFFIX: u32 = 1000;

macro_rules! select_provider {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.kind, p.state, p.settings, (SELECT count(*) FROM identity i WHERE i.provider_id = p.id), ",
            "(SELECT count(*) FROM team_mapping m WHERE m.provider_id = p.id) FROM provider p ",
            $rest
        )
    };
}

stored_words! {
    /// What kind of place identities come from.
    ProviderKind {
        /// A file of names and password hashes.
        Htpasswd = "htpasswd",
        /// A directory.
        Ldap = "ldap",
    }
}

stored_words! {
    /// Where a provider is described.
    ProviderState {
        /// In the settings of a process, or it was once.
        Settings = "settings",
        /// Here, by an administrator.
        Added = "added",
        /// Nowhere any more, and accounts of it are left to be disabled.
        Removing = "removing",
        /// Nowhere any more.
        Removed = "removed",
    }
}

/// An identity that a provider has just proved.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The provider's own id for it, which never changes.
    pub external_id: String,
    /// The name it goes by there, as it is spelled there.
    pub external_name: String,
    /// The name it is to have here, if that is free.
    pub handle: Handle,
    /// What people call it.
    pub display_name: String,
    /// What changes when its password does, and says nothing about it; None where the provider does not tell.
    pub fingerprint: Option<String>,
}

/// An account that a provider created, by what is known here.
#[derive(Debug, Clone)]
pub struct Provided {
    /// Its id there.
    pub external_id: String,
    /// The name it goes by there.
    pub external_name: String,
    /// The account, with what stands here for its password.
    pub stored: Stored,
}

/// What a provider knows about one of its accounts now.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its id there.
    pub external_id: String,
    /// What changes when its password does.
    pub fingerprint: String,
}

/// A provider, and what hangs on it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredProvider {
    /// Its number.
    pub id: ProviderId,
    /// What it is called.
    pub name: String,
    /// What kind of place it is.
    pub kind: ProviderKind,
    /// Where it is described.
    pub state: ProviderState,
    /// What describes it, as JSON without secrets; of those that were added.
    pub settings: String,
    /// How many accounts it has made.
    pub accounts: u64,
    /// How many mappings of its groups feed teams.
    pub mappings: u64,
}

impl Accounts {
    /// Every provider there is or was, by name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn providers(&self) -> Result<Vec<StoredProvider>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<ProviderRow> = on!(reader, c => sqlx::query_as(
            select_provider!("ORDER BY p.name"))
            .fetch_all(c).await)?;
        rows.into_iter().map(|row| read(row).map_err(Error::from)).collect()
    }

    /// The provider of that name, which the settings have; made if it is missing.
    ///
    /// # Errors
    /// [`Refusal::ProviderAdded`]: a name is described in one place.
    pub async fn ensure_provider(&self, name: &str, kind: ProviderKind) -> Result<ProviderId, Error> {
        self.change(Ensure { name: name.to_owned(), kind }).await
    }

    /// The account for a proved identity, created at its first sign-in; a changed password ends what the old one had opened.
    ///
    /// # Errors
    /// [`Refusal::NameTaken`] if no free name is left, [`Refusal::ProviderUnknown`] if the provider was removed meanwhile.
    pub async fn provision(&self, provider: ProviderId, proved: Proved) -> Result<Stored, Error> {
        let external_id = proved.external_id.clone();
        self.change(Provision { actor: Actor::system(), provider, proved }).await?;
        // It can only be gone if it was deleted in this very moment.
        self.provided(provider, &external_id).await?.ok_or(Error::Refused(Refusal::PrincipalUnknown))
    }

    /// The account that goes by this name at the provider, or else the one of the provider's that is called so here: a provisioned name
    /// may have a suffix.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn provided_as(&self, provider: ProviderId, name: &str) -> Result<Option<Provided>, Error> {
        let folded = folded(name);
        let mut reader = self.database.reader().await?;
        let found: Option<(String, String)> = on!(reader, c => sqlx::query_as(
            "SELECT external_id, external_name FROM ( \
               SELECT external_id, external_name, 0 AS place FROM identity WHERE provider_id = $1 AND folded_name = $2 \
               UNION ALL SELECT i.external_id, i.external_name, 1 FROM principal p JOIN identity i ON i.principal_id = p.id \
                         WHERE p.folded = $2 AND i.provider_id = $1) AS found ORDER BY place, external_id LIMIT 1")
            .bind(provider.0).bind(&folded).fetch_optional(c).await)?;
        drop(reader);
        let Some((external_id, external_name)) = found else { return Ok(None) };
        let stored = self.provided(provider, &external_id).await?;
        Ok(stored.map(|stored| Provided { external_id, external_name, stored }))
    }

    /// The provider that owns an account, with its own id for it; None for local accounts.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn origin(&self, principal: PrincipalId) -> Result<Option<(ProviderId, String)>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<(i64, String)> = on!(reader, c => sqlx::query_as(
            "SELECT provider_id, external_id FROM identity WHERE principal_id = $1 ORDER BY provider_id LIMIT 1")
            .bind(principal.0).fetch_optional(c).await)?;
        Ok(row.map(|(provider, external_id)| (ProviderId(provider), external_id)))
    }

    /// Brings a provider's accounts up to what it knows now: who is gone is disabled, who is back is active, and a changed password
    /// ends what the old one had opened.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn reconcile(&self, provider: ProviderId, known: Vec<Known>) -> Result<(), Error> {
        self.change(Reconcile { actor: Actor::system(), provider, known }).await
    }
}

type ProviderRow = (i64, String, String, String, String, i64, i64);

/// A provider, with its row locked until the operation ends.
pub(super) async fn locked(tx: &mut Transaction<'_>, id: ProviderId) -> Result<StoredProvider, Failure> {
    let query = match tx.dialect() {
        Dialect::Sqlite => select_provider!("WHERE p.id = $1"),
        Dialect::Postgres => select_provider!("WHERE p.id = $1 FOR UPDATE OF p"),
    };
    let row: Option<ProviderRow> = on!(tx, c => sqlx::query_as(query).bind(id.0).fetch_optional(c).await)?;
    Ok(read(row.ok_or(Failure::Refused(Refusal::ProviderUnknown))?)?)
}

fn read((id, name, kind, state, settings, accounts, mappings): ProviderRow) -> Result<StoredProvider, sqlx::Error> {
    Ok(StoredProvider {
        id: ProviderId(id),
        name,
        kind: kind.parse().map_err(undecodable)?,
        state: state.parse().map_err(undecodable)?,
        settings,
        accounts: accounts.unsigned_abs(),
        mappings: mappings.unsigned_abs(),
    })
}

struct Ensure {
    name: String,
    kind: ProviderKind,
}

impl Operation for Ensure {
    type Output = ProviderId;
    type Refusal = Refusal;
    const NAME: &'static str = "ensure_provider";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<ProviderId, Failure> {
        let made: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "INSERT INTO provider (name, kind) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, state = excluded.state \
             WHERE provider.state <> 'added' RETURNING id")
            .bind(&self.name).bind(self.kind.word()).fetch_optional(c).await)?;
        made.map(|(id,)| ProviderId(id)).ok_or_else(|| Failure::Refused(Refusal::ProviderAdded(self.name.clone())))
    }
}

struct Provision {
    actor: Actor,
    provider: ProviderId,
    proved: Proved,
}

impl Operation for Provision {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "provision";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        if !added::is_there(tx, self.provider).await? {
            return Err(Failure::Refused(Refusal::ProviderUnknown));
        }
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT principal_id FROM identity WHERE provider_id = $1 AND external_id = $2")
            .bind(self.provider.0).bind(&self.proved.external_id).fetch_optional(c).await)?;
        let principal = match found {
            Some((id,)) => principals::lock(tx, PrincipalId(id)).await?,
            None => self.create(tx).await?,
        };
        let now = tx.now().micros();
        on!(tx, c => sqlx::query(
            "UPDATE identity SET seen_at = $1, external_name = $4, folded_name = $5 WHERE provider_id = $2 AND external_id = $3")
            .bind(now).bind(self.provider.0).bind(&self.proved.external_id).bind(&self.proved.external_name)
            .bind(folded(&self.proved.external_name)).execute(c).await.map(drop))?;
        // Who has just proved a password there is there.
        if principal.state == AccountState::Disabled {
            set_state(tx, &self.actor, &principal, AccountState::Active).await?;
        }
        renew_password(tx, &self.actor, &principal, self.proved.fingerprint.as_deref()).await?;
        Ok(())
    }
}

impl Provision {
    async fn create(&self, tx: &mut Transaction<'_>) -> Result<Principal, Failure> {
        let handle = self.free_handle(tx).await?;
        let principal = principals::insert(
            tx,
            principals::Inserted {
                kind: PrincipalKind::User,
                handle: &handle,
                display_name: &self.proved.display_name,
                namespace: NamespaceId::SYSTEM,
                system_role: None,
                expires_at: None,
            },
        )
        .await?;
        on!(tx, c => sqlx::query("INSERT INTO identity (provider_id, external_id, principal_id, external_name) VALUES ($1, $2, $3, $4)")
            .bind(self.provider.0).bind(&self.proved.external_id).bind(principal.id.0).bind(&self.proved.external_name)
            .execute(c).await.map(drop))?;
        let event = Event::done(EventName::UserCreated, &handle)
            .with(json!({ "provider": self.provider, "external_name": self.proved.external_name }));
        record(tx, &self.actor, &event).await?;
        Ok(principal)
    }

    /// The name it goes by there; with a suffix where it is taken here, or is a namespace's: `{username}/**` must not open that.
    async fn free_handle(&self, tx: &mut Transaction<'_>) -> Result<String, Failure> {
        let name = self.proved.handle.as_str();
        for suffix in 1..=MAX_SUFFIX {
            let handle = if suffix == 1 { name.to_owned() } else { format!("{name}-{suffix}") };
            let folded = folded(&handle);
            let namespace: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM namespace WHERE name = $1 AND deleted_at IS NULL")
                .bind(&folded).fetch_optional(c).await)?;
            if namespace.is_none() && !principals::is_taken(tx, &folded).await? {
                return Ok(handle);
            }
        }
        Err(Failure::Refused(Refusal::NameTaken(name.to_owned())))
    }
}

struct Reconcile {
    actor: Actor,
    provider: ProviderId,
    known: Vec<Known>,
}

impl Operation for Reconcile {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "reconcile_provider";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let rows: Vec<(String, i64)> = on!(tx, c => sqlx::query_as("SELECT external_id, principal_id FROM identity WHERE provider_id = $1 ORDER BY principal_id")
            .bind(self.provider.0).fetch_all(c).await)?;
        for (external_id, principal) in rows {
            let principal = principals::lock(tx, PrincipalId(principal)).await?;
            let known = self.known.iter().find(|known| known.external_id == external_id);
            let state = match (known, principal.state) {
                (None, AccountState::Active) => Some(AccountState::Disabled),
                (Some(_), AccountState::Disabled) => Some(AccountState::Active),
                _ => None,
            };
            if let Some(state) = state {
                set_state(tx, &self.actor, &principal, state).await?;
            }
            if let Some(known) = known {
                renew_password(tx, &self.actor, &principal, Some(&known.fingerprint)).await?;
            }
        }
        Ok(())
    }
}

pub(super) async fn set_state(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    principal: &Principal,
    state: AccountState,
) -> Result<(), sqlx::Error> {
    principals::change_state(tx, principal, state).await?;
    let event = Event::done(EventName::StateChanged, &principal.handle)
        .with(json!({ "before": principal.state, "after": state }));
    record(tx, actor, &event).await?;
    if state != AccountState::Active {
        revoke_principal(tx, principal.id).await?;
    }
    Ok(())
}

/// What stands for a password whose changes the provider does not tell.
const UNTOLD: &str = "provided";

/// The credential that stands for the provider's password. A new fingerprint is a changed password; none says nothing.
async fn renew_password(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    principal: &Principal,
    fingerprint: Option<&str>,
) -> Result<(), sqlx::Error> {
    let current: Option<(String,)> = on!(tx, c => sqlx::query_as(
        "SELECT verifier FROM credential WHERE principal_id = $1 AND kind = 'password' AND revoked_at IS NULL")
        .bind(principal.id.0).fetch_optional(c).await)?;
    let unchanged = |(verifier,): &(String,)| fingerprint.is_none_or(|fingerprint| verifier == fingerprint);
    if current.as_ref().is_some_and(unchanged) {
        return Ok(());
    }
    // From untold to told nothing has changed but what can be read.
    let untold = current.as_ref().is_some_and(|(verifier,)| verifier == UNTOLD);
    if let (Some(fingerprint), true) = (fingerprint, untold) {
        return credentials::replace_verifier(tx, principal.id, fingerprint).await;
    }
    let ended = credentials::end_all(tx, principal.id, &[CredentialKind::Password, CredentialKind::Identity]).await?;
    credentials::insert_password(tx, principal.id, fingerprint.unwrap_or(UNTOLD)).await?;
    if current.is_some() {
        record(tx, actor, &Event::done(EventName::PasswordSet, &principal.handle)).await?;
    }
    credentials::revoke_each(tx, &ended).await
}

/// The name of the provider that owns the account, if it is not local.
pub(super) async fn owner_of(tx: &mut Transaction<'_>, principal: PrincipalId) -> Result<Option<String>, sqlx::Error> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(
        "SELECT p.name FROM identity i JOIN provider p ON p.id = i.provider_id WHERE i.principal_id = $1 LIMIT 1")
        .bind(principal.0).fetch_optional(c).await)?;
    Ok(row.map(|(name,)| name))
}
