//! Rows of manifests: what they say, what they name, and how long they stay.
//!
//! References are by digest within the repository, so a blob, child or subject that comes later is named without a second write.

mod expiry;
mod purge;
mod read;
mod remembered;
mod turn;
mod write;

use std::time::Duration;

use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    digest::Digest,
    on,
};
use sqlx::Error;

use super::{RepositoryId, json_list, parse_bytes, parse_digest};

pub use expiry::{grace_end, settle};
pub use purge::{Due, LockedToPurge, Purge, Purged, Purging, Rest, STEP, lock_to_purge, purge, purge_whole, purgeable};
pub use read::{Found, find, find_payload};
pub use remembered::{Remembered, Served};
pub use turn::take_turn;
pub use write::{Deletion, NewManifest, delete, insert, name, revive, touch};

/// How long a manifest stays that nothing holds: time for the index or the tag of a push that goes child by child.
pub const MANIFEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The annotation by which an image says how long it is to live. A lifecycle rule may heed it.
pub const ANNOTATION: &str = "portreeve.expires-after";

/// The id of a row in `manifest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, utoipa::ToSchema)]
#[sqlx(transparent)]
pub struct ManifestId(pub i64);

/// A manifest's row, as far as operations look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row's id, never used again.
    pub id: ManifestId,
    /// What the payload hashes to.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// The payload's length in bytes.
    pub size: u64,
    /// Whether no reader sees it any more; it waits for its purge.
    pub deleted: bool,
    /// Whether its purge has begun, so that not all of what it names is in its rows.
    pub stripped: bool,
}

/// Which manifests of a repository an operation is about to rely on or to change.
#[derive(Clone, Debug, Default)]
pub struct Affected {
    /// By digest; those that are absent are simply not found.
    pub digests: Vec<Digest>,
    /// By id: what tags point at.
    pub ids: Vec<ManifestId>,
    /// A manifest that may be new: the indexes that list it, and the referrers that wait for it with an expiry. An index that goes
    /// while its child comes cannot lock a row that is not there yet, so the child locks the index.
    pub family_of: Option<Digest>,
}

/// Locks manifests in the order of their ids, which is everybody's order.
///
/// # Errors
/// What the database says.
pub async fn lock(tx: &mut Transaction<'_>, repository: RepositoryId, affected: &Affected) -> Result<Vec<Row>, Error> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "SELECT id, digest, media_type, size, deleted_at IS NOT NULL, coalesce(expires_at < deleted_at, false) FROM manifest WHERE id IN (
             SELECT id FROM manifest WHERE repository_id = $1 AND digest IN (SELECT value FROM json_each($2))
             UNION SELECT CAST(value AS INTEGER) FROM json_each($3)
             UNION SELECT manifest_id FROM manifest_child WHERE repository_id = $1 AND digest = $4
             UNION SELECT id FROM manifest WHERE repository_id = $1 AND subject_digest = $4 AND expires_at IS NOT NULL)
         ORDER BY id"
        }
        Dialect::Postgres => {
            "SELECT id, digest, media_type, size, deleted_at IS NOT NULL, coalesce(expires_at < deleted_at, false) FROM manifest WHERE id IN (
             SELECT id FROM manifest
                 WHERE repository_id = $1 AND digest = ANY(ARRAY(SELECT json_array_elements_text($2::json)))
             UNION SELECT json_array_elements_text($3::json)::bigint
             UNION SELECT manifest_id FROM manifest_child WHERE repository_id = $1 AND digest = $4
             UNION SELECT id FROM manifest WHERE repository_id = $1 AND subject_digest = $4 AND expires_at IS NOT NULL)
         ORDER BY id FOR UPDATE"
        }
    };
    let digests = json_list(&affected.digests);
    let ids = json_list(affected.ids.iter().map(|id| id.0));
    let family_of = affected.family_of.map(|digest| digest.to_string());
    let found: Vec<LockedRow> = on!(tx, c => sqlx::query_as(sql)
        .bind(repository).bind(digests).bind(ids).bind(family_of).fetch_all(c).await)?;
    found.into_iter().map(row).collect()
}

type LockedRow = (ManifestId, String, String, i64, bool, bool);

fn row((id, digest, media_type, size, deleted, stripped): LockedRow) -> Result<Row, Error> {
    Ok(Row { id, digest: parse_digest(&digest)?, media_type, size: parse_bytes(size), deleted, stripped })
}

/// The row of a manifest, deleted ones too, without a lock.
///
/// # Errors
/// What the database says.
pub async fn id(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<Option<ManifestId>, Error> {
    let sql = "SELECT id FROM manifest WHERE repository_id = $1 AND digest = $2";
    let digest = digest.to_string();
    let found: Option<(ManifestId,)> =
        on!(tx, c => sqlx::query_as(sql).bind(repository).bind(digest).fetch_optional(c).await)?;
    Ok(found.map(|(id,)| id))
}

/// Whether a kept manifest of the repository lists this digest as its child: the digest of one that does.
///
/// # Errors
/// What the database says.
pub async fn parent(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    child: &Digest,
) -> Result<Option<Digest>, Error> {
    let sql = "SELECT m.digest FROM manifest_child c JOIN manifest m ON m.id = c.manifest_id
               WHERE c.repository_id = $1 AND c.digest = $2 LIMIT 1";
    let child = child.to_string();
    let found: Option<(String,)> =
        on!(tx, c => sqlx::query_as(sql).bind(repository).bind(child).fetch_optional(c).await)?;
    found.map(|(digest,)| parse_digest(&digest)).transpose()
}

/// Puts the moment an untagged manifest may go ahead to `until`, for a pusher that was told that it is here. False if it is not.
///
/// # Errors
/// What the database says.
pub async fn renew(tx: &mut Transaction<'_>, manifest: ManifestId, until: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE manifest SET expires_at = CASE WHEN expires_at < $2 THEN $2 ELSE expires_at END
               WHERE id = $1 AND deleted_at IS NULL";
    let renewed = on!(tx, c => {
        sqlx::query(sql).bind(manifest).bind(until).execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok(renewed > 0)
}
