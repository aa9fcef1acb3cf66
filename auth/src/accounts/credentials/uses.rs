//! When credentials were last used. Uses gather in memory, and of each credential the last is written once a minute at most: a token
//! request costs no write, and a crash or a stop forgets a minute of uses. Of several processes each waits its minute, and leaves a row
//! alone that says a use of the last one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shared::{
    clock::Timestamp,
    database::{Durability, Operation, Transaction},
    on,
};

use super::Credential;
use crate::accounts::{Accounts, CredentialId, Error, Failure, Refusal};

/// How long a credential's row stays as it is once a use has been written into it.
pub(in crate::accounts) const WRITTEN_FOR: Duration = Duration::from_secs(60);
/// Most credentials that are remembered as used. Beyond it a use is forgotten, which costs an idle token at worst its idle time.
const MAX_NOTED: usize = 100_000;
/// Credentials written by one operation, so that other writers are not kept waiting.
pub(in crate::accounts) const BATCH: usize = 500;

/// A use of a credential.
#[derive(Clone, Copy, Debug)]
struct Use {
    id: CredentialId,
    at: Timestamp,
    from: Option<IpAddr>,
}

/// A credential that was used a moment ago.
#[derive(Debug, Default)]
struct Noted {
    /// The last use, unless it has been written.
    waiting: Option<Use>,
    /// Before then nothing is written, because something was; None if nothing was of late.
    not_before: Option<Timestamp>,
}

/// Uses of the last moments.
#[derive(Debug, Default)]
pub(in crate::accounts) struct Uses(Mutex<HashMap<CredentialId, Noted>>);

impl Uses {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<CredentialId, Noted>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts into a credential that was read what is not written yet.
    pub(super) fn refresh(&self, credential: &mut Credential) {
        let waiting = self.with(|noted| noted.get(&credential.id)?.waiting);
        if let Some(Use { at, from, .. }) = waiting
            && credential.used_at <= Some(at)
        {
            credential.used_at = Some(at);
            credential.used_from = from.map(|from| from.to_string());
        }
    }

    fn note(&self, used: Use) {
        self.with(|noted| {
            if noted.len() < MAX_NOTED || noted.contains_key(&used.id) {
                noted.entry(used.id).or_default().waiting = Some(used);
            }
        });
    }

    /// Takes the uses that may be written now, and forgets of the others those that say nothing any more.
    fn take(&self, now: Timestamp) -> Vec<Use> {
        let mut taken = Vec::new();
        self.with(|noted| {
            noted.retain(|_, noted| {
                if noted.not_before.is_some_and(|then| now < then) {
                    return true;
                }
                noted.not_before = Some(now + WRITTEN_FOR);
                taken.extend(noted.waiting);
                noted.waiting.take().is_some()
            });
        });
        // One order for every replica, so that two of them never wait for each other's rows.
        taken.sort_unstable_by_key(|used| used.id);
        taken
    }

    /// Notes again what was taken and not written, unless there is something newer: to be tried before long, or when its minute is over.
    fn put_back(&self, uses: impl IntoIterator<Item = Use>, not_before: Option<Timestamp>) {
        self.with(|noted| {
            for used in uses {
                let noted = noted.entry(used.id).or_default();
                noted.waiting.get_or_insert(used);
                noted.not_before = not_before;
            }
        });
    }
}

impl Accounts {
    /// Notes that a credential was used now.
    pub fn note_use(&self, id: CredentialId, from: Option<IpAddr>) {
        self.uses.note(Use { id, at: self.clock.now(), from });
    }

    /// How many uses wait to be written.
    #[cfg(test)]
    pub(in crate::accounts) fn waiting_uses(&self) -> usize {
        self.uses.with(|noted| noted.values().filter(|noted| noted.waiting.is_some()).count())
    }

    /// Writes the uses noted so far, but for those of credentials of which one was written less than a minute ago.
    ///
    /// # Errors
    /// The database did not answer; the uses are noted again.
    pub async fn flush_uses(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let taken = self.uses.take(now);
        let mut rest = taken.as_slice();
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(rest.len().min(BATCH));
            // A change as any other: what was read before does not know of these uses.
            match self.database.write(self.changes.announcing(WriteUses(batch.to_vec()))).await {
                // A row that has had its write from another process says a use of the last minute: ours is news if it is younger than that.
                Ok(unwritten) => {
                    let news = unwritten.into_iter().filter(|used| now < used.at + WRITTEN_FOR);
                    self.uses.put_back(news, Some(now + WRITTEN_FOR));
                }
                Err(error) => {
                    self.uses.put_back(rest.iter().copied(), None);
                    return Err(error.into());
                }
            }
            rest = behind;
        }
        Ok(())
    }
}

struct WriteUses(Vec<Use>);

impl Operation for WriteUses {
    /// Those whose rows say a use of the last minute.
    type Output = Vec<Use>;
    type Refusal = Refusal;
    const NAME: &'static str = "write_uses";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Use>, Failure> {
        let (mut unwritten, long_ago) = (Vec::new(), tx.now() - WRITTEN_FOR);
        for used in &self.0 {
            let from = used.from.map(|from| from.to_string());
            let written = on!(tx, c => sqlx::query(
                "UPDATE credential SET used_at = $1, used_from = $2 WHERE id = $3 AND (used_at IS NULL OR (used_at < $1 AND used_at <= $4))")
                .bind(used.at.micros()).bind(from.as_deref()).bind(used.id.0).bind(long_ago.micros())
                .execute(c).await.map(|done| done.rows_affected()))?;
            unwritten.extend((written == 0).then_some(*used));
        }
        Ok(unwritten)
    }
}
