//! The end of a manifest: its row, its payload and its references go, and what they held is let go.
//!
//! A purge works on one manifest and takes all its locks at its beginning, in everybody's order, so it waits for a push and a push
//! waits for it, and neither is ever the victim of a deadlock. An operation that holds other locks already cannot purge: it asks for
//! a purge before it, and runs again.
//!
//! A manifest may name ten thousand things, and no transaction takes on so many: it goes in steps. The first hides it from its readers for good; each removes
//! some of what it names and lets that go; the last removes the row. What is left between two of them is a deleted manifest that names less than its payload
//! says, and its expiry lies before its deletion to say so: a push of it writes all of it again, and whoever comes to it later goes on.

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
        Metadata, NamespaceId, RepositoryId,
        events::{self, Event},
        json_list,
        links::PROMISE_LIFE,
        pace::{Batch, Kind},
        parse_digest, usage,
    },
};

/// Who is written into the event of a manifest that nobody deleted.
const COLLECTOR: &str = "collector";

/// How many of the things that a manifest names one step lets go, where a person waits for it.
pub const STEP: i64 = 1_000;

/// Purges one manifest, or some of what it names, unless it has come back or is not due yet.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Which, from [`purgeable`].
    pub manifest: ManifestId,
    /// When it counts as due.
    pub due: Due,
    /// How long the children that it lets go stay at least.
    pub grace: Duration,
    /// How many of the things that it names go at most; one or more.
    pub most: i64,
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

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purging {
    /// It has come back, or is not due yet.
    Left,
    /// Nobody sees it any more, and some of what it names is let go.
    Begun(Purged),
    /// Nothing is left of it.
    Gone(Purged),
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
    /// What the step came to, and how many of the things that it names it let go.
    type Output = (Purging, usize);
    type Refusal = Infallible;
    const NAME: &'static str = "purge_manifest";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, Failure<Infallible>> {
        let now = tx.now();
        let locked = lock_to_purge(tx, self.manifest, self.most).await?;
        let Some(locked) = locked.filter(|locked| self.due.has_come(locked, now)) else {
            return Ok((Purging::Left, 0));
        };
        let Purged { repository, digest } = &locked.named;
        if self.due == Due::Untagged {
            events::record(tx, &Event::ManifestDeleted { repository, digest, tags: &[], actor: COLLECTOR }).await?;
        }
        let rows = locked.part.rows();
        let rest = purge(tx, &locked, self.grace).await?;
        reach(Point::ManifestPurged)?;
        let purging = match rest {
            Rest::Nothing => Purging::Gone(locked.named),
            Rest::More => Purging::Begun(locked.named),
        };
        Ok((purging, rows))
    }

    fn committed(&self, (purging, _): &Self::Output) {
        if let Purging::Gone(Purged { repository, digest }) | Purging::Begun(Purged { repository, digest }) = purging {
            self.remembered.forget(repository, [Reference::Digest(*digest)]);
        }
    }
}

impl Batch for Purge {
    const KIND: Kind = Kind::References;

    fn size(&self, (_, rows): &Self::Output) -> usize {
        *rows
    }
}

/// Purges a manifest, in as many steps as it takes.
///
/// # Errors
/// What the database says; what was let go before that stays so, and the collector goes on.
pub async fn purge_whole(
    metadata: &Metadata,
    manifest: ManifestId,
    mut due: Due,
    grace: Duration,
) -> Result<Option<Purged>, DatabaseError> {
    loop {
        let most = metadata.paces().batch(Kind::References);
        let remembered = metadata.manifests().clone();
        let (purging, _) = metadata.collect(Purge { manifest, due, grace, most, remembered }).await?;
        match purging {
            Purging::Left => return Ok(None),
            Purging::Begun(_) => {
                reach(Point::PurgeBegun)?;
                // From its first step on its time has passed; unless a push has brought it back since.
                due = Due::AfterWindow;
            }
            Purging::Gone(purged) => {
                reach(Point::PurgeCommitted)?;
                return Ok(Some(purged));
            }
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

/// A manifest that is locked together with what a step of its purge lets go.
#[derive(Clone, Debug)]
pub struct LockedToPurge {
    id: ManifestId,
    named: Purged,
    part: Part,
    /// Its children in that part, and with the last part its referrers. No other can come while the manifest's turn is held: their pushes wait for it.
    family: Vec<ManifestId>,
    repository: RepositoryId,
    namespace: NamespaceId,
    size: i64,
    expires_at: Option<Timestamp>,
    /// Whether no reader sees it any more.
    pub deleted: bool,
}

/// Some of what a manifest names.
#[derive(Clone, Debug)]
struct Part {
    /// Digests of blobs,
    blobs: Vec<String>,
    /// and of manifests.
    children: Vec<String>,
    /// Whether there is no more.
    last: bool,
}

impl Part {
    /// At most so many, whichever come first: to put them in an order would read all of them for each step.
    async fn of(tx: &mut Transaction<'_>, manifest: ManifestId, most: i64) -> Result<Self, Error> {
        let blobs = "SELECT digest FROM manifest_blob WHERE manifest_id = $1 LIMIT $2";
        let children = "SELECT digest FROM manifest_child WHERE manifest_id = $1 LIMIT $2";
        let blobs = some_named(tx, blobs, manifest, most).await?;
        let left = most - blobs.len() as i64;
        let children = some_named(tx, children, manifest, left).await?;
        let last = (children.len() as i64) < left;
        Ok(Self { blobs, children, last })
    }

    const fn rows(&self) -> usize {
        self.blobs.len() + self.children.len()
    }
}

async fn some_named(
    tx: &mut Transaction<'_>,
    sql: &'static str,
    manifest: ManifestId,
    most: i64,
) -> Result<Vec<String>, Error> {
    let found: Vec<(String,)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).bind(most).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(digest,)| digest).collect())
}

