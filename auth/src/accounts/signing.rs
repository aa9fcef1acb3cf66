//! The keys that sign tokens, as rows: each is made, waits its turn, signs, is still published while its tokens live, and is gone.

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Dialect, Operation, Transaction},
    on,
    revocation::Revoked,
};

use super::{
    Accounts, Error, Failure, Refusal,
    revocations::revoke_until,
    stored::{stored_words, undecodable},
};
use crate::audit::{Actor, Event, EventName, record};

stored_words! {
    /// What a key does.
    KeyState {
        /// It is published, and signs next.
        Next = "next",
        /// It signs.
        Active = "active",
        /// It signs no more; what it has signed is good to its end.
        Retiring = "retiring",
        /// Nothing of it counts any more, and its private half is removed.
        Gone = "gone",
    }
}

/// A key as it is stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// As a token's header names it.
    pub algorithm: String,
    /// What it does.
    pub state: KeyState,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// Its certificate, in DER.
    pub certificate: Vec<u8>,
    /// The master key that sealed it.
    pub master_id: String,
    /// When the certificate ends.
    pub not_after: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began to sign.
    pub active_at: Option<Timestamp>,
    /// When it stopped.
    pub retired_at: Option<Timestamp>,
}

/// What becomes of the key that has signed until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its tokens live to their end.
    Retire,
    /// Its tokens are refused from now on.
    Revoke,
}

/// Another key signs.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Who wants it so.
    pub actor: Actor,
    /// The key that signs until now. If it is another by now, nothing is done.
    pub before: Option<String>,
    /// What becomes of it.
    pub ending: Ending,
    /// The key that signs from now on; it may have been the next.
    pub active: StoredKey,
    /// The one after it.
    pub next: StoredKey,
}

/// `SELECT` of a [`Row`] with its condition.
macro_rules! select_key {
    ($condition:literal) => {
        concat!(
            "SELECT kid, algorithm, state, sealed_key, chain, master_id, not_after, created_at, active_at, retired_at FROM signing_key WHERE ",
            $condition
        )
    };
}

type Row = (String, String, String, Vec<u8>, String, String, i64, i64, Option<i64>, Option<i64>);

impl Accounts {
    /// The keys that are not gone, the newest last; with `gone` those too.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn signing_keys(&self, gone: bool) -> Result<Vec<StoredKey>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as(
            select_key!("state <> 'gone' OR $1 ORDER BY id")).bind(gone).fetch_all(c).await)?;
        rows.into_iter().map(|row| read(row).map_err(Error::from)).collect()
    }

    /// Has another key sign.
    ///
    /// # Errors
    /// [`Refusal::KeysChanged`]: another process was faster.
    pub async fn turn_keys(&self, turn: Turn) -> Result<(), Error> {
        self.change(turn).await
    }

    /// Refuses whatever this key has signed or will sign. One that signs now is revoked by [`Accounts::turn_keys`].
    ///
    /// # Errors
    /// [`Refusal::KeyUnknown`], [`Refusal::KeysChanged`] if it signs by now.
    pub async fn revoke_key(&self, actor: &Actor, kid: &str) -> Result<(), Error> {
        self.change(RevokeKey { actor: actor.clone(), kid: kid.to_owned() }).await
    }

    /// Ends keys that stopped signing before `retired`: their last token has ended.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn end_retired_keys(&self, retired: Timestamp) -> Result<u64, Error> {
        Ok(self.database.write(EndRetired(retired)).await?)
    }
}

/// The key, if it is not gone, with its row locked until the operation ends.
pub(super) async fn locked(tx: &mut Transaction<'_>, kid: &str) -> Result<StoredKey, Failure> {
    let query = match tx.dialect() {
        Dialect::Sqlite => select_key!("kid = $1 AND state <> 'gone'"),
        Dialect::Postgres => select_key!("kid = $1 AND state <> 'gone' FOR UPDATE"),
    };
    let row: Option<Row> = on!(tx, c => sqlx::query_as(query).bind(kid).fetch_optional(c).await)?;
    Ok(read(row.ok_or(Failure::Refused(Refusal::KeyUnknown))?)?)
}

