//! What a collection by hand looks at before it removes anything: every manifest and every link of a repository, a page at a time, with what keeps it.
//!
//! A page is read without locks: it says what would go if nobody did anything in between. What really goes is decided again under locks.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Reader},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::{
    BlobId, NamespaceId, RepositoryId, json_list, manifests::ManifestId, parse_bytes, parse_digest, parse_json,
    repositories::Repository, uploads::UploadId,
};
use crate::store::StorageKey;

/// Which manifests a collection takes, beside deleted ones whose undelete window has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taking {
    /// Deleted manifests inside their undelete window.
    pub deleted: bool,
    /// Living manifests that nothing holds and whose grace has passed.
    pub untagged: bool,
}

/// What is needed to tell whether a repository goes with everything in it: $1 now, $2 `deleted`.
macro_rules! condemned {
    ($repository:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM repository AS condemned WHERE condemned.id = ",
            $repository,
            " AND condemned.deleted_at IS NOT NULL AND ($2 OR condemned.expires_at <= $1))"
        )
    };
}

/// What is needed to tell whether a manifest `m` goes: $1 now, $2 `deleted`, $3 `untagged`.
macro_rules! goes {
    () => {
        concat!(
            "((m.deleted_at IS NOT NULL AND ($2 OR m.expires_at < $1)) \
              OR (m.deleted_at IS NULL AND $3 AND m.expires_at IS NOT NULL AND m.expires_at < $1) OR ",
            condemned!("m.repository_id"),
            ")"
        )
    };
}

/// A repository, living or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its ids.
    pub repository: Repository,
    /// Its name.
    pub name: RepositoryName,
    /// Until when it can come back, if it is deleted.
    pub deleted_until: Option<Timestamp>,
}

impl Surveyed {
    /// Whether the collection takes it with everything in it.
    pub fn goes(&self, taking: Taking, now: Timestamp) -> bool {
        is_condemned(self.deleted_until, taking, now)
    }
}

/// Whether a repository goes that can come back until then.
fn is_condemned(deleted_until: Option<Timestamp>, taking: Taking, now: Timestamp) -> bool {
    deleted_until.is_some_and(|until| taking.deleted || until <= now)
}

type SurveyedRow = (RepositoryId, NamespaceId, String, Option<Timestamp>);

/// Repositories behind an id, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn repositories(
    reader: &mut Reader,
    behind: RepositoryId,
    limit: i64,
) -> Result<Vec<Surveyed>, DatabaseError> {
    let select = "SELECT id, namespace_id, name, CASE WHEN deleted_at IS NOT NULL THEN expires_at END FROM repository WHERE id > $1 ORDER BY id LIMIT $2";
    let rows: Vec<SurveyedRow> = on!(reader, c => sqlx::query_as(select).bind(behind).bind(limit).fetch_all(c).await)?;
    let surveyed = |(id, namespace, name, deleted_until): SurveyedRow| {
        let name = name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Surveyed { repository: Repository { id, namespace }, name, deleted_until })
    };
    rows.into_iter().map(surveyed).collect()
}

/// An upload that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadFound {
    /// Which.
    pub id: UploadId,
    /// Where.
    pub repository: RepositoryName,
    /// Where its bytes lie.
    pub key: StorageKey,
    /// How many it has received.
    pub received: u64,
    /// Until when its client may go on with it.
    pub expires_at: Timestamp,
    /// Until when its repository can come back, if that is deleted.
    deleted_until: Option<Timestamp>,
}

impl UploadFound {
    /// Whether it goes with its repository.
    pub fn is_condemned(&self, taking: Taking, now: Timestamp) -> bool {
        is_condemned(self.deleted_until, taking, now)
    }
}

type UploadRow = (i64, String, String, i64, Timestamp, Option<Timestamp>);

/// Uploads behind an id, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn uploads(
    reader: &mut Reader,
    behind: Option<UploadId>,
    limit: i64,
) -> Result<Vec<UploadFound>, DatabaseError> {
    let select = "SELECT u.id, r.name, u.storage_key, u.received, u.expires_at, \
                  CASE WHEN r.deleted_at IS NOT NULL THEN r.expires_at END \
                  FROM upload u JOIN repository r ON r.id = u.repository_id WHERE u.id > $1 ORDER BY u.id LIMIT $2";
    // No id is negative.
    let behind = behind.map_or(-1, UploadId::get);
    let rows: Vec<UploadRow> = on!(reader, c => sqlx::query_as(select).bind(behind).bind(limit).fetch_all(c).await)?;
    let upload = |(id, name, key, received, expires_at, deleted_until): UploadRow| {
        let repository = name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let (id, key, received) = (UploadId::stored(id), key.into(), parse_bytes(received));
        Ok(UploadFound { id, repository, key, received, expires_at, deleted_until })
    };
    rows.into_iter().map(upload).collect()
}

