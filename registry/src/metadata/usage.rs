//! How many bytes a namespace uses: its distinct blobs and its manifests' payloads (I10); and whether it may use more.
//!
//! These rows are the last that an operation locks: every push of a namespace meets here. So the quota is looked at in the statement that adds: without one
//! it costs nothing, and with one nobody comes between.

mod counted;
mod reserved;

use std::collections::BTreeMap;

use shared::{
    database::{Dialect, Failure, Transaction},
    on,
};

use self::counted::Bounds;
pub use self::{
    counted::{Brought, repository_restored},
    reserved::{Ahead, Allowance, NotReserved, Reserve, release},
};
pub(super) use self::{
    counted::{REPOSITORIES, TAGS, admit_repository},
    reserved::{Upload, grow, shrink},
};
use super::{
    BlobId, NamespaceId, parse_bytes,
    quotas::{Exceeded, Measure},
    stored_bytes,
};

/// What is uncovered has to fit into what is neither used nor reserved.
macro_rules! charge {
    ($returning:literal) => {
        concat!(
            "UPDATE usage SET used = used + $2, reserved = reserved - $3 WHERE namespace_id = $1 AND ($2 <= $3 \
             OR (SELECT quota IS NULL OR quota - used - reserved >= $2 - $3 FROM namespace WHERE id = $1))",
            $returning
        )
    };
}
const CHARGE_PAYLOAD: &str = charge!(
    " RETURNING (SELECT tag_quota FROM namespace WHERE id = $1) AS tag_quota, \
      (SELECT repository_quota FROM namespace WHERE id = $1) AS repository_quota"
);

/// Counts bytes that the namespace did not hold; `covered` bytes were reserved for them, and are not any more. Refuses what was not reserved and does not fit.
///
/// # Errors
/// It does not fit, or the database failed.
pub async fn charge<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    bytes: u64,
    covered: u64,
) -> Result<(), Failure<R>> {
    if bytes == 0 && covered == 0 {
        return Ok(());
    }
    let (bytes, covered) = (stored_bytes(bytes), stored_bytes(covered));
    let charged = on!(tx, c => {
        let query = sqlx::query(charge!("")).bind(namespace).bind(bytes).bind(covered);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    if charged == 0 { Err(refuse(tx, namespace, parse_bytes(bytes - covered)).await) } else { Ok(()) }
}

/// Counts what a push of a manifest has brought, and refuses it where that is more than the namespace may have.
///
/// # Errors
/// It does not fit, or the database failed.
pub async fn manifest_added<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    brought: &Brought,
) -> Result<(), Failure<R>> {
    if brought.payload == 0 && brought.tags == 0 && !brought.appeared {
        return Ok(());
    }
    let payload = stored_bytes(brought.payload);
    let bounds: Option<Bounds> = match payload {
        0 => {
            let select = "SELECT tag_quota, repository_quota FROM namespace WHERE id = $1";
            on!(tx, c => sqlx::query_as(select).bind(namespace).fetch_optional(c).await)?
        }
        // One statement: most pushes end with it.
        _ => on!(tx, c => {
            let query = sqlx::query_as(CHARGE_PAYLOAD).bind(namespace).bind(payload).bind(0_i64);
            query.fetch_optional(c).await
        })?,
    };
    match bounds {
        Some(bounds) => counted::admit(tx, namespace, brought, bounds).await,
        None => Err(refuse(tx, namespace, brought.payload).await),
    }
}

/// The refusal of bytes that do not fit, with the numbers as they stand.
async fn refuse<R: From<Exceeded>>(tx: &mut Transaction<'_>, namespace: NamespaceId, asked: u64) -> Failure<R> {
    let select = "SELECT n.name, n.quota, u.used, u.reserved FROM namespace n JOIN usage u ON u.namespace_id = n.id WHERE n.id = $1";
    let row: Result<(String, Option<i64>, i64, i64), sqlx::Error> =
        on!(tx, c => sqlx::query_as(select).bind(namespace).fetch_one(c).await);
    let (name, quota, used, reserved) = match row {
        Ok(row) => row,
        Err(error) => return Failure::Database(error),
    };
    let [used, reserved] = [used, reserved].map(parse_bytes);
    let free = quota.map(|quota| parse_bytes(quota).saturating_sub(used + reserved));
    // Somebody made room since the look before.
    let Some(quota) = quota.map(parse_bytes).filter(|_| free < Some(asked.max(1))) else { return Failure::Again };
    let exceeded = Exceeded { namespace: name, of: Measure::Bytes, quota, used, reserved, asked };
    Failure::Refused(exceeded.into())
}

/// Locks the row of a namespace, the last of all locks.
async fn lock(tx: &mut Transaction<'_>, namespace: NamespaceId) -> Result<(), sqlx::Error> {
    if tx.dialect() == Dialect::Postgres {
        let lock = "SELECT 1 FROM usage WHERE namespace_id = $1 FOR UPDATE";
        on!(tx, c => sqlx::query(lock).bind(namespace).execute(c).await.map(drop))?;
    }
    Ok(())
}

/// Takes bytes that are gone off the used ones.
///
/// # Errors
/// The database failed.
pub async fn relieve(tx: &mut Transaction<'_>, namespace: NamespaceId, bytes: i64) -> Result<(), sqlx::Error> {
    if bytes == 0 {
        return Ok(());
    }
    let update = "UPDATE usage SET used = used - $2 WHERE namespace_id = $1";
    on!(tx, c => sqlx::query(update).bind(namespace).bind(bytes).execute(c).await.map(drop))
}

/// One more repository of the namespace links the blob: the first one makes its bytes count. `covered` bytes were reserved for it.
///
/// # Errors
/// It does not fit, or the database failed.
pub async fn link_added<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    blob: BlobId,
    size: u64,
    covered: u64,
) -> Result<(), Failure<R>> {
    let upsert = "INSERT INTO namespace_blob (namespace_id, blob_id, links) VALUES ($1, $2, 1) \
                  ON CONFLICT (namespace_id, blob_id) DO UPDATE SET links = namespace_blob.links + 1 RETURNING links";
    let (links,): (i64,) = on!(tx, c => sqlx::query_as(upsert).bind(namespace).bind(blob).fetch_one(c).await)?;
    charge(tx, namespace, if links == 1 { size } else { 0 }, covered).await
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
    relieve(tx, namespace, stored_bytes(size)).await
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
        relieve(tx, namespace, bytes).await?;
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
