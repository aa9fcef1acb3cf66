//! What was deleted and can still come back.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    digest::Digest,
    on,
    repository::RepositoryName,
    tag::Tag,
};
use sqlx::Error;

use super::{RepositoryId, manifests::ManifestId, parse_bytes, parse_digest, parse_json};

/// A manifest as it was pushed, living or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The type it was pushed under.
    pub media_type: String,
    /// The bytes as pushed.
    pub payload: Vec<u8>,
    /// The tags that it carried when it was deleted; none of one that lives.
    pub carried: Vec<Tag>,
}

/// The bytes of a manifest that lives, or whose window is not over.
///
/// # Errors
/// The database failed.
pub async fn kept(
    reader: &mut Reader,
    repository: &RepositoryName,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<Kept>, DatabaseError> {
    let sql = "SELECT m.media_type, p.payload, m.deleted_tags FROM repository r
               JOIN manifest m ON m.repository_id = r.id AND m.digest = $2 JOIN manifest_payload p ON p.manifest_id = m.id
               WHERE r.name = $1 AND r.deleted_at IS NULL AND (m.deleted_at IS NULL OR m.expires_at >= $3)";
    let (name, digest) = (repository.as_str(), digest.to_string());
    let found: Option<(String, Vec<u8>, Option<String>)> =
        on!(reader, c => sqlx::query_as(sql).bind(name).bind(digest).bind(now).fetch_optional(c).await)?;
    let kept = |(media_type, payload, tags): (String, Vec<u8>, Option<String>)| {
        Ok(Kept { media_type, payload, carried: parse_tags(tags)? })
    };
    found.map(kept).transpose()
}

/// What a release that did not know of it deleted says nothing of its tags.
fn parse_tags(text: Option<String>) -> Result<Vec<Tag>, Error> {
    text.map_or_else(|| Ok(Vec::new()), |text| parse_json(&text))
}

/// Where a list goes on: behind what ends then and has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Until when the last one listed can come back,
    pub until: Timestamp,
    /// and its id.
    pub id: i64,
}

impl Place {
    /// Before everything whose window ends after `now`.
    pub const fn beginning(now: Timestamp) -> Self {
        Self { until: now, id: i64::MAX }
    }
}

/// How many rows a page looks at: those of other namespaces lie between.
const LOOK: i64 = 5_000;

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What was found,
    pub found: Vec<T>,
    /// and where the list goes on, if it may.
    pub next: Option<Place>,
}

impl<T> Page<T> {
    /// A full page ends at its last row, any other where the looking ended.
    fn new(found: Vec<T>, limit: i64, looked: Option<Place>, place: impl Fn(&T) -> Place) -> Self {
        let full = found.last().filter(|_| found.len() as i64 >= limit).map(place);
        Self { found, next: full.or(looked) }
    }
}

impl Place {
    /// Behind everything.
    const END: Self = Self { until: Timestamp::from_micros(i64::MAX), id: i64::MAX };

    /// The last of the rows that a page looks at; none where there are fewer left.
    async fn looked_until(self, reader: &mut Reader, sql: &'static str) -> Result<Option<Self>, DatabaseError> {
        let row: Option<(Timestamp, i64)> = on!(reader, c => {
            sqlx::query_as(sql).bind(self.until).bind(self.id).bind(LOOK - 1).fetch_optional(c).await
        })?;
        Ok(row.map(|(until, id)| Self { until, id }))
    }
}

const MANIFESTS_LOOKED: &str = "SELECT expires_at, id FROM manifest
    WHERE deleted_at IS NOT NULL AND expires_at >= $1 AND (expires_at > $1 OR id > $2) ORDER BY expires_at, id LIMIT 1 OFFSET $3";

const REPOSITORIES_LOOKED: &str = "SELECT expires_at, id FROM repository
    WHERE deleted_at IS NOT NULL AND expires_at >= $1 AND (expires_at > $1 OR id > $2) ORDER BY expires_at, id LIMIT 1 OFFSET $3";

/// A deleted manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its row.
    pub id: ManifestId,
    /// Where it was.
    pub repository: RepositoryName,
    /// Which it is.
    pub digest: Digest,
    /// The type it was pushed under.
    pub media_type: String,
    /// The payload's length in bytes.
    pub size: u64,
    /// The tags that it carried.
    pub tags: Vec<Tag>,
    /// How it went.
    pub gone: Gone,
}

/// How something went, and until when it can come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// When.
    pub at: Timestamp,
    /// By whom, where that was written down.
    pub by: Option<String>,
    /// Until when it can come back.
    pub until: Timestamp,
}

// In this order and no other: left to itself SQLite begins with the namespace and walks through all manifests in it.
const MANIFESTS: &str =
    "SELECT m.id, r.name, m.digest, m.media_type, m.size, m.deleted_tags, m.deleted_at, m.deleted_by, m.expires_at
    FROM manifest m CROSS JOIN repository r CROSS JOIN namespace n
    WHERE r.id = m.repository_id AND n.id = r.namespace_id AND m.deleted_at IS NOT NULL AND m.expires_at >= $3 AND (m.expires_at > $3 OR m.id > $4)
        AND m.expires_at <= $5 AND (m.expires_at < $5 OR m.id <= $6) AND n.name = $1 AND r.deleted_at IS NULL AND ($2 = '' OR r.name = $2)
    ORDER BY m.expires_at, m.id LIMIT $7";

