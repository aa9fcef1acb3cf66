//! Making and ending credentials.

use std::{net::IpAddr, time::Duration};

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
    revocation::Revoked,
    telemetry::RequestId,
};

use super::{
    Credential, CredentialKind, IDENTITY_TOKEN_IDLE, MAX_IDENTITY_TOKENS, MAX_ROBOT_KEYS, MAX_TOKENS, NewCredential,
    OtherKeys,
};
use crate::{
    accounts::{
        Accounts, CredentialId, Error, Failure, PrincipalId, Refusal, ServiceId,
        principals::{self, AccountState, PrincipalKind},
        revocations::revoke,
    },
    audit::{Actor, Event, EventName, record},
    permissions::ApiLevel,
};

impl Accounts {
    /// Makes a personal access token.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`], [`Refusal::TooManyTokens`].
    pub async fn create_token(&self, actor: &Actor, new: NewCredential) -> Result<Credential, Error> {
        self.change(CreateToken { actor: actor.clone(), new }).await
    }

    /// Gives a robot a key.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`] (users have none), [`Refusal::TooManyKeys`].
    pub async fn add_robot_key(
        &self,
        actor: &Actor,
        new: NewCredential,
        others: OtherKeys,
    ) -> Result<Credential, Error> {
        self.change(AddRobotKey { actor: actor.clone(), new, others }).await
    }

    /// Makes an identity token for one service; beyond [`MAX_IDENTITY_TOKENS`] the least recently used ends.
    ///
    /// `proved_by` is the credential of the login, which came from `address`: if it ended meanwhile, so has the login.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnknown`], [`Refusal::PrincipalUnknown`].
    pub async fn issue_identity_token(
        &self,
        new: NewCredential,
        service: ServiceId,
        proved_by: CredentialId,
        address: Option<IpAddr>,
    ) -> Result<Credential, Error> {
        self.flush_uses().await?;
        let request = RequestId::current();
        self.change(IssueIdentityToken { new, service, proved_by, address, request }).await
    }

    /// Revokes one credential of an account.
    ///
    /// # Errors
    /// [`Refusal::CredentialUnknown`] also for somebody else's.
    pub async fn revoke_credential(&self, actor: &Actor, owner: PrincipalId, id: CredentialId) -> Result<(), Error> {
        self.change(Revoke { actor: actor.clone(), owner, id }).await
    }
}

struct CreateToken {
    actor: Actor,
    new: NewCredential,
}

impl Operation for CreateToken {
    type Output = Credential;
    type Refusal = Refusal;
    const NAME: &'static str = "create_token";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Credential, Failure> {
        let owner = principals::lock(tx, self.new.principal).await?;
        if owner.kind != PrincipalKind::User {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        if live(tx, owner.id, CredentialKind::Pat, None).await?.len() >= MAX_TOKENS {
            return Err(Failure::Refused(Refusal::TooManyTokens { limit: MAX_TOKENS }));
        }
        let made =
            insert(tx, Inserted { new: &self.new, kind: CredentialKind::Pat, service: None, idle: self.new.idle })
                .await?;
        record(tx, &self.actor, &created(&made, &owner.handle)).await?;
        Ok(made)
    }
}

pub(in crate::accounts) struct AddRobotKey {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) new: NewCredential,
    pub(in crate::accounts) others: OtherKeys,
}

impl Operation for AddRobotKey {
    type Output = Credential;
    type Refusal = Refusal;
    const NAME: &'static str = "add_robot_key";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Credential, Failure> {
        let robot = principals::lock(tx, self.new.principal).await?;
        if robot.kind != PrincipalKind::Robot {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        refuse_what_was_revoked(tx, &self.new).await?;
        let before = live(tx, robot.id, CredentialKind::RobotKey, None).await?;
        let mut ended = Vec::new();
        let mut shortened = Vec::new();
        let staying = match self.others {
            OtherKeys::EndAfter(overlap) if overlap.is_zero() => {
                ended = end_all(tx, robot.id, &[CredentialKind::RobotKey]).await?;
                0
            }
            OtherKeys::EndAfter(overlap) => {
                let end = tx.now() + overlap;
                let ids = on!(tx, c => sqlx::query_scalar::<_, i64>(
                    "UPDATE credential SET expires_at = $1 WHERE principal_id = $2 AND kind = 'robot_key' AND revoked_at IS NULL \
                     AND (expires_at IS NULL OR expires_at > $1) RETURNING id")
                    .bind(end.micros()).bind(robot.id.0).fetch_all(c).await)?;
                shortened.extend(ids.into_iter().map(|id| (id, end)));
                before.len()
            }
            OtherKeys::Stay => before.len(),
        };
        if staying >= MAX_ROBOT_KEYS {
            return Err(Failure::Refused(Refusal::TooManyKeys { limit: MAX_ROBOT_KEYS }));
        }
        let made =
            insert(tx, Inserted { new: &self.new, kind: CredentialKind::RobotKey, service: None, idle: self.new.idle })
                .await?;
        record(tx, &self.actor, &created(&made, &robot.handle).within(robot.namespace)).await?;
        for (id, end) in shortened {
            let event = Event::done(EventName::CredentialShortened, id.to_string());
            let event = event.with(json!({ "owner": robot.handle, "expires_at": end.rfc3339() }));
            record(tx, &self.actor, &event.within(robot.namespace)).await?;
        }
        for id in &ended {
            record(tx, &self.actor, &revoked(*id, &robot.handle).within(robot.namespace)).await?;
        }
        revoke_each(tx, &ended).await?;
        Ok(made)
    }
}

