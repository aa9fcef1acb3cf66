//! A queue before a manifest's row, for when there is no row yet.
//!
//! What holds a manifest (an index that lists it, its subject) and the manifest itself may be pushed, or one of them purged, at the same moment. Whoever
//! comes second locks the row of the first; but of two transactions on PostgreSQL that both begin without the other's row, neither sees the other, and the
//! manifest would keep an expiry although it is held, or have none although nothing holds it. SQLite has a queue of its own: the write door.

use shared::{
    database::{Dialect, Transaction},
    digest::Digest,
    on,
};
use sqlx::Error;

use super::ManifestId;
use crate::metadata::{RepositoryId, json_list};

/// Takes the turns of `names`: alone at a manifest's own digest, together with others at what it names. Digests share 64 turns in a repository, because
/// each one costs PostgreSQL shared memory and an index may name thousands; they are taken in everybody's order.
macro_rules! take_turns {
    ($names:literal) => {
        concat!(
            "SELECT count(CASE WHEN shared THEN pg_advisory_xact_lock_shared(space, turn)
                               ELSE pg_advisory_xact_lock(space, turn) END)
             FROM (SELECT hashint8(repository_id) AS space,
                       CAST(hashtextextended(digest, repository_id) & 63 AS INT) AS turn, bool_and(shared) AS shared
                   FROM (",
            $names,
            ") AS names GROUP BY 1, 2 ORDER BY 1, 2 OFFSET 0) AS turns"
        )
    };
}

const OF_PUSHED: &str = take_turns!(
    "SELECT $1::bigint AS repository_id, $2 AS digest, false AS shared
     UNION ALL SELECT $1::bigint, digest, true FROM json_array_elements_text($3::json) AS digest"
);
const OF_STORED: &str = take_turns!(
    "SELECT repository_id, digest, false AS shared FROM manifest WHERE id = $1
     UNION ALL SELECT repository_id, subject_digest, true FROM manifest WHERE id = $1 AND subject_digest IS NOT NULL
     UNION ALL SELECT repository_id, digest, true FROM manifest_child WHERE manifest_id = $1"
);

/// Waits until nobody else pushes or purges this manifest, or what it names among manifests. Comes before every lock on links and manifests.
///
/// # Errors
/// What the database says.
pub async fn take_turn(
    tx: &mut Transaction<'_>,
    repository: RepositoryId,
    manifest: &Digest,
    named: &[Digest],
) -> Result<(), Error> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let (manifest, named) = (manifest.to_string(), json_list(named));
    let _: (i64,) =
        on!(tx, c => sqlx::query_as(OF_PUSHED).bind(repository).bind(manifest).bind(named).fetch_one(c).await)?;
    Ok(())
}

/// [`take_turn`] for a manifest that is there: what it names never changes.
pub(super) async fn take_turn_of(tx: &mut Transaction<'_>, manifest: ManifestId) -> Result<(), Error> {
    let _: (i64,) = on!(tx, c => sqlx::query_as(OF_STORED).bind(manifest).fetch_one(c).await)?;
    Ok(())
}
