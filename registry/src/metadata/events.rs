//! What happened, written in the operation that made it happen. Senders read the rows later and mark them done.

use std::{convert::Infallible, time::Duration};

use serde::Serialize;
use shared::{
    clock::Timestamp,
    database::{Dialect, Durability, Failure, Operation, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
    tag::Tag,
};
use sqlx::Error;

use super::{
    immutable::Immutable,
    json_list,
    pace::{Batch, Kind},
};
use crate::failpoints::{Point, reach};

/// How long an event is kept that nobody has come for. Senders are not there yet; what tags pointed at is in their history for good.
pub const EVENT_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Something that others may want to know.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// A manifest came, or tags moved to one that was there.
    ManifestPushed {
        /// Where.
        repository: &'a RepositoryName,
        /// Which.
        digest: &'a Digest,
        /// The type it is served with.
        media_type: &'a str,
        /// The payload's length in bytes.
        size: usize,
        /// What it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a Digest>,
        /// The tags that moved to it.
        tags: &'a [&'a Tag],
        /// Who did it.
        actor: &'a str,
    },
    /// A manifest went, and with it the tags that pointed at it.
    ManifestDeleted {
        /// Where.
        repository: &'a RepositoryName,
        /// Which.
        digest: &'a Digest,
        /// The tags that pointed at it.
        tags: &'a [Tag],
        /// Who did it.
        actor: &'a str,
    },
    /// What a namespace may have was set; null is unlimited.
    QuotaSet {
        /// Whose quota.
        namespace: &'a str,
        /// How many bytes.
        bytes: Option<u64>,
        /// How many tags.
        tags: Option<u64>,
        /// How many repositories.
        repositories: Option<u64>,
        /// Who did it.
        actor: &'a str,
    },
    /// The lifecycle rules of a namespace, or of one repository, were set.
    LifecycleRulesSet {
        /// Of which.
        about: &'a RepositoryName,
        /// How many there are now; none takes them away.
        rules: usize,
        /// Who did it.
        actor: &'a str,
    },
    /// A tag went; what it pointed at stays.
    TagDeleted {
        /// Where.
        repository: &'a RepositoryName,
        /// Which.
        tag: &'a Tag,
        /// What it pointed at.
        digest: &'a Digest,
        /// Who did it.
        actor: &'a str,
    },
    /// A deleted manifest came back, or tags to what they had pointed at.
    ManifestRestored {
        /// Where.
        repository: &'a RepositoryName,
        /// Which.
        digest: &'a Digest,
        /// The type it is served with.
        media_type: &'a str,
        /// The payload's length in bytes.
        size: usize,
        /// What it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<&'a Digest>,
        /// The tags that came back to it.
        tags: &'a [&'a Tag],
        /// Who did it.
        actor: &'a str,
    },
    /// A repository went with everything in it.
    RepositoryDeleted {
        /// Which.
        repository: &'a RepositoryName,
        /// Its number: others may have had its name.
        id: i64,
        /// Until when it can come back.
        until: Timestamp,
        /// Who did it.
        actor: &'a str,
    },
    /// A deleted repository came back.
    RepositoryRestored {
        /// Which.
        repository: &'a RepositoryName,
        /// Its number.
        id: i64,
        /// Who did it.
        actor: &'a str,
    },
    /// The rules about tags that stay were replaced.
    ImmutableSet {
        /// Of which namespace.
        namespace: &'a RepositoryName,
        /// The new ones.
        #[serde(flatten)]
        rules: &'a Immutable,
        /// Who did it.
        actor: &'a str,
    },
    /// The doctor put something right.
    Repaired {
        /// What was wrong: the fault's name.
        fault: &'a str,
        /// What it was about.
        subject: &'a str,
        /// What was done.
        done: &'a str,
        /// Who asked for it.
        actor: &'a str,
    },
}

impl Event<'_> {
    /// The name by which senders choose.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ManifestPushed { .. } => "manifest_pushed",
            Self::ManifestDeleted { .. } => "manifest_deleted",
            Self::QuotaSet { .. } => "quota_set",
            Self::LifecycleRulesSet { .. } => "lifecycle_rules_set",
            Self::TagDeleted { .. } => "tag_deleted",
            Self::ManifestRestored { .. } => "manifest_restored",
            Self::RepositoryDeleted { .. } => "repository_deleted",
            Self::RepositoryRestored { .. } => "repository_restored",
            Self::ImmutableSet { .. } => "immutable_set",
            Self::Repaired { .. } => "repaired",
        }
    }
}

/// Writes an event.
///
/// # Errors
/// What the database says.
pub async fn record(tx: &mut Transaction<'_>, event: &Event<'_>) -> Result<(), Error> {
    let body = serde_json::to_string(event).map_err(|error| Error::Encode(Box::new(error)))?;
    let (at, kind) = (tx.now(), event.kind());
    let sql = "INSERT INTO event (at, kind, body) VALUES ($1, $2, $3)";
    on!(tx, c => sqlx::query(sql).bind(at).bind(kind).bind(body).execute(c).await.map(drop))
}

/// Writes many events of one kind with one statement.
///
/// # Errors
/// What the database says.
pub async fn record_all(tx: &mut Transaction<'_>, events: &[Event<'_>]) -> Result<(), Error> {
    let Some(kind) = events.first().map(Event::kind) else { return Ok(()) };
    let encoded = |event: &Event<'_>| serde_json::to_string(event).map_err(|error| Error::Encode(Box::new(error)));
    let bodies = json_list(events.iter().map(encoded).collect::<Result<Vec<String>, Error>>()?);
    let at = tx.now();
    let sql = match tx.dialect() {
        Dialect::Sqlite => "INSERT INTO event (at, kind, body) SELECT $1, $2, value FROM json_each($3)",
        Dialect::Postgres => {
            "INSERT INTO event (at, kind, body) SELECT $1, $2, value FROM json_array_elements_text($3::json) AS value"
        }
    };
    on!(tx, c => sqlx::query(sql).bind(at).bind(kind).bind(bodies).execute(c).await.map(drop))
}

/// Forgets events from before a time, the oldest `limit` of all at most; answers how many.
#[derive(Debug)]
pub struct ForgetEvents {
    /// What happened then or earlier goes.
    pub before: Timestamp,
    /// How many rows are looked at.
    pub limit: i64,
}

impl Operation for ForgetEvents {
    type Output = u64;
    type Refusal = Infallible;
    const NAME: &'static str = "forget_events";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, Failure<Infallible>> {
        // Ids and times go up together, near enough: the oldest rows are found without an index on the time.
        let delete = "DELETE FROM event WHERE id IN (SELECT id FROM (SELECT id, at FROM event ORDER BY id LIMIT $2) AS oldest WHERE at <= $1)";
        let done = on!(tx, c => sqlx::query(delete).bind(self.before).bind(self.limit).execute(c).await.map(|done| done.rows_affected()))?;
        reach(Point::EventsErased)?;
        Ok(done)
    }
}

impl Batch for ForgetEvents {
    const KIND: Kind = Kind::Events;

    fn size(&self, removed: &u64) -> usize {
        *removed as usize
    }
}
