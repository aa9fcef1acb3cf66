//! What rules are decided from, a page at a time: a namespace's repositories, a repository's tags, and its manifests that nothing holds.
//!
//! Pages are read without locks. What is decided by them is looked at again in the operation that does it.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Reader},
    on,
    repository::RepositoryName,
};
use sqlx::Error;

use super::{LooseFacts, TagFacts};
use crate::metadata::{NamespaceId, RepositoryId, manifests::ManifestId, parse_digest, parse_json};

/// Sorts behind every tag that begins with what stands before it: tags are made of letters, digits, `.`, `_` and `-`.
const BEHIND: char = '~';

/// A repository of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFound {
    /// Its id.
    pub id: RepositoryId,
    /// Its name.
    pub name: RepositoryName,
    /// Its own rules, as they are stored.
    pub policy: Option<String>,
}

/// Living repositories of a namespace behind a name (`""` for the first page), at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn repositories(
    reader: &mut Reader,
    (namespace, name): (NamespaceId, &str),
    behind: &str,
    limit: i64,
) -> Result<Vec<RepositoryFound>, DatabaseError> {
    // By the index on names: what lies between the namespace's name and its end is its own, but for names like `acme-too/web`.
    let sql = "SELECT id, name, policy FROM repository
               WHERE deleted_at IS NULL AND namespace_id = $1 AND name >= $2 AND name < $3 AND name > $4 ORDER BY name LIMIT $5";
    // `0` comes behind `/`.
    let until = format!("{name}0");
    let rows: Vec<(RepositoryId, String, Option<String>)> = on!(reader, c => sqlx::query_as(sql)
        .bind(namespace).bind(name).bind(until).bind(behind).bind(limit).fetch_all(c).await)?;
    let found = |(id, name, policy): (RepositoryId, String, Option<String>)| {
        let name = name.parse().map_err(|error| Error::Decode(Box::new(error)))?;
        Ok(RepositoryFound { id, name, policy })
    };
    rows.into_iter().map(found).collect()
}

/// Repositories of a namespace that have rules of their own, by name, at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn with_own_rules(
    reader: &mut Reader,
    (namespace, name): (NamespaceId, &str),
    limit: i64,
) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT name FROM repository WHERE deleted_at IS NULL AND namespace_id = $1 AND name >= $2 AND name < $3
               AND policy IS NOT NULL ORDER BY name LIMIT $4";
    let until = format!("{name}0");
    let rows: Vec<(String,)> = on!(reader, c => sqlx::query_as(sql)
        .bind(namespace).bind(name).bind(until).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Which tags are looked at.
#[derive(Clone, Copy, Debug)]
pub struct TagRange<'a> {
    /// What they begin with.
    pub prefix: &'a str,
    /// Behind which they sort.
    pub behind: &'a str,
    /// How many at most.
    pub limit: i64,
}

macro_rules! tags {
    ($page:literal, $hint:literal) => {
        concat!(
            "SELECT ",
            $page,
            " FROM (
             SELECT t.name, t.version, m.digest, t.updated_at, tp.pulled_at AS by_tag, mp.pulled_at AS by_any,
                 m.pushed_at, m.expires_after
             FROM tag t ",
            $hint,
            " JOIN manifest m ON m.id = t.manifest_id
                 LEFT JOIN tag_pull tp ON tp.repository_id = t.repository_id AND tp.name = t.name
                 LEFT JOIN manifest_pull mp ON mp.manifest_id = t.manifest_id
             WHERE t.repository_id = $1 AND t.manifest_id IS NOT NULL AND t.name >= $2 AND t.name < $3 AND t.name > $4
             ORDER BY t.name LIMIT $5) AS page"
        )
    };
}