fn read(row: Row) -> Result<StoredKey, sqlx::Error> {
    let (kid, algorithm, state, sealed, chain, master_id, not_after, created_at, active_at, retired_at) = row;
    let certificate = (0..chain.len()).step_by(2).map(|at| {
        chain
            .get(at..at + 2)
            .and_then(|byte| u8::from_str_radix(byte, 16).ok())
            .ok_or_else(|| undecodable(NotACertificate))
    });
    Ok(StoredKey {
        certificate: certificate.collect::<Result<_, _>>()?,
        state: state.parse().map_err(undecodable)?,
        kid,
        algorithm,
        sealed,
        master_id,
        not_after: Timestamp::from_micros(not_after),
        created_at: Timestamp::from_micros(created_at),
        active_at: active_at.map(Timestamp::from_micros),
        retired_at: retired_at.map(Timestamp::from_micros),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("the chain of a signing key is not a certificate in hexadecimal")]
struct NotACertificate;

/// Waits for whoever else changes keys: of two processes one comes first, and the other sees what it did.
async fn lock(tx: &mut Transaction<'_>) -> Result<(), sqlx::Error> {
    on!(tx, c => sqlx::query(
        "INSERT INTO leader (name, holder, expires_at) VALUES ('signing_key', '', 0) \
         ON CONFLICT (name) DO UPDATE SET expires_at = leader.expires_at").execute(c).await.map(drop))
}

async fn put(tx: &mut Transaction<'_>, key: &StoredKey) -> Result<(), sqlx::Error> {
    let chain: String = key.certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    on!(tx, c => sqlx::query(
        "INSERT INTO signing_key (kid, algorithm, state, sealed_key, chain, master_id, not_after, created_at, active_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (kid) DO UPDATE SET \
         state = excluded.state, chain = excluded.chain, not_after = excluded.not_after, active_at = excluded.active_at")
        .bind(&key.kid).bind(&key.algorithm).bind(key.state.word()).bind(&key.sealed).bind(&chain).bind(&key.master_id)
        .bind(key.not_after.micros()).bind(key.created_at.micros()).bind(key.active_at.map(Timestamp::micros))
        .execute(c).await.map(drop))
}

/// Nothing of it counts any more. Whoever has stolen it can sign until its certificate ends, so the row of the feed lasts as long.
async fn revoke(tx: &mut Transaction<'_>, actor: &Actor, kid: &str, not_after: i64) -> Result<(), sqlx::Error> {
    on!(tx, c => sqlx::query("UPDATE signing_key SET state = 'gone', sealed_key = $2 WHERE kid = $1")
        .bind(kid).bind(&[][..] as &[u8]).execute(c).await.map(drop))?;
    record(tx, actor, &Event::done(EventName::KeyRevoked, kid)).await?;
    revoke_until(tx, &Revoked::Leaf(kid.to_owned()), Timestamp::from_micros(not_after)).await
}

impl Operation for Turn {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "turn_signing_keys";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        lock(tx).await?;
        let active: Option<(String, i64)> = on!(tx, c => sqlx::query_as("SELECT kid, not_after FROM signing_key WHERE state = 'active'").fetch_optional(c).await)?;
        let next: Option<(String,)> = on!(tx, c => sqlx::query_as("SELECT kid FROM signing_key WHERE kid = $1 AND state <> 'next'")
            .bind(&self.active.kid).fetch_optional(c).await)?;
        if active.as_ref().map(|(kid, _)| kid) != self.before.as_ref() || next.is_some() {
            return Err(Failure::Refused(Refusal::KeysChanged));
        }
        // A next one that does not get its turn would never get one.
        on!(tx, c => sqlx::query("UPDATE signing_key SET state = 'gone', sealed_key = $2 WHERE state = 'next' AND kid <> $1")
            .bind(&self.active.kid).bind(&[][..] as &[u8]).execute(c).await.map(drop))?;
        on!(tx, c => sqlx::query("UPDATE signing_key SET state = 'retiring', retired_at = $1 WHERE state = 'active'")
            .bind(tx_now(&self.active)).execute(c).await.map(drop))?;
        put(tx, &self.active).await?;
        put(tx, &self.next).await?;
        let details = json!({ "before": self.before, "next": self.next.kid });
        record(tx, &self.actor, &Event::done(EventName::KeyRotated, &self.active.kid).with(details)).await?;
        if let (Ending::Revoke, Some((kid, not_after))) = (self.ending, active) {
            revoke(tx, &self.actor, &kid, not_after).await?;
        }
        Ok(())
    }
}

/// Keys are kept by the clock of whoever signs: a certificate's dates are compared with it.
fn tx_now(active: &StoredKey) -> i64 {
    active.active_at.unwrap_or(active.created_at).micros()
}

struct RevokeKey {
    actor: Actor,
    kid: String,
}

impl Operation for RevokeKey {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "revoke_signing_key";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        lock(tx).await?;
        let found: Option<(String, i64)> = on!(tx, c => sqlx::query_as("SELECT state, not_after FROM signing_key WHERE kid = $1")
            .bind(&self.kid).fetch_optional(c).await)?;
        let (state, not_after) = found.ok_or(Failure::Refused(Refusal::KeyUnknown))?;
        if state == KeyState::Active.word() {
            return Err(Failure::Refused(Refusal::KeysChanged));
        }
        Ok(revoke(tx, &self.actor, &self.kid, not_after).await?)
    }
}

struct EndRetired(Timestamp);

impl Operation for EndRetired {
    type Output = u64;
    type Refusal = Refusal;
    const NAME: &'static str = "end_retired_keys";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<u64, Failure> {
        Ok(on!(tx, c => sqlx::query(
            "UPDATE signing_key SET state = 'gone', sealed_key = $2 WHERE state = 'retiring' AND retired_at < $1")
            .bind(self.0.micros()).bind(&[][..] as &[u8]).execute(c).await.map(|done| done.rows_affected()))?)
    }
}
