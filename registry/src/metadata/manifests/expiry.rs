//! When an untagged manifest may go (design.md section 6).
//!
//! `expires_at` is NULL while the manifest is tagged, is a child of a kept index, or is about a kept manifest. A deleted manifest is
//! kept until its purge, and its own `expires_at` is the time of that.

use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    on,
};
use sqlx::Error;

use super::ManifestId;
use crate::metadata::json_list;

/// When the grace of a living manifest ends that nothing holds; None for every other one. The caller has locked it.
///
/// # Errors
/// What the database says.
pub async fn grace_end(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT expires_at FROM manifest WHERE id = $1 AND deleted_at IS NULL AND expires_at IS NOT NULL";
    let found: Option<(Timestamp,)> = on!(tx, c => sqlx::query_as(sql).bind(manifest).fetch_optional(c).await)?;
    Ok(found.map(|(at,)| at))
}

/// Gives manifests the expiry that follows from what holds them now: none while something does, else `until`.
///
/// The caller has locked them, in a statement before this one: on PostgreSQL a statement that waits for a lock still looks at
/// everything else as it was before the wait.
///
/// # Errors
/// What the database says.
pub async fn settle(tx: &mut Transaction<'_>, manifests: &[ManifestId], until: Timestamp) -> Result<(), Error> {
    if manifests.is_empty() {
        return Ok(());
    }
    let sql = match tx.dialect() {
        Dialect::Sqlite => "WITH held AS (
             SELECT m.id FROM manifest AS m WHERE m.id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) AND (
                 EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
                 OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = m.repository_id AND c.digest = m.digest)
                 OR EXISTS (SELECT 1 FROM manifest s
                            WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest)))
         UPDATE manifest SET expires_at = CASE WHEN id IN (SELECT id FROM held) THEN NULL ELSE $2 END
         WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) AND deleted_at IS NULL
             AND (expires_at IS NOT NULL OR id NOT IN (SELECT id FROM held))",
        Dialect::Postgres => "WITH held AS (
             SELECT m.id FROM manifest AS m WHERE m.id = ANY(ARRAY(SELECT json_array_elements_text($1::json)::bigint)) AND (
                 EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
                 OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = m.repository_id AND c.digest = m.digest)
                 OR EXISTS (SELECT 1 FROM manifest s
                            WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest)))
         UPDATE manifest SET expires_at = CASE WHEN id IN (SELECT id FROM held) THEN NULL ELSE $2 END
         WHERE id = ANY(ARRAY(SELECT json_array_elements_text($1::json)::bigint)) AND deleted_at IS NULL
             AND (expires_at IS NOT NULL OR id NOT IN (SELECT id FROM held))",
    };
    let manifests = json_list(manifests.iter().map(|id| id.0));
    on!(tx, c => sqlx::query(sql).bind(manifests).bind(until).execute(c).await.map(drop))
}
