//! Names of repositories, in bytewise order.

use shared::{
    database::{DatabaseError, Dialect, Reader},
    on,
};

use super::{RepositoryId, parse_json};

/// Sorts behind every name: names are made of lower-case letters, digits, `.`, `_`, `-` and `/`.
pub const END: &str = "~";

/// A look at the names behind `after` within `[from, until)`.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Names must sort behind this text.
    pub after: &'a str,
    /// Names must not sort before this text.
    pub from: &'a str,
    /// Names must sort before this text; [`END`] where there is no other bound.
    pub until: &'a str,
    /// How many names at most.
    pub limit: i64,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: RepositoryId,
    /// Its name.
    pub name: String,
    /// Whether it holds a living manifest.
    pub holds_manifest: bool,
}

/// The next repositories of a range, those without a manifest too: the caller counts what it has looked at.
///
/// # Errors
/// What the database says.
pub async fn look(reader: &mut Reader, look: &Look<'_>) -> Result<Vec<Row>, DatabaseError> {
    let sql = match reader.dialect() {
        Dialect::Sqlite => "SELECT json_group_array(json_array(id, name, living)) FROM (
             SELECT r.id, r.name, CASE WHEN EXISTS (
                 SELECT 1 FROM manifest m WHERE m.repository_id = r.id AND m.deleted_at IS NULL) THEN 1 ELSE 0 END AS living
             FROM repository r WHERE r.deleted_at IS NULL AND r.name > $1 AND r.name >= $2 AND r.name < $3
             ORDER BY r.name LIMIT $4)",
        Dialect::Postgres => "SELECT coalesce(json_agg(json_build_array(id, name, living) ORDER BY name), '[]')::text FROM (
             SELECT r.id, r.name, CASE WHEN EXISTS (
                 SELECT 1 FROM manifest m WHERE m.repository_id = r.id AND m.deleted_at IS NULL) THEN 1 ELSE 0 END AS living
             FROM repository r WHERE r.deleted_at IS NULL AND r.name > $1 AND r.name >= $2 AND r.name < $3
             ORDER BY r.name LIMIT $4) AS page",
    };
    let (after, from, until, limit) = (look.after, look.from, look.until, look.limit);
    let (page,): (String,) = on!(reader, c => sqlx::query_as(sql)
        .bind(after).bind(from).bind(until).bind(limit).fetch_one(c).await)?;
    let mut rows: Vec<(i64, String, u8)> = parse_json(&page)?;
    // They come in this order already, but only by habit.
    rows.sort_unstable_by(|(_, one, _), (_, other, _)| one.cmp(other));
    let row = |(id, name, living)| Row { id: RepositoryId(id), name, holds_manifest: living == 1 };
    Ok(rows.into_iter().map(row).collect())
}

/// The name of a repository, deleted ones too.
///
/// # Errors
/// What the database says.
pub async fn name(reader: &mut Reader, id: RepositoryId) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT name FROM repository WHERE id = $1";
    let found: Option<(String,)> = on!(reader, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await)?;
    Ok(found.map(|(name,)| name))
}
