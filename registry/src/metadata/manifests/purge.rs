//! The end of a manifest: its row, its payload and its references go, and what they held is let go.
//!
//! A purge works on one manifest and takes all its locks at its beginning, in everybody's order, so it waits for a push and a push
//! waits for it, and neither is ever the victim of a deadlock. An operation that holds other locks already cannot purge: it asks for
//! a purge before it, and runs again.

use std::{convert::Infallible, time::Duration};

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    reference::Reference,
    repository::RepositoryName,
};
use sqlx::Error;

use super::{ManifestId, Remembered, settle, turn::take_turn_of};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        NamespaceId, RepositoryId,
        events::{self, Event},
        links::PROMISE_LIFE,
        locking, parse_digest, usage,
    },
};

/// Who is written into the event of a manifest that nobody deleted.
const COLLECTOR: &str = "collector";

/// Purges one manifest, unless it has come back or is not due yet.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Which, from [`purgeable`].
    pub manifest: ManifestId,
    /// When it counts as due.
    pub due: Due,
    /// How long the children that it lets go stay at least.
    pub grace: Duration,
    /// Where answers about it may be kept.
    pub remembered: Remembered,
}

/// A manifest that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Where it was.
    pub repository: RepositoryName,
    /// Which it was.
    pub digest: Digest,
}

/// When a manifest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// When its undelete window has passed.
    AfterWindow,
    /// Now, if it is deleted: a person asked for the space.
    AtOnce,
    /// Although nobody deleted it: nothing holds it, and its grace has passed.
    Untagged,
}

impl Due {
    fn has_come(self, locked: &LockedToPurge, now: Timestamp) -> bool {
        let passed = locked.expires_at.is_some_and(|at| at < now);
        match self {
            Self::AfterWindow => locked.deleted && passed,
            Self::AtOnce => locked.deleted,
            Self::Untagged => !locked.deleted && passed,
        }
    }
}

impl Operation for Purge {
    /// What was purged; None if nothing was.
    type Output = Option<Purged>;
    type Refusal = Infallible;
    const NAME: &'static str = "purge_manifest";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Option<Purged>, Failure<Infallible>> {
        let now = tx.now();
        let locked = lock_to_purge(tx, self.manifest).await?;
        let Some(locked) = locked.filter(|locked| self.due.has_come(locked, now)) else { return Ok(None) };
        let Purged { repository, digest } = &locked.named;
        if self.due == Due::Untagged {
            events::record(tx, &Event::ManifestDeleted { repository, digest, tags: &[], actor: COLLECTOR }).await?;
        }
        purge(tx, &locked, self.grace).await?;
        reach(Point::ManifestPurged)?;
        Ok(Some(locked.named))
    }

    fn committed(&self, purged: &Option<Purged>) {
        if let Some(Purged { repository, digest }) = purged {
            self.remembered.forget(repository, [Reference::Digest(*digest)]);
        }
    }
}

const PURGEABLE: &str =
    "SELECT id FROM manifest WHERE deleted_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2";

/// Deleted manifests whose undelete window has passed, the longest overdue first.
///
/// # Errors
/// What the database says.
pub async fn purgeable(reader: &mut Reader, now: Timestamp, limit: i64) -> Result<Vec<ManifestId>, DatabaseError> {
    let found: Vec<(ManifestId,)> =
        on!(reader, c => sqlx::query_as(PURGEABLE).bind(now).bind(limit).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// A manifest whose blobs' links, children and referrers are locked with it.
#[derive(Clone, Debug)]
pub struct LockedToPurge {
    id: ManifestId,
    named: Purged,
    /// Its children and referrers. No other can come while the manifest's turn is held: their pushes wait for it.
    family: Vec<ManifestId>,
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
    }
    let mut family = lock_family(tx, manifest).await?;
    family.retain(|id| *id != manifest);
    let sql = "SELECT m.repository_id, r.namespace_id, r.name, m.digest, m.size, m.expires_at, m.deleted_at IS NOT NULL
               FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE m.id = $1";
    let found: Option<LockedRow> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    found.map(|row| locked(manifest, family, row)).transpose()
}

type LockedRow = (RepositoryId, NamespaceId, String, String, i64, Option<Timestamp>, bool);

fn locked(id: ManifestId, family: Vec<ManifestId>, row: LockedRow) -> Result<LockedToPurge, Error> {
    let (repository, namespace, name, digest, size, expires_at, deleted) = row;
    let name = name.parse().map_err(|error| Error::Decode(Box::new(error)))?;
    let named = Purged { repository: name, digest: parse_digest(&digest)? };
    Ok(LockedToPurge { id, named, family, repository, namespace, size, expires_at, deleted })
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
    reach(Point::HoldsSet)?;
    let sql = "DELETE FROM manifest WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(manifest.id).execute(c).await.map(drop))?;
    reach(Point::ManifestErased)?;
    settle(tx, &manifest.family, now + grace).await?;
    usage::relieve(tx, manifest.namespace, manifest.size).await
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
