//! Storage keys, whoever has them.

use std::collections::BTreeSet;

use shared::{
    database::{DatabaseError, Dialect, Reader},
    on,
};

use super::json_list;
use crate::store::StorageKey;

macro_rules! unknown {
    ($asked:literal) => {
        concat!(
            "SELECT k.value FROM ",
            $asked,
            " WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.storage_key = k.value) \
             AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.storage_key = k.value) \
             AND NOT EXISTS (SELECT 1 FROM trash t WHERE t.storage_key = k.value)"
        )
    };
}

/// Those of `keys` that no row speaks of: no blob's, no upload's and not in the trash.
///
/// # Errors
/// The database failed.
pub async fn unknown<'k>(
    reader: &mut Reader,
    keys: impl IntoIterator<Item = &'k StorageKey>,
) -> Result<BTreeSet<StorageKey>, DatabaseError> {
    let select = match reader.dialect() {
        Dialect::Sqlite => unknown!("json_each($1) AS k"),
        Dialect::Postgres => unknown!("jsonb_array_elements_text($1::jsonb) AS k(value)"),
    };
    let keys = json_list(keys);
    let rows: Vec<(String,)> = on!(reader, c => sqlx::query_as(select).bind(keys).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(key,)| key.into()).collect())
}
