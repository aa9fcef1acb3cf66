//! Links: which repository may read which blob, until when, and what was promised about it (design.md section 6).
//!
//! What pushes, mounts, manifests and the collector share, as functions on the transaction of the operation that calls them.

use std::time::Duration;

use shared::{
    clock::Timestamp,
    database::{Dialect, Failure, Transaction},
    digest::Digest,
    on,
};

use super::{
    BlobId, RepositoryId, blobs, json_list, parse_bytes, parse_digest,
    quotas::Exceeded,
    repositories::Repository,
    trash::{self, Place},
    usage,
};

pub mod collect;

/// How long a promise runs, and how long a link stays behind its last reference: longer than the slowest push between its first look and its manifest,
/// and longer than any address that was handed out for the bytes.
pub const PROMISE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What was promised about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Until when.
    pub until: Timestamp,
    /// To whom; nobody in particular if several hold it.
    pub holder: Option<String>,
}

impl Lease {
    /// Whether `holder` can be told that the blob stays, without writing anything: enough of the promise is left, and nobody else can end it.
    pub fn covers(&self, holder: &str, now: Timestamp) -> bool {
        self.is_also_of(holder) && self.until >= now + PROMISE_LIFE / 2
    }

    /// Whether a promise to `holder` only makes one longer that `holder` has: one that another holder's manifest could end is none of this one's.
    pub fn is_renewed_by(&self, holder: &str, now: Timestamp) -> bool {
        self.is_also_of(holder) && self.until > now
    }

    fn is_also_of(&self, holder: &str) -> bool {
        self.holder.as_deref().is_none_or(|held_by| held_by == holder)
    }
}

/// A linked blob, locked together with its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Its id.
    pub blob: BlobId,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether a kept manifest may name it: such a link has no expiry.
    pub referenced: bool,
    /// Whether its bytes are known to be damaged: then a push of it is wanted, and nothing new may rely on it.
    pub damaged: bool,
}

// From the digests to the blobs to the links, in this order and no other: left to itself SQLite walks through all links of the repository, and so does
// PostgreSQL where it takes the repository for an average one.
const LOCK_SQLITE: &str = "SELECT b.id, b.digest, b.size, b.state, l.expires_at \
    FROM blob b CROSS JOIN link l ON l.repository_id = $1 AND l.blob_id = b.id \
    WHERE b.digest IN (SELECT value FROM json_each($2)) ORDER BY b.id";
const LOCK_POSTGRES: &str = "SELECT b.id, b.digest, b.size, b.state, l.expires_at FROM blob b JOIN link l ON l.blob_id = b.id \
    WHERE b.digest = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))) AND l.repository_id = $1 \
    AND l.blob_id = ANY (ARRAY(SELECT id FROM blob WHERE digest = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))))) \
    ORDER BY b.id FOR UPDATE OF b, l";

/// Finds those of `digests` that the repository links, and locks blobs and links in the order of blob ids.
///
/// # Errors
/// The database failed.
pub async fn lock(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    digests: impl IntoIterator<Item = &Digest>,
) -> Result<Vec<Linked>, sqlx::Error> {
    let select = match tx.dialect() {
        Dialect::Sqlite => LOCK_SQLITE,
        Dialect::Postgres => LOCK_POSTGRES,
    };
    let digests = json_list(digests);
    let rows: Vec<(BlobId, String, i64, String, Option<Timestamp>)> =
        on!(tx, c => sqlx::query_as(select).bind(repository).bind(digests).fetch_all(c).await)?;
    rows.into_iter()
        .map(|(blob, digest, size, state, expires_at)| {
            let (digest, size) = (parse_digest(&digest)?, parse_bytes(size));
            Ok(Linked { blob, digest, size, referenced: expires_at.is_none(), damaged: state != blobs::LIVE })
        })
        .collect()
}

/// A kept manifest names these blobs from now on: their links do not expire, and the pusher's own promises are kept. The links are locked.
///
/// # Errors
/// The database failed.
pub async fn reference(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    blobs: &[BlobId],
    holder: &str,
) -> Result<(), sqlx::Error> {
    let update = match tx.dialect() {
        Dialect::Sqlite => {
            "UPDATE link SET expires_at = NULL, leased_until = CASE WHEN leased_by = $3 THEN 0 ELSE leased_until END \
             WHERE repository_id = $1 AND blob_id IN (SELECT CAST(value AS INTEGER) FROM json_each($2))"
        }
        Dialect::Postgres => {
            "UPDATE link SET expires_at = NULL, leased_until = CASE WHEN leased_by = $3 THEN 0 ELSE leased_until END \
             WHERE repository_id = $1 AND blob_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)::bigint))"
        }
    };
    let blobs = json_list(blobs.iter().map(|blob| blob.0));
    on!(tx, c => sqlx::query(update).bind(repository).bind(blobs).bind(holder).execute(c).await.map(drop))
}

