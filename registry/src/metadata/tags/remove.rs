//! Many tags of one repository go at once: two statements, however many they are.

use serde::Serialize;
use shared::{
    database::{Dialect, Transaction},
    on,
    tag::Tag,
};
use sqlx::Error;

use crate::metadata::RepositoryId;

/// A locked tag that goes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Removal<'a> {
    /// Which.
    #[serde(rename = "name")]
    pub tag: &'a Tag,
    /// The version it has now.
    pub version: i64,
    /// Who takes it away.
    pub actor: &'a str,
}

const SQLITE: [&str; 2] = [
    "UPDATE tag SET manifest_id = NULL, version = version + 1, updated_at = $3
     WHERE repository_id = $1 AND name IN (SELECT value ->> 'name' FROM json_each($2))",
    "INSERT INTO tag_history (repository_id, name, version, digest, at, actor)
     SELECT $1, value ->> 'name', (value ->> 'version') + 1, NULL, $3, value ->> 'actor' FROM json_each($2)",
];
const POSTGRES: [&str; 2] = [
    "UPDATE tag SET manifest_id = NULL, version = version + 1, updated_at = $3
     WHERE repository_id = $1 AND name = ANY(ARRAY(SELECT value ->> 'name' FROM json_array_elements($2::json)))",
    "INSERT INTO tag_history (repository_id, name, version, digest, at, actor)
     SELECT $1, v.name, v.version + 1, NULL, $3, v.actor
     FROM json_to_recordset($2::json) AS v (name TEXT, version BIGINT, actor TEXT)",
];

/// Takes locked tags away and writes their history, as [`step`](super::step) does for one.
///
/// # Errors
/// What the database says.
pub async fn remove(tx: &mut Transaction<'_>, repository: RepositoryId, removals: &[Removal<'_>]) -> Result<(), Error> {
    let now = tx.now();
    let removals = serde_json::to_string(removals).map_err(|error| Error::Encode(Box::new(error)))?;
    let statements = match tx.dialect() {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    for sql in statements {
        on!(tx, c => sqlx::query(sql).bind(repository).bind(&removals).bind(now).execute(c).await.map(drop))?;
    }
    Ok(())
}
