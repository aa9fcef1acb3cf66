//! Which living manifests are about a digest.
//!
//! Those that name it as their subject; and those that name none and stand in the index under the digest's referrers tag, which is where clients of
//! OCI 1.0 keep such lists (specification, "Referrers Tag Schema"). No manifest is both, so none stands there twice. `docs/decisions/` says why.

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
    /// Its annotations as a JSON object. Of one that only an index says is a referrer, none are kept.
    pub annotations: Option<String>,
    /// The row of one that only an index says is a referrer; 0 of all others.
    pub listed: i64,
}

/// The tag under which clients of OCI 1.0 keep the list of a digest's referrers: algorithm and encoded part, cut to what a tag may have.
pub(super) fn referrers_tag(subject: &Digest) -> String {
    let text = subject.to_string();
    let (algorithm, encoded) = text.split_once(':').unwrap_or((&text, ""));
    let cut = |part: &str, most: usize| part.chars().take(most).collect::<String>();
    format!("{}-{}", cut(algorithm, 32), cut(encoded, 64))
}

/// The one query in its four forms. The window adds up annotations before each row, so that a page has a bound in bytes too; those of a row that
/// only an index lists are read from its payload, and weigh as much as that.
macro_rules! page {
    ($gather:literal, $filter:literal) => {
        concat!(
            "WITH naming AS (
                 SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations, coalesce(length(m.annotations), 0) AS weight, 0 AS listed
                 FROM manifest m WHERE m.repository_id = (SELECT id FROM repository WHERE name = $1 AND deleted_at IS NULL)
                     AND m.subject_digest = $2 AND ",
            $filter,
            " AND m.digest > $3 AND m.deleted_at IS NULL ORDER BY m.digest LIMIT $4),
             listing AS (
                 SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations, m.size AS weight, m.id AS listed
                 FROM tag t JOIN manifest_child c ON c.manifest_id = t.manifest_id
                     JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = c.digest
                 WHERE t.repository_id = (SELECT id FROM repository WHERE name = $1 AND deleted_at IS NULL) AND t.name = $7
                     AND m.subject_digest IS NULL AND m.digest <> $2 AND ",
            $filter,
            " AND m.digest > $3 AND m.deleted_at IS NULL ORDER BY m.digest LIMIT $4),
             named AS (SELECT * FROM (SELECT * FROM naming UNION ALL SELECT * FROM listing) AS either ORDER BY digest LIMIT $4),
             weighed AS (SELECT named.*, sum(weight) OVER (ORDER BY digest) - weight AS before FROM named)
             SELECT (SELECT ",
            $gather,
            " FROM weighed WHERE before <= $5), (SELECT count(*) FROM named)"
        )
    };
}

const SQLITE: [&str; 2] = [
    page!(
        "json_group_array(json_array(digest, media_type, size, artifact_type, annotations, listed) ORDER BY digest)",
        "$6 IS NULL"
    ),
    page!(
        "json_group_array(json_array(digest, media_type, size, artifact_type, annotations, listed) ORDER BY digest)",
        "m.artifact_type = $6"
    ),
];
const POSTGRES: [&str; 2] = [
    page!(
        "coalesce(json_agg(json_build_array(digest, media_type, size, artifact_type, annotations, listed) ORDER BY digest), '[]')::text",
        "$6 IS NULL"
    ),
    page!(
        "coalesce(json_agg(json_build_array(digest, media_type, size, artifact_type, annotations, listed) ORDER BY digest), '[]')::text",
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
        .bind(referrers_tag(query.subject))
        .fetch_one(c).await)?;
    let page: Vec<Row> = parse_json(&page)?;
    let shortened = usize::try_from(found).is_ok_and(|found| found > page.len());
    Ok((page, shortened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    /// The examples of the specification, "Referrers Tag Schema", as far as they are digests here.
    #[test]
    fn tags_are_cut_as_the_specification_says() {
        let hex = "a".repeat(64);
        let tag = |digest: String| referrers_tag(&digest.parse().unwrap());
        assert_eq!(tag(format!("sha256:{hex}")), format!("sha256-{hex}"));
        assert_eq!(tag(format!("sha512:{hex}{}", "b".repeat(64))), format!("sha512-{hex}"));
    }

    #[tokio::test]
    async fn a_page_is_read_by_indexes() {
        let stage = Stage::sqlite().await;
        for sql in SQLITE {
            let plan = plan(&stage.content.metadata, sql).await;
            assert!(plan.contains("m USING INDEX manifest_subject"), "{plan}");
            assert!(plan.contains("t USING PRIMARY KEY (repository_id=? AND name=?)"), "{plan}");
            assert!(plan.contains("c USING COVERING INDEX manifest_child_manifest (manifest_id=?)"), "{plan}");
            assert!(!plan.contains("SCAN m") && !plan.contains("SCAN t") && !plan.contains("SCAN c\n"), "{plan}");
        }
    }
}
