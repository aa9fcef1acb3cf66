//! Sealing: numbers what was committed, chains it, signs the end of each batch; and removes batches whose time is over.
//!
//! One process seals at a time. It holds the row `audit` of `leader` for a few seconds and renews it with every batch, in the same
//! operation: who has lost it seals nothing.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    database::{Dialect, Failure, Operation, Transaction},
    on,
};
use tracing::error;

use super::{
    Actor, Event, EventName,
    chain::{Checkpoint, CheckpointKey, Kept, Link, PublicKey, Removed, Signature},
    record,
    verify::Head,
};
use crate::accounts::{Refusal, leader::Lease};

/// Most events of one batch.
pub(crate) const BATCH: usize = 500;
/// How long a process that has sealed may go on without asking, and how long another waits once it has died.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// Batches that are removed by one operation.
const REMOVED_AT_ONCE: i64 = 20;
/// The row of `leader`.
pub(crate) const LEADER: &str = "audit";

/// Who seals, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    /// One process seals at a time.
    pub(crate) lease: Lease,
    pub(crate) key: Arc<CheckpointKey>,
}

/// What one look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Another process seals.
    ByAnother,
    /// Events were sealed.
    Here {
        /// How many.
        events: usize,
        /// Where the chain ends now.
        head: Option<Head>,
        /// True if it had ended before what was known; that has become an event.
        lost: bool,
    },
}

/// Seals at most [`BATCH`] events: a batch of those that are kept for long, and one of the others.
pub(crate) struct Seal {
    pub(crate) sealer: Sealer,
    /// The end of the chain that this process has seen. Whoever cuts it off under a running server is found out here.
    pub(crate) known: Option<Head>,
}

impl Operation for Seal {
    type Output = Sealed;
    type Refusal = Refusal;
    const NAME: &'static str = "seal_events";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Sealed, Failure<Refusal>> {
        if !self.sealer.lease.take(tx).await? {
            return Ok(Sealed::ByAnother);
        }
        let mut head = end(tx).await?;
        let lost = match self.known {
            Some(known) => !is_in_the_chain(tx, known).await?,
            None => false,
        };
        if let Some(known) = self.known.filter(|_| lost) {
            let details = json!({ "known": known, "found": head });
            record(tx, &Actor::system(), &Event::done(EventName::EndLost, "audit").with(details)).await?;
        }
        let rows: Vec<(i64, String, String)> = on!(tx, c => sqlx::query_as(
            "SELECT id, event, body FROM audit WHERE seq IS NULL ORDER BY id LIMIT $1")
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX)).fetch_all(c).await)?;
        let events = rows.len();
        for kept in [Kept::Long, Kept::Short] {
            // An event of a later release's name is kept for long: nobody here knows that it may go.
            let is = |event: &str| event.parse().map_or(Kept::Long, Kept::of) == kept;
            let batch: Vec<(i64, &str)> =
                rows.iter().filter(|(_, event, _)| is(event)).map(|(id, _, body)| (*id, body.as_str())).collect();
            if !batch.is_empty() {
                head = seal(tx, &self.sealer.key, head, &batch, kept).await?;
            }
        }
        Ok(Sealed::Here { events, head: (head.seq > 0).then_some(head), lost })
    }
}

/// Whether a checkpoint that was seen is still there, or a removal speaks of it.
async fn is_in_the_chain(tx: &mut Transaction<'_>, known: Head) -> Result<bool, sqlx::Error> {
    let next: Option<(i64, Vec<u8>, Option<i64>)> = on!(tx, c => sqlx::query_as(
        "SELECT seq, hash, removed_first FROM audit_checkpoint WHERE seq >= $1 ORDER BY seq LIMIT 1")
        .bind(known.seq).fetch_optional(c).await)?;
    Ok(next.is_some_and(|(seq, hash, removed_first)| {
        (seq == known.seq && hash == known.hash.as_bytes())
            || removed_first.is_some_and(|first| first <= known.seq && known.seq < seq)
    }))
}

/// Where the chain ends: at the last checkpoint, or behind it where somebody has numbered rows by hand. Their numbers are not given
/// again, so sealing goes on behind them, and verification names them.
async fn end(tx: &mut Transaction<'_>) -> Result<Head, sqlx::Error> {
    let ends: Vec<(i64, Option<Vec<u8>>)> = on!(tx, c => sqlx::query_as(
        "SELECT * FROM (SELECT seq, hash FROM audit_checkpoint ORDER BY seq DESC LIMIT 1) AS checkpoint \
         UNION ALL SELECT * FROM (SELECT seq, hash FROM audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS row")
        .fetch_all(c).await)?;
    let mut head = Head { seq: 0, hash: Link::START };
    for (seq, hash) in ends {
        if seq > head.seq {
            head = Head { seq, hash: hash.as_deref().and_then(Link::stored).unwrap_or(head.hash) };
        }
    }
    Ok(head)
}

