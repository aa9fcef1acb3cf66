//! Links, and blobs without one. Blobs are locked before links, as everybody does.

use std::time::Duration;

use shared::{clock::Timestamp, database::Transaction, on};
use sqlx::Error;

use super::counts;
use crate::{
    metadata::{BlobId, NamespaceId, RepositoryId, links::PROMISE_LIFE, locking, manifests::ManifestId},
    store::StorageKey,
};

/// What a time may be ahead of the longest promise; the doctor allows as much.
const SLACK: Duration = PROMISE_LIFE;

/// A manifest of the link's repository names its blob.
macro_rules! named {
    () => {
        "EXISTS (SELECT 1 FROM manifest_blob n JOIN blob b ON b.digest = n.digest \
         WHERE n.repository_id = link.repository_id AND b.id = link.blob_id)"
    };
}

const REQUEUE: &str = concat!(
    "UPDATE link SET leased_until = CASE WHEN leased_until > $4 THEN $3 ELSE leased_until END, \
     expires_at = CASE WHEN ",
    named!(),
    " THEN NULL ELSE $3 END WHERE repository_id = $1 AND blob_id = $2 \
     AND (leased_until > $4 OR expires_at > $4 OR (expires_at IS NULL AND NOT ",
    named!(),
    "))"
);

async fn lock(tx: &mut Transaction<'_>, repository: RepositoryId, blob: BlobId) -> Result<(), Error> {
    let blobs = locking!(tx, "SELECT id FROM blob WHERE id = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(blobs).bind(blob).fetch_all(c).await)?;
    let links = locking!(tx, "SELECT blob_id FROM link WHERE repository_id = $1 AND blob_id = $2", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(links).bind(repository).bind(blob).fetch_all(c).await)?;
    Ok(())
}

/// Removes a link whose blob or repository is not there. What was counted from it is counted again by the check behind.
pub(super) async fn drop_link(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    blob: BlobId,
) -> Result<Option<&'static str>, Error> {
    lock(tx, repository, blob).await?;
    let delete = "DELETE FROM link WHERE repository_id = $1 AND blob_id = $2 AND \
                  (NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = $2) OR NOT EXISTS (SELECT 1 FROM repository r WHERE r.id = $1))";
    let gone = on!(tx, c => {
        sqlx::query(delete).bind(repository).bind(blob).execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok((gone > 0).then_some("the link is removed"))
}

/// Lets a link expire in a day that cannot, or not for long, unless a manifest names the blob: then it does not expire, and its promise ends in a day.
pub(super) async fn requeue(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    blob: BlobId,
) -> Result<Option<&'static str>, Error> {
    lock(tx, repository, blob).await?;
    let select = "SELECT found_until FROM repository WHERE id = $1";
    let found: Option<(Option<Timestamp>,)> =
        on!(tx, c => sqlx::query_as(select).bind(repository).fetch_optional(c).await)?;
    let until = tx.now() + PROMISE_LIFE;
    let farthest = found.and_then(|(found,)| found).unwrap_or(until).max(until + SLACK);
    let changed = on!(tx, c => {
        let query = sqlx::query(REQUEUE).bind(repository).bind(blob).bind(until).bind(farthest);
        query.execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok((changed > 0).then_some("the collector looks at it in a day"))
}

/// Forgets a blob that no repository holds.
pub(super) async fn release(
    tx: &mut Transaction<'_>,
    blob: BlobId,
    key: &StorageKey,
) -> Result<Option<&'static str>, Error> {
    let select = locking!(tx, "SELECT id FROM blob WHERE id = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(select).bind(blob).fetch_all(c).await)?;
    let delete =
        "DELETE FROM blob WHERE id = $1 AND storage_key = $2 AND NOT EXISTS (SELECT 1 FROM link WHERE blob_id = $1)";
    let gone = on!(tx, c => {
        sqlx::query(delete).bind(blob).bind(key.as_str()).execute(c).await.map(|done| done.rows_affected())
    })?;
    Ok((gone > 0).then_some("its row is removed, and its bytes go to quarantine"))
}

/// Links a blob that no repository holds where a manifest needs it. Whoever else might hold a blob has it without this.
pub(super) async fn adopt(
    tx: &mut Transaction<'_>,
    manifest: ManifestId,
    digest: &str,
) -> Result<Option<&'static str>, Error> {
    let select = locking!(tx, "SELECT id FROM blob WHERE digest = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(select).bind(digest).fetch_all(c).await)?;
    let select = "SELECT r.id, r.namespace_id, b.id FROM manifest m JOIN repository r ON r.id = m.repository_id \
                  JOIN manifest_blob n ON n.manifest_id = m.id AND n.digest = $2 JOIN blob b ON b.digest = n.digest \
                  WHERE m.id = $1 AND NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id)";
    let found: Option<(RepositoryId, NamespaceId, BlobId)> =
        on!(tx, c => sqlx::query_as(select).bind(manifest).bind(digest).fetch_optional(c).await)?;
    let Some((repository, namespace, blob)) = found else { return Ok(None) };
    // It is needed, so it cannot expire; nobody was promised anything. A quota that is exceeded now was when it was lost, too.
    let insert = "INSERT INTO link (repository_id, blob_id, expires_at, leased_until) VALUES ($1, $2, NULL, 0)";
    on!(tx, c => sqlx::query(insert).bind(repository).bind(blob).execute(c).await.map(drop))?;
    counts::share(tx, namespace, blob).await?;
    counts::recount(tx, namespace).await?;
    Ok(Some("the repository holds it again"))
}
