//! Sets of rules as texts: what they say, those who decide by them know.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Failure, Operation, Reader, Transaction},
    on,
    repository::RepositoryName,
};
use sqlx::Error;

use crate::metadata::{
    NamespaceId,
    events::{self, Event},
    repositories,
};

/// The rules of a namespace as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRules {
    /// The namespace's row; None where it has none yet: nothing was pushed there and no rule set.
    pub namespace: Option<NamespaceId>,
    /// The namespace's own set.
    pub policy: Option<String>,
    /// How often this set, or one of a repository, was set.
    pub version: i64,
    /// When last; None if never.
    pub set_at: Option<Timestamp>,
}

type StoredRow = (NamespaceId, Option<String>, Option<i64>, Option<Timestamp>);

/// Reads the rules of a namespace.
///
/// # Errors
/// What the database says.
pub async fn read(reader: &mut Reader, namespace: &str) -> Result<StoredRules, DatabaseError> {
    let sql =
        "SELECT n.id, n.policy, l.version, l.set_at FROM namespace n LEFT JOIN lifecycle l ON l.namespace_id = n.id
               WHERE n.name = $1";
    let found: Option<StoredRow> = on!(reader, c => sqlx::query_as(sql).bind(namespace).fetch_optional(c).await)?;
    let stored = |(id, policy, version, set_at): (_, _, Option<i64>, _)| StoredRules {
        namespace: Some(id),
        policy,
        version: version.unwrap_or(0),
        set_at,
    };
    Ok(found.map(stored).unwrap_or_default())
}

/// The rules of one repository as they are stored. None if there is no such repository.
///
/// # Errors
/// What the database says.
pub async fn read_own(
    reader: &mut Reader,
    repository: &RepositoryName,
) -> Result<Option<Option<String>>, DatabaseError> {
    let sql = "SELECT policy FROM repository WHERE name = $1 AND deleted_at IS NULL";
    let found: Option<(Option<String>,)> =
        on!(reader, c => sqlx::query_as(sql).bind(repository.as_str()).fetch_optional(c).await)?;
    Ok(found.map(|(policy,)| policy))
}

/// Puts a set of rules in the place of the one before. A run that goes by that one stops in front of its next deletion.
#[derive(Debug)]
pub struct SetRules {
    /// Of which namespace or repository.
    pub about: RulesOf,
    /// The set; None takes it away.
    pub policy: Option<String>,
    /// How many rules it has.
    pub rules: usize,
    /// Who is written into the event.
    pub actor: String,
}

/// Whose rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesOf {
    /// A namespace's.
    Namespace(RepositoryName),
    /// One repository's.
    Repository(RepositoryName),
}

/// There is no such repository to have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRepository;

impl Operation for SetRules {
    /// The new version of the namespace's rules.
    type Output = i64;
    type Refusal = NoRepository;
    const NAME: &'static str = "set_lifecycle_rules";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<i64, Failure<NoRepository>> {
        let (RulesOf::Namespace(name) | RulesOf::Repository(name)) = &self.about;
        let version = match &self.about {
            RulesOf::Namespace(name) => {
                let namespace = repositories::ensure_namespace(tx, name.as_str()).await?.id;
                let version = raise(tx, namespace).await?;
                let sql = "UPDATE namespace SET policy = $2 WHERE id = $1";
                on!(tx, c => sqlx::query(sql).bind(namespace).bind(&self.policy).execute(c).await.map(drop))?;
                version
            }
            RulesOf::Repository(name) => {
                let repository = repositories::find(tx, name).await?.ok_or(Failure::Refused(NoRepository))?;
                let version = raise(tx, repository.namespace).await?;
                let sql = "UPDATE repository SET policy = $2 WHERE id = $1 AND deleted_at IS NULL";
                let set = on!(tx, c => {
                    let query = sqlx::query(sql).bind(repository.id).bind(&self.policy);
                    query.execute(c).await.map(|done| done.rows_affected())
                })?;
                if set == 0 {
                    return Err(Failure::Refused(NoRepository));
                }
                version
            }
        };
        let event = Event::LifecycleRulesSet { about: name, rules: self.rules, actor: &self.actor };
        events::record(tx, &event).await?;
        Ok(version)
    }
}

/// Raises the version of a namespace's rules. Its row is what runs hold while they delete: whoever set rules was answered after the last deletion by the
/// old ones.
async fn raise(tx: &mut Transaction<'_>, namespace: NamespaceId) -> Result<i64, Error> {
    let now = tx.now();
    let sql = "INSERT INTO lifecycle (namespace_id, version, set_at) VALUES ($1, 1, $2)
               ON CONFLICT (namespace_id) DO UPDATE SET version = lifecycle.version + 1, set_at = excluded.set_at RETURNING version";
    let (version,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(namespace).bind(now).fetch_one(c).await)?;
    Ok(version)
}
