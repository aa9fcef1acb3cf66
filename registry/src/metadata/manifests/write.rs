//! Manifests come and go.

use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    digest::Digest,
    on,
    tag::Tag,
};
use sqlx::Error;

use super::ManifestId;
use crate::metadata::{RepositoryId, json_list, tags::TOUCH_AFTER};

/// What is written of a manifest. Its expiry follows from what holds it: see [`settle`](super::settle).
#[derive(Clone, Copy, Debug)]
pub struct NewManifest<'a> {
    /// What the payload hashes to.
    pub digest: &'a Digest,
    /// The type it is served with.
    pub media_type: &'a str,
    /// What referrers lists filter by.
    pub artifact_type: Option<&'a str>,
    /// The manifest it is about.
    pub subject: Option<&'a Digest>,
    /// A JSON object for referrers lists.
    pub annotations: Option<&'a str>,
    /// What it says of how long it is to live.
    pub expires_after: Option<&'a str>,
    /// The bytes as pushed.
    pub payload: &'a [u8],
    /// The blobs it names, each once.
    pub blobs: &'a [Digest],
    /// The manifests it lists, each once.
    pub children: &'a [Digest],
}

impl NewManifest<'_> {
    fn size(&self) -> i64 {
        i64::try_from(self.payload.len()).unwrap_or(i64::MAX)
    }
}

/// Writes a manifest that the repository does not hold, with its payload and everything it names.
///
/// # Errors
/// What the database says; a unique violation where another push of the same digest came first.
pub async fn insert(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    manifest: &NewManifest<'_>,
) -> Result<ManifestId, Error> {
    let sql = "INSERT INTO manifest (repository_id, digest, media_type, size, artifact_type, subject_digest, annotations, pushed_at,
                   expires_after)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
    let digest = manifest.digest.to_string();
    let subject = manifest.subject.map(ToString::to_string);
    let now = tx.now();
    let (id,): (ManifestId,) = on!(tx, c => sqlx::query_as(sql)
        .bind(repository).bind(digest).bind(manifest.media_type).bind(manifest.size())
        .bind(manifest.artifact_type).bind(subject).bind(manifest.annotations).bind(now)
        .bind(manifest.expires_after)
        .fetch_one(c).await)?;
    let sql = "INSERT INTO manifest_payload (manifest_id, payload) VALUES ($1, $2)";
    on!(tx, c => sqlx::query(sql).bind(id).bind(manifest.payload).execute(c).await.map(drop))?;
    name(tx, repository, id, manifest).await?;
    Ok(id)
}

/// Gives a deleted manifest back to its readers. It names what it named, for the bytes and their media type are the same; where its purge had begun, that
/// is to be [written](name) again.
///
/// # Errors
/// What the database says.
pub async fn revive(tx: &mut Transaction<'_>, id: ManifestId) -> Result<(), Error> {
    let now = tx.now();
    let sql =
        "UPDATE manifest SET pushed_at = $2, deleted_at = NULL, deleted_by = NULL, deleted_tags = NULL WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(id).bind(now).execute(c).await.map(drop))
}

/// Notes that a manifest was pushed that its readers see already: its age begins anew, to the minute.
///
/// # Errors
/// What the database says.
pub async fn touch(tx: &mut Transaction<'_>, id: ManifestId) -> Result<(), Error> {
    let now = tx.now();
    let sql = "UPDATE manifest SET pushed_at = $2 WHERE id = $1 AND pushed_at < $3";
    on!(tx, c => sqlx::query(sql).bind(id).bind(now).bind(now - TOUCH_AFTER).execute(c).await.map(drop))
}

/// Writes what a manifest names, as far as it is not there.
///
/// # Errors
/// What the database says.
pub async fn name(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    id: ManifestId,
    manifest: &NewManifest<'_>,
) -> Result<(), Error> {
    let (blobs, children) = match tx.dialect() {
        Dialect::Sqlite => (
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id) SELECT $1, value, $2 FROM json_each($3)
                 WHERE true ON CONFLICT DO NOTHING",
            "INSERT INTO manifest_child (repository_id, digest, manifest_id) SELECT $1, value, $2 FROM json_each($3)
                 WHERE true ON CONFLICT DO NOTHING",
        ),
        Dialect::Postgres => (
            "INSERT INTO manifest_blob (repository_id, digest, manifest_id)
             SELECT $1, value, $2 FROM json_array_elements_text($3::json) AS value ON CONFLICT DO NOTHING",
            "INSERT INTO manifest_child (repository_id, digest, manifest_id)
             SELECT $1, value, $2 FROM json_array_elements_text($3::json) AS value ON CONFLICT DO NOTHING",
        ),
    };
    for (sql, digests) in [(blobs, manifest.blobs), (children, manifest.children)] {
        if !digests.is_empty() {
            let digests = json_list(digests);
            on!(tx, c => sqlx::query(sql).bind(repository).bind(id).bind(digests).execute(c).await.map(drop))?;
        }
    }
    Ok(())
}

/// How a manifest was deleted, for whoever wants it back.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// Until when it can come back.
    pub until: Timestamp,
    /// Who deleted it.
    pub actor: &'a str,
    /// The tags that it carried.
    pub tags: &'a [Tag],
}

/// Hides a manifest from its readers until its purge. What it names stays: a deleted manifest is kept.
///
/// # Errors
/// What the database says.
pub async fn delete(tx: &mut Transaction<'_>, id: ManifestId, deletion: &Deletion<'_>) -> Result<(), Error> {
    let (now, tags) = (tx.now(), json_list(deletion.tags));
    let sql = "UPDATE manifest SET deleted_at = $2, expires_at = $3, deleted_by = $4, deleted_tags = $5 WHERE id = $1";
    on!(tx, c => {
        let query = sqlx::query(sql).bind(id).bind(now).bind(deletion.until).bind(deletion.actor).bind(tags);
        query.execute(c).await.map(drop)
    })
}
