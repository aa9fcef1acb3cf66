//! What namespaces may have at most, and what they have.

use std::{convert::Infallible, fmt};

use serde::Serialize;
use shared::{
    database::{DatabaseError, Failure, Operation, Reader, Transaction},
    on,
    repository::RepositoryName,
    size::Size,
};

use super::{
    NamespaceId,
    events::{self, Event},
    parse_bytes, repositories, stored_bytes, usage,
};

/// What a quota bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Bytes of distinct blobs and of manifests.
    Bytes,
    /// Tags that point somewhere.
    Tags,
    /// Repositories that hold a manifest.
    Repositories,
}

/// A push asked for more than its namespace may still have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exceeded {
    /// Whose quota.
    pub namespace: String,
    /// What it bounds.
    pub of: Measure,
    /// How much there may be.
    pub quota: u64,
    /// How much there is; of tags and repositories not more than the quota, because nobody counts on.
    pub used: u64,
    /// Bytes that running uploads have reserved.
    pub reserved: u64,
    /// How much more was wanted.
    pub asked: u64,
}

impl std::error::Error for Exceeded {}

/// The sentence that clients print as it stands.
impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, of, quota, used, reserved, asked } = self;
        write!(f, "over the quota of namespace {namespace}: ")?;
        match of {
            Measure::Bytes => {
                let [quota, used, reserved, asked] = [quota, used, reserved, asked].map(|bytes| Size(*bytes));
                write!(f, "of {quota}, {used} are used")?;
                if self.reserved > 0 {
                    write!(f, " and {reserved} reserved by uploads")?;
                }
                match self.asked {
                    0 => Ok(()),
                    _ => write!(f, "; {asked} more do not fit"),
                }
            }
            Measure::Tags => write!(f, "it has {used} of {quota} tags, and {asked} more do not fit"),
            Measure::Repositories => write!(f, "it has {used} of {quota} repositories, and {asked} more do not fit"),
        }
    }
}

/// What a namespace may have at most; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of distinct blobs and of manifests.
    pub bytes: Option<u64>,
    /// Tags that point somewhere.
    pub tags: Option<u64>,
    /// Repositories that hold a manifest.
    pub repositories: Option<u64>,
}

/// The most tags or repositories of a namespace that are counted for anybody: some ten milliseconds.
pub const MOST_COUNTED: u64 = 100_000;

/// The most that are counted of those without a quota, where many namespaces are listed.
pub const MOST_LISTED: u64 = 1_000;

/// How many there are, as far as they were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many,
    pub counted: u64,
    /// and more: nobody counted on.
    pub more: bool,
}

/// How far tags and repositories are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// One namespace is asked for.
    Shown,
    /// It is one of many.
    Listed,
    /// Somebody compares it with its quota, and needs nothing else.
    Watched,
}

impl Reach {
    fn most(self, quota: Option<u64>) -> u64 {
        match (self, quota) {
            (Self::Shown, _) | (Self::Watched, Some(_)) => MOST_COUNTED,
            (Self::Listed, Some(quota)) => quota.clamp(MOST_LISTED, MOST_COUNTED),
            (Self::Listed, None) => MOST_LISTED,
            (Self::Watched, None) => 0,
        }
    }
}

/// What a namespace may have and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The namespace's name.
    pub namespace: String,
    /// What it may have.
    pub quota: Quota,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that running uploads have reserved.
    pub reserved: u64,
    /// Tags that point somewhere.
    pub tags: Count,
    /// Repositories that hold a manifest.
    pub repositories: Count,
}

/// What to change; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How many bytes there may be.
    pub bytes: Option<Option<u64>>,
    /// How many tags.
    pub tags: Option<Option<u64>>,
    /// How many repositories.
    pub repositories: Option<Option<u64>>,
}

impl Change {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn applied_to(&self, quota: Quota) -> Quota {
        Quota {
            bytes: self.bytes.unwrap_or(quota.bytes),
            tags: self.tags.unwrap_or(quota.tags),
            repositories: self.repositories.unwrap_or(quota.repositories),
        }
    }
}

