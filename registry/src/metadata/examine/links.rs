//! Links against their blobs, repositories and manifests (I4, I7, I9, I10 and what can expire).

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    on,
};

use super::{
    Range,
    fault::{Fault, OfLink},
};
use crate::metadata::{BlobId, NamespaceId, RepositoryId, repositories::deletion::purged};

/// A time that is further ahead than anything is promised: $3, and longer only where `reindex` holds what it found.
macro_rules! too_long {
    ($time:literal) => {
        concat!("coalesce(", $time, " > CASE WHEN r.found_until > $3 THEN r.found_until ELSE $3 END, false)")
    };
}

/// It cannot expire, and no manifest names its blob. A purge removes manifests before links.
macro_rules! stuck {
    () => {
        concat!(
            "(l.expires_at IS NULL AND NOT ",
            purged!(),
            " AND NOT EXISTS (SELECT 1 FROM manifest_blob n WHERE n.repository_id = l.repository_id AND n.digest = b.digest))"
        )
    };
}

/// Its namespace does not count it.
macro_rules! unshared {
    () => {
        "NOT EXISTS (SELECT 1 FROM namespace_blob s WHERE s.namespace_id = r.namespace_id AND s.blob_id = l.blob_id)"
    };
}

const WRONG: &str = concat!(
    "SELECT l.repository_id, r.name, l.blob_id, b.digest, r.namespace_id, b.id IS NULL, r.id IS NULL, ",
    too_long!("l.leased_until"),
    " OR ",
    too_long!("l.expires_at"),
    ", ",
    stuck!(),
    ", ",
    unshared!(),
    " FROM link l LEFT JOIN blob b ON b.id = l.blob_id LEFT JOIN repository r ON r.id = l.repository_id \
    WHERE l.blob_id > $1 AND l.blob_id <= $2 AND (b.id IS NULL OR r.id IS NULL OR ",
    too_long!("l.leased_until"),
    " OR ",
    too_long!("l.expires_at"),
    " OR ",
    stuck!(),
    " OR ",
    unshared!(),
    ") ORDER BY l.blob_id, l.repository_id"
);

type Row = (RepositoryId, Option<String>, BlobId, Option<String>, Option<NamespaceId>, bool, bool, bool, bool, bool);

/// What is wrong with the links of a page. `farthest` is further ahead than anything is promised.
///
/// # Errors
/// The database failed.
pub async fn wrong(reader: &mut Reader, range: &Range, farthest: Timestamp) -> Result<Vec<Fault>, DatabaseError> {
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<Row> =
        on!(reader, c => sqlx::query_as(WRONG).bind(after).bind(upto).bind(farthest).fetch_all(c).await)?;
    Ok(rows.into_iter().flat_map(faults).collect())
}

fn faults(row: Row) -> Vec<Fault> {
    let (repository_id, repository, blob, digest, namespace, no_blob, no_repository, too_long, stuck, unshared) = row;
    let of = OfLink { repository_id, repository, blob, digest };
    if no_blob {
        return vec![Fault::LinkWithoutBlob(of)];
    }
    let Some(namespace_id) = namespace.filter(|_| !no_repository) else {
        return vec![Fault::LinkWithoutRepository(of)];
    };
    let share = || Fault::SharesWrong { namespace_id, blob, links: 0, counted: 1 };
    let faults = [
        too_long.then(|| Fault::PromiseTooLong(of.clone())),
        stuck.then(|| Fault::LinkStuck(of.clone())),
        unshared.then(share),
    ];
    faults.into_iter().flatten().collect()
}
