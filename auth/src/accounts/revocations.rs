//! The revocation feed: rows that make a registry refuse tokens older than a narrowing change (design.md, section 3).
//!
//! Only what takes something away writes rows: one 401 in mid-operation ends a docker push, so widening never does.

use std::time::Duration;

use shared::{
    clock::Timestamp,
    database::Transaction,
    on,
    revocation::{Revocation, Revoked},
};
use tokio::sync::watch;

use super::{Accounts, Error, PrincipalId, TeamId};

/// How long a row matters: the longest token lives an hour, a verifier adds a minute of leeway, clocks differ.
pub const REVOCATION_LIFE: Duration = Duration::from_secs(3600 + 60 + 60);
/// Most rows of one answer of the feed.
pub const MAX_FEED_ROWS: u32 = 1000;

/// Writes one row of the feed with the next number. Call it last: the counter's row stays locked until the operation commits,
/// which is what keeps numbers without gaps and without late comers.
pub(super) async fn revoke(tx: &mut Transaction<'_>, subject: &Revoked) -> Result<(), sqlx::Error> {
    let until = tx.now() + REVOCATION_LIFE;
    revoke_until(tx, subject, until).await
}

/// The same for a row that matters longer: a leaf that was stolen signs until its certificate ends.
pub(super) async fn revoke_until(
    tx: &mut Transaction<'_>,
    subject: &Revoked,
    until: Timestamp,
) -> Result<(), sqlx::Error> {
    let (kind, subject) = words(subject);
    let (seq,): (i64,) = on!(tx, c => sqlx::query_as(
        "UPDATE counter SET value = value + 1 WHERE name = 'revocation' RETURNING value").fetch_one(c).await)?;
    on!(tx, c => sqlx::query("INSERT INTO revocation (seq, kind, subject, until) VALUES ($1, $2, $3, $4)")
        .bind(seq).bind(kind).bind(&subject).bind(until.micros()).execute(c).await.map(drop))
}

/// Writes a row for every account that is in the team, for whatever reason.
pub(super) async fn revoke_members(tx: &mut Transaction<'_>, team: TeamId) -> Result<(), sqlx::Error> {
    let members: Vec<(i64,)> = on!(tx, c => sqlx::query_as(
        "SELECT DISTINCT principal_id FROM team_member WHERE team_id = $1 ORDER BY principal_id")
        .bind(team.0).fetch_all(c).await)?;
    for (member,) in members {
        revoke(tx, &Revoked::Principal(member)).await?;
    }
    Ok(())
}

/// Writes a row for one account.
pub(super) async fn revoke_principal(tx: &mut Transaction<'_>, principal: PrincipalId) -> Result<(), sqlx::Error> {
    revoke(tx, &Revoked::Principal(principal.0)).await
}

impl Accounts {
    /// The rows after `seq` in order, at most [`MAX_FEED_ROWS`].
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn revocations_after(&self, seq: u64) -> Result<Vec<Revocation>, Error> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let mut reader = self.database.reader().await?;
        let rows: Vec<(i64, String, String, i64)> = on!(reader, c => sqlx::query_as(
            "SELECT seq, kind, subject, until FROM revocation WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(seq).bind(i64::from(MAX_FEED_ROWS)).fetch_all(c).await)?;
        rows.into_iter().map(|row| read(row).map_err(Error::from)).collect()
    }

    /// The number of the newest revocation: what `ep` of a token made now would be.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn epoch(&self) -> Result<u64, Error> {
        let mut reader = self.database.reader().await?;
        let (value,): (i64,) =
            on!(reader, c => sqlx::query_as("SELECT value FROM counter WHERE name = 'revocation'").fetch_one(c).await)?;
        Ok(value.unsigned_abs())
    }

    /// Wakes whoever waits on it after every change made by this process. Other replicas' changes are seen by asking again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Removes rows that no living token can be older than.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn forget_old_revocations(&self) -> Result<u64, Error> {
        self.change(Forget).await
    }
}

struct Forget;

impl shared::database::Operation for Forget {
    type Output = u64;
    type Refusal = super::Refusal;
    const NAME: &'static str = "forget_old_revocations";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, super::Failure> {
        let now = tx.now().micros();
        Ok(
            on!(tx, c => sqlx::query("DELETE FROM revocation WHERE until < $1").bind(now).execute(c).await.map(|done| done.rows_affected()))?,
        )
    }
}

fn words(subject: &Revoked) -> (&'static str, String) {
    match subject {
        Revoked::Credential(id) => ("credential", id.to_string()),
        Revoked::Principal(id) => ("principal", id.to_string()),
        Revoked::Namespace(name) => ("namespace", name.clone()),
        Revoked::Leaf(key_id) => ("leaf", key_id.clone()),
        Revoked::Everyone => ("everyone", String::new()),
    }
}

fn read((seq, kind, subject, until): (i64, String, String, i64)) -> Result<Revocation, sqlx::Error> {
    let number = |text: &str| text.parse::<i64>().map_err(|error| sqlx::Error::Decode(Box::new(error)));
    let subject = match kind.as_str() {
        "credential" => Revoked::Credential(number(&subject)?),
        "principal" => Revoked::Principal(number(&subject)?),
        "namespace" => Revoked::Namespace(subject),
        "leaf" => Revoked::Leaf(subject),
        "everyone" => Revoked::Everyone,
        _ => return Err(super::stored::UnknownWord { set: "revocation", word: kind }.into()),
    };
    Ok(Revocation { seq: seq.unsigned_abs(), subject, until: Timestamp::from_micros(until) })
}
