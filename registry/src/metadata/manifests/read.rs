//! What a pull reads: one indexed look.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    digest::Digest,
    on,
    reference::Reference,
    repository::RepositoryName,
};

use super::ManifestId;
use crate::metadata::parse_digest;

/// A living manifest as a reader finds it, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The row's id.
    pub id: ManifestId,
    /// What the payload hashes to.
    pub digest: Digest,
    /// The type it is served with.
    pub media_type: String,
    /// When it may go, if nothing holds it.
    pub expires_at: Option<Timestamp>,
}

const BY_TAG: &str = "SELECT m.id, m.digest, m.media_type, m.expires_at FROM repository r
    JOIN tag t ON t.repository_id = r.id AND t.name = $2 JOIN manifest m ON m.id = t.manifest_id
    WHERE r.name = $1 AND r.deleted_at IS NULL AND m.deleted_at IS NULL";

const BY_DIGEST: &str = "SELECT m.id, m.digest, m.media_type, m.expires_at FROM repository r
    JOIN manifest m ON m.repository_id = r.id AND m.digest = $2
    WHERE r.name = $1 AND r.deleted_at IS NULL AND m.deleted_at IS NULL";

/// Looks a living manifest up by its tag or digest.
///
/// # Errors
/// What the database says.
pub async fn find(
    reader: &mut Reader,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Option<Found>, DatabaseError> {
    let (sql, key) = match reference {
        Reference::Tag(tag) => (BY_TAG, tag.to_string()),
        Reference::Digest(digest) => (BY_DIGEST, digest.to_string()),
    };
    let name = repository.as_str();
    let found: Option<(ManifestId, String, String, Option<Timestamp>)> =
        on!(reader, c => sqlx::query_as(sql).bind(name).bind(key).fetch_optional(c).await)?;
    let found = found.map(|(id, digest, media_type, expires_at)| {
        Ok(Found { id, digest: parse_digest(&digest)?, media_type, expires_at })
    });
    found.transpose()
}

/// The bytes of a manifest as pushed. None if it was purged since it was found.
///
/// # Errors
/// What the database says.
pub async fn find_payload(reader: &mut Reader, manifest: ManifestId) -> Result<Option<Vec<u8>>, DatabaseError> {
    let sql = "SELECT payload FROM manifest_payload WHERE manifest_id = $1";
    let found: Option<(Vec<u8>,)> = on!(reader, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    Ok(found.map(|(payload,)| payload))
}
