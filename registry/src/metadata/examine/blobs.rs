//! Blobs, as their rows say they are (I1, I4, I5, I6).

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    on,
};

use super::{Position, Range, fault::OfBlob};
use crate::metadata::{BlobId, blobs::LIVE, parse_bytes};

/// A blob's row, and what other rows say of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: BlobId,
    /// What its bytes should hash to.
    pub digest: String,
    /// How many there should be.
    pub size: u64,
    /// In which store.
    pub store: String,
    /// Under which key.
    pub key: String,
    /// Whether its bytes are there, as far as the row knows.
    pub live: bool,
    /// Whether no repository holds it.
    pub unlinked: bool,
    /// Whether an earlier row has its digest.
    pub twice: bool,
    /// Whether its key is an upload's,
    pub key_of_upload: bool,
    /// or in the trash.
    pub key_in_trash: bool,
    /// When its bytes were last hashed and found right, in microseconds; 0 if never.
    pub verified: i64,
}

impl Row {
    /// Where it stands among the blobs by when they were verified.
    #[must_use]
    pub fn by_age(&self) -> Position {
        Position { first: self.verified, second: self.id.0, name: String::new() }
    }

    /// The blob, for a fault. Nobody is asked yet who names it.
    #[must_use]
    pub fn of(&self) -> OfBlob {
        let (digest, key) = (self.digest.clone(), self.key.clone());
        OfBlob { blob: self.id, digest, key, size: self.size, named_by: Vec::new(), promised_until: None }
    }
}

macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT b.id, b.digest, b.size, b.store, b.storage_key, b.state, \
             NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id), \
             EXISTS (SELECT 1 FROM blob o WHERE o.digest = b.digest AND o.id < b.id), \
             EXISTS (SELECT 1 FROM upload u WHERE u.storage_key = b.storage_key), \
             EXISTS (SELECT 1 FROM trash t WHERE t.storage_key = b.storage_key), coalesce(b.verified_at, 0) \
             FROM blob b WHERE ",
            $which
        )
    };
}

const ROWS: &str = rows!("b.id > $1 AND b.id <= $2 ORDER BY b.id");

/// Expressed as the index is, or the index does not serve.
const STALEST: &str = rows!(
    "(coalesce(b.verified_at, 0), b.id) > ($1, $2) AND coalesce(b.verified_at, 0) < $3 \
     ORDER BY coalesce(b.verified_at, 0), b.id LIMIT $4"
);

type Columns = (BlobId, String, i64, String, String, String, bool, bool, bool, bool, i64);

fn row(columns: Columns) -> Row {
    let (id, digest, size, store, key, state, unlinked, twice, key_of_upload, key_in_trash, verified) = columns;
    let (size, live) = (parse_bytes(size), state == LIVE);
    Row { id, digest, size, store, key, live, unlinked, twice, key_of_upload, key_in_trash, verified }
}

/// Every blob of a page.
///
/// # Errors
/// The database failed.
pub async fn rows(reader: &mut Reader, range: &Range) -> Result<Vec<Row>, DatabaseError> {
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<Columns> = on!(reader, c => sqlx::query_as(ROWS).bind(after).bind(upto).fetch_all(c).await)?;
    Ok(rows.into_iter().map(row).collect())
}

/// The blobs whose bytes nobody has hashed for longest, behind `after` (when they were verified, and their id), none of which was verified since `begun`.
///
/// # Errors
/// The database failed.
pub async fn stalest(
    reader: &mut Reader,
    after: &Position,
    begun: Timestamp,
    limit: i64,
) -> Result<Vec<Row>, DatabaseError> {
    let rows: Vec<Columns> = on!(reader, c => {
        let query = sqlx::query_as(STALEST).bind(after.first).bind(after.second);
        query.bind(begun).bind(limit).fetch_all(c).await
    })?;
    Ok(rows.into_iter().map(row).collect())
}

/// One blob.
///
/// # Errors
/// The database failed.
pub async fn one(reader: &mut Reader, blob: BlobId) -> Result<Option<Row>, DatabaseError> {
    let found: Option<Columns> =
        on!(reader, c => sqlx::query_as(rows!("b.id = $1")).bind(blob).fetch_optional(c).await)?;
    Ok(found.map(row))
}

/// Until when a blob is promised, if a promise runs.
///
/// # Errors
/// The database failed.
pub async fn promised_until(
    reader: &mut Reader,
    blob: BlobId,
    now: Timestamp,
) -> Result<Option<Timestamp>, DatabaseError> {
    let select = "SELECT max(leased_until) FROM link WHERE blob_id = $1 AND leased_until > $2";
    let (until,): (Option<Timestamp>,) =
        on!(reader, c => sqlx::query_as(select).bind(blob).bind(now).fetch_one(c).await)?;
    Ok(until)
}

/// How many of those that name a blob a report names.
const NAMERS: i64 = 20;

/// Manifests that name a blob, as `repository:tag` or `repository@digest`, at most twenty.
///
/// # Errors
/// The database failed.
pub async fn named_by(reader: &mut Reader, of: &OfBlob) -> Result<Vec<String>, DatabaseError> {
    let select = "SELECT r.name, m.digest, (SELECT min(t.name) FROM tag t WHERE t.manifest_id = m.id) \
                  FROM link l JOIN manifest_blob n ON n.repository_id = l.repository_id AND n.digest = $2 \
                  JOIN manifest m ON m.id = n.manifest_id JOIN repository r ON r.id = m.repository_id \
                  WHERE l.blob_id = $1 ORDER BY r.name, m.digest LIMIT $3";
    let found: Vec<(String, String, Option<String>)> = on!(reader, c => {
        sqlx::query_as(select).bind(of.blob).bind(&of.digest).bind(NAMERS).fetch_all(c).await
    })?;
    let name = |(repository, digest, tag): (String, String, Option<String>)| match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{digest}"),
    };
    Ok(found.into_iter().map(name).collect())
}