async fn seal(
    tx: &mut Transaction<'_>,
    key: &CheckpointKey,
    before: Head,
    batch: &[(i64, &str)],
    kept: Kept,
) -> Result<Head, Failure<Refusal>> {
    let (mut head, mut rows) = (before, Vec::with_capacity(batch.len()));
    for (id, body) in batch {
        head = Head { seq: head.seq + 1, hash: head.hash.then(body) };
        rows.push((*id, head));
    }
    let numbered = number(tx, &rows).await?;
    if numbered != batch.len() as u64 {
        // Somebody removed a row between the look and the update: what was hashed is not what is there.
        return Err(Failure::Again);
    }
    let checkpoint = key.seal(before.seq + 1, head.seq, head.hash, kept, tx.now());
    on!(tx, c => sqlx::query(
        "INSERT INTO audit_checkpoint (seq, hash, signature, at, first_seq, kept) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(checkpoint.last).bind(checkpoint.hash.as_bytes()).bind(&checkpoint.signature.0).bind(checkpoint.at.micros())
        .bind(checkpoint.first).bind(kept.word()).execute(c).await.map(drop))?;
    Ok(head)
}

/// Numbers the rows, and says how many were there and had no number: one by one where a statement is a call, in one where it is a journey.
async fn number(tx: &mut Transaction<'_>, rows: &[(i64, Head)]) -> Result<u64, sqlx::Error> {
    if tx.dialect() == Dialect::Sqlite {
        let mut numbered = 0;
        for (id, Head { seq, hash }) in rows {
            numbered += on!(tx, c => sqlx::query("UPDATE audit SET seq = $1, hash = $2 WHERE id = $3 AND seq IS NULL")
                .bind(seq).bind(hash.as_bytes()).bind(id).execute(c).await.map(|done| done.rows_affected()))?;
        }
        return Ok(numbered);
    }
    let rows: Value = rows.iter().map(|(id, head)| json!({ "id": id, "seq": head.seq, "hash": head.hash })).collect();
    on!(tx, c => sqlx::query(
        "UPDATE audit SET seq = given.seq, hash = decode(given.hash, 'hex') FROM \
         json_to_recordset($1::json) AS given (id BIGINT, seq BIGINT, hash TEXT) WHERE audit.id = given.id AND audit.seq IS NULL")
        .bind(rows.to_string()).execute(c).await.map(|done| done.rows_affected()))
}

/// Events of each kind that were sealed before their time are removed, whole batches only.
pub(crate) struct Remove {
    pub(crate) sealer: Sealer,
    /// What its checkpoints are signed with.
    pub(crate) keys: Arc<[PublicKey]>,
    /// How long batches of each kind stay; None is for good.
    pub(crate) long: Option<Duration>,
    pub(crate) short: Option<Duration>,
}

impl Operation for Remove {
    /// Events removed, and whether there may be more to remove.
    type Output = (u64, bool);
    type Refusal = Refusal;
    const NAME: &'static str = "remove_events";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(u64, bool), Failure<Refusal>> {
        if !self.sealer.lease.take(tx).await? {
            return Ok((0, false));
        }
        let now = tx.now();
        let before = |kept: Option<Duration>| kept.map_or(i64::MIN, |kept| (now - kept).micros());
        let due: Vec<StoredCheckpoint> = on!(tx, c => sqlx::query_as(concat!(
            "SELECT seq, hash, signature, at, first_seq, kept, removed_first, removed_at, removed_signature FROM audit_checkpoint ",
            "WHERE removed_at IS NULL AND ((kept = 'long' AND at < $1) OR (kept = 'short' AND at < $2)) ORDER BY seq LIMIT $3"))
            .bind(before(self.long)).bind(before(self.short)).bind(REMOVED_AT_ONCE).fetch_all(c).await)?;
        let more = due.len() as i64 == REMOVED_AT_ONCE;
        let (mut events, mut batches) = (0, 0);
        for batch in due.into_iter().map(Checkpoint::from) {
            // Whoever can write the database must not have the server remove, and sign away, what it would keep.
            if self.is_as_sealed(tx, &batch).await? {
                events += self.remove(tx, &batch, now).await?;
                batches += 1;
            } else {
                error!(
                    first = batch.first,
                    last = batch.last,
                    "a batch of the audit is not as it was sealed; it is not removed: verify tells what was changed"
                );
            }
        }
        if batches > 0 {
            let event =
                Event::done(EventName::EventsRemoved, "audit").with(json!({ "batches": batches, "events": events }));
            record(tx, &Actor::system(), &event).await?;
        }
        // Batches that stay would be looked at again and again.
        Ok((events, more && batches > 0))
    }
}