/// Keys in the trash with the names of their stores, behind a key in their order; at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn trash(reader: &mut Reader, behind: &str, limit: i64) -> Result<Vec<(StorageKey, String)>, DatabaseError> {
    let select = "SELECT storage_key, store FROM trash WHERE storage_key > $1 ORDER BY storage_key LIMIT $2";
    let rows: Vec<(String, String)> =
        on!(reader, c => sqlx::query_as(select).bind(behind).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(key, store)| (key.into(), store)).collect())
}

/// How many bytes a repository holds: linked blobs and manifests.
///
/// # Errors
/// The database failed.
pub async fn held_bytes(reader: &mut Reader, repository: RepositoryId) -> Result<u64, DatabaseError> {
    let select = "SELECT CAST((SELECT coalesce(sum(b.size), 0) FROM link l JOIN blob b ON b.id = l.blob_id \
                  WHERE l.repository_id = $1) + (SELECT coalesce(sum(size), 0) FROM manifest WHERE repository_id = $1) AS BIGINT)";
    let (bytes,): (i64,) = on!(reader, c => sqlx::query_as(select).bind(repository).fetch_one(c).await)?;
    Ok(parse_bytes(bytes))
}

/// A manifest with everything that could keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFound {
    /// Its row.
    pub id: ManifestId,
    /// What its payload hashes to.
    pub digest: Digest,
    /// Its payload's length in bytes.
    pub size: u64,
    /// Whether no reader sees it any more.
    pub deleted: bool,
    /// When it may go; for a deleted one when its undelete window ends.
    pub expires_at: Option<Timestamp>,
    /// Whether the collection takes it.
    pub goes: bool,
    /// The tags that point at it.
    pub tags: Vec<String>,
    /// A kept index that lists it.
    pub parent: Option<Digest>,
    /// The manifest that it is about, if that is kept.
    pub subject: Option<Digest>,
}

macro_rules! manifests {
    ($tags:literal) => {
        concat!(
            "SELECT m.id, m.digest, m.size, m.deleted_at IS NOT NULL, m.expires_at, ",
            goes!(),
            ", ",
            $tags,
            ", (SELECT p.digest FROM manifest_child c JOIN manifest p ON p.id = c.manifest_id \
                WHERE c.repository_id = m.repository_id AND c.digest = m.digest LIMIT 1), \
             (SELECT s.digest FROM manifest s WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest) \
             FROM manifest m WHERE m.repository_id = $4 AND m.digest > $5 ORDER BY m.digest LIMIT $6"
        )
    };
}

const MANIFESTS_SQLITE: &str = manifests!("(SELECT json_group_array(t.name) FROM tag t WHERE t.manifest_id = m.id)");
const MANIFESTS_POSTGRES: &str =
    manifests!("(SELECT coalesce(json_agg(t.name), '[]')::text FROM tag t WHERE t.manifest_id = m.id)");

type ManifestRow =
    (ManifestId, String, i64, bool, Option<Timestamp>, Option<bool>, String, Option<String>, Option<String>);

/// Manifests of a repository behind a digest (`""` for the first page), at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn manifests(
    reader: &mut Reader,
    repository: RepositoryId,
    taking: Taking,
    (behind, limit): (&str, i64),
    now: Timestamp,
) -> Result<Vec<ManifestFound>, DatabaseError> {
    let select = match reader.dialect() {
        Dialect::Sqlite => MANIFESTS_SQLITE,
        Dialect::Postgres => MANIFESTS_POSTGRES,
    };
    let rows: Vec<ManifestRow> = on!(reader, c => {
        let query = sqlx::query_as(select).bind(now).bind(taking.deleted).bind(taking.untagged);
        query.bind(repository).bind(behind).bind(limit).fetch_all(c).await
    })?;
    rows.into_iter().map(|row| Ok(manifest(row)?)).collect()
}

fn manifest(row: ManifestRow) -> Result<ManifestFound, sqlx::Error> {
    let (id, digest, size, deleted, expires_at, goes, tags, parent, subject) = row;
    let digest_of = |text: Option<String>| text.map(|text| parse_digest(&text)).transpose();
    Ok(ManifestFound {
        id,
        digest: parse_digest(&digest)?,
        size: parse_bytes(size),
        deleted,
        expires_at,
        goes: goes == Some(true),
        tags: parse_json(&tags)?,
        parent: digest_of(parent)?,
        subject: digest_of(subject)?,
    })
}

