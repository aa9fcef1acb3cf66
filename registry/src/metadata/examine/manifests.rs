//! Manifests against their payloads, what they name, and what holds them (I1, I3, I12 and what can expire).

use shared::{
    database::{DatabaseError, Dialect, Reader},
    on,
};

use super::{
    Range,
    fault::{Fault, OfManifest, Reference},
};
use crate::metadata::{RepositoryId, manifests::ManifestId, parse_bytes, parse_json, repositories::deletion::purged};

/// The manifests of a page.
///
/// # Errors
/// The database failed.
pub async fn ids(reader: &mut Reader, range: &Range) -> Result<Vec<ManifestId>, DatabaseError> {
    let select = "SELECT id FROM manifest WHERE id > $1 AND id <= $2 ORDER BY id";
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<(ManifestId,)> = on!(reader, c => sqlx::query_as(select).bind(after).bind(upto).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A manifest with everything that its payload is compared with.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Which.
    pub of: OfManifest,
    /// The type it is served with.
    pub media_type: String,
    /// The payload's length in bytes, as the row says.
    pub size: u64,
    /// What it is about, what type it has, and its annotations, as the row says.
    pub recorded: [Option<String>; 3],
    /// Whether no reader sees it any more.
    pub deleted: bool,
    /// Whether its purge has begun, or that of its repository: then it names less than its payload says.
    pub stripped: bool,
    /// The bytes as pushed.
    pub payload: Option<Vec<u8>>,
    /// The blobs that rows say it names,
    pub blobs: Vec<String>,
    /// those of them that its repository does not hold,
    pub missing: Vec<String>,
    /// and its children.
    pub children: Vec<String>,
}

macro_rules! whole {
    ($list:literal) => {
        concat!(
            "SELECT m.repository_id, coalesce(r.name, '') AS name, m.digest, m.media_type, m.size, m.subject_digest, m.artifact_type, m.annotations, \
             m.deleted_at IS NOT NULL AS deleted, coalesce(m.expires_at < m.deleted_at, false) OR ",
            purged!(),
            " AS stripped, p.payload, (SELECT ",
            $list,
            " FROM manifest_blob n WHERE n.manifest_id = m.id) AS blobs, (SELECT ",
            $list,
            " FROM manifest_blob n WHERE n.manifest_id = m.id AND NOT EXISTS \
                (SELECT 1 FROM blob b JOIN link l ON l.blob_id = b.id AND l.repository_id = m.repository_id WHERE b.digest = n.digest)) AS missing, \
             (SELECT ",
            $list,
            " FROM manifest_child n WHERE n.manifest_id = m.id) AS children \
             FROM manifest m LEFT JOIN repository r ON r.id = m.repository_id \
             LEFT JOIN manifest_payload p ON p.manifest_id = m.id WHERE m.id = $1"
        )
    };
}

const WHOLE_SQLITE: &str = whole!("json_group_array(n.digest)");
const WHOLE_POSTGRES: &str = whole!("coalesce(json_agg(n.digest), '[]')::text");

#[derive(sqlx::FromRow)]
struct Columns {
    repository_id: RepositoryId,
    name: String,
    digest: String,
    media_type: String,
    size: i64,
    subject_digest: Option<String>,
    artifact_type: Option<String>,
    annotations: Option<String>,
    deleted: bool,
    stripped: bool,
    payload: Option<Vec<u8>>,
    blobs: String,
    missing: String,
    children: String,
}

/// One manifest; None if it has gone.
///
/// # Errors
/// The database failed.
pub async fn whole(reader: &mut Reader, manifest: ManifestId) -> Result<Option<Whole>, DatabaseError> {
    let select = match reader.dialect() {
        Dialect::Sqlite => WHOLE_SQLITE,
        Dialect::Postgres => WHOLE_POSTGRES,
    };
    let row: Option<Columns> = on!(reader, c => sqlx::query_as(select).bind(manifest).fetch_optional(c).await)?;
    let whole = |row: Columns| {
        let Columns { repository_id, name: repository, digest, .. } = row;
        Ok(Whole {
            of: OfManifest { manifest, repository_id, repository, digest },
            media_type: row.media_type,
            size: parse_bytes(row.size),
            recorded: [row.subject_digest, row.artifact_type, row.annotations],
            deleted: row.deleted,
            stripped: row.stripped,
            payload: row.payload,
            blobs: parse_json(&row.blobs)?,
            missing: parse_json(&row.missing)?,
            children: parse_json(&row.children)?,
        })
    };
    row.map(whole).transpose()
}

/// Whether something holds a manifest `m`.
macro_rules! held {
    () => {
        "(EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id) \
          OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = m.repository_id AND c.digest = m.digest) \
          OR EXISTS (SELECT 1 FROM manifest s WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest))"
    };
}

// A purge removes what holds a manifest before the manifest.
const WRONG: &str = concat!(
    "SELECT m.id, m.repository_id, coalesce(r.name, ''), m.digest, m.deleted_at IS NOT NULL, ",
    held!(),
    " FROM manifest m LEFT JOIN repository r ON r.id = m.repository_id WHERE m.id > $1 AND m.id <= $2 \
      AND ((m.deleted_at IS NOT NULL AND m.expires_at IS NULL) \
        OR (m.deleted_at IS NULL AND NOT ",
    purged!(),
    " AND (m.expires_at IS NULL) <> ",
    held!(),
    ")) ORDER BY m.id"
);

/// Manifests of a page whose expiry does not follow from what holds them.
///
/// # Errors
/// The database failed.
pub async fn wrong(reader: &mut Reader, range: &Range) -> Result<Vec<Fault>, DatabaseError> {
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<(ManifestId, RepositoryId, String, String, bool, bool)> =
        on!(reader, c => sqlx::query_as(WRONG).bind(after).bind(upto).fetch_all(c).await)?;
    let fault = |(manifest, repository_id, repository, digest, deleted, held)| {
        let of = OfManifest { manifest, repository_id, repository, digest };
        if deleted { Fault::DeletedForEver(of) } else { Fault::ManifestExpiry { of, held } }
    };
    Ok(rows.into_iter().map(fault).collect())
}

macro_rules! orphaned {
    ($table:literal) => {
        concat!(
            "SELECT n.repository_id, n.manifest_id, n.digest FROM ",
            $table,
            " n LEFT JOIN manifest m ON m.id = n.manifest_id \
             WHERE n.manifest_id > $1 AND n.manifest_id <= $2 AND (m.id IS NULL OR m.repository_id <> n.repository_id) \
             ORDER BY n.manifest_id, n.digest"
        )
    };
}

/// References of a page whose manifest is not there, or in another repository.
///
/// # Errors
/// The database failed.
pub async fn orphaned(reader: &mut Reader, range: &Range, reference: Reference) -> Result<Vec<Fault>, DatabaseError> {
    let select = match reference {
        Reference::Blob => orphaned!("manifest_blob"),
        Reference::Child => orphaned!("manifest_child"),
    };
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<(RepositoryId, ManifestId, String)> =
        on!(reader, c => sqlx::query_as(select).bind(after).bind(upto).fetch_all(c).await)?;
    let fault =
        |(repository_id, manifest, named)| Fault::ReferenceOrphaned { repository_id, manifest, named, reference };
    Ok(rows.into_iter().map(fault).collect())
}
