//! Repositories are deleted, come back, and are purged.
//!
//! These operations alone lock a repository `FOR UPDATE`: they wait until every push, mount and deletion in it has come to its end, and those that come
//! later do not find it any more. What a deleted repository holds stays as it is until the purge; only nobody sees it.

use std::convert::Infallible;

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
    tag::Tag,
};
use sqlx::Error;

use super::Repository;
use crate::{
    failpoints::{Point, reach},
    metadata::{
        NamespaceId, RepositoryId,
        immutable::{Held, Written},
        json_list, locking,
        pace::{Batch, Kind},
        parse_bytes, parse_digest,
        quotas::Exceeded,
        uploads::UploadId,
        usage,
    },
};

/// Whether a repository `r` is being purged, or is to be with nothing to wait for: its first step says so, and what is left behind each step is no whole.
macro_rules! purged {
    () => {
        "coalesce(r.expires_at <= r.deleted_at, false)"
    };
}
pub(in crate::metadata) use purged;

/// How many tags are looked at in one query.
const TAGS: i64 = 1_000;

/// Locks a living repository alone, with the rules about tags of its namespace.
///
/// # Errors
/// The database failed.
pub async fn lock_alone(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
) -> Result<Option<(Repository, Written)>, Error> {
    let sql = locking!(
        tx,
        "SELECT r.id, r.namespace_id, n.immutable FROM repository r JOIN namespace n ON n.id = r.namespace_id
         WHERE r.name = $1 AND r.deleted_at IS NULL",
        "FOR UPDATE OF r"
    );
    let row: Option<(RepositoryId, NamespaceId, Option<String>)> =
        on!(tx, c => sqlx::query_as(sql).bind(name.as_str()).fetch_optional(c).await)?;
    Ok(row.map(|(id, namespace, rules)| (Repository { id, namespace }, Written::new(rules))))
}

/// The first tag of a repository, locked alone, that has to stay.
///
/// # Errors
/// The database failed, or somebody else wrote the rules.
pub async fn first_held(
    tx: &mut Transaction<'_>,
    (repository, name): (RepositoryId, &RepositoryName),
    rules: &Written,
) -> Result<Option<Held>, Error> {
    if !rules.rules()?.concern(name) {
        return Ok(None);
    }
    let sql = "SELECT t.name, m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id
               WHERE t.repository_id = $1 AND t.name > $2 ORDER BY t.name LIMIT $3";
    let mut behind = String::new();
    loop {
        let page: Vec<(String, String)> =
            on!(tx, c => sqlx::query_as(sql).bind(repository).bind(&behind).bind(TAGS).fetch_all(c).await)?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        behind.clone_from(last);
        let tags = page.iter().map(|(tag, digest)| {
            let tag: Tag = tag.parse().map_err(|error| Error::Decode(Box::new(error)))?;
            Ok((tag, parse_digest(digest)?))
        });
        let tags: Vec<(Tag, Digest)> = tags.collect::<Result<_, Error>>()?;
        let held = rules.first_held(name, tags.iter().map(|(tag, digest)| (tag, *digest)))?;
        if held.is_some() {
            return Ok(held);
        }
    }
}

/// Hides a repository, locked alone, until its purge. Its uploads come to nothing: they are expired from now on, and whoever writes one of those that are
/// answered is to be ended.
///
/// # Errors
/// The database failed.
pub async fn hide(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    until: Timestamp,
    actor: &str,
) -> Result<Vec<UploadId>, Error> {
    let now = tx.now();
    let sql = "UPDATE repository SET deleted_at = $2, expires_at = $3, deleted_by = $4 WHERE id = $1";
    on!(tx, c => {
        sqlx::query(sql).bind(repository).bind(now).bind(until).bind(actor).execute(c).await.map(drop)
    })?;
    expire_uploads(tx, repository).await
}

async fn expire_uploads(tx: &mut Transaction<'_>, repository: RepositoryId) -> Result<Vec<UploadId>, Error> {
    let now = tx.now();
    let sql = "UPDATE upload SET expires_at = $2
               WHERE id IN (SELECT id FROM upload WHERE repository_id = $1 AND expires_at > $2) RETURNING id";
    let ended: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(repository).bind(now).fetch_all(c).await)?;
    Ok(ended.into_iter().map(|(id,)| UploadId::stored(id)).collect())
}

/// Finds the deleted repository of a name that can still come back: the one of this id, or the one that was deleted last. It is locked alone.
///
/// # Errors
/// The database failed.
pub async fn lock_restorable(
    tx: &mut Transaction<'_>,
    name: &RepositoryName,
    which: Option<RepositoryId>,
) -> Result<Option<Repository>, Error> {
    let sql = locking!(
        tx,
        "SELECT id, namespace_id FROM repository
         WHERE name = $1 AND deleted_at IS NOT NULL AND expires_at > $2 AND id = coalesce($3, id)
         ORDER BY deleted_at DESC, id DESC LIMIT 1",
        "FOR UPDATE"
    );
    let now = tx.now();
    let row: Option<(RepositoryId, NamespaceId)> =
        on!(tx, c => sqlx::query_as(sql).bind(name.as_str()).bind(now).bind(which).fetch_optional(c).await)?;
    Ok(row.map(|(id, namespace)| Repository { id, namespace }))
}

