//! Namespaces: who may see what is in them, and their end.

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Dialect, Operation, Transaction},
    on,
    revocation::Revoked,
};

use super::{
    Accounts, Error, Failure, NamespaceId, PrincipalId, Refusal,
    names::NamespaceName,
    principals::{self, AccountState, Page},
    revocations::revoke,
    stored::undecodable,
};
use crate::{
    audit::{Actor, Event, EventName, record},
    permissions::Visibility,
};

/// A living namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its number: one life.
    pub id: NamespaceId,
    /// The first segment of its repositories' names.
    pub name: String,
    /// Who may pull without a grant.
    pub visibility: Visibility,
    /// When it came to be.
    pub created_at: Timestamp,
}

impl Accounts {
    /// Makes a namespace known.
    ///
    /// # Errors
    /// [`Refusal::NamespaceTaken`].
    pub async fn create_namespace(
        &self,
        actor: &Actor,
        name: &NamespaceName,
        visibility: Visibility,
    ) -> Result<Namespace, Error> {
        self.change(Create { actor: actor.clone(), name: name.clone(), visibility }).await
    }

    /// Opens or closes a namespace.
    ///
    /// # Errors
    /// [`Refusal::NamespaceUnknown`].
    pub async fn set_visibility(
        &self,
        actor: &Actor,
        name: &NamespaceName,
        visibility: Visibility,
    ) -> Result<Namespace, Error> {
        self.change(SetVisibility { actor: actor.clone(), name: name.clone(), visibility }).await
    }

    /// Deletes a namespace for auth: its grants and teams go, its robots end. What it stores is the registry's.
    ///
    /// # Errors
    /// [`Refusal::NamespaceUnknown`].
    pub async fn delete_namespace(&self, actor: &Actor, name: &NamespaceName) -> Result<(), Error> {
        self.change(Delete { actor: actor.clone(), name: name.clone() }).await
    }

    /// The living namespace of that name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn namespace(&self, name: &NamespaceName) -> Result<Option<Namespace>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as(
            "SELECT id, name, visibility, created_at FROM namespace WHERE name = $1 AND deleted_at IS NULL AND id <> 0")
            .bind(name.as_str()).fetch_optional(c).await)?;
        row.map(|row| row.into_namespace().map_err(Error::from)).transpose()
    }

    /// Living namespaces by name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn namespaces(&self, page: &Page) -> Result<Vec<Namespace>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as(
            "SELECT id, name, visibility, created_at FROM namespace WHERE name > $1 AND deleted_at IS NULL AND id <> 0 ORDER BY name LIMIT $2")
            .bind(page.after.as_deref().unwrap_or_default()).bind(i64::from(page.limit.min(super::MAX_PAGE))).fetch_all(c).await)?;
        rows.into_iter().map(|row| row.into_namespace().map_err(Error::from)).collect()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    visibility: String,
    created_at: i64,
}