/// Locks a manifest with everything that a step of its [`purge`] changes, `most` of the things that it names, in everybody's order. None if it has gone.
///
/// # Errors
/// What the database says.
pub async fn lock_to_purge(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    most: i64,
) -> Result<Option<LockedToPurge>, Error> {
    if tx.dialect() == Dialect::Postgres {
        take_turn_of(tx, manifest).await?;
    }
    // Behind the turn: whoever purges it, or pushes it again, changes what it names.
    let part = Part::of(tx, manifest, most).await?;
    let sql = "SELECT repository_id, digest FROM manifest WHERE id = $1";
    let found: Option<(RepositoryId, String)> =
        on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    let Some((repository, digest)) = found else { return Ok(None) };
    lock_links(tx, repository, &part).await?;
    let mut family = lock_family(tx, (repository, manifest), &part, &digest).await?;
    family.retain(|id| *id != manifest);
    let sql = "SELECT m.repository_id, r.namespace_id, r.name, m.digest, m.size, m.expires_at, m.deleted_at IS NOT NULL
               FROM manifest m JOIN repository r ON r.id = m.repository_id WHERE m.id = $1";
    let found: Option<LockedRow> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    found.map(|row| locked(manifest, part, family, row)).transpose()
}

type LockedRow = (RepositoryId, NamespaceId, String, String, i64, Option<Timestamp>, bool);

fn locked(id: ManifestId, part: Part, family: Vec<ManifestId>, row: LockedRow) -> Result<LockedToPurge, Error> {
    let (repository, namespace, name, digest, size, expires_at, deleted) = row;
    let name = name.parse().map_err(|error| Error::Decode(Box::new(error)))?;
    let named = Purged { repository: name, digest: parse_digest(&digest)? };
    Ok(LockedToPurge { id, named, part, family, repository, namespace, size, expires_at, deleted })
}

/// The links of the blobs of a part. Blobs first and links by their ids: left to itself PostgreSQL may walk through all links of a repository.
async fn lock_links(tx: &mut Transaction<'_>, repository: RepositoryId, part: &Part) -> Result<(), Error> {
    if tx.dialect() == Dialect::Sqlite || part.blobs.is_empty() {
        return Ok(());
    }
    let sql = "SELECT blob_id FROM link WHERE repository_id = $1 AND blob_id = ANY(ARRAY(
                   SELECT id FROM blob WHERE digest = ANY(ARRAY(SELECT json_array_elements_text($2::json)))))
               ORDER BY blob_id FOR UPDATE";
    let digests = json_list(&part.blobs);
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(sql).bind(repository).bind(digests).fetch_all(c).await)?;
    Ok(())
}

