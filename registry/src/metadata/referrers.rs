//! Which living manifests are about a digest.

use serde::Deserialize;
use shared::{
    database::{DatabaseError, Dialect, Reader},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::parse_json;

/// Which referrers to look for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// In which repository.
    pub repository: &'a RepositoryName,
    /// What they are about.
    pub subject: &'a Digest,
    /// Only those of this type.
    pub artifact_type: Option<&'a str>,
    /// Only those whose digest sorts behind this one.
    pub after: Option<&'a Digest>,
    /// How many at most.
    pub limit: i64,
    /// How many characters of annotations may come before the last one.
    pub annotations: i64,
}

/// A referrer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// Its digest.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its own type, or that of an image's config.
    pub artifact_type: Option<String>,
    /// Its annotations as a JSON object.
    pub annotations: Option<String>,
}

/// The one query in its four forms. The window adds up annotations before each row, so that a page has a bound in bytes too.
macro_rules! page {
    ($gather:literal, $filter:literal) => {
        concat!(
            "WITH named AS (
                 SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations, coalesce(length(m.annotations), 0) AS weight
                 FROM manifest m WHERE m.repository_id = (SELECT id FROM repository WHERE name = $1 AND deleted_at IS NULL)
                     AND m.subject_digest = $2 AND ",
            $filter,
            " AND m.digest > $3 AND m.deleted_at IS NULL ORDER BY m.digest LIMIT $4),
             weighed AS (SELECT named.*, sum(weight) OVER (ORDER BY digest) - weight AS before FROM named)
             SELECT (SELECT ",
            $gather,
            " FROM weighed WHERE before <= $5), (SELECT count(*) FROM named)"
        )
    };
}

const SQLITE: [&str; 2] = [
    page!(
        "json_group_array(json_array(digest, media_type, size, artifact_type, annotations) ORDER BY digest)",
        "$6 IS NULL"
    ),
    page!(
        "json_group_array(json_array(digest, media_type, size, artifact_type, annotations) ORDER BY digest)",
        "m.artifact_type = $6"
    ),
];
const POSTGRES: [&str; 2] = [
    page!(
        "coalesce(json_agg(json_build_array(digest, media_type, size, artifact_type, annotations) ORDER BY digest), '[]')::text",
        "$6 IS NULL"
    ),
    page!(
        "coalesce(json_agg(json_build_array(digest, media_type, size, artifact_type, annotations) ORDER BY digest), '[]')::text",
        "m.artifact_type = $6"
    ),
];

/// Referrers in the order of their digests, and whether some were left out because the ones before them are long.
///
/// # Errors
/// What the database says.
pub async fn list(reader: &mut Reader, query: &Query<'_>) -> Result<(Vec<Row>, bool), DatabaseError> {
    let [all, of_one_type] = match reader.dialect() {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let sql = if query.artifact_type.is_some() { of_one_type } else { all };
    let (name, subject) = (query.repository.as_str(), query.subject.to_string());
    let after = query.after.map(ToString::to_string).unwrap_or_default();
    let (page, found): (String, i64) = on!(reader, c => sqlx::query_as(sql)
        .bind(name).bind(subject).bind(after).bind(query.limit).bind(query.annotations).bind(query.artifact_type)
        .fetch_one(c).await)?;
    let page: Vec<Row> = parse_json(&page)?;
    let shortened = usize::try_from(found).is_ok_and(|found| found > page.len());
    Ok((page, shortened))
}
