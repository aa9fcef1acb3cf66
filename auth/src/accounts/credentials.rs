//! Stored secrets: passwords, personal access tokens, robot keys, identity tokens.
//!
//! What is stored is a verifier, never the secret: an argon2 string, an HMAC under the pepper, or the fingerprint of what another
//! provider keeps. A replaced password is a new row, so a credential's id also names its version.

mod changes;
mod foreign;
pub mod upkeep;
pub(super) mod uses;

use std::time::Duration;

use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    on,
};

use super::{
    Accounts, CredentialId, Error, Failure, PrincipalId, ProviderId, Refusal, ServiceId,
    names::{Label, folded},
    networks::Networks,
    principals::{self, Principal},
    stored::{stored_words, undecodable},
};
use crate::permissions::{ApiLevel, CredentialScope};
pub(super) use changes::{AddRobotKey, Alter, Revoke, end_all, insert_password, replace_verifier, revoke_each};
pub(super) use foreign::Costs;
pub(super) use uses::Uses;

/// `SELECT` of a [`StoredRow`] with its condition.
macro_rules! select_stored {
    ($condition:literal) => {
        concat!(
            "SELECT c.id AS credential_id, c.kind AS credential_kind, c.verifier, c.name, c.scope, c.networks, c.api, c.service_id, c.idle_us, ",
            "c.created_at AS credential_created_at, c.expires_at AS credential_expires_at, c.used_at, c.used_from, c.revoked_at, ",
            "p.id, p.kind, p.handle, p.display_name, p.namespace_id, p.system_role, p.state, p.expires_at, p.created_at ",
            "FROM credential c JOIN principal p ON p.id = c.principal_id WHERE ",
            $condition
        )
    };
}

use select_stored;

/// Most live keys of one robot: enough to rotate with overlap, few enough to compare a chosen secret with each.
pub const MAX_ROBOT_KEYS: usize = 5;
/// Most live personal access tokens of one account.
pub const MAX_TOKENS: usize = 100;
/// Most days that a credential may be said to live unused: ten years.
pub const MAX_IDLE_DAYS: u32 = 3660;
/// Most identity tokens of one account for one service; the least recently used goes first.
pub const MAX_IDENTITY_TOKENS: usize = 50;
/// How long an identity token lives without being used.
pub const IDENTITY_TOKEN_IDLE: Duration = Duration::from_secs(90 * 24 * 3600);

stored_words! {
    /// What a secret is.
    CredentialKind {
        /// What a person remembers.
        Password = "password",
        /// A personal access token.
        Pat = "pat",
        /// A robot's key.
        RobotKey = "robot_key",
        /// What `docker login` keeps instead of a password.
        Identity = "identity",
    }
}

/// A stored secret, without it.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its number, in tokens `cid`.
    pub id: CredentialId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// What it is.
    pub kind: CredentialKind,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for, of what its owner may; None: all of it.
    pub scope: Option<CredentialScope>,
    /// Where it may be used from; None: anywhere.
    pub networks: Option<Networks>,
    /// What it may do on the admin API.
    pub api: ApiLevel,
    /// The service an identity token is bound to.
    pub service: Option<ServiceId>,
    /// How long it lives unused.
    pub idle: Option<Duration>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used; known to about a minute.
    pub used_at: Option<Timestamp>,
    /// Where it was last used from.
    pub used_from: Option<String>,
    /// When it was revoked: it proves nothing any more but that somebody has it.
    pub revoked_at: Option<Timestamp>,
}

impl Credential {
    /// True if it still counts, as far as it itself goes.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        let idle_end = self.idle.map(|idle| self.used_at.unwrap_or(self.created_at) + idle);
        self.revoked_at.is_none() && [self.expires_at, idle_end].into_iter().flatten().all(|end| now < end)
    }
}

/// A credential with what proves it, and its owner.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The credential.
    pub credential: Credential,
    /// What a presented secret is compared with.
    pub verifier: String,
    /// Its owner.
    pub principal: Principal,
}

