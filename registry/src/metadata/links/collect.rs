//! The end of links that nobody needs any more, a batch in one transaction.
//!
//! Blobs and links are locked in everybody's order, and what somebody else holds is left for another time: a collector never makes a push wait for a row
//! of its own, and any number of them may work at once. What names a blob is looked at in a second statement, behind the locks: on PostgreSQL a statement
//! sees what was there when it began.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use crate::{
    failpoints::{Point, reach},
    metadata::{
        BlobId, NamespaceId, RepositoryId,
        blobs::HotBlobs,
        pace::{Batch, Kind},
        parse_bytes, parse_digest,
        repositories::Repository,
        trash::{self, Place},
        usage,
    },
};

/// When a link without a reference may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDue {
    /// When its time has passed, and every promise.
    Expired,
    /// When every promise has passed: a person asked for the space, and what was deleted is not to wait for its day.
    Unpromised,
    /// Whatever was promised: the repository is deleted, and its window has passed.
    Condemned,
}

/// A link that may go, as it was seen without a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loose {
    /// Whose link.
    pub repository: Repository,
    /// The repository's name.
    pub name: RepositoryName,
    /// To which blob.
    pub blob: BlobId,
    /// The blob's digest.
    pub digest: Digest,
}

// By time and not by blob: this order is that of an index. Those under a promise are no use to the caller and must not crowd out the others.
const EXPIRED: &str = "SELECT l.repository_id, r.namespace_id, r.name, l.blob_id, b.digest \
    FROM link l JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id \
    WHERE l.expires_at < $1 AND l.leased_until < $1 ORDER BY l.expires_at LIMIT $2";

const UNPROMISED: &str = "SELECT l.repository_id, r.namespace_id, r.name, l.blob_id, b.digest \
    FROM link l JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id \
    WHERE l.repository_id = $3 AND l.blob_id > $4 AND l.expires_at IS NOT NULL AND l.leased_until < $1 \
    ORDER BY l.blob_id LIMIT $2";

type LooseRow = (RepositoryId, NamespaceId, String, BlobId, String);

/// Links whose time has passed, at most `limit`, the longest overdue first.
///
/// # Errors
/// The database failed.
pub async fn expired(reader: &mut Reader, now: Timestamp, limit: i64) -> Result<Vec<Loose>, DatabaseError> {
    let rows: Vec<LooseRow> = on!(reader, c => sqlx::query_as(EXPIRED).bind(now).bind(limit).fetch_all(c).await)?;
    rows.into_iter().map(loose).collect()
}

/// Links of a repository without a reference or a promise, at most `limit`, behind a blob in the order of ids.
///
/// # Errors
/// The database failed.
pub async fn unpromised(
    reader: &mut Reader,
    repository: RepositoryId,
    behind: BlobId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Loose>, DatabaseError> {
    let rows: Vec<LooseRow> = on!(reader, c => {
        sqlx::query_as(UNPROMISED).bind(now).bind(limit).bind(repository).bind(behind).fetch_all(c).await
    })?;
    rows.into_iter().map(loose).collect()
}

fn loose((id, namespace, name, blob, digest): LooseRow) -> Result<Loose, DatabaseError> {
    let name = name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Loose { repository: Repository { id, namespace }, name, blob, digest: parse_digest(&digest)? })
}

const OF_REPOSITORY: &str = "SELECT l.repository_id, r.namespace_id, r.name, l.blob_id, b.digest \
    FROM link l JOIN repository r ON r.id = l.repository_id JOIN blob b ON b.id = l.blob_id \
    WHERE l.repository_id = $1 ORDER BY l.blob_id LIMIT $2";

/// Links of a repository, whatever keeps them, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn of_repository(
    reader: &mut Reader,
    repository: RepositoryId,
    limit: i64,
) -> Result<Vec<Loose>, DatabaseError> {
    let rows: Vec<LooseRow> =
        on!(reader, c => sqlx::query_as(OF_REPOSITORY).bind(repository).bind(limit).fetch_all(c).await)?;
    rows.into_iter().map(loose).collect()
}

/// What became of a loose link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// It is gone.
    Gone {
        /// The blob's size in bytes.
        size: u64,
        /// Whether it was the last one: then the blob is gone with it, and its bytes are trash.
        last: bool,
    },
    /// A manifest names the blob: the link has no expiry any more.
    Needed,
    /// Somebody works on it, or has renewed it: another time.
    Left,
}

/// Collects links that are still due and that no kept manifest of their repository names.
#[derive(Debug)]
pub struct CollectLinks {
    /// Which.
    pub loose: Vec<Loose>,
    /// When they may go.
    pub due: LinkDue,
    /// Where answers about the blobs may be kept.
    pub hot: HotBlobs,
}

