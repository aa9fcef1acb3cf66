//! Credentials that somebody should look at: nobody uses them any more, or they are about to end.

use std::time::Duration;

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
};
use tracing::warn;

use super::{Stored, StoredRow, select_stored};
use crate::{
    accounts::{Accounts, CredentialId, Error, Failure, MAX_PAGE, NamespaceId, Refusal},
    audit::{Actor, Event, EventName, record},
};

/// How long before its end a credential is warned of, once, in the audit.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many credentials one look warns of, but for those that end together with the last.
const MAX_WARNINGS: u32 = 1000;

/// Which credentials are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neglected {
    /// Keys of this namespace's robots; None for everybody's.
    pub namespace: Option<NamespaceId>,
    /// Those that nobody has used since then; one that was never used counts from when it was made.
    pub unused_since: Option<Timestamp>,
    /// Those that end before then, used or not.
    pub ending_before: Option<Timestamp>,
}

impl Accounts {
    /// Tokens, keys and identity tokens that count now, with their owners, oldest first. Passwords are not among them.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn neglected(
        &self,
        wanted: Neglected,
        after: Option<CredentialId>,
        limit: u32,
    ) -> Result<Vec<Stored>, Error> {
        // Uses that are not written yet would be missed by the query.
        self.flush_uses().await?;
        let mut reader = self.database.reader().await?;
        let rows: Vec<StoredRow> = on!(reader, c => sqlx::query_as(select_stored!(
            "c.id > $1 AND c.kind <> 'password' AND c.revoked_at IS NULL AND p.state <> 'deleted' \
             AND (c.expires_at IS NULL OR c.expires_at > $2) AND (c.idle_us IS NULL OR COALESCE(c.used_at, c.created_at) + c.idle_us > $2) \
             AND ($3 IS NULL OR (p.kind = 'robot' AND p.namespace_id = $3)) \
             AND ($4 IS NULL OR COALESCE(c.used_at, c.created_at) < $4) \
             AND ($5 IS NULL OR c.expires_at < $5) ORDER BY c.id LIMIT $6"))
            .bind(after.map_or(0, |id| id.0))
            .bind(self.clock.now().micros())
            .bind(wanted.namespace.map(|id| id.0))
            .bind(wanted.unused_since.map(Timestamp::micros))
            .bind(wanted.ending_before.map(Timestamp::micros))
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(c)
            .await)?;
        drop(reader);
        rows.into_iter().map(|row| self.stored(row)).collect()
    }

    /// Writes an event for each token and key that ends within [`EXPIRY_WARNING`] and was not warned of yet.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn warn_of_endings(&self) -> Result<(), Error> {
        self.warn_of_some(MAX_WARNINGS).await
    }

    pub(in crate::accounts) async fn warn_of_some(&self, most: u32) -> Result<(), Error> {
        let warned = self.change(WarnOfEndings { most }).await?;
        if warned > 0 {
            warn!(credentials = warned, "credentials end within a week; the audit names them");
        }
        Ok(())
    }
}

/// How far warnings have come is one number for all processes: who has it locked, warns.
struct WarnOfEndings {
    most: u32,
}

impl Operation for WarnOfEndings {
    type Output = usize;
    type Refusal = Refusal;
    const NAME: &'static str = "warn_of_endings";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<usize, Failure> {
        let now = tx.now();
        on!(tx, c => sqlx::query("INSERT INTO counter (name, value) VALUES ('endings_warned', $1) ON CONFLICT DO NOTHING")
            .bind(now.micros()).execute(c).await.map(drop))?;
        let (warned,): (i64,) = on!(tx, c => sqlx::query_as("UPDATE counter SET value = value WHERE name = 'endings_warned' RETURNING value")
            .fetch_one(c).await)?;
        let (from, until) = (warned.max(now.micros()), (now + EXPIRY_WARNING).micros());
        // With the last of a full page all that end in the same moment, so that the next look can begin behind it.
        let rows: Vec<(i64, String, String, String, i64, i64)> = on!(tx, c => sqlx::query_as(
            "WITH ending AS (SELECT c.id, c.kind, c.name, p.handle, p.namespace_id, c.expires_at \
              FROM credential c JOIN principal p ON p.id = c.principal_id WHERE c.expires_at > $1 AND c.expires_at <= $2 \
              AND c.kind IN ('pat', 'robot_key') AND c.revoked_at IS NULL AND p.state <> 'deleted') \
             SELECT id, kind, name, handle, namespace_id, expires_at FROM ending \
             WHERE expires_at <= (SELECT max(expires_at) FROM (SELECT expires_at FROM ending ORDER BY expires_at LIMIT $3) AS page) \
             ORDER BY expires_at, id")
            .bind(from).bind(until).bind(i64::from(self.most)).fetch_all(c).await)?;
        for (id, kind, name, owner, namespace, ends) in &rows {
            let ends = Timestamp::from_micros(*ends).rfc3339();
            let event = Event::done(EventName::CredentialEnding, id.to_string()).within(NamespaceId(*namespace));
            let event = event.with(json!({ "owner": owner, "kind": kind, "name": name, "expires_at": ends }));
            record(tx, &Actor::system(), &event).await?;
        }
        let full = rows.len() >= self.most as usize;
        let until = rows.last().filter(|_| full).map_or(until, |(.., last)| *last);
        on!(tx, c => sqlx::query("UPDATE counter SET value = $1 WHERE name = 'endings_warned'").bind(until).execute(c).await.map(drop))?;
        Ok(rows.len())
    }
}