/// Sets what a namespace may have. One that has more keeps it, and is refused more.
#[derive(Debug)]
pub struct SetQuota {
    /// The namespace, whether somebody has pushed there or not.
    pub namespace: RepositoryName,
    /// What is different from now on.
    pub change: Change,
    /// Who is written into the event.
    pub actor: String,
}

impl Operation for SetQuota {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "set_quota";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let name = self.namespace.namespace();
        let namespace = repositories::ensure_namespace(tx, name).await?;
        let select = super::locking!(
            tx,
            "SELECT quota, tag_quota, repository_quota FROM namespace WHERE id = $1",
            "FOR NO KEY UPDATE"
        );
        let (bytes, tags, repositories): Stored =
            on!(tx, c => sqlx::query_as(select).bind(namespace.id).fetch_one(c).await)?;
        let quota = self.change.applied_to(Quota::stored(bytes, tags, repositories));
        let update = "UPDATE namespace SET quota = $2, tag_quota = $3, repository_quota = $4 WHERE id = $1";
        let [bytes, tags, repositories] =
            [quota.bytes, quota.tags, quota.repositories].map(|bound| bound.map(stored_bytes));
        on!(tx, c => {
            let query = sqlx::query(update).bind(namespace.id).bind(bytes).bind(tags).bind(repositories);
            query.execute(c).await.map(drop)
        })?;
        let Quota { bytes, tags, repositories } = quota;
        let event = Event::QuotaSet { namespace: name, bytes, tags, repositories, actor: &self.actor };
        Ok(events::record(tx, &event).await?)
    }
}

type Stored = (Option<i64>, Option<i64>, Option<i64>);

impl Quota {
    fn stored(bytes: Option<i64>, tags: Option<i64>, repositories: Option<i64>) -> Self {
        let [bytes, tags, repositories] = [bytes, tags, repositories].map(|bound| bound.map(parse_bytes));
        Self { bytes, tags, repositories }
    }
}