/// A credential that is to be.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// Whose it will be.
    pub principal: PrincipalId,
    /// What it is called.
    pub name: Label,
    /// The public part of the secret, by which it is found; None for a secret that the caller chose.
    pub lookup: Option<String>,
    /// What a presented secret is compared with.
    pub verifier: String,
    /// The master key the verifier hangs on.
    pub master_id: String,
    /// What a chosen secret would be compared with under earlier master keys: it may have been somebody's key under one of them.
    pub earlier: Vec<String>,
    /// What it may be used for.
    pub scope: Option<CredentialScope>,
    /// Where it may be used from.
    pub networks: Option<Networks>,
    /// What it may do on the admin API.
    pub api: ApiLevel,
    /// How long it lives unused, if that is bounded. An identity token's is [`IDENTITY_TOKEN_IDLE`], whatever is said here.
    pub idle: Option<Duration>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What becomes of a robot's other keys when it gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherKeys {
    /// They stay.
    Stay,
    /// They end after a while, during which both work.
    EndAfter(Duration),
}

/// An account that somebody claims to be, with what could prove it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The account.
    pub principal: Principal,
    /// Its live password, or a robot's live keys that the caller chose or we minted.
    pub proofs: Vec<(Credential, String)>,
}

impl Accounts {
    /// The credential with that public part, revoked ones too: their owners are told so.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn credential_with_lookup(&self, lookup: &str) -> Result<Option<Stored>, Error> {
        let read = async |lookup: &String| {
            let mut reader = self.database.reader().await?;
            let row: Option<StoredRow> = on!(reader, c => sqlx::query_as(select_stored!("c.lookup = $1"))
                .bind(lookup).fetch_optional(c).await)?;
            Ok::<_, Error>(row.map(StoredRow::into_stored).transpose()?)
        };
        let mut found = self.recent.stored.get_or_read(lookup.to_owned(), |_| true, read).await?;
        if let Some(stored) = &mut found {
            self.uses.refresh(&mut stored.credential);
        }
        Ok(found)
    }

    /// The account of that name in any spelling, with its live password or keys.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn claimed(&self, handle: &str) -> Result<Option<Claimed>, Error> {
        let read = async |handle: &String| self.read_claimed(handle).await;
        let Some(mut claimed) = self.recent.claimed.get_or_read(folded(handle), |_| true, read).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        claimed.proofs.retain_mut(|(credential, _)| {
            self.uses.refresh(credential);
            credential.is_live(now)
        });
        Ok(Some(claimed))
    }

    /// The account of that folded name, with its password or keys unless they were revoked.
    async fn read_claimed(&self, folded: &str) -> Result<Option<Claimed>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<StoredRow> = on!(reader, c => sqlx::query_as(select_stored!(
            "p.folded = $1 AND p.state <> 'deleted' AND c.kind IN ('password', 'robot_key') AND c.revoked_at IS NULL ORDER BY c.id"))
            .bind(folded).fetch_all(c).await)?;
        drop(reader);
        let stored = rows.into_iter().map(StoredRow::into_stored).collect::<Result<Vec<_>, _>>()?;
        let principal = match stored.first() {
            Some(stored) => Some(stored.principal.clone()),
            None => self.principal_called(folded).await?,
        };
        let proofs = stored.into_iter().map(|stored| (stored.credential, stored.verifier)).collect();
        Ok(principal.map(|principal| Claimed { principal, proofs }))
    }

    /// What stands here for the password of an account that a provider created, by the provider's own id for it.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn provided(&self, provider: ProviderId, external_id: &str) -> Result<Option<Stored>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<StoredRow> = on!(reader, c => sqlx::query_as(select_stored!(
            "c.kind = 'password' AND c.revoked_at IS NULL \
             AND p.id = (SELECT principal_id FROM identity WHERE provider_id = $1 AND external_id = $2)"))
            .bind(provider.0).bind(external_id).fetch_optional(c).await)?;
        row.map(|row| self.stored(row)).transpose()
    }

    /// An account's credentials of one kind that count now, oldest first.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn credentials(&self, principal: PrincipalId, kind: CredentialKind) -> Result<Vec<Credential>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<StoredRow> = on!(reader, c => sqlx::query_as(select_stored!(
            "c.principal_id = $1 AND c.kind = $2 AND c.revoked_at IS NULL ORDER BY c.id"))
            .bind(principal.0).bind(kind.word()).fetch_all(c).await)?;
        let now = self.clock.now();
        let mut live = Vec::with_capacity(rows.len());
        for row in rows {
            let credential = self.stored(row)?.credential;
            if credential.is_live(now) {
                live.push(credential);
            }
        }
        Ok(live)
    }

    /// The master keys that stored secrets hang on.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn master_ids(&self) -> Result<Vec<String>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<(String,)> = on!(reader, c => sqlx::query_as(
            "SELECT master_id FROM credential WHERE master_id IS NOT NULL AND revoked_at IS NULL \
             UNION SELECT master_id FROM signing_key WHERE state <> 'gone' \
             UNION SELECT master_id FROM provider WHERE master_id IS NOT NULL").fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    fn stored(&self, row: StoredRow) -> Result<Stored, Error> {
        let mut stored = row.into_stored()?;
        self.uses.refresh(&mut stored.credential);
        Ok(stored)
    }
}