type ManifestRow = (ManifestId, String, String, String, i64, Option<String>, Timestamp, Option<String>, Timestamp);

/// Deleted manifests of a namespace's living repositories, or of one of them, those first whose window ends first: at most `limit`, and fewer where many of
/// other namespaces lie between.
///
/// # Errors
/// The database failed.
pub async fn manifests(
    reader: &mut Reader,
    (namespace, repository): (&str, Option<&RepositoryName>),
    behind: Place,
    limit: i64,
) -> Result<Page<Manifest>, DatabaseError> {
    let (namespace, repository) = (namespace.to_owned(), repository.map_or("", RepositoryName::as_str));
    let looked = behind.looked_until(reader, MANIFESTS_LOOKED).await?;
    let until = looked.unwrap_or(Place::END);
    let rows: Vec<ManifestRow> = on!(reader, c => {
        let query = sqlx::query_as(MANIFESTS).bind(namespace).bind(repository).bind(behind.until).bind(behind.id);
        query.bind(until.until).bind(until.id).bind(limit).fetch_all(c).await
    })?;
    let found: Vec<Manifest> = rows.into_iter().map(manifest).collect::<Result<_, Error>>()?;
    Ok(Page::new(found, limit, looked, |one| Place { until: one.gone.until, id: one.id.0 }))
}

fn manifest((id, name, digest, media_type, size, tags, at, by, until): ManifestRow) -> Result<Manifest, Error> {
    Ok(Manifest {
        id,
        repository: name.parse().map_err(|error| Error::Decode(Box::new(error)))?,
        digest: parse_digest(&digest)?,
        media_type,
        size: parse_bytes(size),
        tags: parse_tags(tags)?,
        gone: Gone { at, by, until },
    })
}

/// A deleted repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its row: others may have had its name.
    pub id: RepositoryId,
    /// Its name.
    pub name: RepositoryName,
    /// How it went.
    pub gone: Gone,
}

const REPOSITORIES: &str = "SELECT r.id, r.name, r.deleted_at, r.deleted_by, r.expires_at
    FROM repository r CROSS JOIN namespace n
    WHERE n.id = r.namespace_id AND r.deleted_at IS NOT NULL AND r.expires_at >= $3 AND (r.expires_at > $3 OR r.id > $4)
        AND r.expires_at <= $5 AND (r.expires_at < $5 OR r.id <= $6) AND n.name = $1 AND ($2 = '' OR r.name = $2)
    ORDER BY r.expires_at, r.id LIMIT $7";

/// Deleted repositories of a namespace, or of one name in it, those first whose window ends first; as [`manifests`].
///
/// # Errors
/// The database failed.
pub async fn repositories(
    reader: &mut Reader,
    (namespace, repository): (&str, Option<&RepositoryName>),
    behind: Place,
    limit: i64,
) -> Result<Page<Repository>, DatabaseError> {
    let (namespace, repository) = (namespace.to_owned(), repository.map_or("", RepositoryName::as_str));
    let looked = behind.looked_until(reader, REPOSITORIES_LOOKED).await?;
    let until = looked.unwrap_or(Place::END);
    let rows: Vec<(RepositoryId, String, Timestamp, Option<String>, Timestamp)> = on!(reader, c => {
        let query = sqlx::query_as(REPOSITORIES).bind(namespace).bind(repository).bind(behind.until).bind(behind.id);
        query.bind(until.until).bind(until.id).bind(limit).fetch_all(c).await
    })?;
    let found = |(id, name, at, by, until): (RepositoryId, String, Timestamp, Option<String>, Timestamp)| {
        let name = name.parse().map_err(|error| Error::Decode(Box::new(error)))?;
        Ok(Repository { id, name, gone: Gone { at, by, until } })
    };
    let found: Vec<Repository> = rows.into_iter().map(found).collect::<Result<_, Error>>()?;
    Ok(Page::new(found, limit, looked, |one| Place { until: one.gone.until, id: one.id.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn a_list_walks_through_deleted_manifests_alone() {
        let stage = Stage::sqlite().await;
        for sql in [MANIFESTS_LOOKED, REPOSITORIES_LOOKED] {
            let plan = self::plan(&stage.content.metadata, sql).await;
            assert!(plan.contains("INDEX") && plan.contains("(expires_at>?)"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
        let plan = self::plan(&stage.content.metadata, MANIFESTS).await;
        assert!(plan.contains("m USING INDEX manifest_purge (expires_at>? AND expires_at<?)"), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
        let plan = self::plan(&stage.content.metadata, REPOSITORIES).await;
        assert!(plan.contains("r USING INDEX repository_deleted (expires_at>? AND expires_at<?)"), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
    }
}