/// A chosen secret that was revoked stays so: whoever has stolen it would be let in again by whoever writes the same setup again.
async fn refuse_what_was_revoked(tx: &mut Transaction<'_>, new: &NewCredential) -> Result<(), Failure> {
    if new.lookup.is_some() {
        return Ok(());
    }
    let gone: Vec<(String,)> = on!(tx, c => sqlx::query_as(
        "SELECT verifier FROM credential WHERE principal_id = $1 AND kind = 'robot_key' AND revoked_at IS NOT NULL")
        .bind(new.principal.0).fetch_all(c).await)?;
    let is_same = |(gone,): &(String,)| *gone == new.verifier || new.earlier.contains(gone);
    if gone.iter().any(is_same) { Err(Failure::Refused(Refusal::SecretRevoked)) } else { Ok(()) }
}

struct IssueIdentityToken {
    new: NewCredential,
    service: ServiceId,
    proved_by: CredentialId,
    address: Option<IpAddr>,
    request: Option<RequestId>,
}

impl Operation for IssueIdentityToken {
    type Output = Credential;
    type Refusal = Refusal;
    const NAME: &'static str = "issue_identity_token";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Credential, Failure> {
        let owner = principals::lock(tx, self.new.principal).await?;
        if owner.state != AccountState::Active {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        // The password may have been changed while its hash was compared: what it proved is no longer so.
        let proof: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM credential WHERE id = $1 AND revoked_at IS NULL")
            .bind(self.proved_by.0).fetch_optional(c).await)?;
        if proof.is_none() {
            return Err(Failure::Refused(Refusal::CredentialUnknown));
        }
        let before = live(tx, owner.id, CredentialKind::Identity, Some(self.service)).await?;
        let surplus = (before.len() + 1).saturating_sub(MAX_IDENTITY_TOKENS);
        let ended: Vec<CredentialId> = before.into_iter().take(surplus).collect();
        for id in &ended {
            end(tx, *id).await?;
        }
        let new = Inserted {
            new: &self.new,
            kind: CredentialKind::Identity,
            service: Some(self.service),
            idle: Some(IDENTITY_TOKEN_IDLE),
        };
        let made = insert(tx, new).await?;
        let actor = Actor {
            credential: Some(self.proved_by),
            principal: Some(owner.id),
            name: owner.handle.clone(),
            address: self.address,
            request: self.request.clone(),
        };
        record(tx, &actor, &created(&made, &owner.handle)).await?;
        revoke_each(tx, &ended).await?;
        Ok(made)
    }
}

pub(in crate::accounts) struct Revoke {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) owner: PrincipalId,
    pub(in crate::accounts) id: CredentialId,
}

impl Operation for Revoke {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "revoke_credential";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let owner = principals::lock(tx, self.owner).await?;
        let now = tx.now().micros();
        // A password is replaced, not revoked: without it the account could not tell why it is locked out.
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "UPDATE credential SET revoked_at = $1 WHERE id = $2 AND principal_id = $3 AND revoked_at IS NULL AND kind <> 'password' \
             RETURNING id")
            .bind(now).bind(self.id.0).bind(owner.id.0).fetch_optional(c).await)?;
        if found.is_none() {
            return Err(Failure::Refused(Refusal::CredentialUnknown));
        }
        record(tx, &self.actor, &revoked(self.id, &owner.handle).within(owner.namespace)).await?;
        revoke_each(tx, &[self.id]).await?;
        Ok(())
    }
}