/// Columns of a [`StandingRow`] of `namespace n JOIN usage u`.
macro_rules! standing {
    ($rest:literal) => {
        concat!(
            "SELECT n.id, n.name, n.quota, n.tag_quota, n.repository_quota, u.used, u.reserved \
             FROM namespace n JOIN usage u ON u.namespace_id = n.id ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    id: NamespaceId,
    name: String,
    quota: Option<i64>,
    tag_quota: Option<i64>,
    repository_quota: Option<i64>,
    used: i64,
    reserved: i64,
}

impl StandingRow {
    async fn counted(self, reader: &mut Reader, reach: Reach) -> Result<Standing, DatabaseError> {
        let quota = Quota::stored(self.quota, self.tag_quota, self.repository_quota);
        Ok(Standing {
            quota,
            used: parse_bytes(self.used),
            reserved: parse_bytes(self.reserved),
            tags: count(reader, usage::TAGS, self.id, reach.most(quota.tags)).await?,
            repositories: count(reader, usage::REPOSITORIES, self.id, reach.most(quota.repositories)).await?,
            namespace: self.name,
        })
    }
}

/// Counts up to `most`, and whether there is another. Between namespaces others have their turn: statements run on the thread that asks.
async fn count(
    reader: &mut Reader,
    sql: &'static str,
    namespace: NamespaceId,
    most: u64,
) -> Result<Count, DatabaseError> {
    if most == 0 {
        return Ok(Count::default());
    }
    tokio::task::yield_now().await;
    let limit = stored_bytes(most + 1);
    let (counted,): (i64,) = on!(reader, c => sqlx::query_as(sql).bind(namespace).bind(limit).fetch_one(c).await)?;
    let counted = parse_bytes(counted);
    Ok(Count { counted: counted.min(most), more: counted > most })
}

async fn all_counted(
    reader: &mut Reader,
    rows: Vec<StandingRow>,
    reach: Reach,
) -> Result<Vec<Standing>, DatabaseError> {
    let mut standings = Vec::with_capacity(rows.len());
    for row in rows {
        standings.push(row.counted(reader, reach).await?);
    }
    Ok(standings)
}

/// How a namespace stands; `None` where nobody has pushed yet and nothing is set.
///
/// # Errors
/// The database failed.
pub async fn standing(reader: &mut Reader, namespace: &str) -> Result<Option<Standing>, DatabaseError> {
    let select = standing!("WHERE n.name = $1");
    let row: Option<StandingRow> = on!(reader, c => sqlx::query_as(select).bind(namespace).fetch_optional(c).await)?;
    match row {
        Some(row) => Ok(Some(row.counted(reader, Reach::Shown).await?)),
        None => Ok(None),
    }
}

/// How namespaces stand, at most `limit` of them behind a name, in bytewise order.
///
/// # Errors
/// The database failed.
pub async fn standings(reader: &mut Reader, after: &str, limit: i64) -> Result<Vec<Standing>, DatabaseError> {
    let select = standing!("WHERE n.name > $1 ORDER BY n.name LIMIT $2");
    let rows: Vec<StandingRow> = on!(reader, c => sqlx::query_as(select).bind(after).bind(limit).fetch_all(c).await)?;
    all_counted(reader, rows, Reach::Listed).await
}

/// Namespaces that have a quota of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounded {
    /// How many there are.
    pub count: u64,
    /// Those closest to their quota in bytes, by name.
    pub fullest: Vec<Standing>,
}

/// The namespaces that have a quota, at most `most` of them by name: those whose bytes are closest to it.
///
/// # Errors
/// The database failed.
pub async fn bounded(reader: &mut Reader, most: i64) -> Result<Bounded, DatabaseError> {
    let count = "SELECT count(*) FROM namespace \
                 WHERE quota IS NOT NULL OR tag_quota IS NOT NULL OR repository_quota IS NOT NULL";
    let fullest = standing!(
        "WHERE n.id IN (SELECT b.id FROM namespace b JOIN usage v ON v.namespace_id = b.id \
         WHERE b.quota IS NOT NULL OR b.tag_quota IS NOT NULL OR b.repository_quota IS NOT NULL \
         ORDER BY coalesce((v.used + v.reserved + 1) * 1.0 / (b.quota + 1.0), 0) DESC, b.name LIMIT $1) ORDER BY n.name"
    );
    let (count,): (i64,) = on!(reader, c => sqlx::query_as(count).fetch_one(c).await)?;
    let rows: Vec<StandingRow> = match count {
        0 => Vec::new(),
        _ => on!(reader, c => sqlx::query_as(fullest).bind(most).fetch_all(c).await)?,
    };
    Ok(Bounded { count: parse_bytes(count), fullest: all_counted(reader, rows, Reach::Watched).await? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_is_used_and_what_was_wanted() {
        let mut exceeded = Exceeded {
            namespace: "acme".to_owned(),
            of: Measure::Bytes,
            quota: 10 << 30,
            used: (10 << 30) - (3 << 20),
            reserved: 0,
            asked: 5 << 20,
        };
        let sentence = "over the quota of namespace acme: of 10 GiB, 9.9 GiB are used; 5 MiB more do not fit";
        assert_eq!(exceeded.to_string(), sentence);
        (exceeded.reserved, exceeded.asked) = (1 << 20, 0);
        let sentence = "over the quota of namespace acme: of 10 GiB, 9.9 GiB are used and 1 MiB reserved by uploads";
        assert_eq!(exceeded.to_string(), sentence);
        (exceeded.of, exceeded.quota, exceeded.used, exceeded.asked) = (Measure::Tags, 5, 4, 2);
        assert_eq!(exceeded.to_string(), "over the quota of namespace acme: it has 4 of 5 tags, and 2 more do not fit");
    }
}
