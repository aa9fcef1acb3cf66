//! Blobs as repositories see them: through their links.

use std::{convert::Infallible, sync::Arc};

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Durability, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::{
    BlobId, RepositoryId,
    hot::Hot,
    links::{self, Lease, NewLink},
    locking,
    manifests::ManifestId,
    parse_bytes, parse_digest,
    quotas::Exceeded,
    repositories,
    trash::Place,
};
use crate::{
    failpoints::{Point, reach},
    store::StorageKey,
};

/// The state of a blob whose bytes are there, as far as anybody knows.
pub(super) const LIVE: &str = "live";
/// The state of a blob whose bytes were found missing or wrong. The next push of its digest heals it.
pub(super) const DAMAGED: &str = "damaged";

/// A blob's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Blob {
    /// Its id.
    pub(super) id: BlobId,
    /// Its size in bytes.
    #[sqlx(try_from = "i64")]
    pub(super) size: u64,
    /// Where its bytes lie.
    #[sqlx(flatten)]
    pub(super) place: Place,
    state: String,
}

impl Blob {
    /// Whether its bytes are there, as far as anybody knows.
    pub(super) fn is_live(&self) -> bool {
        self.state == LIVE
    }
}

/// Finds a blob, whoever links it, and locks it.
pub(super) async fn lock(tx: &mut Transaction<'_>, digest: &Digest) -> Result<Option<Blob>, sqlx::Error> {
    let select = locking!(tx, "SELECT id, size, storage_key, store, state FROM blob WHERE digest = $1", "FOR UPDATE");
    on!(tx, c => sqlx::query_as(select).bind(digest.to_string()).fetch_optional(c).await)
}

/// Gives a blob, which is locked, the sound bytes that lie there.
///
/// # Errors
/// The database failed.
pub(super) async fn move_to(tx: &mut Transaction<'_>, blob: BlobId, place: &Place) -> Result<(), sqlx::Error> {
    let update = "UPDATE blob SET storage_key = $2, store = $3, state = $4, verified_at = $5 WHERE id = $1";
    let now = tx.now();
    on!(tx, c => {
        let query = sqlx::query(update).bind(blob).bind(place.key.as_str()).bind(&place.store).bind(LIVE).bind(now);
        query.execute(c).await.map(drop)
    })
}

/// A blob that a repository links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: BlobId,
    /// Its size in bytes.
    pub size: u64,
    /// Where its bytes lie.
    pub key: StorageKey,
    /// Whether its bytes are known to be damaged.
    pub damaged: bool,
    /// What was promised about it in this repository.
    pub lease: Lease,
}

/// What is kept in memory about held blobs: that they are there, where, and what was promised.
///
/// Whoever takes a link away, ends a promise or makes one has the answer dropped. Where only a promise became longer, or that of
/// several, an old answer would promise less than is true, which harms nobody: pushes and mounts that find the link leave it.
pub type HotBlobs = Hot<(RepositoryName, Digest), Arc<Held>>;