/// The token or key, if it is that account's and was not revoked, with its row locked until the operation ends. Another's is not touched.
pub(super) async fn lock(
    tx: &mut Transaction<'_>,
    owner: PrincipalId,
    id: CredentialId,
) -> Result<Credential, Failure> {
    if tx.dialect() == Dialect::Postgres {
        on!(tx, c => sqlx::query("SELECT id FROM credential WHERE id = $1 AND principal_id = $2 FOR UPDATE")
            .bind(id.0).bind(owner.0).execute(c).await.map(drop))?;
    }
    let row: Option<StoredRow> = on!(tx, c => sqlx::query_as(select_stored!(
        "c.id = $1 AND c.principal_id = $2 AND c.kind <> 'password' AND c.revoked_at IS NULL"))
        .bind(id.0).bind(owner.0).fetch_optional(c).await)?;
    Ok(row.ok_or(Failure::Refused(Refusal::CredentialUnknown))?.into_stored()?.credential)
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    credential_id: i64,
    credential_kind: String,
    verifier: String,
    name: String,
    scope: Option<String>,
    networks: Option<String>,
    api: String,
    service_id: Option<i64>,
    idle_us: Option<i64>,
    credential_created_at: i64,
    credential_expires_at: Option<i64>,
    used_at: Option<i64>,
    used_from: Option<String>,
    revoked_at: Option<i64>,
    #[sqlx(flatten)]
    principal: principals::PrincipalRow,
}

impl StoredRow {
    fn into_stored(self) -> Result<Stored, sqlx::Error> {
        let principal = self.principal.into_principal()?;
        let credential = Credential {
            id: CredentialId(self.credential_id),
            principal: principal.id,
            kind: self.credential_kind.parse()?,
            name: self.name,
            scope: self.scope.as_deref().map(read_scope).transpose()?,
            networks: self.networks.as_deref().map(read_networks).transpose()?,
            api: self.api.parse().map_err(undecodable)?,
            service: self.service_id.map(ServiceId),
            idle: self.idle_us.map(|us| Duration::from_micros(us.unsigned_abs())),
            created_at: Timestamp::from_micros(self.credential_created_at),
            expires_at: self.credential_expires_at.map(Timestamp::from_micros),
            used_at: self.used_at.map(Timestamp::from_micros),
            used_from: self.used_from,
            revoked_at: self.revoked_at.map(Timestamp::from_micros),
        };
        Ok(Stored { credential, verifier: self.verifier, principal })
    }
}

fn read_scope(text: &str) -> Result<CredentialScope, sqlx::Error> {
    text.parse().map_err(undecodable)
}

fn read_networks(text: &str) -> Result<Networks, sqlx::Error> {
    text.parse().map_err(undecodable)
}
