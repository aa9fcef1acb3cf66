//! Repositories and the namespaces they lie in. Both begin with the first push; nobody has to make them.

pub mod deletion;

use shared::{
    database::{Failure, Transaction},
    on,
    repository::RepositoryName,
};

use super::{NamespaceId, RepositoryId, immutable::Written, locking, quotas::Exceeded, usage};

/// A living repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its id.
    pub id: RepositoryId,
    /// The namespace whose quota it uses.
    pub namespace: NamespaceId,
}

/// Finds a living repository and keeps it from being deleted until the end of the transaction.
///
/// # Errors
/// The database failed.
pub async fn lock(tx: &mut Transaction<'_>, name: &RepositoryName) -> Result<Option<Repository>, sqlx::Error> {
    let sql =
        locking!(tx, "SELECT id, namespace_id FROM repository WHERE name = $1 AND deleted_at IS NULL", "FOR KEY SHARE");
    let row: Option<(RepositoryId, NamespaceId)> =
        on!(tx, c => sqlx::query_as(sql).bind(name.as_str()).fetch_optional(c).await)?;
    Ok(row.map(|(id, namespace)| Repository { id, namespace }))
}

/// [`lock`], with the rules about tags of its namespace: one more look at a row by its number, in the same statement.
///
/// # Errors
/// The database failed.
pub async fn lock_with_rules(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<Option<(Repository, Written)>, sqlx::Error> {
    let sql = locking!(
        tx,
        "SELECT r.id, r.namespace_id, n.immutable FROM repository r JOIN namespace n ON n.id = r.namespace_id
         WHERE r.name = $1 AND r.deleted_at IS NULL",
        "FOR KEY SHARE OF r"
    );
    let row: Option<(RepositoryId, NamespaceId, Option<String>)> =
        on!(tx, c => sqlx::query_as(sql).bind(name.as_str()).fetch_optional(c).await)?;
    Ok(row.map(|(id, namespace, rules)| (Repository { id, namespace }, Written::new(rules))))
}

/// Finds a living repository without a lock: it may go before anything else is asked.
///
/// # Errors
/// The database failed.
pub async fn find(tx: &mut Transaction<'_>, name: &RepositoryName) -> Result<Option<Repository>, sqlx::Error> {
    let sql = "SELECT id, namespace_id FROM repository WHERE name = $1 AND deleted_at IS NULL";
    let row: Option<(RepositoryId, NamespaceId)> =
        on!(tx, c => sqlx::query_as(sql).bind(name.as_str()).fetch_optional(c).await)?;
    Ok(row.map(|(id, namespace)| Repository { id, namespace }))
}

/// Finds the repository, or makes it and its namespace: every push begins with this, in its own operation.
///
/// # Errors
/// The namespace has as many repositories as it may, or the database failed. On PostgreSQL a repository that another transaction makes at the same moment is
/// a unique violation, after which the door runs the operation again.
pub async fn ensure<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<Repository, Failure<R>> {
    match lock(tx, name).await? {
        Some(repository) => Ok(repository),
        None => Ok(make(tx, name).await?.0),
    }
}

/// [`ensure`], with the rules about tags of its namespace.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_with_rules<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<(Repository, Written), Failure<R>> {
    match lock_with_rules(tx, name).await? {
        Some(found) => Ok(found),
        None => make(tx, name).await,
    }
}

async fn make<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<(Repository, Written), Failure<R>> {
    let Namespace { id: namespace, rules, repository_quota } = ensure_namespace(tx, name.namespace()).await?;
    if let Some(quota) = repository_quota {
        usage::admit_repository(tx, namespace, quota).await?;
    }
    let now = tx.now();
    let insert = "INSERT INTO repository (namespace_id, name, created_at) VALUES ($1, $2, $3) RETURNING id";
    let (id,): (RepositoryId,) =
        on!(tx, c => sqlx::query_as(insert).bind(namespace).bind(name.as_str()).bind(now).fetch_one(c).await)?;
    Ok((Repository { id, namespace }, rules))
}

/// A namespace, and what whoever makes a repository there has to know of it.
#[derive(Debug)]
pub struct Namespace {
    /// Its id.
    pub id: NamespaceId,
    /// Its rules about tags.
    rules: Written,
    /// How many repositories it may have.
    repository_quota: Option<i64>,
}

/// Finds the namespace, or makes it.
///
/// # Errors
/// The database failed; on PostgreSQL also where another transaction makes it at the same moment, after which the door runs the operation again.
pub async fn ensure_namespace(tx: &mut Transaction<'_>, name: &str) -> Result<Namespace, sqlx::Error> {
    let select = "SELECT id, immutable, repository_quota FROM namespace WHERE name = $1";
    let found: Option<(NamespaceId, Option<String>, Option<i64>)> =
        on!(tx, c => sqlx::query_as(select).bind(name).fetch_optional(c).await)?;
    if let Some((id, rules, repository_quota)) = found {
        return Ok(Namespace { id, rules: Written::new(rules), repository_quota });
    }
    let insert = "INSERT INTO namespace (name) VALUES ($1) RETURNING id";
    let (id,): (NamespaceId,) = on!(tx, c => sqlx::query_as(insert).bind(name).fetch_one(c).await)?;
    let usage = "INSERT INTO usage (namespace_id) VALUES ($1)";
    on!(tx, c => sqlx::query(usage).bind(id).execute(c).await.map(drop))?;
    Ok(Namespace { id, rules: Written::default(), repository_quota: None })
}