/// Promises `holder` that a linked blob stays; false if there is no link. The blob is locked.
///
/// While another holder's promise runs the row names nobody: then no single one of them ends it with its manifest.
///
/// # Errors
/// The database failed.
pub async fn renew(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    blob: BlobId,
    holder: &str,
) -> Result<bool, sqlx::Error> {
    let update = "UPDATE link SET \
         leased_by = CASE WHEN leased_until > $4 AND (leased_by IS NULL OR leased_by <> $3) THEN NULL ELSE $3 END, \
         leased_until = CASE WHEN leased_until > $5 THEN leased_until ELSE $5 END, \
         expires_at = CASE WHEN expires_at < $5 THEN $5 ELSE expires_at END \
         WHERE repository_id = $1 AND blob_id = $2";
    let (now, until) = (tx.now(), tx.now() + PROMISE_LIFE);
    let renewed = on!(tx, c => {
        let query = sqlx::query(update).bind(repository).bind(blob).bind(holder).bind(now).bind(until);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(renewed > 0)
}

/// A link as it is wanted, with a promise.
#[derive(Clone, Copy, Debug)]
pub struct NewLink<'h> {
    /// Whose link.
    pub repository: Repository,
    /// To which blob.
    pub blob: BlobId,
    /// The blob's size in bytes.
    pub size: u64,
    /// Who is promised that it stays.
    pub holder: &'h str,
    /// Bytes of the namespace's quota that an upload has reserved for it, and does not any more.
    pub covered: u64,
}

/// Links a blob that the repository does not link yet, with a promise to `holder`. The blob is locked, or new.
///
/// # Errors
/// It is new to the namespace and over its quota, or the database failed.
pub async fn add<R: From<Exceeded>>(tx: &mut Transaction<'_>, link: &NewLink<'_>) -> Result<(), Failure<R>> {
    let NewLink { repository, blob, size, holder, covered } = *link;
    let until = tx.now() + PROMISE_LIFE;
    let insert =
        "INSERT INTO link (repository_id, blob_id, expires_at, leased_until, leased_by) VALUES ($1, $2, $3, $3, $4)";
    on!(tx, c => {
        sqlx::query(insert).bind(repository.id).bind(blob).bind(until).bind(holder).execute(c).await.map(drop)
    })?;
    usage::link_added(tx, repository.namespace, blob, size, covered).await
}

/// Promises `holder` that the blob stays, linking it if it is not linked yet. The blob is locked.
///
/// # Errors
/// It is new to the namespace and over its quota, or the database failed.
pub async fn promise<R: From<Exceeded>>(tx: &mut Transaction<'_>, link: &NewLink<'_>) -> Result<(), Failure<R>> {
    match renew(tx, link.repository.id, link.blob, link.holder).await? {
        true => usage::charge(tx, link.repository.namespace, 0, link.covered).await,
        false => add(tx, link).await,
    }
}

/// Removes a link; with its last one the blob goes, and its bytes go to the trash. Blob and link are locked.
///
/// # Errors
/// The database failed.
pub async fn remove(
    tx: &mut Transaction<'_>,
    repository: Repository,
    blob: BlobId,
    size: u64,
) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM link WHERE repository_id = $1 AND blob_id = $2";
    on!(tx, c => sqlx::query(delete).bind(repository.id).bind(blob).execute(c).await.map(drop))?;
    let orphan = "DELETE FROM blob WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM link WHERE blob_id = $1) \
                  RETURNING storage_key, store";
    let orphan: Option<Place> = on!(tx, c => sqlx::query_as(orphan).bind(blob).fetch_optional(c).await)?;
    if let Some(place) = orphan {
        trash::throw_away(tx, &place).await?;
    }
    usage::link_removed(tx, repository.namespace, blob, size).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[test]
    fn only_who_has_a_promise_renews_it() {
        let now = Timestamp::from_micros(0) + PROMISE_LIFE;
        let lease = |holder: Option<&str>, until| Lease { until, holder: holder.map(str::to_owned) };
        let soon = now + Duration::from_secs(1);
        assert!(lease(Some("ada"), soon).is_renewed_by("ada", now));
        assert!(lease(None, soon).is_renewed_by("ada", now), "nobody alone can end it");
        assert!(!lease(Some("bob"), soon).is_renewed_by("ada", now), "bob's manifest ends it");
        assert!(!lease(Some("ada"), now).is_renewed_by("ada", now), "it is over");
    }

    #[tokio::test]
    async fn looking_for_a_few_blobs_does_not_walk_through_a_repository() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, LOCK_SQLITE).await;
        assert!(plan.contains("b USING INDEX sqlite_autoindex_blob_1 (digest=?)"), "{plan}");
        assert!(plan.contains("l USING PRIMARY KEY (repository_id=? AND blob_id=?)"), "{plan}");
    }
}
