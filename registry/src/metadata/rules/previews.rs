//! Previews: what a person was shown, so that a run can be confined to it.
//!
//! What would go is stored, not signed into the token: it may be a hundred thousand tags, and "exactly these" cannot be computed again once somebody has
//! pushed or pulled. The token is a random name for the rows; it gives no right to anything.

use std::{convert::Infallible, time::Duration};

use serde::Serialize;
use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Durability, Failure, Operation, Reader, Transaction},
    on,
};

use crate::{
    failpoints::{Point, reach},
    metadata::{NamespaceId, RepositoryId, json_list, locking, parse_json},
};

/// How long a run may be confined to a preview.
pub const PREVIEW_LIFE: Duration = Duration::from_secs(60 * 60);

/// How long the rows of one stay at least, so that a late run is told that it is late; and how long one may take to be made.
const PREVIEW_ROWS: Duration = Duration::from_secs(24 * 60 * 60);

/// How many whole previews of a namespace count, with the one that is being made. A new one ends those before, and the one before that is not whole yet: what
/// is written down at a time is bounded however many are asked for.
const MOST_PREVIEWS: i64 = 8;

/// The id of a row in `lifecycle_preview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct PreviewId(pub i64);

/// Something that would go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Item {
    /// Of which repository.
    #[serde(serialize_with = "number")]
    pub repository: RepositoryId,
    /// A tag, or the digest of an untagged manifest.
    pub name: String,
    /// The tag's version; 0 for a manifest.
    pub version: i64,
}

fn number<S: serde::Serializer>(id: &RepositoryId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(id.0)
}

/// Begins a preview; until [`SealPreview`] no run can be confined to it.
#[derive(Debug)]
pub struct OpenPreview {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Its name: random.
    pub token: String,
    /// By which rules it is made.
    pub version: i64,
}

impl Operation for OpenPreview {
    type Output = PreviewId;
    type Refusal = Infallible;
    const NAME: &'static str = "open_preview";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<PreviewId, Failure<Infallible>> {
        let now = tx.now();
        let insert = "INSERT INTO lifecycle_preview (token, namespace_id, version, made_at) VALUES ($1, $2, $3, $4) RETURNING id";
        let (id,): (PreviewId,) = on!(tx, c => sqlx::query_as(insert)
            .bind(&self.token).bind(self.namespace).bind(self.version).bind(now).fetch_one(c).await)?;
        let end = "UPDATE lifecycle_preview SET expires_at = 1
                   WHERE namespace_id = $1 AND id <> $2 AND expires_at <> 1 AND (expires_at = 0 OR id NOT IN (
                       SELECT id FROM lifecycle_preview WHERE namespace_id = $1 ORDER BY id DESC LIMIT $3))";
        on!(tx, c => {
            sqlx::query(end).bind(self.namespace).bind(id).bind(MOST_PREVIEWS).execute(c).await.map(drop)
        })?;
        reach(Point::PreviewOpened)?;
        Ok(id)
    }
}

/// The preview does not count any more: a newer one was begun, or it took a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// Adds to a preview what would go.
#[derive(Debug)]
pub struct FillPreview {
    /// Which.
    pub preview: PreviewId,
    /// What.
    pub items: Vec<Item>,
}

impl Operation for FillPreview {
    type Output = ();
    type Refusal = Ended;
    const NAME: &'static str = "fill_preview";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Ended>> {
        // Kept until the end of the transaction: whoever forgets the preview meanwhile finds the items, too.
        let open = locking!(tx, "SELECT 1 FROM lifecycle_preview WHERE id = $1 AND expires_at = 0", "FOR KEY SHARE");
        let open: Option<(i32,)> = on!(tx, c => sqlx::query_as(open).bind(self.preview).fetch_optional(c).await)?;
        open.ok_or(Failure::Refused(Ended))?;
        let items = serde_json::to_string(&self.items).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let sql = match tx.dialect() {
            Dialect::Sqlite => {
                "INSERT INTO lifecycle_preview_item (preview_id, repository_id, name, version)
                 SELECT $1, value ->> 'repository', value ->> 'name', value ->> 'version' FROM json_each($2) WHERE true
                 ON CONFLICT DO NOTHING"
            }
            Dialect::Postgres => {
                "INSERT INTO lifecycle_preview_item (preview_id, repository_id, name, version)
                 SELECT $1, v.repository, v.name, v.version
                 FROM json_to_recordset($2::json) AS v (repository BIGINT, name TEXT, version BIGINT) ON CONFLICT DO NOTHING"
            }
        };
        on!(tx, c => sqlx::query(sql).bind(self.preview).bind(items).execute(c).await.map(drop))?;
        reach(Point::PreviewFilled)?;
        Ok(())
    }
}

/// Makes a preview whole: from now on a run may be confined to it. Answers until when; None if newer ones have ended it already.
#[derive(Debug)]
pub struct SealPreview {
    /// Which.
    pub preview: PreviewId,
}

