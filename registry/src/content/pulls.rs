//! Pulls, counted in memory and written each minute: a pull writes nothing, and a crash may lose a minute of counts.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shared::{
    clock::Timestamp, database::DatabaseError, digest::Digest, reference::Reference, repository::RepositoryName,
};

use super::{Content, Error};
use crate::metadata::pulls::{CountPulls, Pulled};

#[cfg(test)]
mod tests;

/// How often counts are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(60);

/// How many different pulls are remembered between two writes; what exceeds them is not counted.
const MAX_DIFFERENT: usize = 100_000;

/// How many of them one operation writes: pushes wait for it, and all of them are one text.
const WRITTEN_AT_ONCE: usize = 1000;

/// Pulls that are not written yet.
#[derive(Debug, Default)]
pub struct Pulls(Mutex<HashMap<Key, Count>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    repository: RepositoryName,
    reference: Reference,
    digest: Digest,
}

#[derive(Debug)]
struct Count {
    pulls: u64,
    at: Timestamp,
}

impl Pulls {
    fn add(&self, key: Key, at: Timestamp) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&key) {
            count.pulls += 1;
            count.at = count.at.max(at);
        } else if counts.len() < MAX_DIFFERENT {
            counts.insert(key, Count { pulls: 1, at });
        }
    }

    fn take(&self) -> Vec<Pulled> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let pulled = |(key, count): (Key, Count)| Pulled {
            repository: key.repository,
            tag: match key.reference {
                Reference::Tag(tag) => Some(tag),
                Reference::Digest(_) => None,
            },
            digest: key.digest,
            pulls: count.pulls,
            at: count.at,
        };
        counts.into_iter().map(pulled).collect()
    }
}

impl Content {
    /// Counts a pull: a manifest was sent to a reader who asked for it by `reference`.
    pub fn pulled(&self, repository: &RepositoryName, reference: &Reference, digest: Digest) {
        let key = Key { repository: repository.clone(), reference: reference.clone(), digest };
        self.pulls.add(key, self.clock.now());
    }

    /// Writes the pulls counted since the last time: each [`FLUSH_EVERY`], and before the end.
    ///
    /// # Errors
    /// The database failed; the counts are lost, as they would be in a crash.
    pub async fn write_pulls(&self) -> Result<(), Error> {
        let mut written = Ok(());
        for pulled in self.pulls.take().chunks(WRITTEN_AT_ONCE) {
            // What failed is lost, what follows need not be.
            let counted =
                self.metadata.write(CountPulls { pulled: pulled.to_vec() }).await.map_err(DatabaseError::from);
            written = written.and(counted);
        }
        Ok(written?)
    }
}
