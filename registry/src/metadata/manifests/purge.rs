//! The end of a manifest: its row, its payload and its references go, and what they held is let go.
//!
//! A purge works on one manifest and takes its locks in everybody's order, so it waits for a push and a push waits for it, and
//! neither is ever the victim of a deadlock.

use std::{convert::Infallible, time::Duration};

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Failure, Operation, Reader, Transaction},
    on,
};
use sqlx::Error;

use super::{ManifestId, settle, turn::take_turn_of};
use crate::metadata::{NamespaceId, RepositoryId, links::PROMISE_LIFE, locking, usage};

/// Purges one deleted manifest, unless it has come back or is not due yet.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// Which, from [`purgeable`].
    pub manifest: ManifestId,
    /// When it counts as due.
    pub due: Due,
    /// How long the children that it lets go stay at least.
    pub grace: Duration,
}

/// When a deleted manifest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// When its undelete window has passed.
    AfterWindow,
    /// Now: a person asked for the space.
    AtOnce,
}

impl Operation for Purge {
    /// Whether it was purged.
    type Output = bool;
    type Refusal = Infallible;
    const NAME: &'static str = "purge_manifest";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Failure<Infallible>> {
        let now = tx.now();
        let Some(locked) = lock_to_purge(tx, self.manifest).await? else { return Ok(false) };
        let due = locked.deleted && (self.due == Due::AtOnce || locked.expires_at.is_some_and(|at| at < now));
        if due {
            purge(tx, &locked, self.grace).await?;
        }
        Ok(due)
    }
}

const PURGEABLE: &str =
    "SELECT id FROM manifest WHERE deleted_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2";

/// Deleted manifests that are due, the longest overdue first.
///
/// # Errors
/// What the database says.
pub async fn purgeable(
    reader: &mut Reader,
    now: Timestamp,
    due: Due,
    limit: i64,
) -> Result<Vec<ManifestId>, DatabaseError> {
    let before = match due {
        Due::AfterWindow => now,
        Due::AtOnce => Timestamp::from_micros(i64::MAX),
    };
    let found: Vec<(ManifestId,)> =
        on!(reader, c => sqlx::query_as(PURGEABLE).bind(before).bind(limit).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// A manifest whose blobs' links, children and referrers are locked with it.
#[derive(Clone, Copy, Debug)]
pub struct LockedToPurge {
    id: ManifestId,
    repository: RepositoryId,
    namespace: NamespaceId,
    size: i64,
    expires_at: Option<Timestamp>,
    /// Whether no reader sees it any more.
    pub deleted: bool,
}

/// Locks a manifest with everything that [`purge`] changes, in everybody's order. None if it has gone.
///
/// # Errors
/// What the database says.
pub async fn lock_to_purge(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Option<LockedToPurge>, Error> {
    if tx.dialect() == Dialect::Postgres {
        take_turn_of(tx, manifest).await?;
        lock_links(tx, manifest).await?;
        lock_family(tx, manifest).await?;
    }
    let sql = "SELECT m.repository_id, r.namespace_id, m.size, m.expires_at, m.deleted_at IS NOT NULL
               FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE m.id = $1";
    let found: Option<(RepositoryId, NamespaceId, i64, Option<Timestamp>, bool)> =
        on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    Ok(found.map(|(repository, namespace, size, expires_at, deleted)| LockedToPurge {
        id: manifest,
        repository,
        namespace,
        size,
        expires_at,
        deleted,
    }))
}

async fn lock_links(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<(), Error> {
    let sql = "SELECT l.blob_id FROM manifest_blob n JOIN blob b ON b.digest = n.digest
                   JOIN link l ON l.repository_id = n.repository_id AND l.blob_id = b.id
               WHERE n.manifest_id = $1 ORDER BY l.blob_id FOR UPDATE OF l";
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_all(c).await)?;
    Ok(())
}

/// The manifest itself, its children and its referrers, locked by id.
async fn lock_family(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Vec<ManifestId>, Error> {
    let sql = locking!(
        tx,
        "SELECT id FROM manifest WHERE id IN (
             SELECT $1
             UNION SELECT child.id FROM manifest_child n
                 JOIN manifest child ON child.repository_id = n.repository_id AND child.digest = n.digest
                 WHERE n.manifest_id = $1
             UNION SELECT about.id FROM manifest m
                 JOIN manifest about ON about.repository_id = m.repository_id AND about.subject_digest = m.digest
                 WHERE m.id = $1)
         ORDER BY id",
        "FOR UPDATE"
    );
    let found: Vec<(ManifestId,)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Removes a locked manifest that carries no tag, and lets go what it held: children without another hold stay for `grace`.
///
/// # Errors
/// What the database says.
pub async fn purge(tx: &mut Transaction<'_>, manifest: &LockedToPurge, grace: Duration) -> Result<(), Error> {
    let now = tx.now();
    let sql = "UPDATE link SET expires_at = $2
               WHERE repository_id = $3 AND (expires_at IS NULL OR expires_at < $2) AND blob_id IN (
                   SELECT b.id FROM manifest_blob n JOIN blob b ON b.digest = n.digest WHERE n.manifest_id = $1)";
    let until = now + PROMISE_LIFE;
    on!(tx, c => sqlx::query(sql).bind(manifest.id).bind(until).bind(manifest.repository).execute(c).await.map(drop))?;
    // Once more: a child that was pushed while this waited for its locks is let go as well, and must be locked before it is looked at,
    // because another of its indexes may go at this very moment.
    let family = lock_family(tx, manifest.id).await?;
    let let_go: Vec<ManifestId> = family.into_iter().filter(|id| *id != manifest.id).collect();
    let sql = "DELETE FROM manifest WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(manifest.id).execute(c).await.map(drop))?;
    settle(tx, &let_go, now + grace).await?;
    usage::add(tx, manifest.namespace, -manifest.size).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_sweep_looks_at_deleted_manifests_alone() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, PURGEABLE).await;
        assert_eq!(plan, "SEARCH manifest USING INDEX manifest_purge (expires_at<?)");
    }
}