impl Operation for SealPreview {
    type Output = Option<Timestamp>;
    type Refusal = Infallible;
    const NAME: &'static str = "seal_preview";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Option<Timestamp>, Failure<Infallible>> {
        let until = tx.now() + PREVIEW_LIFE;
        let sql = "UPDATE lifecycle_preview SET expires_at = $2 WHERE id = $1 AND expires_at = 0";
        let sealed = on!(tx, c => {
            sqlx::query(sql).bind(self.preview).bind(until).execute(c).await.map(|done| done.rows_affected())
        })?;
        reach(Point::PreviewSealed)?;
        Ok((sealed == 1).then_some(until))
    }
}

/// A preview that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its row.
    pub id: PreviewId,
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// By which rules it was made.
    pub version: i64,
    /// Until when a run may be confined to it.
    pub expires_at: Timestamp,
}

/// The preview of this name.
///
/// # Errors
/// What the database says.
pub async fn find(reader: &mut Reader, token: &str) -> Result<Option<Preview>, DatabaseError> {
    let sql = "SELECT id, namespace_id, version, expires_at FROM lifecycle_preview WHERE token = $1";
    let found: Option<(PreviewId, NamespaceId, i64, Timestamp)> =
        on!(reader, c => sqlx::query_as(sql).bind(token).fetch_optional(c).await)?;
    Ok(found.map(|(id, namespace, version, expires_at)| Preview { id, namespace, version, expires_at }))
}

/// The preview of this id.
///
/// # Errors
/// What the database says.
pub async fn read(reader: &mut Reader, id: PreviewId) -> Result<Option<Preview>, DatabaseError> {
    let sql = "SELECT id, namespace_id, version, expires_at FROM lifecycle_preview WHERE id = $1";
    let found: Option<(PreviewId, NamespaceId, i64, Timestamp)> =
        on!(reader, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
    Ok(found.map(|(id, namespace, version, expires_at)| Preview { id, namespace, version, expires_at }))
}

/// Those of some names in a repository that a preview showed, with the versions that it showed.
///
/// # Errors
/// What the database says.
pub async fn shown(
    reader: &mut Reader,
    preview: PreviewId,
    repository: RepositoryId,
    names: &[&str],
) -> Result<Vec<(String, i64)>, DatabaseError> {
    let sql = match reader.dialect() {
        Dialect::Sqlite => {
            "SELECT json_group_array(json_array(name, version)) FROM lifecycle_preview_item
             WHERE preview_id = $1 AND repository_id = $2 AND name IN (SELECT value FROM json_each($3))"
        }
        Dialect::Postgres => {
            "SELECT coalesce(json_agg(json_build_array(name, version)), '[]')::text FROM lifecycle_preview_item
             WHERE preview_id = $1 AND repository_id = $2 AND name = ANY(ARRAY(SELECT json_array_elements_text($3::json)))"
        }
    };
    let names = json_list(names);
    let (shown,): (String,) =
        on!(reader, c => sqlx::query_as(sql).bind(preview).bind(repository).bind(names).fetch_one(c).await)?;
    Ok(parse_json(&shown)?)
}

/// Forgets what old previews showed, `limit` rows at most, and those previews that show nothing any more; answers how many rows went.
#[derive(Debug)]
pub struct ForgetPreviews {
    /// How many rows.
    pub limit: i64,
}

impl Operation for ForgetPreviews {
    type Output = u64;
    type Refusal = Infallible;
    const NAME: &'static str = "forget_previews";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, Failure<Infallible>> {
        let before = tx.now() - PREVIEW_ROWS;
        // The oldest first; those that newer ones have ended do not wait for their day.
        let oldest = locking!(
            tx,
            "SELECT id FROM lifecycle_preview WHERE made_at < $1 OR expires_at = 1 ORDER BY made_at LIMIT 1",
            "FOR UPDATE"
        );
        let found: Option<(PreviewId,)> = on!(tx, c => sqlx::query_as(oldest).bind(before).fetch_optional(c).await)?;
        let Some((preview,)) = found else { return Ok(0) };
        let items = "DELETE FROM lifecycle_preview_item WHERE preview_id = $1 AND (repository_id, name) IN (
                         SELECT repository_id, name FROM lifecycle_preview_item WHERE preview_id = $1 LIMIT $2)";
        let forgotten = on!(tx, c => {
            sqlx::query(items).bind(preview).bind(self.limit).execute(c).await.map(|done| done.rows_affected())
        })?;
        if forgotten < self.limit.unsigned_abs() {
            let header = "DELETE FROM lifecycle_preview WHERE id = $1";
            on!(tx, c => sqlx::query(header).bind(preview).execute(c).await.map(drop))?;
        }
        Ok(forgotten.max(1))
    }
}
