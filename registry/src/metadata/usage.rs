//! How many bytes a namespace uses: its distinct blobs and its manifests' payloads (I10).
//!
//! These rows are the last that an operation locks: every push of a namespace meets here.

use std::collections::BTreeMap;

use shared::{
    database::{Dialect, Transaction},
    on,
};

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

/// Many links at once are gone, each of a namespace to a blob of a size; a blob may stand here for several repositories.
///
/// # Errors
/// The database failed.
pub async fn links_removed(
    tx: &mut Transaction<'_>,
    removed: &[(NamespaceId, BlobId, u64)],
) -> Result<(), sqlx::Error> {
    let pairs = removed.iter().map(|(namespace, blob, _)| vec![namespace.0, blob.0]);
    let pairs = serde_json::Value::from_iter(pairs).to_string();
    let sql = match tx.dialect() {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    if let Some(lock) = sql.lock {
        on!(tx, c => sqlx::query(lock).bind(&pairs).execute(c).await.map(drop))?;
    }
    on!(tx, c => sqlx::query(sql.count).bind(&pairs).execute(c).await.map(drop))?;
    let last: Vec<(NamespaceId, BlobId)> = on!(tx, c => sqlx::query_as(sql.delete).bind(&pairs).fetch_all(c).await)?;
    let sizes: BTreeMap<BlobId, u64> = removed.iter().map(|(_, blob, size)| (*blob, *size)).collect();
    let mut freed: BTreeMap<NamespaceId, i64> = BTreeMap::new();
    for (namespace, blob) in last {
        *freed.entry(namespace).or_default() += stored_bytes(sizes[&blob]);
    }
    for (namespace, bytes) in freed {
        add(tx, namespace, -bytes).await?;
    }
    Ok(())
}

/// The statements of [`links_removed`] over `[[namespace, blob], …]`.
struct LinksRemoved {
    /// Takes the rows in everybody's order; only where there are row locks.
    lock: Option<&'static str>,
    count: &'static str,
    delete: &'static str,
}

macro_rules! links_removed {
    ($from:literal, $lock:expr) => {
        LinksRemoved {
            lock: $lock,
            count: concat!(
                "UPDATE namespace_blob SET links = namespace_blob.links - gone.links FROM (SELECT namespace_id, blob_id, count(*) AS links FROM ",
                $from,
                " GROUP BY namespace_id, blob_id) AS gone \
                 WHERE namespace_blob.namespace_id = gone.namespace_id AND namespace_blob.blob_id = gone.blob_id"
            ),
            delete: concat!(
                "DELETE FROM namespace_blob WHERE links <= 0 AND (namespace_id, blob_id) IN (SELECT namespace_id, blob_id FROM ",
                $from,
                ") RETURNING namespace_id, blob_id"
            ),
        }
    };
}

const SQLITE: LinksRemoved = links_removed!(
    "(SELECT json_extract(value, '$[0]') AS namespace_id, json_extract(value, '$[1]') AS blob_id FROM json_each($1)) AS pair",
    None
);
const POSTGRES: LinksRemoved = links_removed!(
    "(SELECT (value ->> 0)::bigint AS namespace_id, (value ->> 1)::bigint AS blob_id \
      FROM jsonb_array_elements($1::jsonb) AS value) AS pair",
    Some(
        "SELECT 1 FROM namespace_blob WHERE (namespace_id, blob_id) IN \
         (SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM jsonb_array_elements($1::jsonb) AS value) \
         ORDER BY namespace_id, blob_id FOR UPDATE"
    )
);
