//! What namespaces are said to use, against what they do (I10).

use shared::{
    database::{DatabaseError, Reader},
    on,
};

use super::{Range, fault::Fault};
use crate::metadata::{BlobId, NamespaceId};

/// What a namespace `n` really uses, from the rows that say which blobs it holds: those are compared with the links themselves.
macro_rules! counted {
    () => {
        "CAST(coalesce((SELECT sum(b.size) FROM namespace_blob s JOIN blob b ON b.id = s.blob_id WHERE s.namespace_id = n.id), 0) \
            + coalesce((SELECT sum(m.size) FROM repository r JOIN manifest m ON m.repository_id = r.id \
                        WHERE r.namespace_id = n.id), 0) AS BIGINT)"
    };
}

/// What its uploads have reserved.
macro_rules! reserved {
    () => {
        "CAST(coalesce((SELECT sum(v.reserved) FROM upload v JOIN repository r ON r.id = v.repository_id \
                        WHERE r.namespace_id = n.id), 0) AS BIGINT)"
    };
}

const WRONG: &str = concat!(
    "SELECT * FROM (SELECT n.id, n.name, u.used, u.reserved, ",
    counted!(),
    " AS counted, ",
    reserved!(),
    " AS counted_reserved FROM namespace n LEFT JOIN usage u ON u.namespace_id = n.id WHERE n.id > $1 AND n.id <= $2) AS looked \
     WHERE used IS DISTINCT FROM counted OR reserved IS DISTINCT FROM counted_reserved ORDER BY id"
);

/// Writes what a namespace uses and reserves, where something else is written. The caller has locked that row in a statement before.
pub(in crate::metadata) const RECOUNT: &str = concat!(
    "UPDATE usage SET used = (SELECT ",
    counted!(),
    " FROM namespace n WHERE n.id = $1), reserved = (SELECT ",
    reserved!(),
    " FROM namespace n WHERE n.id = $1) WHERE namespace_id = $1 AND (used <> (SELECT ",
    counted!(),
    " FROM namespace n WHERE n.id = $1) OR reserved <> (SELECT ",
    reserved!(),
    " FROM namespace n WHERE n.id = $1))"
);

type Row = (NamespaceId, String, Option<i64>, Option<i64>, i64, i64);

/// Namespaces of a page whose use is counted wrong.
///
/// # Errors
/// The database failed.
pub async fn wrong(reader: &mut Reader, range: &Range) -> Result<Vec<Fault>, DatabaseError> {
    let (after, upto) = (range.after.first, range.upto.first);
    let rows: Vec<Row> = on!(reader, c => sqlx::query_as(WRONG).bind(after).bind(upto).fetch_all(c).await)?;
    let fault = |(namespace_id, namespace, used, reserved, counted, counted_reserved)| Fault::UsageWrong {
        namespace_id,
        namespace,
        used,
        counted,
        reserved,
        counted_reserved,
    };
    Ok(rows.into_iter().map(fault).collect())
}

const SHARES: &str = "SELECT * FROM (SELECT s.namespace_id, s.blob_id, s.links, (SELECT count(*) FROM link l \
        JOIN repository r ON r.id = l.repository_id WHERE l.blob_id = s.blob_id AND r.namespace_id = s.namespace_id) AS counted \
    FROM namespace_blob s WHERE (s.namespace_id, s.blob_id) > ($1, $2) AND (s.namespace_id, s.blob_id) <= ($3, $4)) AS looked \
    WHERE links <> counted ORDER BY namespace_id, blob_id";

/// Blobs of namespaces of a page for which the wrong number of links is counted.
///
/// # Errors
/// The database failed.
pub async fn wrong_shares(reader: &mut Reader, range: &Range) -> Result<Vec<Fault>, DatabaseError> {
    let rows: Vec<(NamespaceId, BlobId, i64, i64)> = on!(reader, c => {
        let query = sqlx::query_as(SHARES).bind(range.after.first).bind(range.after.second);
        query.bind(range.upto.first).bind(range.upto.second).fetch_all(c).await
    })?;
    let fault = |(namespace_id, blob, links, counted)| Fault::SharesWrong { namespace_id, blob, links, counted };
    Ok(rows.into_iter().map(fault).collect())
}
