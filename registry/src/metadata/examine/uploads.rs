//! Uploads, as their rows say they are (I6, I11).

use shared::{
    database::{DatabaseError, Reader},
    on,
};

use super::Range;
use crate::{
    metadata::{parse_bytes, uploads::UploadId},
    store::StorageKey,
};

/// An upload's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub id: UploadId,
    /// Who wrote it last.
    pub writer: i64,
    /// Its repository.
    pub repository: String,
    /// In which store its bytes are,
    pub store: String,
    /// under which key.
    pub key: String,
    /// How many it received and recorded.
    pub received: u64,
    /// What they are hashed with.
    pub algorithm: String,
    /// The state of the hash behind the last of them.
    pub hash_state: Option<Vec<u8>>,
    /// Under which boot of the machine that was saved.
    pub boot: String,
    /// Whether its key is in the trash.
    pub key_in_trash: bool,
}

type Columns = (i64, i64, String, String, String, i64, String, Option<Vec<u8>>, String, bool);

const ROWS: &str = "SELECT u.id, u.writer, coalesce(r.name, ''), u.store, u.storage_key, u.received, u.algorithm, u.hash_state, u.boot, \
        EXISTS (SELECT 1 FROM trash t WHERE t.storage_key = u.storage_key) \
    FROM upload u LEFT JOIN repository r ON r.id = u.repository_id WHERE u.id > $1 AND u.id <= $2 ORDER BY u.id";

/// Every upload of a page.
///
/// # Errors
/// The database failed.
pub async fn rows(reader: &mut Reader, range: &Range) -> Result<Vec<Row>, DatabaseError> {
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<Columns> = on!(reader, c => sqlx::query_as(ROWS).bind(after).bind(upto).fetch_all(c).await)?;
    let row = |columns: Columns| {
        let (id, writer, repository, store, key, received, algorithm, hash_state, boot, key_in_trash) = columns;
        let (id, received) = (UploadId::stored(id), parse_bytes(received));
        Row { id, writer, repository, store, key, received, algorithm, hash_state, boot, key_in_trash }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The upload whose bytes lie under a key.
///
/// # Errors
/// The database failed.
pub async fn of_key(reader: &mut Reader, key: &StorageKey) -> Result<Option<UploadId>, DatabaseError> {
    let select = "SELECT id FROM upload WHERE storage_key = $1";
    let found: Option<(i64,)> = on!(reader, c => sqlx::query_as(select).bind(key.as_str()).fetch_optional(c).await)?;
    Ok(found.map(|(id,)| UploadId::stored(id)))
}