/// Shows a deleted repository, locked alone, to its readers again, unless its namespace may not have so much.
///
/// # Errors
/// It may not, or the database failed; a unique violation where the name has been taken since.
pub async fn show<R: From<Exceeded>>(tx: &mut Transaction<'_>, repository: &Repository) -> Result<(), Failure<R>> {
    let sql = "UPDATE repository SET deleted_at = NULL, expires_at = NULL, deleted_by = NULL WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(repository.id).execute(c).await.map(drop))?;
    usage::repository_restored(tx, repository.namespace, repository.id).await
}

/// When a deleted repository goes for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryDue {
    /// When its undelete window has passed.
    AfterWindow,
    /// Now: a person asked for the space.
    AtOnce,
}

/// Deleted repositories whose window has passed, each with its end, at most `limit`, the longest overdue first, from `behind` one of them on.
///
/// # Errors
/// The database failed.
pub async fn purgeable(
    reader: &mut Reader,
    now: Timestamp,
    behind: Option<(Timestamp, RepositoryId)>,
    limit: i64,
) -> Result<Vec<(Timestamp, RepositoryId)>, DatabaseError> {
    let (since, id) = behind.map_or((i64::MIN, i64::MIN), |(since, id)| (since.micros(), id.0));
    on!(reader, c => sqlx::query_as(PURGEABLE).bind(now).bind(since).bind(id).bind(limit).fetch_all(c).await)
        .map_err(Into::into)
}

const PURGEABLE: &str = "SELECT expires_at, id FROM repository WHERE deleted_at IS NOT NULL AND expires_at <= $1 \
                         AND (expires_at, id) > ($2, $3) ORDER BY expires_at, id LIMIT $4";

/// How many bytes of payloads go with one step at most, but for a manifest alone: the database walks through every page of one to free it.
const PAYLOADS: i64 = 1024 * 1024;

/// One step of the purge of a deleted repository: some of its tags, histories or manifests, or at last its row. Links are collected between them.
#[derive(Debug)]
pub struct PurgeRepository {
    /// Which, from [`purgeable`].
    pub repository: RepositoryId,
    /// When it counts as due.
    pub due: RepositoryDue,
    /// How many rows one step removes at most.
    pub batch: i64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows were removed; there may be others.
    Removed {
        /// How many,
        rows: u64,
        /// how many of them were manifests,
        manifests: u64,
        /// and their bytes.
        bytes: u64,
    },
    /// Only links and uploads are left.
    Emptied,
    /// Nothing is left of it.
    Gone,
    /// It is not due, has come back, or somebody else works on it.
    Left,
}

impl Operation for PurgeRepository {
    type Output = Step;
    type Refusal = Infallible;
    const NAME: &'static str = "purge_repository";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Step, Failure<Self::Refusal>> {
        let Some(repository) = self.lock(tx).await? else { return Ok(Step::Left) };
        // From its first step on there is no way back.
        let sql = "UPDATE repository SET expires_at = deleted_at WHERE id = $1 AND expires_at <> deleted_at";
        on!(tx, c => sqlx::query(sql).bind(repository.id).execute(c).await.map(drop))?;
        reach(Point::RepositoryCondemned)?;
        for sql in NAMED {
            let rows = self.remove_named(tx, sql).await?;
            if rows > 0 {
                return Ok(Step::Removed { rows, manifests: 0, bytes: 0 });
            }
        }
        if let Some((references, sizes)) = self.remove_manifests(tx).await? {
            reach(Point::RepositoryEmptied)?;
            let (manifests, bytes) = (sizes.len() as u64, sizes.iter().sum());
            usage::relieve(tx, repository.namespace, bytes).await?;
            return Ok(Step::Removed { rows: references + manifests, manifests, bytes: parse_bytes(bytes) });
        }
        expire_uploads(tx, repository.id).await?;
        if !self.remove_row(tx).await? {
            return Ok(Step::Emptied);
        }
        reach(Point::RepositoryErased)?;
        Ok(Step::Gone)
    }
}

/// What is removed by name. Nobody looks for it behind a deleted repository, so no order of locks is broken.
const NAMED: [&str; 3] = [
    "DELETE FROM tag WHERE repository_id = $1 AND name IN (SELECT name FROM tag WHERE repository_id = $1 ORDER BY name LIMIT $2)",
    "DELETE FROM tag_pull WHERE repository_id = $1 AND name IN (SELECT name FROM tag_pull WHERE repository_id = $1 ORDER BY name LIMIT $2)",
    "DELETE FROM tag_history WHERE repository_id = $1 AND (name, version) IN
             (SELECT name, version FROM tag_history WHERE repository_id = $1 ORDER BY name, version LIMIT $2)",
];