/// One of the links of a batch.
type Pair = (RepositoryId, BlobId);

impl Operation for CollectLinks {
    /// What became of each link, in the order in which they were given.
    type Output = Vec<Collected>;
    type Refusal = Infallible;
    const NAME: &'static str = "collect_links";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Collected>, Failure<Infallible>> {
        let sizes = self.lock(tx).await?;
        reach(Point::LinksLocked)?;
        let locked: BTreeSet<Pair> = sizes.keys().copied().collect();
        // Deleted manifests keep their references until they are purged, so this finds those inside their undelete window too.
        let named = named(tx, &locked).await?;
        keep(tx, &named).await?;
        let gone: BTreeSet<Pair> = locked.difference(&named).copied().collect();
        let orphans = self.remove(tx, &gone, &sizes).await?;
        let became = |loose: &Loose| {
            let pair = (loose.repository.id, loose.blob);
            match (gone.contains(&pair), named.contains(&pair)) {
                (true, _) => Collected::Gone { size: sizes[&pair], last: orphans.contains(&loose.blob) },
                (false, true) => Collected::Needed,
                (false, false) => Collected::Left,
            }
        };
        Ok(self.loose.iter().map(became).collect())
    }

    fn committed(&self, collected: &Vec<Collected>) {
        for (loose, collected) in self.loose.iter().zip(collected) {
            if matches!(collected, Collected::Gone { .. }) {
                self.hot.forget(&(loose.name.clone(), loose.digest));
            }
        }
    }
}

impl Batch for CollectLinks {
    const KIND: Kind = Kind::Links;

    fn size(&self, _: &Vec<Collected>) -> usize {
        self.loose.len()
    }
}

/// A list of links as one parameter, read as the table `pair`.
macro_rules! pairs {
    ($tx:expr, $sql:literal) => {
        pairs!($tx, $sql, $sql)
    };
    ($tx:expr, $sqlite:literal, $postgres:literal) => {
        match $tx.dialect() {
            Dialect::Sqlite => concat!(
                "WITH pair (repository_id, blob_id) AS \
                 (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($1)) ",
                $sqlite
            ),
            Dialect::Postgres => concat!(
                "WITH pair (repository_id, blob_id) AS \
                 (SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM jsonb_array_elements($1::jsonb) AS value) ",
                $postgres
            ),
        }
    };
}

fn as_parameter<'p>(pairs: impl IntoIterator<Item = &'p Pair>) -> String {
    serde_json::Value::from_iter(pairs.into_iter().map(|(repository, blob)| vec![repository.0, blob.0])).to_string()
}