impl Row {
    fn into_namespace(self) -> Result<Namespace, sqlx::Error> {
        Ok(Namespace {
            id: NamespaceId(self.id),
            visibility: self.visibility.parse().map_err(undecodable)?,
            name: self.name,
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

pub(super) struct Create {
    pub(super) actor: Actor,
    pub(super) name: NamespaceName,
    pub(super) visibility: Visibility,
}

impl Operation for Create {
    type Output = Namespace;
    type Refusal = Refusal;
    const NAME: &'static str = "create_namespace";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Namespace, Failure> {
        let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM namespace WHERE name = $1 AND deleted_at IS NULL")
            .bind(self.name.as_str()).fetch_optional(c).await)?;
        if found.is_some() {
            return Err(Failure::Refused(Refusal::NamespaceTaken(self.name.to_string())));
        }
        let now = tx.now();
        let (id,): (i64,) = on!(tx, c => sqlx::query_as(
            "INSERT INTO namespace (name, visibility, created_at) VALUES ($1, $2, $3) RETURNING id")
            .bind(self.name.as_str()).bind(self.visibility.as_str()).bind(now.micros()).fetch_one(c).await)?;
        let id = NamespaceId(id);
        let event = Event::done(EventName::NamespaceCreated, self.name.as_str())
            .within(id)
            .with(json!({ "visibility": self.visibility.as_str() }));
        record(tx, &self.actor, &event).await?;
        Ok(Namespace { id, name: self.name.to_string(), visibility: self.visibility, created_at: now })
    }
}

pub(super) struct SetVisibility {
    pub(super) actor: Actor,
    pub(super) name: NamespaceName,
    pub(super) visibility: Visibility,
}

impl Operation for SetVisibility {
    type Output = Namespace;
    type Refusal = Refusal;
    const NAME: &'static str = "set_visibility";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Namespace, Failure> {
        let id = lock(tx, &self.name).await?;
        let before = locked(tx, id).await?;
        if before.visibility == self.visibility {
            return Ok(before);
        }
        on!(tx, c => sqlx::query("UPDATE namespace SET visibility = $1 WHERE id = $2")
            .bind(self.visibility.as_str()).bind(id.0).execute(c).await.map(drop))?;
        let event = Event::done(EventName::VisibilitySet, self.name.as_str())
            .within(id)
            .with(json!({ "before": before.visibility.as_str(), "after": self.visibility.as_str() }));
        record(tx, &self.actor, &event).await?;
        if reach(self.visibility) < reach(before.visibility) {
            revoke(tx, &Revoked::Namespace(self.name.to_string())).await?;
        }
        Ok(Namespace { visibility: self.visibility, ..before })
    }
}

pub(super) struct Delete {
    pub(super) actor: Actor,
    pub(super) name: NamespaceName,
}

impl Operation for Delete {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "delete_namespace";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let id = lock(tx, &self.name).await?;
        let now = tx.now().micros();
        on!(tx, c => sqlx::query("UPDATE namespace SET deleted_at = $1 WHERE id = $2").bind(now).bind(id.0).execute(c).await.map(drop))?;
        on!(tx, c => sqlx::query("DELETE FROM grants WHERE namespace_id = $1").bind(id.0).execute(c).await.map(drop))?;
        // Elsewhere a team may hold grants and a robot may be a member: both end with their owner.
        let robots: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT id FROM principal WHERE namespace_id = $1 AND state <> 'deleted' ORDER BY id").bind(id.0).fetch_all(c).await)?;
        for (robot,) in &robots {
            let robot = principals::lock(tx, PrincipalId(*robot)).await?;
            principals::change_state(tx, &robot, AccountState::Deleted).await?;
        }
        let members = super::teams::delete_all(tx, id).await?;
        record(tx, &self.actor, &Event::done(EventName::NamespaceDeleted, self.name.as_str()).within(id)).await?;
        for gone in robots.into_iter().map(|(robot,)| PrincipalId(robot)).chain(members) {
            revoke(tx, &Revoked::Principal(gone.0)).await?;
        }
        revoke(tx, &Revoked::Namespace(self.name.to_string())).await?;
        Ok(())
    }
}

/// The living namespace of that name, with its row locked until the operation ends, so that nothing is added to one that is going.
pub(super) async fn lock(tx: &mut Transaction<'_>, name: &NamespaceName) -> Result<NamespaceId, Failure> {
    let query = match tx.dialect() {
        Dialect::Sqlite => "SELECT id FROM namespace WHERE name = $1 AND deleted_at IS NULL AND id <> 0",
        Dialect::Postgres => "SELECT id FROM namespace WHERE name = $1 AND deleted_at IS NULL AND id <> 0 FOR UPDATE",
    };
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(query).bind(name.as_str()).fetch_optional(c).await)?;
    row.map(|(id,)| NamespaceId(id)).ok_or(Failure::Refused(Refusal::NamespaceUnknown))
}

/// Locks the living namespace of that id: one that has since been made under the same name is another.
pub(super) async fn lock_id(tx: &mut Transaction<'_>, id: NamespaceId) -> Result<(), Failure> {
    let query = match tx.dialect() {
        Dialect::Sqlite => "SELECT id FROM namespace WHERE id = $1 AND deleted_at IS NULL",
        Dialect::Postgres => "SELECT id FROM namespace WHERE id = $1 AND deleted_at IS NULL FOR UPDATE",
    };
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(query).bind(id.0).fetch_optional(c).await)?;
    row.map(drop).ok_or(Failure::Refused(Refusal::NamespaceUnknown))
}

/// The living namespace of that id, with its row locked until the operation ends.
pub(super) async fn locked(tx: &mut Transaction<'_>, id: NamespaceId) -> Result<Namespace, Failure> {
    lock_id(tx, id).await?;
    let row: Row = on!(tx, c => sqlx::query_as("SELECT id, name, visibility, created_at FROM namespace WHERE id = $1")
        .bind(id.0).fetch_one(c).await)?;
    Ok(row.into_namespace()?)
}

/// How many may pull: the more, the higher.
fn reach(visibility: Visibility) -> u8 {
    match visibility {
        Visibility::Private => 0,
        Visibility::Internal => 1,
        Visibility::Public => 2,
    }
}
