//! Tags and their histories.

use std::convert::Infallible;

use shared::{
    clock::Timestamp,
    database::{Failure, Transaction},
    on,
};
use sqlx::Error;

use crate::metadata::{
    RepositoryId, locking,
    manifests::{self, ManifestId},
    repositories::deletion::purged,
};

/// Who is written into a history for what nobody knows any more.
const ACTOR: &str = "doctor";

/// A longer gap is no lost entry but a version that means nothing: nobody fills that.
const LONGEST_GAP: i64 = 10_000;

/// A tag as it stands, and its history.
#[derive(Debug)]
struct Found {
    /// None if there is no row.
    version: Option<i64>,
    points_at: Option<ManifestId>,
    /// What it points at, if that lives in its repository.
    target: Option<(ManifestId, String)>,
    entries: i64,
    last: i64,
    /// What the last entry says.
    said: Option<String>,
}

/// Makes a tag point at what lives in its repository, or at nothing, fills its history's gaps with entries of nobody, and adds one if it does not end there.
pub(super) async fn mend_tag(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    name: &str,
    until: Timestamp,
) -> Result<Option<&'static str>, Failure<Infallible>> {
    let before = points_at(tx, repository, name).await?;
    // Manifests come before tags in everybody's order.
    let lock = locking!(tx, "SELECT id FROM manifest WHERE id = $1", "FOR UPDATE");
    let _: Vec<(i64,)> = on!(tx, c => sqlx::query_as(lock).bind(before).fetch_all(c).await)?;
    let lock = locking!(tx, "SELECT name FROM tag WHERE repository_id = $1 AND name = $2", "FOR UPDATE");
    let _: Vec<(String,)> = on!(tx, c => sqlx::query_as(lock).bind(repository).bind(name).fetch_all(c).await)?;
    let Some(found) = find(tx, repository, name).await? else { return Ok(None) };
    if found.points_at != before {
        return Err(Failure::Again);
    }
    let last = found.last.max(found.version.unwrap_or(0));
    if last - found.entries > LONGEST_GAP {
        return Ok(None);
    }
    fill(tx, repository, name, last).await?;
    let version = write(tx, repository, name, (&found, last)).await?;
    point(tx, repository, name, (&found, version)).await?;
    if let Some(left) = before.filter(|id| found.target.as_ref().is_none_or(|(target, _)| target != id)) {
        manifests::settle(tx, &[left], until).await?;
    }
    Ok(Some("its history says where it points"))
}

async fn points_at(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    name: &str,
) -> Result<Option<ManifestId>, Error> {
    let select = "SELECT manifest_id FROM tag WHERE repository_id = $1 AND name = $2";
    let found: Option<(Option<ManifestId>,)> =
        on!(tx, c => sqlx::query_as(select).bind(repository).bind(name).fetch_optional(c).await)?;
    Ok(found.and_then(|(manifest,)| manifest))
}

type Row = (Option<i64>, Option<ManifestId>, Option<ManifestId>, Option<String>, i64, i64, Option<String>);

async fn find(tx: &mut Transaction<'_>, repository: RepositoryId, name: &str) -> Result<Option<Found>, Error> {
    let select = concat!(
        "SELECT t.version, t.manifest_id, m.id, m.digest, h.entries, h.last, \
            (SELECT e.digest FROM tag_history e WHERE e.repository_id = $1 AND e.name = $2 AND e.version = h.last) \
        FROM (SELECT coalesce(sum(CASE WHEN version > 0 THEN 1 ELSE 0 END), 0) AS entries, coalesce(max(version), 0) AS last \
              FROM tag_history WHERE repository_id = $1 AND name = $2) AS h \
        LEFT JOIN tag t ON t.repository_id = $1 AND t.name = $2 \
        LEFT JOIN manifest m ON m.id = t.manifest_id AND m.repository_id = $1 AND m.deleted_at IS NULL \
        WHERE EXISTS (SELECT 1 FROM repository r WHERE r.id = $1 AND NOT ",
        purged!(),
        ")"
    );
    let row: Option<Row> = on!(tx, c => sqlx::query_as(select).bind(repository).bind(name).fetch_optional(c).await)?;
    Ok(row.map(|(version, points_at, id, digest, entries, last, said)| {
        let target = id.zip(digest);
        Found { version, points_at, target, entries, last, said }
    }))
}

/// Nobody knows what stood in a gap; that something did, the versions around it say.
async fn fill(tx: &mut Transaction<'_>, repository: RepositoryId, name: &str, last: i64) -> Result<(), Error> {
    let insert = "WITH RECURSIVE n(version) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT version + 1 FROM n WHERE version < $3) \
        INSERT INTO tag_history (repository_id, name, version, digest, at, actor) \
        SELECT $1, $2, n.version, NULL, $4, $5 FROM n WHERE n.version <= $3 AND NOT EXISTS \
            (SELECT 1 FROM tag_history h WHERE h.repository_id = $1 AND h.name = $2 AND h.version = n.version)";
    let now = tx.now();
    on!(tx, c => {
        let query = sqlx::query(insert).bind(repository).bind(name).bind(last).bind(now).bind(ACTOR);
        query.execute(c).await.map(drop)
    })
}

/// Adds an entry for where the tag points, unless the last one says so; answers the last version.
async fn write(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    name: &str,
    (found, last): (&Found, i64),
) -> Result<i64, Error> {
    let points_at = found.target.as_ref().map(|(_, digest)| digest.clone());
    let said = if last == found.last { found.said.clone() } else { None };
    if last > 0 && said == points_at {
        return Ok(last);
    }
    let insert =
        "INSERT INTO tag_history (repository_id, name, version, digest, at, actor) VALUES ($1, $2, $3, $4, $5, $6)";
    let now = tx.now();
    on!(tx, c => {
        let query = sqlx::query(insert).bind(repository).bind(name).bind(last + 1).bind(points_at);
        query.bind(now).bind(ACTOR).execute(c).await.map(drop)
    })?;
    Ok(last + 1)
}

async fn point(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    name: &str,
    (found, version): (&Found, i64),
) -> Result<(), Error> {
    let upsert = "INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = excluded.manifest_id, version = excluded.version";
    let (manifest, now) = (found.target.as_ref().map(|(id, _)| *id), tx.now());
    on!(tx, c => {
        let query = sqlx::query(upsert).bind(repository).bind(name).bind(manifest).bind(version).bind(now);
        query.execute(c).await.map(drop)
    })
}
