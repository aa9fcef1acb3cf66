//! What is counted.

use shared::{database::Transaction, on};
use sqlx::Error;

use crate::metadata::{BlobId, NamespaceId, examine::usage, locking};

/// Counts the links of a blob in a namespace. Whoever adds or removes one locks the blob first. The used bytes follow in the check behind.
pub(super) async fn share(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    blob: BlobId,
) -> Result<Option<&'static str>, Error> {
    let lock = locking!(tx, "SELECT id FROM blob WHERE id = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(lock).bind(blob).fetch_all(c).await)?;
    let count = "SELECT count(*) FROM link l JOIN repository r ON r.id = l.repository_id \
                 WHERE l.blob_id = $2 AND r.namespace_id = $1";
    let (links,): (i64,) = on!(tx, c => sqlx::query_as(count).bind(namespace).bind(blob).fetch_one(c).await)?;
    let delete = "DELETE FROM namespace_blob WHERE namespace_id = $1 AND blob_id = $2 AND links <> $3";
    let wrong = on!(tx, c => {
        let query = sqlx::query(delete).bind(namespace).bind(blob).bind(links);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    let insert = "INSERT INTO namespace_blob (namespace_id, blob_id, links) SELECT $1, $2, $3 WHERE $3 > 0 \
                  ON CONFLICT (namespace_id, blob_id) DO NOTHING";
    let right = on!(tx, c => {
        let query = sqlx::query(insert).bind(namespace).bind(blob).bind(links);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok((wrong + right > 0).then_some("counted again"))
}

/// Counts what a namespace uses and reserves. Whoever changes its use holds its row until the commit, so behind that lock nobody is half way.
pub(super) async fn recount(tx: &mut Transaction<'_>, namespace: NamespaceId) -> Result<Option<&'static str>, Error> {
    let insert =
        "INSERT INTO usage (namespace_id) SELECT id FROM namespace WHERE id = $1 ON CONFLICT (namespace_id) DO NOTHING";
    let made = on!(tx, c => sqlx::query(insert).bind(namespace).execute(c).await.map(|done| done.rows_affected()))?;
    let lock = locking!(tx, "SELECT namespace_id FROM usage WHERE namespace_id = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(lock).bind(namespace).fetch_all(c).await)?;
    let counted =
        on!(tx, c => sqlx::query(usage::RECOUNT).bind(namespace).execute(c).await.map(|done| done.rows_affected()))?;
    Ok((made + counted > 0).then_some("counted again"))
}