/// The manifest itself, its children in a part and, with the last part, its referrers, locked by id.
async fn lock_family(
    tx: &mut Transaction<'_>,
    (repository, manifest): (RepositoryId, ManifestId),
    part: &Part,
    digest: &str,
) -> Result<Vec<ManifestId>, Error> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "SELECT id FROM manifest WHERE id IN (
                 SELECT $1
                 UNION SELECT id FROM manifest WHERE repository_id = $2 AND digest IN (SELECT value FROM json_each($3))
                 UNION SELECT id FROM manifest WHERE repository_id = $2 AND subject_digest = $4)"
        }
        Dialect::Postgres => {
            "SELECT id FROM manifest WHERE id IN (
                 SELECT $1
                 UNION SELECT id FROM manifest
                     WHERE repository_id = $2 AND digest = ANY(ARRAY(SELECT json_array_elements_text($3::json)))
                 UNION SELECT id FROM manifest WHERE repository_id = $2 AND subject_digest = $4)
             ORDER BY id FOR UPDATE"
        }
    };
    let (children, subject) = (json_list(&part.children), part.last.then_some(digest));
    let found: Vec<(ManifestId,)> = on!(tx, c => {
        sqlx::query_as(sql).bind(manifest).bind(repository).bind(children).bind(subject).fetch_all(c).await
    })?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// What a step leaves of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is gone.
    Nothing,
    /// Nobody sees it any more, and it is due for [`Purge`].
    More,
}

/// Removes a locked manifest that carries no tag, or some of what it names, and lets go what that held: children without another hold stay for `grace`.
///
/// # Errors
/// What the database says.
pub async fn purge(tx: &mut Transaction<'_>, manifest: &LockedToPurge, grace: Duration) -> Result<Rest, Error> {
    let until = tx.now() + grace;
    let_go(tx, manifest).await?;
    reach(Point::HoldsSet)?;
    if !manifest.part.last {
        condemn(tx, manifest.id).await?;
        strip(tx, manifest).await?;
        reach(Point::ManifestStripped)?;
        settle(tx, &manifest.family, until).await?;
        return Ok(Rest::More);
    }
    let sql = "DELETE FROM manifest WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(manifest.id).execute(c).await.map(drop))?;
    reach(Point::ManifestErased)?;
    settle(tx, &manifest.family, until).await?;
    usage::relieve(tx, manifest.namespace, manifest.size).await?;
    Ok(Rest::Nothing)
}

/// Links of what it names expire, as if nothing named them: the collector looks who else does.
async fn let_go(tx: &mut Transaction<'_>, manifest: &LockedToPurge) -> Result<(), Error> {
    if manifest.part.blobs.is_empty() {
        return Ok(());
    }
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "UPDATE link SET expires_at = $2 WHERE repository_id = $3 AND (expires_at IS NULL OR expires_at < $2)
                 AND blob_id IN (SELECT id FROM blob WHERE digest IN (SELECT value FROM json_each($1)))"
        }
        Dialect::Postgres => {
            "UPDATE link SET expires_at = $2 WHERE repository_id = $3 AND (expires_at IS NULL OR expires_at < $2)
                 AND blob_id = ANY(ARRAY(
                     SELECT id FROM blob WHERE digest = ANY(ARRAY(SELECT json_array_elements_text($1::json)))))"
        }
    };
    let (digests, until) = (json_list(&manifest.part.blobs), tx.now() + PROMISE_LIFE);
    on!(tx, c => sqlx::query(sql).bind(digests).bind(until).bind(manifest.repository).execute(c).await.map(drop))
}

/// Hides a manifest from its readers for good. That it expired before it was deleted says that its rows are not what its payload says.
async fn condemn(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<(), Error> {
    let now = tx.now();
    let sql = "UPDATE manifest SET deleted_at = coalesce(deleted_at, $2), expires_at = coalesce(deleted_at, $2) - 1 WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(manifest).bind(now).execute(c).await.map(drop))
}

async fn strip(tx: &mut Transaction<'_>, manifest: &LockedToPurge) -> Result<(), Error> {
    let [blobs, children] = match tx.dialect() {
        Dialect::Sqlite => [
            "DELETE FROM manifest_blob
             WHERE repository_id = $1 AND manifest_id = $2 AND digest IN (SELECT value FROM json_each($3))",
            "DELETE FROM manifest_child
             WHERE repository_id = $1 AND manifest_id = $2 AND digest IN (SELECT value FROM json_each($3))",
        ],
        Dialect::Postgres => [
            "DELETE FROM manifest_blob WHERE repository_id = $1 AND manifest_id = $2
                 AND digest = ANY(ARRAY(SELECT json_array_elements_text($3::json)))",
            "DELETE FROM manifest_child WHERE repository_id = $1 AND manifest_id = $2
                 AND digest = ANY(ARRAY(SELECT json_array_elements_text($3::json)))",
        ],
    };
    let LockedToPurge { id, repository, part, .. } = manifest;
    for (sql, digests) in [(blobs, &part.blobs), (children, &part.children)] {
        if !digests.is_empty() {
            let digests = json_list(digests);
            on!(tx, c => sqlx::query(sql).bind(repository).bind(id).bind(digests).execute(c).await.map(drop))?;
        }
    }
    Ok(())
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