const TAGS_SQLITE: &str = tags!(
    "json_group_array(json_array(name, version, digest, updated_at, by_tag, by_any, pushed_at, expires_after))",
    "INDEXED BY tag_living"
);
const TAGS_POSTGRES: &str = tags!(
    "coalesce(json_agg(json_build_array(name, version, digest, updated_at, by_tag, by_any, pushed_at, expires_after)), '[]')::text",
    ""
);

type TagRow = (String, i64, String, i64, Option<i64>, Option<i64>, i64, Option<String>);

/// Living tags of a repository in bytewise order.
///
/// # Errors
/// What the database says.
pub async fn tags(
    reader: &mut Reader,
    repository: RepositoryId,
    range: &TagRange<'_>,
) -> Result<Vec<TagFacts>, DatabaseError> {
    let sql = match reader.dialect() {
        Dialect::Sqlite => TAGS_SQLITE,
        Dialect::Postgres => TAGS_POSTGRES,
    };
    let until = format!("{}{BEHIND}", range.prefix);
    let (prefix, behind, limit) = (range.prefix, range.behind, range.limit);
    let (page,): (String,) = on!(reader, c => sqlx::query_as(sql)
        .bind(repository).bind(prefix).bind(until).bind(behind).bind(limit).fetch_one(c).await)?;
    let rows: Vec<TagRow> = parse_json(&page)?;
    let mut facts: Vec<TagFacts> = rows.into_iter().map(tag_facts).collect::<Result<_, Error>>()?;
    // They come in this order already, but only by habit.
    facts.sort_unstable_by(|one, other| one.tag.cmp(&other.tag));
    Ok(facts)
}

fn tag_facts(row: TagRow) -> Result<TagFacts, Error> {
    let (name, version, digest, updated_at, by_tag, by_any, pushed_at, expires_after) = row;
    Ok(TagFacts {
        tag: name.parse().map_err(|error| Error::Decode(Box::new(error)))?,
        version,
        digest: parse_digest(&digest)?,
        pushed_at: Timestamp::from_micros(updated_at),
        // Many clients ask for a tag once, and pull by the digest that they were told.
        pulled_at: by_tag.max(by_any).map(Timestamp::from_micros),
        manifest_pushed_at: Timestamp::from_micros(pushed_at),
        expires_after,
    })
}

const LOOSE: &str = "SELECT m.id, m.digest, m.expires_at, m.pushed_at, mp.pulled_at, m.expires_after
    FROM manifest m LEFT JOIN manifest_pull mp ON mp.manifest_id = m.id
    WHERE m.repository_id = $1 AND m.expires_at IS NOT NULL AND m.deleted_at IS NULL AND m.id > $2 ORDER BY m.id LIMIT $3";

type LooseRow = (ManifestId, String, Timestamp, Timestamp, Option<Timestamp>, Option<String>);

/// Living manifests of a repository that nothing holds, behind an id, at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn loose(
    reader: &mut Reader,
    repository: RepositoryId,
    behind: ManifestId,
    limit: i64,
) -> Result<Vec<LooseFacts>, DatabaseError> {
    let rows: Vec<LooseRow> = on!(reader, c => sqlx::query_as(LOOSE)
        .bind(repository).bind(behind).bind(limit).fetch_all(c).await)?;
    let facts = |(manifest, digest, expires_at, pushed_at, pulled_at, expires_after): LooseRow| {
        let digest = parse_digest(&digest)?;
        Ok(LooseFacts { manifest, digest, expires_at, pushed_at, pulled_at, expires_after })
    };
    rows.into_iter().map(facts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_page_walks_through_nothing_else() {
        let stage = Stage::sqlite().await;
        for (sql, index) in
            [(TAGS_SQLITE, "INDEX tag_living (repository_id=? AND name>?"), (LOOSE, "INDEX manifest_loose")]
        {
            let plan = plan(&stage.content.metadata, sql).await;
            assert!(plan.contains(index), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
            assert!(!plan.contains("SCAN m") && !plan.contains("SCAN t"), "{plan}");
        }
    }
}
