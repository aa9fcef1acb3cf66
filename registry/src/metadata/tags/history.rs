//! What a tag pointed at, and what has become of that.

use serde::Serialize;
use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    digest::Digest,
    on,
    repository::RepositoryName,
    tag::Tag,
};
use utoipa::ToSchema;

use crate::metadata::parse_digest;

/// One step of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which step, counted from 1: the order of a tag's history is this, never the time.
    pub version: i64,
    /// Where it pointed from then on; None where the step deleted it.
    pub digest: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// Who made it.
    pub actor: String,
    /// What has become of what it pointed at.
    pub fate: Fate,
}

/// What has become of a manifest that a tag pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ManifestFate)]
pub enum Fate {
    /// It is there.
    Living,
    /// It is deleted, and can come back.
    Deleted,
    /// It is gone; or there was none, because the step deleted the tag.
    Gone,
}

const STEPS: &str = "SELECT h.version, h.digest, h.at, h.actor, m.id IS NOT NULL AND m.deleted_at IS NULL,
        m.id IS NOT NULL AND m.deleted_at IS NOT NULL AND m.expires_at >= $5
    FROM repository r JOIN tag_history h ON h.repository_id = r.id AND h.name = $2
        LEFT JOIN manifest m ON m.repository_id = r.id AND m.digest = h.digest
    WHERE r.name = $1 AND r.deleted_at IS NULL AND h.version < $3 ORDER BY h.version DESC LIMIT $4";

type Row = (i64, Option<String>, Timestamp, String, Option<bool>, Option<bool>);

/// The steps of a tag before `before`, at most `limit`, the newest first; none of a repository that is not there.
///
/// # Errors
/// The database failed.
pub async fn steps(
    reader: &mut Reader,
    (repository, tag): (&RepositoryName, &Tag),
    before: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Step>, DatabaseError> {
    let (repository, tag) = (repository.as_str(), tag.as_str());
    let rows: Vec<Row> = on!(reader, c => {
        sqlx::query_as(STEPS).bind(repository).bind(tag).bind(before).bind(limit).bind(now).fetch_all(c).await
    })?;
    rows.into_iter().map(|row| Ok(step(row)?)).collect()
}

fn step((version, digest, at, actor, living, deleted): Row) -> Result<Step, sqlx::Error> {
    let digest = digest.map(|digest| parse_digest(&digest)).transpose()?;
    let fate = match (living, deleted) {
        (Some(true), _) => Fate::Living,
        (_, Some(true)) => Fate::Deleted,
        _ => Fate::Gone,
    };
    Ok(Step { version, digest, at, actor, fate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_page_is_read_from_the_end_of_the_history_alone() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, STEPS).await;
        assert!(plan.contains("h USING PRIMARY KEY (repository_id=? AND name=? AND version<?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
    }
}