/// Changes what bounds a robot's key. Its name and its secret stay.
pub(in crate::accounts) struct Alter {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) id: CredentialId,
    /// The bounds; what proves the key is not looked at.
    pub(in crate::accounts) new: NewCredential,
}

#[derive(sqlx::FromRow)]
struct Bounds {
    scope: Option<String>,
    networks: Option<String>,
    api: String,
    idle_us: Option<i64>,
    expires_at: Option<i64>,
}

impl Bounds {
    fn of(new: &NewCredential) -> Self {
        Self {
            scope: new.scope.clone().map(String::from),
            networks: new.networks.as_ref().map(ToString::to_string),
            api: new.api.as_str().to_owned(),
            idle_us: new.idle.map(|idle| i64::try_from(idle.as_micros()).unwrap_or(i64::MAX)),
            expires_at: new.expires_at.map(Timestamp::micros),
        }
    }

    /// True if nothing is lost: no scope and no networks where there were none, or the same, and no earlier end.
    fn widen(&self, before: &Self) -> bool {
        let same = |now: &Option<String>, old: &Option<String>| now.is_none() || now == old;
        let later = |now: Option<i64>, old: Option<i64>| now.is_none_or(|now| old.is_some_and(|old| old <= now));
        let level = |text: &str| text.parse::<ApiLevel>().unwrap_or_default();
        same(&self.scope, &before.scope)
            && same(&self.networks, &before.networks)
            && level(&before.api) <= level(&self.api)
            && later(self.idle_us, before.idle_us)
            && later(self.expires_at, before.expires_at)
    }

    fn said(&self) -> serde_json::Value {
        let ends = self.expires_at.map(|end| Timestamp::from_micros(end).rfc3339());
        json!({ "scope": self.scope, "networks": self.networks, "api": self.api, "idle_us": self.idle_us, "expires_at": ends })
    }
}

impl Operation for Alter {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "alter_key";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let owner = principals::lock(tx, self.new.principal).await?;
        let found: Option<Bounds> = on!(tx, c => sqlx::query_as(
            "SELECT scope, networks, api, idle_us, expires_at FROM credential \
             WHERE id = $1 AND principal_id = $2 AND kind = 'robot_key' AND revoked_at IS NULL")
            .bind(self.id.0).bind(owner.id.0).fetch_optional(c).await)?;
        let before = found.ok_or(Failure::Refused(Refusal::CredentialUnknown))?;
        let after = Bounds::of(&self.new);
        on!(tx, c => sqlx::query("UPDATE credential SET scope = $1, networks = $2, api = $3, idle_us = $4, expires_at = $5 WHERE id = $6")
            .bind(&after.scope).bind(&after.networks).bind(&after.api).bind(after.idle_us).bind(after.expires_at).bind(self.id.0)
            .execute(c).await.map(drop))?;
        let details = json!({ "owner": owner.handle, "before": before.said(), "after": after.said() });
        let event = Event::done(EventName::CredentialChanged, self.id.to_string()).within(owner.namespace);
        record(tx, &self.actor, &event.with(details)).await?;
        if !after.widen(&before) {
            revoke_each(tx, &[self.id]).await?;
        }
        Ok(())
    }
}

fn created(made: &Credential, owner: &str) -> Event {
    Event::done(EventName::CredentialCreated, made.id.to_string())
        .with(json!({ "owner": owner, "kind": made.kind, "name": made.name, "api": made.api, "expires_at": made.expires_at.map(Timestamp::rfc3339) }))
}

fn revoked(id: CredentialId, owner: &str) -> Event {
    Event::done(EventName::CredentialRevoked, id.to_string()).with(json!({ "owner": owner }))
}

struct Inserted<'a> {
    new: &'a NewCredential,
    kind: CredentialKind,
    service: Option<ServiceId>,
    idle: Option<Duration>,
}

