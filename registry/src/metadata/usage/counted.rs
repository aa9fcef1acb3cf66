//! How many tags and repositories a namespace has, where that is bounded.
//!
//! They are counted when one is added, up to the bound and no further, and only where there is one: a count that every change of a tag kept would make all
//! of them wait for one row. The row of `usage` is locked first, so who adds at the same time is counted one after the other.

use shared::{
    database::{Failure, Transaction},
    on,
};

use super::lock;
use crate::metadata::{
    NamespaceId, RepositoryId,
    manifests::ManifestId,
    parse_bytes,
    quotas::{Exceeded, Measure},
};

/// What a push of a manifest has brought, already written.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    /// Where to.
    pub repository: RepositoryId,
    /// The manifest.
    pub manifest: ManifestId,
    /// Bytes of its payload, where the repository did not hold it.
    pub payload: u64,
    /// Whether readers did not see it before.
    pub appeared: bool,
    /// How many tags point somewhere that did not.
    pub tags: u64,
}

/// Up to how many there may be.
#[derive(Clone, Copy, Debug, Default, sqlx::FromRow)]
pub(super) struct Bounds {
    tag_quota: Option<i64>,
    repository_quota: Option<i64>,
}

/// Tags of a namespace, up to a number.
pub(in crate::metadata) const TAGS: &str = "SELECT count(*) FROM (SELECT 1 FROM repository r JOIN tag t ON t.repository_id = r.id \
    WHERE r.namespace_id = $1 AND r.deleted_at IS NULL AND t.manifest_id IS NOT NULL LIMIT $2) AS living";

/// Repositories of a namespace, up to a number. As the catalog has it: an upload or a refused push leaves a repository that nobody sees, and that must not count.
pub(in crate::metadata) const REPOSITORIES: &str = "SELECT count(*) FROM (SELECT 1 FROM repository r WHERE r.namespace_id = $1 AND r.deleted_at IS NULL \
    AND EXISTS (SELECT 1 FROM manifest m WHERE m.repository_id = r.id AND m.deleted_at IS NULL) LIMIT $2) AS held";

const OWN_TAGS: &str =
    "SELECT count(*) FROM (SELECT 1 FROM tag WHERE repository_id = $1 AND manifest_id IS NOT NULL LIMIT $2) AS living";

const OWN_MANIFESTS: &str =
    "SELECT count(*) FROM (SELECT 1 FROM manifest WHERE repository_id = $1 AND deleted_at IS NULL LIMIT $2) AS held";

/// Refuses what a push has brought, if its namespace has more than it may have with it.
pub(super) async fn admit<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    brought: &Brought,
    bounds: Bounds,
) -> Result<(), Failure<R>> {
    if let Some(quota) = bounds.tag_quota.filter(|_| brought.tags > 0) {
        lock(tx, namespace).await?;
        let asked = brought.tags;
        let counted = count(tx, TAGS, namespace, quota.saturating_add_unsigned(asked)).await?;
        within(tx, namespace, Counted { of: Measure::Tags, quota, before: counted.saturating_sub(asked), asked })
            .await?;
    }
    if let Some(quota) = bounds.repository_quota.filter(|_| brought.appeared) {
        lock(tx, namespace).await?;
        if is_first(tx, brought).await? {
            let counted = count(tx, REPOSITORIES, namespace, quota.saturating_add(1)).await?;
            let before = counted.saturating_sub(1);
            within(tx, namespace, Counted { of: Measure::Repositories, quota, before, asked: 1 }).await?;
        }
    }
    Ok(())
}

/// Refuses a repository that is about to be made, if its namespace holds as many as it may already. What decides is [`admit`], at its first manifest: this is
/// to spare the client the upload of everything that it would be about.
pub(in crate::metadata) async fn admit_repository<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    quota: i64,
) -> Result<(), Failure<R>> {
    let before = count(tx, REPOSITORIES, namespace, quota).await?;
    within(tx, namespace, Counted { of: Measure::Repositories, quota, before, asked: 1 }).await
}

/// Refuses a repository that was brought back with all that it holds, if its namespace has more than it may have with it.
///
/// # Errors
/// It has, or the database failed.
pub async fn repository_restored<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    repository: RepositoryId,
) -> Result<(), Failure<R>> {
    let select = "SELECT tag_quota, repository_quota FROM namespace WHERE id = $1";
    let bounds: Bounds = on!(tx, c => sqlx::query_as(select).bind(namespace).fetch_one(c).await)?;
    if let Some(quota) = bounds.tag_quota {
        let own = Own { sql: OWN_TAGS, repository, most: quota.saturating_add(1) };
        admit_own(tx, namespace, (Measure::Tags, quota, TAGS), own).await?;
    }
    if let Some(quota) = bounds.repository_quota {
        let own = Own { sql: OWN_MANIFESTS, repository, most: 1 };
        admit_own(tx, namespace, (Measure::Repositories, quota, REPOSITORIES), own).await?;
    }
    Ok(())
}

/// What a repository brings of a measure.
struct Own {
    sql: &'static str,
    repository: RepositoryId,
    /// More than that is as good as that.
    most: i64,
}

async fn admit_own<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    (of, quota, all): (Measure, i64, &'static str),
    own: Own,
) -> Result<(), Failure<R>> {
    lock(tx, namespace).await?;
    let (asked,): (i64,) =
        on!(tx, c => sqlx::query_as(own.sql).bind(own.repository).bind(own.most).fetch_one(c).await)?;
    if asked == 0 {
        return Ok(());
    }
    let counted = count(tx, all, namespace, quota.saturating_add(asked)).await?;
    let asked = parse_bytes(asked);
    within(tx, namespace, Counted { of, quota, before: counted.saturating_sub(asked), asked }).await
}

struct Counted {
    of: Measure,
    quota: i64,
    /// Without what is asked for; at most the quota where there are more.
    before: u64,
    asked: u64,
}

async fn within<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    namespace: NamespaceId,
    counted: Counted,
) -> Result<(), Failure<R>> {
    let Counted { of, quota, before, asked } = counted;
    let quota = parse_bytes(quota);
    if before + asked <= quota {
        return Ok(());
    }
    let select = "SELECT name FROM namespace WHERE id = $1";
    let (namespace,): (String,) = on!(tx, c => sqlx::query_as(select).bind(namespace).fetch_one(c).await)?;
    Err(Failure::Refused(Exceeded { namespace, of, quota, used: before, reserved: 0, asked }.into()))
}

async fn count(
    tx: &mut Transaction<'_>,
    sql: &'static str,
    namespace: NamespaceId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(namespace).bind(most).fetch_one(c).await)?;
    Ok(parse_bytes(count))
}

/// Whether the repository held no living manifest before.
async fn is_first(tx: &mut Transaction<'_>, brought: &Brought) -> Result<bool, sqlx::Error> {
    let select = "SELECT 1 FROM manifest WHERE repository_id = $1 AND deleted_at IS NULL AND id <> $2 LIMIT 1";
    let (repository, manifest) = (brought.repository, brought.manifest);
    let other: Option<(i32,)> =
        on!(tx, c => sqlx::query_as(select).bind(repository).bind(manifest).fetch_optional(c).await)?;
    Ok(other.is_none())
}