impl Remove {
    /// Whether checkpoint and rows say what was signed: how long they are kept and since when, and as many rows as there were.
    async fn is_as_sealed(&self, tx: &mut Transaction<'_>, batch: &Checkpoint) -> Result<bool, sqlx::Error> {
        if !batch.is_signed_by(&self.keys) {
            return Ok(false);
        }
        let (rows,): (i64,) = on!(tx, c => sqlx::query_as("SELECT count(*) FROM audit WHERE seq BETWEEN $1 AND $2")
            .bind(batch.first).bind(batch.last).fetch_one(c).await)?;
        Ok(rows == batch.last - batch.first + 1)
    }

    /// The first of the removed rows just before, if that is signed too. Its checkpoint gives way: one is enough to go on from.
    async fn removed_before(&self, tx: &mut Transaction<'_>, batch: &Checkpoint) -> Result<Option<i64>, sqlx::Error> {
        let before: Option<StoredCheckpoint> = on!(tx, c => sqlx::query_as(concat!(
            "SELECT seq, hash, signature, at, first_seq, kept, removed_first, removed_at, removed_signature FROM audit_checkpoint ",
            "WHERE seq = $1 AND removed_at IS NOT NULL"))
            .bind(batch.first - 1).fetch_optional(c).await)?;
        let before = before.map(Checkpoint::from).filter(|before| before.is_signed_by(&self.keys));
        let Some((last, removed)) = before.and_then(|before| Some((before.last, before.removed?))) else {
            return Ok(None);
        };
        on!(tx, c => sqlx::query("DELETE FROM audit_checkpoint WHERE seq = $1").bind(last).execute(c).await.map(drop))?;
        Ok(Some(removed.first))
    }

    async fn remove(&self, tx: &mut Transaction<'_>, batch: &Checkpoint, now: Timestamp) -> Result<u64, sqlx::Error> {
        let events = on!(tx, c => sqlx::query("DELETE FROM audit WHERE seq BETWEEN $1 AND $2")
            .bind(batch.first).bind(batch.last).execute(c).await.map(|done| done.rows_affected()))?;
        let before = self.removed_before(tx, batch).await?;
        let removed = self.sealer.key.remove(batch, before.unwrap_or(batch.first), now);
        on!(tx, c => sqlx::query(
            "UPDATE audit_checkpoint SET removed_first = $2, removed_at = $3, removed_signature = $4 WHERE seq = $1")
            .bind(batch.last).bind(removed.first).bind(removed.at.micros()).bind(&removed.signature.0)
            .execute(c).await.map(drop))?;
        Ok(events)
    }
}

/// A row of `audit_checkpoint`.
#[derive(sqlx::FromRow)]
pub(crate) struct StoredCheckpoint {
    pub(crate) seq: i64,
    hash: Vec<u8>,
    signature: Vec<u8>,
    at: i64,
    pub(crate) first_seq: i64,
    kept: String,
    removed_first: Option<i64>,
    removed_at: Option<i64>,
    removed_signature: Option<Vec<u8>>,
}

impl StoredCheckpoint {
    /// How many rows stand before it.
    pub(crate) const fn rows(&self) -> i64 {
        if self.removed_at.is_some() { 0 } else { self.seq - self.first_seq + 1 }
    }
}

/// What no signature fits stands in for what cannot be read: it is a forgery then, and verification names it.
impl From<StoredCheckpoint> for Checkpoint {
    fn from(stored: StoredCheckpoint) -> Self {
        let removed = match (stored.removed_first, stored.removed_at, stored.removed_signature) {
            (Some(first), Some(at), Some(signature)) => {
                Some(Removed { first, at: Timestamp::from_micros(at), signature: Signature(signature) })
            }
            _ => None,
        };
        let kept = stored.kept.parse();
        let signature = if kept.is_ok() { stored.signature } else { Vec::new() };
        Self {
            first: stored.first_seq,
            last: stored.seq,
            hash: Link::stored(&stored.hash).unwrap_or(Link::START),
            kept: kept.unwrap_or(Kept::Long),
            at: Timestamp::from_micros(stored.at),
            signature: Signature(signature),
            removed,
        }
    }
}
