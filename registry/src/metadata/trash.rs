//! Bytes that no row refers to any more.
//!
//! The row comes in the operation that removes the last reference; the bytes go later, and the row after them. So a crash anywhere leaves a row that says
//! what is still to do, never bytes that nobody knows.

use std::convert::Infallible;

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Durability, Failure, Operation, Reader, Transaction},
    on,
};

use super::{
    json_list,
    pace::{Batch, Kind},
};
use crate::{
    failpoints::{Point, reach},
    store::StorageKey,
};

/// Where bytes lie, as rows of uploads and of blobs hold it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Place {
    /// Under which key.
    #[sqlx(rename = "storage_key", try_from = "String")]
    pub key: StorageKey,
    /// In the store of that name.
    pub store: String,
}

/// Throws away what lies there.
///
/// # Errors
/// The database failed.
pub async fn throw_away(tx: &mut Transaction<'_>, place: &Place) -> Result<(), sqlx::Error> {
    let now = tx.now();
    let insert = "INSERT INTO trash (storage_key, store, since) VALUES ($1, $2, $3)";
    on!(tx, c => sqlx::query(insert).bind(place.key.as_str()).bind(&place.store).bind(now).execute(c).await.map(drop))
}

/// Throws away what lies in all of these places.
///
/// # Errors
/// The database failed.
pub async fn throw_all_away(tx: &mut Transaction<'_>, places: &[Place]) -> Result<(), sqlx::Error> {
    if places.is_empty() {
        return Ok(());
    }
    let insert = match tx.dialect() {
        Dialect::Sqlite => {
            "INSERT INTO trash (storage_key, store, since) \
             SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), $2 FROM json_each($1)"
        }
        Dialect::Postgres => {
            "INSERT INTO trash (storage_key, store, since) \
             SELECT value ->> 0, value ->> 1, $2 FROM jsonb_array_elements($1::jsonb) AS value"
        }
    };
    let now = tx.now();
    let places = places.iter().map(|place| vec![place.key.as_str(), place.store.as_str()]);
    let places = serde_json::Value::from_iter(places).to_string();
    on!(tx, c => sqlx::query(insert).bind(places).bind(now).execute(c).await.map(drop))
}

/// The oldest keys of a store that have been in the trash for at least `wait`, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn due(
    reader: &mut Reader,
    store: &str,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<StorageKey>, DatabaseError> {
    let select = "SELECT storage_key FROM trash WHERE since <= $1 AND store = $2 ORDER BY since LIMIT $3";
    let rows: Vec<(String,)> =
        on!(reader, c => sqlx::query_as(select).bind(before).bind(store).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(key,)| StorageKey::stored(&key)).collect())
}

/// Keys of a store in the trash, whatever their age, behind a key in their order; at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn all(reader: &mut Reader, store: &str, behind: &str, limit: i64) -> Result<Vec<StorageKey>, DatabaseError> {
    let select = "SELECT storage_key FROM trash WHERE storage_key > $1 AND store = $2 ORDER BY storage_key LIMIT $3";
    let rows: Vec<(String,)> =
        on!(reader, c => sqlx::query_as(select).bind(behind).bind(store).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(key,)| StorageKey::stored(&key)).collect())
}

/// Forgets keys whose bytes are gone.
#[derive(Debug)]
pub struct ForgetTrash {
    /// Which.
    pub keys: Vec<StorageKey>,
}

impl Operation for ForgetTrash {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "forget_trash";

    fn durability(&self) -> Durability {
        // A row that comes back asks for a deletion that is already done, and that is a success.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let delete = match tx.dialect() {
            Dialect::Sqlite => "DELETE FROM trash WHERE storage_key IN (SELECT value FROM json_each($1))",
            Dialect::Postgres => {
                "DELETE FROM trash WHERE storage_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))"
            }
        };
        let keys = json_list(&self.keys);
        on!(tx, c => sqlx::query(delete).bind(keys).execute(c).await.map(drop))?;
        reach(Point::TrashForgotten)?;
        Ok(())
    }
}

impl Batch for ForgetTrash {
    const KIND: Kind = Kind::Trash;

    fn size(&self, (): &()) -> usize {
        self.keys.len()
    }
}
