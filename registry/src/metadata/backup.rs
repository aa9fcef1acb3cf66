//! What a backup reads of the facts, and what a restore changes of them.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use shared::{
    database::{DatabaseError, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
};
use utoipa::ToSchema;

use super::{BlobId, blobs::LIVE, parse_bytes, parse_digest};
use crate::store::StorageKey;

/// How much a database speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BackupCounts)]
pub struct Counts {
    /// Living repositories.
    pub repositories: u64,
    /// Living manifests.
    pub manifests: u64,
    /// Tags that point at something.
    pub tags: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts what a database speaks of.
///
/// # Errors
/// The database failed.
pub async fn counts(reader: &mut Reader) -> Result<Counts, DatabaseError> {
    let select = "SELECT (SELECT count(*) FROM repository WHERE deleted_at IS NULL), \
                  (SELECT count(*) FROM manifest WHERE deleted_at IS NULL), \
                  (SELECT count(*) FROM tag WHERE manifest_id IS NOT NULL), \
                  (SELECT count(*) FROM blob), (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM blob)";
    let row: (i64, i64, i64, i64, i64) = on!(reader, c => sqlx::query_as(select).fetch_one(c).await)?;
    let [repositories, manifests, tags, blobs, bytes] = [row.0, row.1, row.2, row.3, row.4].map(parse_bytes);
    Ok(Counts { repositories, manifests, tags, blobs, bytes })
}

/// The number of the last step that was applied to the schema.
///
/// # Errors
/// The database failed.
pub async fn schema(reader: &mut Reader) -> Result<i64, DatabaseError> {
    let select = "SELECT CAST(coalesce(max(version), 0) AS BIGINT) FROM _sqlx_migrations WHERE success";
    let (version,): (i64,) = on!(reader, c => sqlx::query_as(select).fetch_one(c).await)?;
    Ok(version)
}

/// A blob and where its bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its row.
    pub id: BlobId,
    /// What its bytes hash to.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Under which key they lie.
    pub key: StorageKey,
    /// Whether they are known to be damaged.
    pub damaged: bool,
}

/// Blobs of a store behind an id, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn blobs_behind(
    reader: &mut Reader,
    store: &str,
    behind: BlobId,
    limit: i64,
) -> Result<Vec<Stored>, DatabaseError> {
    let select =
        "SELECT id, digest, size, storage_key, state FROM blob WHERE id > $1 AND store = $2 ORDER BY id LIMIT $3";
    let rows: Vec<(BlobId, String, i64, String, String)> =
        on!(reader, c => sqlx::query_as(select).bind(behind).bind(store).bind(limit).fetch_all(c).await)?;
    let stored = |(id, digest, size, key, state): (BlobId, String, i64, String, String)| {
        let (digest, size) = (parse_digest(&digest)?, parse_bytes(size));
        Ok(Stored { id, digest, size, key: key.into(), damaged: state != LIVE })
    };
    rows.into_iter().map(stored).collect()
}

/// A manifest that names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Naming {
    /// Its repository.
    pub repository: String,
    /// Its digest.
    pub manifest: String,
    /// A tag that points at it.
    pub tag: Option<String>,
}

/// Living manifests that name a blob, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn naming(reader: &mut Reader, blob: &Stored, limit: i64) -> Result<Vec<Naming>, DatabaseError> {
    // From the blob's links, so that nothing is walked through: references are found by repository and digest.
    let select = "SELECT r.name, m.digest, (SELECT min(t.name) FROM tag t WHERE t.manifest_id = m.id) \
                  FROM link l JOIN repository r ON r.id = l.repository_id \
                  JOIN manifest_blob n ON n.repository_id = l.repository_id AND n.digest = $2 \
                  JOIN manifest m ON m.id = n.manifest_id \
                  WHERE l.blob_id = $1 AND m.deleted_at IS NULL ORDER BY r.id, m.id LIMIT $3";
    let digest = blob.digest.to_string();
    let rows: Vec<(String, String, Option<String>)> =
        on!(reader, c => sqlx::query_as(select).bind(blob.id).bind(digest).bind(limit).fetch_all(c).await)?;
    let naming = |(repository, manifest, tag)| Naming { repository, manifest, tag };
    Ok(rows.into_iter().map(naming).collect())
}

/// Ends every upload and forgets its key, and how far a doctor had come; answers how many uploads there were.
///
/// For a restored database alone: whoever uploaded has gone, and what lies under such a key by now may be a blob that was finished after the backup. So
/// the bytes do not go to the trash, but become strays.
#[derive(Debug)]
pub struct ForgetUnfinished;

impl Operation for ForgetUnfinished {
    type Output = u64;
    type Refusal = Infallible;
    const NAME: &'static str = "forget_unfinished";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, Failure<Infallible>> {
        let ended = on!(tx, c => sqlx::query("DELETE FROM upload").execute(c).await.map(|done| done.rows_affected()))?;
        // What was reserved was reserved for them.
        let reserved = "UPDATE usage SET reserved = 0 WHERE reserved <> 0";
        on!(tx, c => sqlx::query(reserved).execute(c).await.map(drop))?;
        let examined = "DELETE FROM examination WHERE finished_at IS NULL";
        on!(tx, c => sqlx::query(examined).execute(c).await.map(drop))?;
        Ok(ended)
    }
}
