//! What waits for the collector, for those who watch it.

use serde::Serialize;
use shared::{
    clock::Timestamp,
    database::{DatabaseError, Reader},
    on,
};
use utoipa::ToSchema;

/// Things that wait, and since when the one that waits longest does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Queue {
    /// How many.
    pub count: u64,
    /// For the oldest: when its time came, or for trash when it was thrown away.
    pub oldest: Option<Timestamp>,
}

/// Everything that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Waiting {
    /// Uploads that nobody came back for in time.
    pub uploads: Queue,
    /// Deleted repositories, inside their undelete window or past it; the oldest by when its window ends.
    pub deleted_repositories: Queue,
    /// Deleted manifests, inside their undelete window or past it; the oldest by when its window ends.
    pub deleted_manifests: Queue,
    /// Manifests that nothing holds and whose grace has passed: they stay until a rule or a person says otherwise.
    pub untagged_manifests: Queue,
    /// Links without a reference whose time has passed, promises or not.
    pub links: Queue,
    /// Links without a reference that a running promise keeps.
    pub promised_links: u64,
    /// Bytes that no row refers to.
    pub trash: Queue,
}

// One statement, so that the numbers are of one moment. Each part walks through one partial index.
const WAITING: &str = "SELECT \
    (SELECT count(*) FROM upload WHERE expires_at <= $1), \
    (SELECT min(expires_at) FROM upload WHERE expires_at <= $1), \
    (SELECT count(*) FROM repository WHERE deleted_at IS NOT NULL), \
    (SELECT min(expires_at) FROM repository WHERE deleted_at IS NOT NULL), \
    (SELECT count(*) FROM manifest WHERE deleted_at IS NOT NULL), \
    (SELECT min(expires_at) FROM manifest WHERE deleted_at IS NOT NULL), \
    (SELECT count(*) FROM manifest WHERE expires_at < $1 AND deleted_at IS NULL), \
    (SELECT min(expires_at) FROM manifest WHERE expires_at < $1 AND deleted_at IS NULL), \
    (SELECT count(*) FROM link WHERE expires_at < $1), \
    (SELECT min(expires_at) FROM link WHERE expires_at < $1), \
    (SELECT count(*) FROM link WHERE expires_at IS NOT NULL AND leased_until >= $1), \
    (SELECT count(*) FROM trash), \
    (SELECT min(since) FROM trash)";

type Row = (
    i64,
    Option<Timestamp>,
    i64,
    Option<Timestamp>,
    i64,
    Option<Timestamp>,
    i64,
    Option<Timestamp>,
    i64,
    Option<Timestamp>,
    i64,
    i64,
    Option<Timestamp>,
);

/// Counts what waits now.
///
/// # Errors
/// The database failed.
pub async fn waiting(reader: &mut Reader, now: Timestamp) -> Result<Waiting, DatabaseError> {
    let (uploads, u, repositories, r, deleted, d, untagged, m, links, l, promised, trash, t): Row =
        on!(reader, c => sqlx::query_as(WAITING).bind(now).fetch_one(c).await)?;
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    let queue = |number, oldest| Queue { count: count(number), oldest };
    Ok(Waiting {
        uploads: queue(uploads, u),
        deleted_repositories: queue(repositories, r),
        deleted_manifests: queue(deleted, d),
        untagged_manifests: queue(untagged, m),
        links: queue(links, l),
        promised_links: count(promised),
        trash: queue(trash, t),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metadata::fixture::plan, stories::stage::Stage};

    #[tokio::test]
    async fn counting_walks_through_what_waits_and_nothing_else() {
        let stage = Stage::sqlite().await;
        let plan = plan(&stage.content.metadata, WAITING).await;
        for table in ["upload", "repository", "manifest", "link"] {
            assert!(!plan.lines().any(|step| step == format!("SCAN {table}")), "{plan}");
        }
    }
}
