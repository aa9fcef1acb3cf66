//! Rows of tags and their history.
//!
//! The order of a tag's history is its version, never the time: two moves at once would invert times. A deleted tag keeps its row,
//! so that its version goes on.

pub mod history;
mod list;
mod remove;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    digest::Digest,
    on,
    tag::Tag,
};
use sqlx::Error;

use super::{RepositoryId, json_list, locking, manifests::ManifestId, parse_digest};

pub use list::list;
pub use remove::{Removal, remove};

/// A push of what is there already is written down unless the last one is as recent as this: rules count days.
pub(super) const TOUCH_AFTER: Duration = Duration::from_secs(60);

/// Where a tag stands; one that has never been is at version 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How often it has moved.
    pub version: i64,
    /// The manifest it points at.
    pub target: Option<Target>,
    /// When it was last pushed or removed; to push what it points at already counts.
    pub pushed_at: Option<Timestamp>,
}

/// What a tag points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The manifest's row.
    pub manifest: ManifestId,
    /// Its digest.
    pub digest: Digest,
}

/// Tags by name with their states.
pub type States = BTreeMap<Tag, State>;

const READ_SQLITE: &str =
    "SELECT t.name, t.version, m.id, m.digest, t.updated_at FROM tag t LEFT JOIN manifest m ON m.id = t.manifest_id
    WHERE t.repository_id = $1 AND t.name IN (SELECT value FROM json_each($2))";
const READ_POSTGRES: &str =
    "SELECT t.name, t.version, m.id, m.digest, t.updated_at FROM tag t LEFT JOIN manifest m ON m.id = t.manifest_id
    WHERE t.repository_id = $1 AND t.name = ANY(ARRAY(SELECT json_array_elements_text($2::json)))";
const LOCK_POSTGRES: &str =
    "SELECT t.name, t.version, m.id, m.digest, t.updated_at FROM tag t LEFT JOIN manifest m ON m.id = t.manifest_id
    WHERE t.repository_id = $1 AND t.name = ANY(ARRAY(SELECT json_array_elements_text($2::json)))
    ORDER BY t.name FOR UPDATE OF t";

/// Waits until no other operation moves one of these tags.
///
/// A tag is locked after the manifests that it leaves and reaches, so a push that finds it moved has to run again. Without a queue
/// before all that, of many pushes to one tag each would make all others run again. SQLite has a queue of its own: the write door.
///
/// # Errors
/// What the database says.
pub async fn take_turn(tx: &mut Transaction<'_>, repository: RepositoryId, tags: &BTreeSet<Tag>) -> Result<(), Error> {
    if tx.dialect() == Dialect::Sqlite || tags.is_empty() {
        return Ok(());
    }
    // In the order of the keys, which is everybody's; two tags with one key wait for each other, which harms nobody.
    let sql = "SELECT count(pg_advisory_xact_lock(key)) FROM (
                   SELECT hashtextextended(name, $1) AS key FROM json_array_elements_text($2::json) AS name
                   ORDER BY key OFFSET 0) AS keys";
    let names = json_list(tags);
    let _: (i64,) = on!(tx, c => sqlx::query_as(sql).bind(repository).bind(names).fetch_one(c).await)?;
    Ok(())
}

/// Reads tags without locking them, to learn which manifests must be locked before the tags are.
///
/// # Errors
/// What the database says.
pub async fn read(tx: &mut Transaction<'_>, repository: RepositoryId, tags: &BTreeSet<Tag>) -> Result<States, Error> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => READ_SQLITE,
        Dialect::Postgres => READ_POSTGRES,
    };
    fetch(tx, sql, repository, tags).await
}

/// Locks tags by name and says whether they still stand where `before` says. Manifests are locked earlier, so a tag that moved
/// since may point at one that is not.
///
/// # Errors
/// What the database says.
pub async fn lock_unmoved(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    tags: &BTreeSet<Tag>,
    before: &States,
) -> Result<bool, Error> {
    Ok(lock(tx, repository, tags, before).await? == *before)
}

/// Locks tags by name and says where they stand now; `before` is what [`read`] said earlier in the same operation.
///
/// # Errors
/// What the database says.
pub async fn lock(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    tags: &BTreeSet<Tag>,
    before: &States,
) -> Result<States, Error> {
    match tx.dialect() {
        // The only writer there is has already read them.
        Dialect::Sqlite => Ok(before.clone()),
        Dialect::Postgres => fetch(tx, LOCK_POSTGRES, repository, tags).await,
    }
}

type StateRow = (String, i64, Option<ManifestId>, Option<String>, Timestamp);

