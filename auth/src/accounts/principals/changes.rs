//! Making accounts, and what may become of them.

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Dialect, Operation, Transaction},
    on,
};

use super::{AccountState, NewRobot, NewUser, Principal, PrincipalKind, PrincipalRow, select_principal};
use crate::{
    accounts::{
        Accounts, Error, Failure, NamespaceId, PrincipalId, Refusal,
        credentials::{self, CredentialKind},
        names::folded,
        namespaces, providers,
        revocations::revoke_principal,
    },
    audit::{Actor, Event, EventName, record},
    permissions::SystemRole,
};

impl Accounts {
    /// Makes a user.
    ///
    /// # Errors
    /// [`Refusal::NameTaken`].
    pub async fn create_user(&self, actor: &Actor, user: NewUser) -> Result<Principal, Error> {
        let made = self.change(CreateUser { actor: actor.clone(), user, only_first: false }).await;
        self.costs.forget();
        made
    }

    /// Makes the first user of all. Of two replicas starting together one succeeds.
    ///
    /// # Errors
    /// [`Refusal::AlreadyStarted`] if there is, or ever was, a user.
    pub async fn create_first_user(&self, user: NewUser) -> Result<Principal, Error> {
        self.change(CreateUser { actor: Actor::system(), user, only_first: true }).await
    }

    /// Makes a robot.
    ///
    /// # Errors
    /// [`Refusal::NamespaceUnknown`], [`Refusal::NameTaken`].
    pub async fn create_robot(&self, actor: &Actor, robot: NewRobot) -> Result<Principal, Error> {
        self.change(CreateRobot { actor: actor.clone(), robot }).await
    }

    /// Suspends an account: its credentials stop counting, its identity tokens end for good.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`], [`Refusal::LastAdministrator`].
    pub async fn suspend(&self, actor: &Actor, id: PrincipalId) -> Result<(), Error> {
        self.change(SetState { actor: actor.clone(), id, state: AccountState::Suspended }).await
    }

    /// Lets a suspended or disabled account in again.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`].
    pub async fn resume(&self, actor: &Actor, id: PrincipalId) -> Result<(), Error> {
        self.change(SetState { actor: actor.clone(), id, state: AccountState::Active }).await
    }

    /// Deletes an account for good: credentials, memberships and grants go, the name becomes free.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`], [`Refusal::LastAdministrator`].
    pub async fn delete_principal(&self, actor: &Actor, id: PrincipalId) -> Result<(), Error> {
        self.change(SetState { actor: actor.clone(), id, state: AccountState::Deleted }).await
    }

    /// Sets a local password. The old one and every identity token end.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`], [`Refusal::ForeignPassword`].
    pub async fn set_password(&self, actor: &Actor, id: PrincipalId, password: String) -> Result<(), Error> {
        self.change(SetPassword { actor: actor.clone(), id, password }).await
    }

    /// Gives or takes a system role.
    ///
    /// # Errors
    /// [`Refusal::PrincipalUnknown`] (robots have none), [`Refusal::LastAdministrator`].
    pub async fn set_system_role(&self, actor: &Actor, id: PrincipalId, role: Option<SystemRole>) -> Result<(), Error> {
        self.change(SetSystemRole { actor: actor.clone(), id, role }).await
    }
}

pub(in crate::accounts) struct CreateUser {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) user: NewUser,
    pub(in crate::accounts) only_first: bool,
}

impl Operation for CreateUser {
    type Output = Principal;
    type Refusal = Refusal;
    const NAME: &'static str = "create_user";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Principal, Failure> {
        if self.only_first {
            let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM principal WHERE kind = 'user' LIMIT 1").fetch_optional(c).await)?;
            if found.is_some() {
                return Err(Failure::Refused(Refusal::AlreadyStarted));
            }
        }
        let user = &self.user;
        let principal = insert(
            tx,
            Inserted {
                kind: PrincipalKind::User,
                handle: user.handle.as_str(),
                display_name: &user.display_name,
                namespace: NamespaceId::SYSTEM,
                system_role: user.system_role,
                expires_at: None,
            },
        )
        .await?;
        if let Some(password) = &user.password {
            credentials::insert_password(tx, principal.id, password).await?;
        }
        let event = Event::done(EventName::UserCreated, &principal.handle)
            .with(json!({ "system_role": user.system_role.map(SystemRole::as_str) }));
        record(tx, &self.actor, &event).await?;
        Ok(principal)
    }
}

pub(in crate::accounts) struct CreateRobot {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) robot: NewRobot,
}

impl Operation for CreateRobot {
    type Output = Principal;
    type Refusal = Refusal;
    const NAME: &'static str = "create_robot";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Principal, Failure> {
        let robot = &self.robot;
        let namespace = namespaces::lock(tx, &robot.namespace).await?;
        let principal = insert(
            tx,
            Inserted {
                kind: PrincipalKind::Robot,
                handle: &robot.name.handle_in(&robot.namespace),
                display_name: &robot.purpose,
                namespace,
                system_role: None,
                expires_at: robot.expires_at,
            },
        )
        .await?;
        record(tx, &self.actor, &Event::done(EventName::RobotCreated, &principal.handle).within(namespace)).await?;
        Ok(principal)
    }
}

