//! Users and robots, and what becomes of them.

mod changes;
mod shown;

use shared::{clock::Timestamp, on};

use super::{
    Accounts, Error, NamespaceId, PrincipalId,
    names::{Handle, NamespaceName, RobotName, folded},
    stored::{stored_words, undecodable},
};
use crate::permissions::SystemRole;
pub(super) use changes::{
    CreateRobot, CreateUser, Describe, Inserted, SetState, SetSystemRole, change_state, insert, is_taken, lock,
};
pub use shown::Account;
pub(super) use shown::lock_account;

/// `SELECT` of a [`PrincipalRow`] with the rest of the statement.
macro_rules! select_principal {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, handle, display_name, namespace_id, system_role, state, expires_at, created_at FROM principal ",
            $rest
        )
    };
}
use select_principal;

stored_words! {
    /// People and machines.
    PrincipalKind {
        /// A person.
        User = "user",
        /// A machine, owned by a namespace.
        Robot = "robot",
    }
}

stored_words! {
    /// Whether an account's credentials count.
    AccountState {
        /// They do.
        Active = "active",
        /// An administrator said no, for now.
        Suspended = "suspended",
        /// The account's provider no longer has it.
        Disabled = "disabled",
        /// For good. The row stays, because tokens and audit events name it.
        Deleted = "deleted",
    }
}

/// A user or a robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its number, in tokens `pid`.
    pub id: PrincipalId,
    /// Person or machine.
    pub kind: PrincipalKind,
    /// Its name.
    pub handle: String,
    /// What people call it.
    pub display_name: String,
    /// The namespace that owns a robot; [`NamespaceId::SYSTEM`] for users.
    pub namespace: NamespaceId,
    /// What it may do everywhere.
    pub system_role: Option<SystemRole>,
    /// Whether its credentials count.
    pub state: AccountState,
    /// When they stop counting.
    pub expires_at: Option<Timestamp>,
    /// When it came to be.
    pub created_at: Timestamp,
}

/// A user who is to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name to sign in with.
    pub handle: Handle,
    /// What people call them.
    pub display_name: String,
    /// What they may do everywhere.
    pub system_role: Option<SystemRole>,
    /// A PHC string; None until somebody sets a password.
    pub password: Option<String>,
}

/// A robot that is to be. It has no way in until it gets a key.
#[derive(Debug, Clone)]
pub struct NewRobot {
    /// The namespace whose administrators own it.
    pub namespace: NamespaceName,
    /// Its name there.
    pub name: RobotName,
    /// What it is for.
    pub purpose: String,
    /// When its keys stop counting.
    pub expires_at: Option<Timestamp>,
}

/// A part of a list, in the order of names.
#[derive(Debug, Clone)]
pub struct Page {
    /// The last name of the page before.
    pub after: Option<String>,
    /// Most rows, at most [`super::MAX_PAGE`].
    pub limit: u32,
}

impl Accounts {
    /// True if there never was a user.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn untouched(&self) -> Result<bool, Error> {
        let mut reader = self.database.reader().await?;
        let found: Option<(i64,)> = on!(reader, c => sqlx::query_as("SELECT id FROM principal WHERE kind = 'user' LIMIT 1").fetch_optional(c).await)?;
        Ok(found.is_none())
    }

    /// The living account of that name, in any spelling.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn principal_called(&self, handle: &str) -> Result<Option<Principal>, Error> {
        let folded = folded(handle);
        let mut reader = self.database.reader().await?;
        let row: Option<PrincipalRow> = on!(reader, c => sqlx::query_as(select_principal!("WHERE folded = $1 AND state <> 'deleted'"))
            .bind(&folded).fetch_optional(c).await)?;
        row.map(|row| row.into_principal().map_err(Error::from)).transpose()
    }

    /// The account with that number, deleted ones too.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<PrincipalRow> =
            on!(reader, c => sqlx::query_as(select_principal!("WHERE id = $1")).bind(id.0).fetch_optional(c).await)?;
        row.map(|row| row.into_principal().map_err(Error::from)).transpose()
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct PrincipalRow {
    id: i64,
    kind: String,
    handle: String,
    display_name: String,
    namespace_id: i64,
    system_role: Option<String>,
    state: String,
    expires_at: Option<i64>,
    created_at: i64,
}

impl PrincipalRow {
    pub(super) fn into_principal(self) -> Result<Principal, sqlx::Error> {
        Ok(Principal {
            id: PrincipalId(self.id),
            kind: self.kind.parse()?,
            handle: self.handle,
            display_name: self.display_name,
            namespace: NamespaceId(self.namespace_id),
            system_role: self.system_role.as_deref().map(|word| word.parse().map_err(undecodable)).transpose()?,
            state: self.state.parse()?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}