async fn fetch(
    tx: &mut Transaction<'_>,
    sql: &'static str,
    repository: RepositoryId,
    tags: &BTreeSet<Tag>,
) -> Result<States, Error> {
    let mut states: States = tags.iter().map(|tag| (tag.clone(), State::default())).collect();
    let names = json_list(tags);
    let found: Vec<StateRow> = on!(tx, c => sqlx::query_as(sql).bind(repository).bind(names).fetch_all(c).await)?;
    for (name, version, manifest, digest, pushed_at) in found {
        let target = match (manifest, digest) {
            (Some(manifest), Some(digest)) => Some(Target { manifest, digest: parse_digest(&digest)? }),
            _ => None,
        };
        states.insert(parse_tag(&name)?, State { version, target, pushed_at: Some(pushed_at) });
    }
    Ok(states)
}

/// A tag's next step.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// Which tag.
    pub tag: &'a Tag,
    /// The version it has now.
    pub from: i64,
    /// Where it points afterwards; None deletes it.
    pub to: Option<Target>,
    /// Who moves it.
    pub actor: &'a str,
}

/// Moves a locked tag and writes its history.
///
/// # Errors
/// What the database says; a unique violation where a tag that was not there has appeared since.
pub async fn step(tx: &mut Transaction<'_>, repository: RepositoryId, step: &Move<'_>) -> Result<(), Error> {
    let sql = if step.from == 0 {
        "INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) VALUES ($1, $2, $3, $4, $5)"
    } else {
        "UPDATE tag SET manifest_id = $3, version = $4, updated_at = $5 WHERE repository_id = $1 AND name = $2"
    };
    let (name, version, at) = (step.tag.as_str(), step.from + 1, tx.now());
    let manifest = step.to.map(|target| target.manifest);
    on!(tx, c => {
        let query = sqlx::query(sql).bind(repository).bind(name).bind(manifest).bind(version).bind(at);
        query.execute(c).await.map(drop)
    })?;
    let sql =
        "INSERT INTO tag_history (repository_id, name, version, digest, at, actor) VALUES ($1, $2, $3, $4, $5, $6)";
    let digest = step.to.map(|target| target.digest.to_string());
    on!(tx, c => {
        let query = sqlx::query(sql).bind(repository).bind(name).bind(version).bind(digest).bind(at).bind(step.actor);
        query.execute(c).await.map(drop)
    })
}

/// Notes that a tag was pushed to where it points already: it does not move, but its age begins anew, to the minute.
///
/// # Errors
/// What the database says.
pub async fn touch(tx: &mut Transaction<'_>, repository: RepositoryId, tag: &Tag) -> Result<(), Error> {
    let now = tx.now();
    let sql = "UPDATE tag SET updated_at = $3 WHERE repository_id = $1 AND name = $2 AND updated_at < $4";
    let name = tag.as_str();
    on!(tx, c => {
        let query = sqlx::query(sql).bind(repository).bind(name).bind(now).bind(now - TOUCH_AFTER);
        query.execute(c).await.map(drop)
    })
}

/// The tags that point at a manifest, locked by name. Nothing can add one while the manifest is locked.
///
/// # Errors
/// What the database says.
pub async fn lock_of(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Vec<(Tag, i64)>, Error> {
    let sql = locking!(tx, "SELECT name, version FROM tag WHERE manifest_id = $1 ORDER BY name", "FOR UPDATE");
    let found: Vec<(String, i64)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_all(c).await)?;
    found.into_iter().map(|(name, version)| Ok((parse_tag(&name)?, version))).collect()
}

/// The tags that point at a manifest. Locking the manifest is what keeps it from gaining others.
///
/// # Errors
/// What the database says.
pub async fn carried_by(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Vec<Tag>, Error> {
    let sql = "SELECT name FROM tag WHERE manifest_id = $1 ORDER BY name";
    let found: Vec<(String,)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_all(c).await)?;
    found.into_iter().map(|(name,)| parse_tag(&name)).collect()
}

/// The tags that show a manifest: its own, and those of the indexes that list it, whatever stands between. Each with what it points at.
///
/// # Errors
/// What the database says.
pub async fn showing(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Vec<(Tag, Digest)>, Error> {
    let sql = "WITH RECURSIVE shown (id, repository_id, digest) AS (
                   SELECT id, repository_id, digest FROM manifest WHERE id = $1
                   UNION SELECT p.id, p.repository_id, p.digest FROM shown s
                       JOIN manifest_child c ON c.repository_id = s.repository_id AND c.digest = s.digest
                       JOIN manifest p ON p.id = c.manifest_id)
               SELECT t.name, s.digest FROM shown s JOIN tag t ON t.manifest_id = s.id ORDER BY t.name";
    let found: Vec<(String, String)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_all(c).await)?;
    found.into_iter().map(|(name, digest)| Ok((parse_tag(&name)?, parse_digest(&digest)?))).collect()
}

fn parse_tag(text: &str) -> Result<Tag, Error> {
    text.parse().map_err(|error| Error::Decode(Box::new(error)))
}
