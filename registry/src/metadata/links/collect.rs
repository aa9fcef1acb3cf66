//! The end of a link that nobody needs any more.

use std::convert::Infallible;

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::remove;
use crate::metadata::{
    BlobId, NamespaceId, RepositoryId, blobs::HotBlobs, locking, parse_bytes, parse_digest, repositories::Repository,
};

/// A link whose time has passed, as it was seen without a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Whose link.
    pub repository: Repository,
    /// The repository's name.
    pub name: RepositoryName,
    /// To which blob.
    pub blob: BlobId,
    /// The blob's digest.
    pub digest: Digest,
}

// By time and not by blob: each is locked in an operation of its own, and this order is that of an index. Those under a promise are no use to the caller
// and must not crowd out the others.
const EXPIRED: &str = "SELECT l.repository_id, r.namespace_id, r.name, l.blob_id, b.digest \
    FROM link l JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id \
    WHERE l.expires_at < $1 AND l.leased_until < $1 ORDER BY l.expires_at LIMIT $2";

/// Links whose time has passed, at most `limit`, the longest overdue first.
///
/// # Errors
/// The database failed.
pub async fn expired(reader: &mut Reader, now: Timestamp, limit: i64) -> Result<Vec<Expired>, DatabaseError> {
    let rows: Vec<(RepositoryId, NamespaceId, String, BlobId, String)> =
        on!(reader, c => sqlx::query_as(EXPIRED).bind(now).bind(limit).fetch_all(c).await)?;
    rows.into_iter()
        .map(|(id, namespace, name, blob, digest)| {
            let name = name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(Expired { repository: Repository { id, namespace }, name, blob, digest: parse_digest(&digest)? })
        })
        .collect()
}

/// What became of an expired link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// It is gone, and with the last one the blob.
    Gone,
    /// A manifest names the blob: the link has no expiry any more.
    Needed,
    /// Somebody works on it, or has renewed it: another time.
    Left,
}

/// Collects a link if it is still expired and no kept manifest of its repository names the blob.
#[derive(Debug)]
pub struct CollectLink {
    /// Which.
    pub expired: Expired,
    /// Where answers about the blob may be kept.
    pub hot: HotBlobs,
}

impl Operation for CollectLink {
    type Output = Collected;
    type Refusal = Infallible;
    const NAME: &'static str = "collect_link";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Collected, Failure<Infallible>> {
        let Some(size) = self.lock(tx).await? else { return Ok(Collected::Left) };
        let (repository, blob) = (self.expired.repository, self.expired.blob);
        // A second statement, because the first saw what was there before it had the locks. Deleted manifests keep their references until they are
        // purged, so this finds those inside their undelete window too.
        let select = "SELECT 1 FROM manifest_blob WHERE repository_id = $1 AND digest = $2 LIMIT 1";
        let digest = self.expired.digest.to_string();
        let named: Option<(i32,)> =
            on!(tx, c => sqlx::query_as(select).bind(repository.id).bind(digest).fetch_optional(c).await)?;
        if named.is_none() {
            remove(tx, repository, blob, size).await?;
            return Ok(Collected::Gone);
        }
        let update = "UPDATE link SET expires_at = NULL WHERE repository_id = $1 AND blob_id = $2";
        on!(tx, c => sqlx::query(update).bind(repository.id).bind(blob).execute(c).await.map(drop))?;
        Ok(Collected::Needed)
    }

    fn committed(&self, collected: &Collected) {
        if *collected == Collected::Gone {
            self.hot.forget(&(self.expired.name.clone(), self.expired.digest));
        }
    }
}

impl CollectLink {
    /// Locks blob and link, unless somebody else has; answers the blob's size if the link is still expired.
    async fn lock(&self, tx: &mut Transaction<'_>) -> Result<Option<u64>, sqlx::Error> {
        let (now, repository, blob) = (tx.now(), self.expired.repository, self.expired.blob);
        let select = locking!(tx, "SELECT size FROM blob WHERE id = $1", "FOR UPDATE SKIP LOCKED");
        let size: Option<(i64,)> = on!(tx, c => sqlx::query_as(select).bind(blob).fetch_optional(c).await)?;
        let select = locking!(
            tx,
            "SELECT 1 FROM link WHERE repository_id = $1 AND blob_id = $2 AND expires_at < $3 AND leased_until < $3",
            "FOR UPDATE SKIP LOCKED"
        );
        let link: Option<(i32,)> =
            on!(tx, c => sqlx::query_as(select).bind(repository.id).bind(blob).bind(now).fetch_optional(c).await)?;
        Ok(size.filter(|_| link.is_some()).map(|(size,)| parse_bytes(size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_sweep_looks_at_expired_links_alone() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, EXPIRED).await;
        assert!(plan.contains("l USING INDEX link_expiry (expires_at<?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "sorting would read all of them for each batch: {plan}");
    }
}
