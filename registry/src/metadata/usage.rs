//! How many bytes a namespace uses: its distinct blobs and its manifests' payloads (I10).
//!
//! These rows are the last that an operation locks: every push of a namespace meets here.

use shared::{database::Transaction, on};

use super::{BlobId, NamespaceId, stored_bytes};

/// Adds to the used bytes, or takes away from them.
///
/// # Errors
/// The database failed.
pub async fn add(tx: &mut Transaction<'_>, namespace: NamespaceId, bytes: i64) -> Result<(), sqlx::Error> {
    if bytes == 0 {
        return Ok(());
    }
    let update = "UPDATE usage SET used = used + $2 WHERE namespace_id = $1";
    on!(tx, c => sqlx::query(update).bind(namespace).bind(bytes).execute(c).await.map(drop))
}

/// One more repository of the namespace links the blob: the first one makes its bytes count.
///
/// # Errors
/// The database failed.
pub async fn link_added(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    blob: BlobId,
    size: u64,
) -> Result<(), sqlx::Error> {
    let upsert = "INSERT INTO namespace_blob (namespace_id, blob_id, links) VALUES ($1, $2, 1) \
                  ON CONFLICT (namespace_id, blob_id) DO UPDATE SET links = namespace_blob.links + 1 RETURNING links";
    let (links,): (i64,) = on!(tx, c => sqlx::query_as(upsert).bind(namespace).bind(blob).fetch_one(c).await)?;
    match links {
        1 => add(tx, namespace, stored_bytes(size)).await,
        _ => Ok(()),
    }
}

/// One repository fewer links the blob: with the last one its bytes stop counting.
///
/// # Errors
/// The database failed.
pub async fn link_removed(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    blob: BlobId,
    size: u64,
) -> Result<(), sqlx::Error> {
    let update = "UPDATE namespace_blob SET links = links - 1 WHERE namespace_id = $1 AND blob_id = $2 RETURNING links";
    let left: Option<(i64,)> = on!(tx, c => sqlx::query_as(update).bind(namespace).bind(blob).fetch_optional(c).await)?;
    if left != Some((0,)) {
        return Ok(());
    }
    let delete = "DELETE FROM namespace_blob WHERE namespace_id = $1 AND blob_id = $2";
    on!(tx, c => sqlx::query(delete).bind(namespace).bind(blob).execute(c).await.map(drop))?;
    add(tx, namespace, -stored_bytes(size)).await
}
