//! The list of a repository's tags, a page at a time.

use shared::{
    database::{DatabaseError, Dialect, Reader},
    on,
    repository::RepositoryName,
};

use crate::metadata::parse_json;

const LIST_SQLITE: &str = "SELECT (SELECT json_group_array(name) FROM (SELECT t.name FROM tag t INDEXED BY tag_living
             WHERE t.repository_id = r.id AND t.manifest_id IS NOT NULL AND t.name > $2 ORDER BY t.name LIMIT $3))
         FROM repository r WHERE r.name = $1 AND r.deleted_at IS NULL";

/// Up to `limit` names of living tags behind `after`, in bytewise order. None if there is no such repository.
///
/// # Errors
/// What the database says.
pub async fn list(
    reader: &mut Reader,
    repository: &RepositoryName,
    after: &str,
    limit: i64,
) -> Result<Option<Vec<String>>, DatabaseError> {
    // One row with all names: a row for each would cost more than reading it.
    let sql = match reader.dialect() {
        Dialect::Sqlite => LIST_SQLITE,
        Dialect::Postgres => "SELECT (SELECT coalesce(json_agg(name ORDER BY name), '[]')::text FROM (SELECT t.name FROM tag t
             WHERE t.repository_id = r.id AND t.manifest_id IS NOT NULL AND t.name > $2 ORDER BY t.name LIMIT $3) AS page)
         FROM repository r WHERE r.name = $1 AND r.deleted_at IS NULL",
    };
    let (name, after) = (repository.as_str(), after.to_owned());
    let found: Option<(String,)> =
        on!(reader, c => sqlx::query_as(sql).bind(name).bind(after).bind(limit).fetch_optional(c).await)?;
    let mut names: Option<Vec<String>> = found.map(|(names,)| parse_json(&names)).transpose()?;
    // They come in this order already; to have SQLite promise it would make it sort them once more, which costs far more than this.
    names.iter_mut().for_each(|names| names.sort_unstable());
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_page_does_not_walk_through_deleted_tags() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, LIST_SQLITE).await;
        assert!(plan.contains("INDEX tag_living (repository_id=? AND name>?)"), "{plan}");
    }
}