impl PurgeRepository {
    async fn lock(&self, tx: &mut Transaction<'_>) -> Result<Option<Repository>, Error> {
        let sql = locking!(
            tx,
            "SELECT id, namespace_id FROM repository WHERE id = $1 AND deleted_at IS NOT NULL AND ($2 OR expires_at <= $3)",
            "FOR UPDATE SKIP LOCKED"
        );
        let (at_once, now) = (self.due == RepositoryDue::AtOnce, tx.now());
        let row: Option<(RepositoryId, NamespaceId)> = on!(tx, c => {
            sqlx::query_as(sql).bind(self.repository).bind(at_once).bind(now).fetch_optional(c).await
        })?;
        Ok(row.map(|(id, namespace)| Repository { id, namespace }))
    }

    async fn remove_named(&self, tx: &mut Transaction<'_>, sql: &'static str) -> Result<u64, Error> {
        on!(tx, c => {
            sqlx::query(sql).bind(self.repository).bind(self.batch).execute(c).await.map(|done| done.rows_affected())
        })
    }

    /// Removes what manifests name, and those of which nothing else is left, with their payloads: how many references, and the sizes of the manifests. `None`
    /// where there is no manifest. They are locked first: a collector may be purging one of them.
    async fn remove_manifests(&self, tx: &mut Transaction<'_>) -> Result<Option<(u64, Vec<i64>)>, Error> {
        let lock =
            locking!(tx, "SELECT id, size FROM manifest WHERE repository_id = $1 ORDER BY id LIMIT $2", "FOR UPDATE");
        let found: Vec<(i64, i64)> =
            on!(tx, c => sqlx::query_as(lock).bind(self.repository).bind(self.batch).fetch_all(c).await)?;
        if found.is_empty() {
            return Ok(None);
        }
        let ids = json_list(for_one_step(found));
        let mut references = 0;
        for sql in names(tx.dialect()) {
            let left = self.batch - references;
            references += on!(tx, c => {
                let query = sqlx::query(sql).bind(&ids).bind(left);
                query.execute(c).await.map(|done| done.rows_affected().cast_signed())
            })?;
        }
        let sizes = if references < self.batch { erase(tx, ids).await? } else { Vec::new() };
        Ok(Some((references.cast_unsigned(), sizes)))
    }

    async fn remove_row(&self, tx: &mut Transaction<'_>) -> Result<bool, Error> {
        let sql = "DELETE FROM repository WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM link WHERE repository_id = $1)
                       AND NOT EXISTS (SELECT 1 FROM upload WHERE repository_id = $1)";
        let gone = on!(tx, c => {
            sqlx::query(sql).bind(self.repository).execute(c).await.map(|done| done.rows_affected())
        })?;
        Ok(gone > 0)
    }
}

impl Batch for PurgeRepository {
    const KIND: Kind = Kind::Repositories;

    fn size(&self, step: &Step) -> usize {
        match step {
            Step::Removed { rows, .. } => *rows as usize,
            Step::Emptied | Step::Gone | Step::Left => 0,
        }
    }
}

/// Statements that remove what some manifests name, a bounded number of rows each.
const fn names(dialect: Dialect) -> [&'static str; 2] {
    match dialect {
        Dialect::Sqlite => [
            "DELETE FROM manifest_blob WHERE (repository_id, digest, manifest_id) IN (SELECT repository_id, digest, manifest_id
                 FROM manifest_blob WHERE manifest_id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) LIMIT $2)",
            "DELETE FROM manifest_child WHERE (repository_id, digest, manifest_id) IN (SELECT repository_id, digest, manifest_id
                 FROM manifest_child WHERE manifest_id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) LIMIT $2)",
        ],
        Dialect::Postgres => [
            "DELETE FROM manifest_blob WHERE ctid = ANY(ARRAY(SELECT ctid FROM manifest_blob
                 WHERE manifest_id = ANY(ARRAY(SELECT json_array_elements_text($1::json)::bigint)) LIMIT $2))",
            "DELETE FROM manifest_child WHERE ctid = ANY(ARRAY(SELECT ctid FROM manifest_child
                 WHERE manifest_id = ANY(ARRAY(SELECT json_array_elements_text($1::json)::bigint)) LIMIT $2))",
        ],
    }
}

/// Removes locked manifests that name nothing any more; their sizes.
async fn erase(tx: &mut Transaction<'_>, ids: String) -> Result<Vec<i64>, Error> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "DELETE FROM manifest WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) RETURNING size"
        }
        Dialect::Postgres => {
            "DELETE FROM manifest WHERE id = ANY(ARRAY(SELECT json_array_elements_text($1::json)::bigint)) RETURNING size"
        }
    };
    let sizes: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(ids).fetch_all(c).await)?;
    Ok(sizes.into_iter().map(|(size,)| size).collect())
}

/// Those of some manifests, each with its size, that go with one step: the first, and as many behind it as fit.
fn for_one_step(found: Vec<(i64, i64)>) -> impl Iterator<Item = i64> {
    let mut bytes = 0;
    found.into_iter().enumerate().map_while(move |(nth, (id, size))| {
        bytes += size;
        (nth == 0 || bytes <= PAYLOADS).then_some(id)
    })
}
