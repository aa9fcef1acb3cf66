//! How many there are, for metrics: of credentials, of events that wait to be sealed, of signing keys.

use std::time::Duration;

use shared::{clock::Timestamp, on};

use super::{
    Accounts, Error,
    credentials::{CredentialKind, upkeep::EXPIRY_WARNING},
    signing::KeyState,
    stored::undecodable,
};

/// What was seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// When.
    pub at: Timestamp,
    /// Credentials of every kind.
    pub credentials: Vec<OfKind>,
    /// Events of the audit that are not sealed.
    pub unsealed: u64,
    /// How long the oldest of them waits.
    pub unsealed_for: Duration,
    /// The number of the last event that is.
    pub head: u64,
    /// Signing keys that are not gone.
    pub keys: Vec<(KeyState, u64)>,
    /// Since when the active one signs; None where the key was brought.
    pub signing_since: Option<Timestamp>,
    /// When its certificate ends.
    pub signing_until: Option<Timestamp>,
    /// The revocation counter.
    pub revocations: u64,
}

/// Credentials of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfKind {
    /// Which.
    pub kind: CredentialKind,
    /// Those that count.
    pub live: u64,
    /// Those of them that end within [`EXPIRY_WARNING`].
    pub ending: u64,
}

impl Accounts {
    /// Counts.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn census(&self) -> Result<Census, Error> {
        let at = self.clock.now();
        let credentials = self.credentials_by_kind(at).await?;
        let unsealed = self.unsealed().await?;
        let keys = self.signing_keys(false).await?;
        let active = keys.iter().find(|key| key.state == KeyState::Active);
        let count = |state| keys.iter().filter(|key| key.state == state).count() as u64;
        let states = KeyState::ALL.iter().filter(|state| **state != KeyState::Gone);
        let waited = unsealed.since.map_or(0, |since| at.micros() - since.micros());
        Ok(Census {
            at,
            credentials,
            unsealed: unsealed.events.unsigned_abs(),
            unsealed_for: Duration::from_micros(u64::try_from(waited).unwrap_or_default()),
            head: self.sealed_head().await?,
            keys: states.map(|state| (*state, count(*state))).collect(),
            signing_since: active.and_then(|key| key.active_at),
            signing_until: active.map(|key| key.not_after),
            revocations: self.epoch().await?,
        })
    }

    /// Every kind is there, those of which there are none too: a series that comes and goes is no series.
    async fn credentials_by_kind(&self, at: Timestamp) -> Result<Vec<OfKind>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<(String, i64, i64)> = on!(reader, c => sqlx::query_as(
            "SELECT c.kind, count(*), count(CASE WHEN c.expires_at < $2 THEN 1 END) FROM credential c \
             JOIN principal p ON p.id = c.principal_id WHERE c.revoked_at IS NULL AND p.state = 'active' \
             AND (c.expires_at IS NULL OR c.expires_at > $1) \
             AND (c.idle_us IS NULL OR COALESCE(c.used_at, c.created_at) + c.idle_us > $1) GROUP BY c.kind")
            .bind(at.micros()).bind((at + EXPIRY_WARNING).micros()).fetch_all(c).await)?;
        let mut found: Vec<OfKind> =
            CredentialKind::ALL.iter().map(|kind| OfKind { kind: *kind, live: 0, ending: 0 }).collect();
        for (kind, live, ending) in rows {
            let kind = kind.parse::<CredentialKind>().map_err(undecodable)?;
            if let Some(of) = found.iter_mut().find(|of| of.kind == kind) {
                (of.live, of.ending) = (live.unsigned_abs(), ending.unsigned_abs());
            }
        }
        Ok(found)
    }

    async fn sealed_head(&self) -> Result<u64, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<(i64,)> = on!(reader, c => sqlx::query_as("SELECT seq FROM audit_checkpoint ORDER BY seq DESC LIMIT 1")
            .fetch_optional(c).await)?;
        Ok(row.map_or(0, |(seq,)| seq.unsigned_abs()))
    }
}
