//! Tags against what they point at and against their histories (I8, I9).

use shared::{
    database::{DatabaseError, Reader},
    on,
};

use super::{
    Range,
    fault::{Fault, OfTag},
};
use crate::metadata::{RepositoryId, repositories::deletion::purged};

// A history without a gap has as many entries as its last version says: versions are unique, and begin at 1.
const WRONG: &str = "SELECT * FROM (SELECT t.repository_id, coalesce(r.name, '') AS repository, t.name, t.version, \
        t.manifest_id IS NOT NULL AND (m.id IS NULL OR m.deleted_at IS NOT NULL) AS dangling, \
        m.id IS NOT NULL AND m.repository_id <> t.repository_id AS elsewhere, \
        coalesce(h.entries, 0) AS entries, coalesce(h.last, 0) AS last, \
        (SELECT e.digest FROM tag_history e WHERE e.repository_id = t.repository_id AND e.name = t.name \
         AND e.version = t.version) IS DISTINCT FROM m.digest AS differs \
    FROM tag t LEFT JOIN repository r ON r.id = t.repository_id LEFT JOIN manifest m ON m.id = t.manifest_id \
    LEFT JOIN (SELECT repository_id, name, count(*) AS entries, max(version) AS last \
        FROM tag_history WHERE version > 0 AND (repository_id, name) > ($1, $2) AND (repository_id, name) <= ($3, $4) \
        GROUP BY repository_id, name) AS h ON h.repository_id = t.repository_id AND h.name = t.name \
    WHERE (t.repository_id, t.name) > ($1, $2) AND (t.repository_id, t.name) <= ($3, $4)) AS looked \
    WHERE dangling OR elsewhere OR differs OR entries <> version OR last <> version \
    ORDER BY repository_id, name";

type Row = (RepositoryId, String, String, i64, bool, bool, i64, i64, bool);

/// What is wrong with the tags of a page.
///
/// # Errors
/// The database failed.
pub async fn wrong(reader: &mut Reader, range: &Range) -> Result<Vec<Fault>, DatabaseError> {
    let rows: Vec<Row> = on!(reader, c => {
        let query = sqlx::query_as(WRONG).bind(range.after.first).bind(&range.after.name);
        query.bind(range.upto.first).bind(&range.upto.name).fetch_all(c).await
    })?;
    Ok(rows.into_iter().map(fault).collect())
}

/// What a tag points at is told before its history: whoever repairs the one writes the other.
fn fault(row: Row) -> Fault {
    let (repository_id, repository, tag, version, dangling, elsewhere, entries, last, differs) = row;
    let of = OfTag { repository_id, repository, tag };
    if elsewhere {
        return Fault::TagElsewhere(of);
    }
    if dangling {
        return Fault::TagWithoutManifest(of);
    }
    let reason = if entries != version || last != version {
        format!("it moved {version} times, and its history has {entries} entries, the last of them {last}")
    } else {
        debug_assert!(differs, "the query gives what is wrong");
        "its history ends at another manifest than it points at".to_owned()
    };
    Fault::HistoryBroken { of, reason }
}

// A purge removes tags before their histories.
const WITHOUT_TAG: &str = concat!(
    "SELECT DISTINCT h.repository_id, coalesce(r.name, ''), h.name FROM tag_history h \
    LEFT JOIN repository r ON r.id = h.repository_id \
    WHERE (h.repository_id, h.name) > ($1, $2) AND (h.repository_id, h.name) <= ($3, $4) AND NOT ",
    purged!(),
    " AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = h.repository_id AND t.name = h.name) ORDER BY 1, 3"
);

/// Histories of a page that have no tag.
///
/// # Errors
/// The database failed.
pub async fn without_tag(reader: &mut Reader, range: &Range) -> Result<Vec<Fault>, DatabaseError> {
    let rows: Vec<(RepositoryId, String, String)> = on!(reader, c => {
        let query = sqlx::query_as(WITHOUT_TAG).bind(range.after.first).bind(&range.after.name);
        query.bind(range.upto.first).bind(&range.upto.name).fetch_all(c).await
    })?;
    let fault = |(repository_id, repository, tag)| Fault::HistoryWithoutTag(OfTag { repository_id, repository, tag });
    Ok(rows.into_iter().map(fault).collect())
}