async fn insert(tx: &mut Transaction<'_>, row: Inserted<'_>) -> Result<Credential, sqlx::Error> {
    let now = tx.now();
    let new = row.new;
    let scope = new.scope.clone().map(String::from);
    let networks = new.networks.as_ref().map(ToString::to_string);
    let idle_us = row.idle.map(|idle| i64::try_from(idle.as_micros()).unwrap_or(i64::MAX));
    let (id,): (i64,) = on!(tx, c => sqlx::query_as(
        "INSERT INTO credential (principal_id, kind, lookup, verifier, master_id, name, scope, networks, api, service_id, idle_us, created_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id")
        .bind(new.principal.0)
        .bind(row.kind.word())
        .bind(new.lookup.as_deref())
        .bind(&new.verifier)
        .bind(&new.master_id)
        .bind(new.name.as_str())
        .bind(scope.as_deref())
        .bind(networks.as_deref())
        .bind(new.api.as_str())
        .bind(row.service.map(|id| id.0))
        .bind(idle_us)
        .bind(now.micros())
        .bind(new.expires_at.map(Timestamp::micros))
        .fetch_one(c)
        .await)?;
    Ok(Credential {
        id: CredentialId(id),
        principal: new.principal,
        kind: row.kind,
        name: new.name.as_str().to_owned(),
        scope: new.scope.clone(),
        networks: new.networks.clone(),
        api: new.api,
        service: row.service,
        idle: row.idle,
        created_at: now,
        expires_at: new.expires_at,
        used_at: None,
        used_from: None,
        revoked_at: None,
    })
}

/// Writes a password's verifier; the account must have no live one.
pub(in crate::accounts) async fn insert_password(
    tx: &mut Transaction<'_>,
    principal: PrincipalId,
    verifier: &str,
) -> Result<CredentialId, sqlx::Error> {
    let now = tx.now();
    let (id,): (i64,) = on!(tx, c => sqlx::query_as(
        "INSERT INTO credential (principal_id, kind, verifier, api, created_at) VALUES ($1, 'password', $2, $3, $4) RETURNING id")
        .bind(principal.0).bind(verifier).bind(ApiLevel::None.as_str()).bind(now.micros()).fetch_one(c).await)?;
    Ok(CredentialId(id))
}

/// Writes another verifier for the live password, which stays the same one.
pub(in crate::accounts) async fn replace_verifier(
    tx: &mut Transaction<'_>,
    principal: PrincipalId,
    verifier: &str,
) -> Result<(), sqlx::Error> {
    on!(tx, c => sqlx::query("UPDATE credential SET verifier = $1 WHERE principal_id = $2 AND kind = 'password' AND revoked_at IS NULL")
        .bind(verifier).bind(principal.0).execute(c).await.map(drop))
}

/// The live credentials of a kind, least recently used first.
async fn live(
    tx: &mut Transaction<'_>,
    principal: PrincipalId,
    kind: CredentialKind,
    service: Option<ServiceId>,
) -> Result<Vec<CredentialId>, sqlx::Error> {
    let now = tx.now().micros();
    let rows: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
        "SELECT id FROM credential WHERE principal_id = $1 AND kind = $2 AND revoked_at IS NULL AND (service_id = $3 OR $3 IS NULL) \
         AND (expires_at IS NULL OR expires_at > $4) AND (idle_us IS NULL OR COALESCE(used_at, created_at) + idle_us > $4) \
         ORDER BY COALESCE(used_at, created_at), id")
        .bind(principal.0).bind(kind.word()).bind(service.map(|id| id.0)).bind(now).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(id,)| CredentialId(id)).collect())
}

/// Ends all credentials of these kinds and says which they were, for [`revoke_each`].
pub(in crate::accounts) async fn end_all(
    tx: &mut Transaction<'_>,
    principal: PrincipalId,
    kinds: &[CredentialKind],
) -> Result<Vec<CredentialId>, sqlx::Error> {
    let now = tx.now().micros();
    let mut ended = Vec::new();
    for kind in kinds {
        let rows: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
            "UPDATE credential SET revoked_at = $1 WHERE principal_id = $2 AND kind = $3 AND revoked_at IS NULL RETURNING id")
            .bind(now).bind(principal.0).bind(kind.word()).fetch_all(c).await)?;
        ended.extend(rows.into_iter().map(|(id,)| CredentialId(id)));
    }
    Ok(ended)
}

async fn end(tx: &mut Transaction<'_>, id: CredentialId) -> Result<(), sqlx::Error> {
    let now = tx.now().micros();
    on!(tx, c => sqlx::query("UPDATE credential SET revoked_at = $1 WHERE id = $2").bind(now).bind(id.0).execute(c).await.map(drop))
}

/// Writes a row of the revocation feed for each.
pub(in crate::accounts) async fn revoke_each(
    tx: &mut Transaction<'_>,
    ids: &[CredentialId],
) -> Result<(), sqlx::Error> {
    for id in ids {
        revoke(tx, &Revoked::Credential(id.0)).await?;
    }
    Ok(())
}