pub(in crate::accounts) struct SetState {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) id: PrincipalId,
    pub(in crate::accounts) state: AccountState,
}

impl Operation for SetState {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "set_account_state";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let before = lock(tx, self.id).await?;
        if before.state == self.state {
            return Ok(());
        }
        if self.state != AccountState::Active {
            keep_an_administrator(tx, &before).await?;
        }
        change_state(tx, &before, self.state).await?;
        let event = Event::done(EventName::StateChanged, &before.handle)
            .within(before.namespace)
            .with(json!({ "before": before.state, "after": self.state }));
        record(tx, &self.actor, &event).await?;
        if self.state != AccountState::Active {
            revoke_principal(tx, self.id).await?;
        }
        Ok(())
    }
}

struct SetPassword {
    actor: Actor,
    id: PrincipalId,
    password: String,
}

impl Operation for SetPassword {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "set_password";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let principal = lock(tx, self.id).await?;
        if principal.kind == PrincipalKind::Robot {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        if let Some(provider) = providers::owner_of(tx, self.id).await? {
            return Err(Failure::Refused(Refusal::ForeignPassword(provider)));
        }
        record(tx, &self.actor, &Event::done(EventName::PasswordSet, &principal.handle)).await?;
        let ended = credentials::end_all(tx, self.id, &[CredentialKind::Password, CredentialKind::Identity]).await?;
        credentials::insert_password(tx, self.id, &self.password).await?;
        credentials::revoke_each(tx, &ended).await?;
        Ok(())
    }
}

pub(in crate::accounts) struct SetSystemRole {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) id: PrincipalId,
    pub(in crate::accounts) role: Option<SystemRole>,
}

impl Operation for SetSystemRole {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "set_system_role";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let before = lock(tx, self.id).await?;
        if before.kind == PrincipalKind::Robot {
            return Err(Failure::Refused(Refusal::PrincipalUnknown));
        }
        if before.system_role == self.role {
            return Ok(());
        }
        if before.system_role == Some(SystemRole::Administrator) {
            keep_an_administrator(tx, &before).await?;
        }
        let role = self.role.map(SystemRole::as_str);
        on!(tx, c => sqlx::query("UPDATE principal SET system_role = $1 WHERE id = $2").bind(role).bind(self.id.0).execute(c).await.map(drop))?;
        let event = Event::done(EventName::SystemRoleSet, &before.handle)
            .with(json!({ "before": before.system_role.map(SystemRole::as_str), "after": role }));
        record(tx, &self.actor, &event).await?;
        // Nothing is an auditor's that is not an administrator's too, so only giving from nothing is free of loss.
        if before.system_role.is_some() && self.role != Some(SystemRole::Administrator) {
            revoke_principal(tx, self.id).await?;
        }
        Ok(())
    }
}

/// Changes what people call an account, or what a robot is for, and when it ends.
pub(in crate::accounts) struct Describe {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) id: PrincipalId,
    pub(in crate::accounts) display_name: String,
    pub(in crate::accounts) expires_at: Option<Timestamp>,
}

impl Operation for Describe {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "describe_account";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let before = lock(tx, self.id).await?;
        on!(tx, c => sqlx::query("UPDATE principal SET display_name = $1, expires_at = $2 WHERE id = $3")
            .bind(&self.display_name).bind(self.expires_at.map(Timestamp::micros)).bind(self.id.0).execute(c).await.map(drop))?;
        let said = |name: &str, end: Option<Timestamp>| json!({ "display_name": name, "expires_at": end.map(Timestamp::rfc3339) });
        let (was, is) = (said(&before.display_name, before.expires_at), said(&self.display_name, self.expires_at));
        let event = Event::done(EventName::PrincipalChanged, &before.handle)
            .within(before.namespace)
            .with(json!({ "before": was, "after": is }));
        record(tx, &self.actor, &event).await?;
        if self.expires_at.is_some_and(|end| before.expires_at.is_none_or(|old| end < old)) {
            revoke_principal(tx, self.id).await?;
        }
        Ok(())
    }
}

/// The account, living, with its row locked until the operation ends.
pub(in crate::accounts) async fn lock(tx: &mut Transaction<'_>, id: PrincipalId) -> Result<Principal, Failure> {
    let query = match tx.dialect() {
        Dialect::Sqlite => select_principal!("WHERE id = $1 AND state <> 'deleted'"),
        Dialect::Postgres => select_principal!("WHERE id = $1 AND state <> 'deleted' FOR UPDATE"),
    };
    let row: Option<PrincipalRow> = on!(tx, c => sqlx::query_as(query).bind(id.0).fetch_optional(c).await)?;
    Ok(row.ok_or(Failure::Refused(Refusal::PrincipalUnknown))?.into_principal()?)
}