/// A link with everything that could keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFound {
    /// To which blob.
    pub blob: BlobId,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Until when it is promised, if that is still to come.
    pub promised: Option<Timestamp>,
    /// A manifest that names the blob and stays.
    pub named_by: Option<Digest>,
}

impl LinkFound {
    /// Whether nothing keeps it.
    pub const fn goes(&self) -> bool {
        self.promised.is_none() && self.named_by.is_none()
    }
}

const LINKS: &str = concat!(
    "SELECT l.blob_id, b.digest, b.size, CASE WHEN l.leased_until >= $1 AND NOT ",
    condemned!("l.repository_id"),
    " THEN l.leased_until END, \
     (SELECT m.digest FROM manifest_blob n JOIN manifest m ON m.id = n.manifest_id \
      WHERE n.repository_id = l.repository_id AND n.digest = b.digest AND NOT ",
    goes!(),
    " LIMIT 1) FROM link l JOIN blob b ON b.id = l.blob_id \
     WHERE l.repository_id = $4 AND l.blob_id > $5 ORDER BY l.blob_id LIMIT $6"
);

type LinkRow = (BlobId, String, i64, Option<Timestamp>, Option<String>);

/// Links of a repository behind a blob in the order of ids, at most `limit`.
///
/// # Errors
/// The database failed.
pub async fn links(
    reader: &mut Reader,
    repository: RepositoryId,
    taking: Taking,
    (behind, limit): (BlobId, i64),
    now: Timestamp,
) -> Result<Vec<LinkFound>, DatabaseError> {
    let rows: Vec<LinkRow> = on!(reader, c => {
        let query = sqlx::query_as(LINKS).bind(now).bind(taking.deleted).bind(taking.untagged);
        query.bind(repository).bind(behind).bind(limit).fetch_all(c).await
    })?;
    let link = |(blob, digest, size, promised, named_by): LinkRow| {
        let named_by = named_by.map(|digest| parse_digest(&digest)).transpose()?;
        Ok(LinkFound { blob, digest: parse_digest(&digest)?, size: parse_bytes(size), promised, named_by })
    };
    rows.into_iter().map(link).collect()
}

const LAST_LINKS: &str = concat!(
    "SELECT b.id FROM blob b WHERE b.id IN (SELECT CAST(value AS BIGINT) FROM json_each($4)) \
     AND NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id AND (l.repository_id > $5 OR (l.leased_until >= $1 AND NOT ",
    condemned!("l.repository_id"),
    ") \
         OR EXISTS (SELECT 1 FROM manifest_blob n JOIN manifest m ON m.id = n.manifest_id \
             WHERE n.repository_id = l.repository_id AND n.digest = b.digest AND NOT ",
    goes!(),
    ")))"
);
const LAST_LINKS_POSTGRES: &str = concat!(
    "SELECT b.id FROM blob b WHERE b.id = ANY(ARRAY(SELECT json_array_elements_text($4::json)::bigint)) \
     AND NOT EXISTS (SELECT 1 FROM link l WHERE l.blob_id = b.id AND (l.repository_id > $5 OR (l.leased_until >= $1 AND NOT ",
    condemned!("l.repository_id"),
    ") \
         OR EXISTS (SELECT 1 FROM manifest_blob n JOIN manifest m ON m.id = n.manifest_id \
             WHERE n.repository_id = l.repository_id AND n.digest = b.digest AND NOT ",
    goes!(),
    ")))"
);

/// Which of these blobs, whose links in this repository go, have no link that stays and none in a repository behind it: those are gone once the
/// collection has been here.
///
/// # Errors
/// The database failed.
pub async fn last_links(
    reader: &mut Reader,
    repository: RepositoryId,
    taking: Taking,
    blobs: &[BlobId],
    now: Timestamp,
) -> Result<Vec<BlobId>, DatabaseError> {
    let select = match reader.dialect() {
        Dialect::Sqlite => LAST_LINKS,
        Dialect::Postgres => LAST_LINKS_POSTGRES,
    };
    let blobs = json_list(blobs.iter().map(|blob| blob.0));
    let rows: Vec<(BlobId,)> = on!(reader, c => {
        let query = sqlx::query_as(select).bind(now).bind(taking.deleted).bind(taking.untagged);
        query.bind(blobs).bind(repository).fetch_all(c).await
    })?;
    Ok(rows.into_iter().map(|(blob,)| blob).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn pages_are_read_by_indexes() {
        let stage = Stage::sqlite().await;
        for sql in [MANIFESTS_SQLITE, LINKS, LAST_LINKS] {
            let plan = plan(&stage.content.metadata, sql).await;
            let scans: Vec<&str> =
                plan.lines().filter(|step| step.starts_with("SCAN") && !step.contains("json_each")).collect();
            assert!(scans.is_empty(), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
