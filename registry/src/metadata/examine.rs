//! What the doctor looks at: every table in pages, by a key, without a lock.
//!
//! A page's end is looked up first; then one statement looks for what is wrong up to there. One statement sees one committed state, and every operation
//! commits whole, so what rows say about each other is never caught half done. What a page says about bytes is another matter: the doctor looks twice.

pub mod blobs;
pub mod fault;
pub mod links;
pub mod manifests;
pub mod progress;
pub mod referrers;
pub mod tags;
pub mod uploads;
pub mod usage;

use serde::Serialize;
use shared::{
    database::{DatabaseError, Reader},
    on,
};

/// Where a walk through a table stands: everything up to this key was looked at. What a table does not have in its key stays as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The first number of the key.
    pub first: i64,
    /// The second.
    pub second: i64,
    /// The text in the key.
    pub name: String,
}

impl Default for Position {
    /// Before everything: no id is negative.
    fn default() -> Self {
        Self { first: -1, second: -1, name: String::new() }
    }
}

impl Position {
    /// Behind a text.
    #[must_use]
    pub fn behind(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// What lies between two positions, the second included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Behind this,
    pub after: Position,
    /// and up to here.
    pub upto: Position,
    /// How many rows the page has.
    pub rows: u64,
}

impl Range {
    /// One row of a table that is walked by a number.
    #[must_use]
    pub fn of_one(id: i64) -> Self {
        let at = |first| Position { first, ..Position::default() };
        Self { after: at(id.saturating_sub(1)), upto: at(id), rows: 1 }
    }
}

/// A table, by the key that it is walked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `blob` by id.
    Blobs,
    /// `link` by blob: all links of a blob are in one page.
    Links,
    /// `manifest` by id.
    Manifests,
    /// `manifest_blob` by manifest.
    NamedBlobs,
    /// `manifest_child` by manifest.
    NamedChildren,
    /// What `manifest` names as subjects, by repository and digest.
    Subjects,
    /// `tag` by repository and name.
    Tags,
    /// `tag_history` by repository and name.
    Histories,
    /// `upload` by id.
    Uploads,
    /// `namespace` by id.
    Namespaces,
    /// `namespace_blob` by namespace and blob.
    Shares,
}

/// The last key of a page, and how many rows the page has.
macro_rules! last {
    ($first:literal, $page:literal) => {
        last!($first, "CAST(-1 AS BIGINT)", "''", $page)
    };
    ($first:literal, $second:literal, $name:literal, $page:literal) => {
        concat!(
            "SELECT ",
            $first,
            ", ",
            $second,
            ", ",
            $name,
            ", count(*) OVER () FROM (",
            $page,
            ") AS page ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1"
        )
    };
}

impl Table {
    const fn last(self) -> &'static str {
        match self {
            Self::Blobs => last!("id", "SELECT id FROM blob WHERE id > $1 ORDER BY id LIMIT $2"),
            Self::Links => {
                last!("blob_id", "SELECT blob_id FROM link WHERE blob_id > $1 ORDER BY blob_id LIMIT $2")
            }
            Self::Manifests => last!("id", "SELECT id FROM manifest WHERE id > $1 ORDER BY id LIMIT $2"),
            Self::NamedBlobs => last!(
                "manifest_id",
                "SELECT manifest_id FROM manifest_blob WHERE manifest_id > $1 ORDER BY manifest_id LIMIT $2"
            ),
            Self::NamedChildren => last!(
                "manifest_id",
                "SELECT manifest_id FROM manifest_child WHERE manifest_id > $1 ORDER BY manifest_id LIMIT $2"
            ),
            Self::Uploads => last!("id", "SELECT id FROM upload WHERE id > $1 ORDER BY id LIMIT $2"),
            Self::Namespaces => last!("id", "SELECT id FROM namespace WHERE id > $1 ORDER BY id LIMIT $2"),
            Self::Subjects => last!(
                "repository_id",
                "CAST(-1 AS BIGINT)",
                "subject_digest",
                "SELECT DISTINCT repository_id, subject_digest FROM manifest WHERE subject_digest IS NOT NULL \
                 AND (repository_id, subject_digest) > ($1, $2) ORDER BY repository_id, subject_digest LIMIT $3"
            ),
            Self::Tags => last!(
                "repository_id",
                "CAST(-1 AS BIGINT)",
                "name",
                "SELECT repository_id, name FROM tag WHERE (repository_id, name) > ($1, $2) \
                 ORDER BY repository_id, name LIMIT $3"
            ),
            Self::Histories => last!(
                "repository_id",
                "CAST(-1 AS BIGINT)",
                "name",
                "SELECT repository_id, name FROM tag_history WHERE (repository_id, name) > ($1, $2) \
                 ORDER BY repository_id, name LIMIT $3"
            ),
            Self::Shares => last!(
                "namespace_id",
                "blob_id",
                "''",
                "SELECT namespace_id, blob_id FROM namespace_blob WHERE (namespace_id, blob_id) > ($1, $2) \
                 ORDER BY namespace_id, blob_id LIMIT $3"
            ),
        }
    }
}

/// The next page of a table; None at its end. Rows that come meanwhile into what was passed were written by operations that keep the invariants.
///
/// # Errors
/// The database failed.
pub async fn page(
    reader: &mut Reader,
    table: Table,
    after: &Position,
    limit: i64,
) -> Result<Option<Range>, DatabaseError> {
    let sql = table.last();
    let found: Option<(i64, i64, String, i64)> = match table {
        Table::Subjects | Table::Tags | Table::Histories => on!(reader, c => {
            sqlx::query_as(sql).bind(after.first).bind(&after.name).bind(limit).fetch_optional(c).await
        })?,
        Table::Shares => on!(reader, c => {
            sqlx::query_as(sql).bind(after.first).bind(after.second).bind(limit).fetch_optional(c).await
        })?,
        _ => on!(reader, c => sqlx::query_as(sql).bind(after.first).bind(limit).fetch_optional(c).await)?,
    };
    Ok(found.map(|(first, second, name, rows)| Range {
        after: after.clone(),
        upto: Position { first, second, name },
        rows: rows.unsigned_abs(),
    }))
}

#[cfg(test)]
mod tests;
