//! When credentials were last used. Uses gather in memory and are written each half minute: a token request costs no write, and a
//! crash forgets half a minute of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use shared::{
    clock::Timestamp,
    database::{Durability, Operation, Transaction},
    on,
};

use super::Credential;
use crate::accounts::{Accounts, CredentialId, Error, Failure, Refusal};

/// Most credentials whose use waits to be written. Beyond it a use is forgotten, which costs an idle token at worst its idle time.
const MAX_WAITING: usize = 100_000;
/// Credentials written by one operation, so that other writers are not kept waiting.
pub(in crate::accounts) const BATCH: usize = 500;

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub(in crate::accounts) struct Uses(Mutex<HashMap<CredentialId, (Timestamp, Option<IpAddr>)>>);

impl Uses {
    /// Puts into a credential that was read what is not written yet.
    pub(super) fn refresh(&self, credential: &mut Credential) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, from)) = waiting.get(&credential.id) {
            credential.used_at = credential.used_at.max(Some(*at));
            credential.used_from = from.map(|from| from.to_string());
        }
    }

    fn note(&self, id: CredentialId, at: Timestamp, from: Option<IpAddr>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING || waiting.contains_key(&id) {
            waiting.insert(id, (at, from));
        }
    }

    fn take(&self) -> Vec<(CredentialId, Timestamp, Option<IpAddr>)> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut taken: Vec<_> = waiting.into_iter().map(|(id, (at, from))| (id, at, from)).collect();
        // One order for every replica, so that two of them never wait for each other's rows.
        taken.sort_unstable_by_key(|(id, ..)| *id);
        taken
    }
}

impl Accounts {
    /// Notes that a credential was used now.
    pub fn note_use(&self, id: CredentialId, from: Option<IpAddr>) {
        self.uses.note(id, self.clock.now(), from);
    }

    /// How many uses wait to be written.
    #[cfg(test)]
    pub(in crate::accounts) fn waiting_uses(&self) -> usize {
        self.uses.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Writes the uses noted so far.
    ///
    /// # Errors
    /// The database did not answer; the uses are noted again.
    pub async fn flush_uses(&self) -> Result<(), Error> {
        let taken = self.uses.take();
        let mut rest = taken.as_slice();
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(rest.len().min(BATCH));
            // A change as any other: what was read before does not know of these uses.
            let write = self.changes.announcing(WriteUses(batch.to_vec()));
            if let Err(error) = self.database.write(write).await {
                rest.iter().for_each(|(id, at, from)| self.uses.note(*id, *at, *from));
                return Err(error.into());
            }
            rest = behind;
        }
        Ok(())
    }
}

struct WriteUses(Vec<(CredentialId, Timestamp, Option<IpAddr>)>);

impl Operation for WriteUses {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "write_uses";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        for (id, at, from) in &self.0 {
            let from = from.map(|from| from.to_string());
            on!(tx, c => sqlx::query(
                "UPDATE credential SET used_at = $1, used_from = $2 WHERE id = $3 AND (used_at IS NULL OR used_at < $1)")
                .bind(at.micros()).bind(from.as_deref()).bind(id.0).execute(c).await.map(drop))?;
        }
        Ok(())
    }
}