/// Moves an account to a state, with everything that ends by it. The caller writes the event and the revocation.
pub(in crate::accounts) async fn change_state(
    tx: &mut Transaction<'_>,
    before: &Principal,
    state: AccountState,
) -> Result<(), sqlx::Error> {
    let id = before.id;
    on!(tx, c => sqlx::query("UPDATE principal SET state = $1 WHERE id = $2").bind(state.word()).bind(id.0).execute(c).await.map(drop))?;
    match state {
        AccountState::Active => {}
        AccountState::Suspended | AccountState::Disabled => {
            credentials::end_all(tx, id, &[CredentialKind::Identity]).await?;
        }
        AccountState::Deleted => {
            use CredentialKind::{Identity, Password, Pat, RobotKey};
            credentials::end_all(tx, id, &[Identity, Password, Pat, RobotKey]).await?;
            on!(tx, c => sqlx::query("DELETE FROM team_member WHERE principal_id = $1").bind(id.0).execute(c).await.map(drop))?;
            on!(tx, c => sqlx::query("DELETE FROM grants WHERE subject = 'principal' AND subject_id = $1").bind(id.0).execute(c).await.map(drop))?;
            on!(tx, c => sqlx::query("DELETE FROM identity WHERE principal_id = $1").bind(id.0).execute(c).await.map(drop))?;
            on!(tx, c => sqlx::query("DELETE FROM known_network WHERE principal_id = $1").bind(id.0).execute(c).await.map(drop))?;
            // No handle has a '#', so the name is free again while the row keeps a unique one.
            on!(tx, c => sqlx::query("UPDATE principal SET folded = $1 WHERE id = $2").bind(format!("#{id}")).bind(id.0).execute(c).await.map(drop))?;
        }
    }
    Ok(())
}

/// What a new row of `principal` says.
pub(in crate::accounts) struct Inserted<'a> {
    pub(in crate::accounts) kind: PrincipalKind,
    pub(in crate::accounts) handle: &'a str,
    pub(in crate::accounts) display_name: &'a str,
    pub(in crate::accounts) namespace: NamespaceId,
    pub(in crate::accounts) system_role: Option<SystemRole>,
    pub(in crate::accounts) expires_at: Option<Timestamp>,
}

/// Writes a new account; the name must be free in every spelling.
pub(in crate::accounts) async fn insert(tx: &mut Transaction<'_>, new: Inserted<'_>) -> Result<Principal, Failure> {
    let folded = folded(new.handle);
    if is_taken(tx, &folded).await? {
        return Err(Failure::Refused(Refusal::NameTaken(new.handle.to_owned())));
    }
    let now = tx.now();
    let (id,): (i64,) = on!(tx, c => sqlx::query_as(
        "INSERT INTO principal (kind, handle, folded, display_name, namespace_id, system_role, state, expires_at, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8) RETURNING id")
        .bind(new.kind.word())
        .bind(new.handle)
        .bind(&folded)
        .bind(new.display_name)
        .bind(new.namespace.0)
        .bind(new.system_role.map(SystemRole::as_str))
        .bind(new.expires_at.map(Timestamp::micros))
        .bind(now.micros())
        .fetch_one(c)
        .await)?;
    Ok(Principal {
        id: PrincipalId(id),
        kind: new.kind,
        handle: new.handle.to_owned(),
        display_name: new.display_name.to_owned(),
        namespace: new.namespace,
        system_role: new.system_role,
        state: AccountState::Active,
        expires_at: new.expires_at,
        created_at: now,
    })
}

/// True if an account has the name.
pub(in crate::accounts) async fn is_taken(tx: &mut Transaction<'_>, folded: &str) -> Result<bool, sqlx::Error> {
    let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM principal WHERE folded = $1").bind(folded).fetch_optional(c).await)?;
    Ok(found.is_some())
}

/// Refuses to take the last active administrator away: nobody but the data directory's socket could undo it.
async fn keep_an_administrator(tx: &mut Transaction<'_>, leaving: &Principal) -> Result<(), Failure> {
    if leaving.system_role != Some(SystemRole::Administrator) || leaving.state != AccountState::Active {
        return Ok(());
    }
    // Locked, so that two administrators who suspend each other at once do not both succeed.
    let query = match tx.dialect() {
        Dialect::Sqlite => {
            "SELECT id FROM principal WHERE system_role = 'administrator' AND state = 'active' AND id <> $1"
        }
        Dialect::Postgres => {
            "SELECT id FROM principal WHERE system_role = 'administrator' AND state = 'active' AND id <> $1 FOR UPDATE"
        }
    };
    let others: Vec<(i64,)> = on!(tx, c => sqlx::query_as(query).bind(leaving.id.0).fetch_all(c).await)?;
    if others.is_empty() { Err(Failure::Refused(Refusal::LastAdministrator)) } else { Ok(()) }
}