impl CollectLinks {
    /// Locks those that nobody else holds and that are still due, blobs before links and both in the order of their ids, and tells their sizes.
    async fn lock(&self, tx: &mut Transaction<'_>) -> Result<BTreeMap<Pair, u64>, sqlx::Error> {
        let select = match self.due {
            LinkDue::Expired => pairs!(
                tx,
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p \
                 CROSS JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 CROSS JOIN blob b ON b.id = l.blob_id WHERE l.expires_at < $2 AND l.leased_until < $2",
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p JOIN blob b ON b.id = p.blob_id \
                 JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 WHERE l.expires_at < $2 AND l.leased_until < $2 \
                 ORDER BY l.blob_id, l.repository_id FOR UPDATE OF b, l SKIP LOCKED"
            ),
            LinkDue::Unpromised => pairs!(
                tx,
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p \
                 CROSS JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 CROSS JOIN blob b ON b.id = l.blob_id WHERE l.expires_at IS NOT NULL AND l.leased_until < $2",
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p JOIN blob b ON b.id = p.blob_id \
                 JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 WHERE l.expires_at IS NOT NULL AND l.leased_until < $2 \
                 ORDER BY l.blob_id, l.repository_id FOR UPDATE OF b, l SKIP LOCKED"
            ),
            LinkDue::Condemned => pairs!(
                tx,
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p \
                 CROSS JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 CROSS JOIN blob b ON b.id = l.blob_id WHERE EXISTS (SELECT 1 FROM repository r \
                     WHERE r.id = l.repository_id AND r.deleted_at IS NOT NULL AND r.expires_at <= $2)",
                "SELECT l.repository_id, l.blob_id, b.size FROM pair p JOIN blob b ON b.id = p.blob_id \
                 JOIN link l ON l.repository_id = p.repository_id AND l.blob_id = p.blob_id \
                 WHERE EXISTS (SELECT 1 FROM repository r \
                     WHERE r.id = l.repository_id AND r.deleted_at IS NOT NULL AND r.expires_at <= $2) \
                 ORDER BY l.blob_id, l.repository_id FOR UPDATE OF b, l SKIP LOCKED"
            ),
        };
        let pairs: Vec<Pair> = self.loose.iter().map(|loose| (loose.repository.id, loose.blob)).collect();
        let (pairs, now) = (as_parameter(&pairs), tx.now());
        let rows: Vec<(RepositoryId, BlobId, i64)> =
            on!(tx, c => sqlx::query_as(select).bind(pairs).bind(now).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(repository, blob, size)| ((repository, blob), parse_bytes(size))).collect())
    }

    /// Removes locked links, with their last ones the blobs, and says which blobs those were.
    async fn remove(
        &self,
        tx: &mut Transaction<'_>,
        gone: &BTreeSet<Pair>,
        sizes: &BTreeMap<Pair, u64>,
    ) -> Result<BTreeSet<BlobId>, sqlx::Error> {
        if gone.is_empty() {
            return Ok(BTreeSet::new());
        }
        let delete =
            pairs!(tx, "DELETE FROM link WHERE (repository_id, blob_id) IN (SELECT repository_id, blob_id FROM pair)");
        on!(tx, c => sqlx::query(delete).bind(as_parameter(gone)).execute(c).await.map(drop))?;
        reach(Point::LinksDropped)?;
        // Whoever links a blob locks it first, so none of these gets another link before the commit.
        let delete = pairs!(
            tx,
            "DELETE FROM blob WHERE id IN (SELECT blob_id FROM pair) \
             AND NOT EXISTS (SELECT 1 FROM link WHERE link.blob_id = blob.id) RETURNING id, storage_key, store"
        );
        let orphans: Vec<Orphan> = on!(tx, c => sqlx::query_as(delete).bind(as_parameter(gone)).fetch_all(c).await)?;
        let (orphans, places): (BTreeSet<BlobId>, Vec<Place>) =
            orphans.into_iter().map(|orphan| (orphan.id, orphan.place)).unzip();
        reach(Point::BlobsDropped)?;
        trash::throw_all_away(tx, &places).await?;
        reach(Point::TrashFilled)?;
        let namespaces = self.loose.iter().map(|loose| ((loose.repository.id, loose.blob), loose.repository.namespace));
        let removed = namespaces.filter(|(pair, _)| gone.contains(pair));
        let removed: Vec<_> = removed.map(|(pair, namespace)| (namespace, pair.1, sizes[&pair])).collect();
        usage::links_removed(tx, &removed).await?;
        Ok(orphans)
    }
}

/// A blob whose last link is gone.
#[derive(sqlx::FromRow)]
struct Orphan {
    id: BlobId,
    #[sqlx(flatten)]
    place: Place,
}

/// Those whose blob a kept manifest of their repository names.
async fn named(tx: &mut Transaction<'_>, locked: &BTreeSet<Pair>) -> Result<BTreeSet<Pair>, sqlx::Error> {
    if locked.is_empty() {
        return Ok(BTreeSet::new());
    }
    let select = pairs!(
        tx,
        "SELECT p.repository_id, p.blob_id FROM pair p JOIN blob b ON b.id = p.blob_id \
         WHERE EXISTS (SELECT 1 FROM manifest_blob n WHERE n.repository_id = p.repository_id AND n.digest = b.digest)"
    );
    let rows: Vec<Pair> = on!(tx, c => sqlx::query_as(select).bind(as_parameter(locked)).fetch_all(c).await)?;
    Ok(rows.into_iter().collect())
}

/// Takes the expiry from links that turned out to be needed.
async fn keep(tx: &mut Transaction<'_>, named: &BTreeSet<Pair>) -> Result<(), sqlx::Error> {
    if named.is_empty() {
        return Ok(());
    }
    let update = pairs!(
        tx,
        "UPDATE link SET expires_at = NULL WHERE (repository_id, blob_id) IN (SELECT repository_id, blob_id FROM pair)"
    );
    on!(tx, c => sqlx::query(update).bind(as_parameter(named)).execute(c).await.map(drop))
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

    #[tokio::test]
    async fn a_batch_looks_at_its_own_links_alone() {
        let stage = Stage::sqlite().await;
        let pair = "WITH pair (repository_id, blob_id) AS \
                    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each('[]')) ";
        for change in ["UPDATE link SET expires_at = NULL", "DELETE FROM link"] {
            let sql =
                format!("{pair}{change} WHERE (repository_id, blob_id) IN (SELECT repository_id, blob_id FROM pair)");
            let plan = plan(&stage.content.metadata, &sql).await;
            assert!(plan.contains("link USING PRIMARY KEY (repository_id=? AND blob_id=?)"), "{plan}");
        }
        let plan = plan(&stage.content.metadata, UNPROMISED).await;
        assert!(plan.contains("l USING PRIMARY KEY (repository_id=? AND blob_id>?)"), "{plan}");
    }
}