/// Finds a blob in a repository.
///
/// # Errors
/// The database failed.
pub async fn find(
    reader: &mut Reader,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Held>, DatabaseError> {
    let select = "SELECT b.id, b.size, b.storage_key, b.state, l.leased_until, l.leased_by \
                  FROM repository r JOIN link l ON l.repository_id = r.id JOIN blob b ON b.id = l.blob_id \
                  WHERE r.name = $1 AND r.deleted_at IS NULL AND b.digest = $2";
    let row: Option<(BlobId, i64, String, String, Timestamp, Option<String>)> = on!(reader, c => {
        sqlx::query_as(select).bind(repository.as_str()).bind(digest.to_string()).fetch_optional(c).await
    })?;
    Ok(row.map(|(id, size, key, state, until, holder)| Held {
        id,
        size: parse_bytes(size),
        key: StorageKey::stored(&key),
        damaged: state != LIVE,
        lease: Lease { until, holder },
    }))
}

/// The names of repositories that link the blob, in the order of their ids, of at most `limit` links.
///
/// # Errors
/// The database failed.
pub async fn holders(reader: &mut Reader, digest: &Digest, limit: i64) -> Result<Vec<String>, DatabaseError> {
    let select = "SELECT r.name FROM (SELECT l.repository_id FROM blob b JOIN link l ON l.blob_id = b.id \
                  WHERE b.digest = $1 ORDER BY l.blob_id, l.repository_id LIMIT $2) AS looked \
                  JOIN repository r ON r.id = looked.repository_id WHERE r.deleted_at IS NULL ORDER BY r.id";
    let rows: Vec<(String,)> =
        on!(reader, c => sqlx::query_as(select).bind(digest.to_string()).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// The repository does not hold the blob (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

/// Promises a pusher that a blob stays in a repository.
#[derive(Debug)]
pub struct PromiseBlob {
    /// In which repository.
    pub repository: RepositoryName,
    /// Which blob.
    pub digest: Digest,
    /// Whose promise it is.
    pub holder: String,
    /// Whether the promise that was found still runs and is this holder's too: then losing this longer one with the machine's power breaks nothing.
    pub renewal: bool,
    /// Where the answer with the old promise may be kept.
    pub hot: HotBlobs,
}

impl Operation for PromiseBlob {
    type Output = ();
    type Refusal = NotHeld;
    const NAME: &'static str = "promise_blob";

    fn durability(&self) -> Durability {
        if self.renewal { Durability::Relaxed } else { Durability::Full }
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotHeld>> {
        let repository = repositories::lock(tx, &self.repository).await?.ok_or(Failure::Refused(NotHeld))?;
        let held = links::lock(tx, repository.id, [&self.digest]).await?;
        // Damage may have been found since the look: no promise can be kept about such bytes.
        let Some(linked) = held.first().filter(|linked| !linked.damaged) else { return Err(Failure::Refused(NotHeld)) };
        links::renew(tx, repository.id, linked.blob, &self.holder).await?;
        reach(Point::PromiseWritten)?;
        Ok(())
    }

    fn committed(&self, (): &()) {
        self.hot.forget(&(self.repository.clone(), self.digest));
    }
}

/// Links a blob of one repository into another.
#[derive(Debug)]
pub struct MountBlob {
    /// Where it is wanted.
    pub into: RepositoryName,
    /// Where it is.
    pub from: RepositoryName,
    /// Which blob.
    pub digest: Digest,
    /// Whose promise the link begins with.
    pub holder: String,
}

/// Why a blob was not mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMounted {
    /// The source does not have it.
    NotHeld,
    /// The namespace has no room for it.
    Exceeded(Exceeded),
}

impl From<Exceeded> for NotMounted {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

impl Operation for MountBlob {
    type Output = ();
    type Refusal = NotMounted;
    const NAME: &'static str = "mount_blob";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotMounted>> {
        let not_held = || Failure::Refused(NotMounted::NotHeld);
        let from = repositories::lock(tx, &self.from).await?.ok_or_else(not_held)?;
        let into = repositories::ensure(tx, &self.into).await?;
        let blob = lock(tx, &self.digest).await?.ok_or_else(not_held)?;
        // Whoever removes a link locks its blob first, so what is seen now stays until the end.
        let select = "SELECT 1 FROM link WHERE repository_id = $1 AND blob_id = $2";
        let link: Option<(i32,)> =
            on!(tx, c => sqlx::query_as(select).bind(from.id).bind(blob.id).fetch_optional(c).await)?;
        if link.is_none() || !blob.is_live() {
            return Err(not_held());
        }
        let link = NewLink { repository: into, blob: blob.id, size: blob.size, holder: &self.holder, covered: 0 };
        links::promise(tx, &link).await?;
        reach(Point::MountLinked)?;
        Ok(())
    }
}

/// How many deleted manifests one look at a blob asks to purge.
const MAX_PURGED_FIRST: i64 = 1000;

/// Why a blob was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDeleted {
    /// The repository does not hold it.
    NotHeld,
    /// A living manifest of the repository names it.
    InUse(Digest),
    /// Only deleted manifests name it: purge them, and delete again. (A purge takes locks that come before this operation's.)
    PurgeFirst(Vec<ManifestId>),
}

/// Removes a repository's link to a blob.
#[derive(Debug)]
pub struct DeleteBlob {
    /// From which repository.
    pub repository: RepositoryName,
    /// Which blob.
    pub digest: Digest,
    /// Where the answer may be kept.
    pub hot: HotBlobs,
}

impl Operation for DeleteBlob {
    type Output = ();
    type Refusal = NotDeleted;
    const NAME: &'static str = "delete_blob";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotDeleted>> {
        let not_held = Failure::Refused(NotDeleted::NotHeld);
        let Some(repository) = repositories::lock(tx, &self.repository).await? else { return Err(not_held) };
        let held = links::lock(tx, repository.id, [&self.digest]).await?;
        let [linked] = &held[..] else { return Err(not_held) };
        // A manifest that comes to name the blob locks its link first: what is seen now stays until the end.
        match self.named_by(tx, repository.id).await? {
            None => {}
            Some(reason) => return Err(Failure::Refused(reason)),
        }
        links::remove(tx, repository, linked.blob, linked.size).await?;
        reach(Point::LinkRemoved)?;
        Ok(())
    }

    fn committed(&self, (): &()) {
        self.hot.forget(&(self.repository.clone(), self.digest));
    }
}

impl DeleteBlob {
    /// Which manifests keep the blob from being deleted.
    async fn named_by(
        &self,
        tx: &mut Transaction<'_>,
        repository: RepositoryId,
    ) -> Result<Option<NotDeleted>, sqlx::Error> {
        // One living manifest decides, however many there are.
        let living = "SELECT m.digest FROM manifest_blob n JOIN manifest m ON m.id = n.manifest_id \
                      WHERE n.repository_id = $1 AND n.digest = $2 AND m.deleted_at IS NULL LIMIT 1";
        let digest = self.digest.to_string();
        let living: Option<(String,)> =
            on!(tx, c => sqlx::query_as(living).bind(repository).bind(&digest).fetch_optional(c).await)?;
        if let Some((manifest,)) = living {
            return Ok(Some(NotDeleted::InUse(parse_digest(&manifest)?)));
        }
        let deleted = "SELECT manifest_id FROM manifest_blob WHERE repository_id = $1 AND digest = $2 LIMIT $3";
        let deleted: Vec<(ManifestId,)> = on!(tx, c => {
            sqlx::query_as(deleted).bind(repository).bind(&digest).bind(MAX_PURGED_FIRST).fetch_all(c).await
        })?;
        let deleted: Vec<_> = deleted.into_iter().map(|(id,)| id).collect();
        Ok((!deleted.is_empty()).then_some(NotDeleted::PurgeFirst(deleted)))
    }
}

/// Marks a blob whose bytes were found missing or of the wrong size.
#[derive(Debug)]
pub struct MarkDamaged {
    /// Which blob.
    pub blob: BlobId,
    /// Under which key: since then a push may have healed it.
    pub key: StorageKey,
    /// Where answers about it may be kept.
    pub hot: HotBlobs,
}

impl Operation for MarkDamaged {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "mark_damaged";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let update = "UPDATE blob SET state = $3 WHERE id = $1 AND storage_key = $2";
        on!(tx, c => {
            sqlx::query(update).bind(self.blob).bind(self.key.as_str()).bind(DAMAGED).execute(c).await.map(drop)
        })?;
        reach(Point::DamageMarked)?;
        Ok(())
    }

    fn committed(&self, (): &()) {
        // Any number of repositories may link it; this happens once in the life of a disk.
        self.hot.forget_all();
    }
}
