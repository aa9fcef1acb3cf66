//! Answers kept in memory where this process is the database's only writer (SQLite).
//!
//! A query through sqlx costs as much as the rest of a pull. The write door drops an entry after COMMIT and before the answer. A read that began before
//! that must not put its old answer back: every shard has a generation which a drop raises, and a read fills only if it
//! is still the one it saw.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use moka::sync::Cache;
use shared::database::Dialect;

const SHARDS: usize = 64;

/// A bounded memory of answers. Clones share it.
pub struct Hot<K, V>(Option<Arc<Kept<K, V>>>);

impl<K, V> Clone for Hot<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> fmt::Debug for Hot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hot" } else { "Hot(off)" })
    }
}

struct Kept<K, V> {
    // Each answer with the age it was read in: one of an earlier age does not count.
    answers: Cache<K, (u64, V)>,
    age: AtomicU64,
    // A lock, not an atomic: comparing the generation and filling have to be one step, and so have raising it and dropping.
    generations: [Mutex<u64>; SHARDS],
    hasher: RandomState,
}

impl<K, V> Hot<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps answers worth at most `capacity` by `weigh` in memory, or none at all where other processes write too.
    pub fn new(dialect: Dialect, capacity: u64, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        Self((dialect == Dialect::Sqlite).then(|| {
            Arc::new(Kept {
                answers: Cache::builder()
                    .max_capacity(capacity)
                    .weigher(move |key, (_, answer)| weigh(key, answer))
                    .build(),
                age: AtomicU64::new(0),
                generations: std::array::from_fn(|_| Mutex::new(0)),
                hasher: RandomState::new(),
            })
        }))
    }

    /// The kept answer, or what `read` finds, which is kept for the next.
    ///
    /// # Errors
    /// What `read` fails with.
    pub async fn get_or_read<E>(
        &self,
        key: K,
        read: impl AsyncFnOnce(&K) -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        let Some(kept) = &self.0 else { return read(&key).await };
        let age = kept.age.load(Ordering::SeqCst);
        match kept.answers.get(&key) {
            Some((read_in, answer)) if read_in == age => return Ok(Some(answer)),
            _ => {}
        }
        let seen = *kept.generation(&key);
        let found = read(&key).await?;
        if let Some(answer) = &found {
            let generation = kept.generation(&key);
            if *generation == seen {
                kept.answers.insert(key, (age, answer.clone()));
            }
        }
        Ok(found)
    }

    /// Drops the answer about `key`: what it was read from has changed.
    pub fn forget(&self, key: &K) {
        if let Some(kept) = &self.0 {
            let mut generation = kept.generation(key);
            *generation += 1;
            kept.answers.invalidate(key);
        }
    }

    /// Every answer that is kept now, for those who compare them with what they were read from.
    pub fn kept(&self) -> Vec<(K, V)>
    where
        K: Clone,
    {
        let Some(kept) = &self.0 else { return Vec::new() };
        let age = kept.age.load(Ordering::SeqCst);
        let current = kept.answers.iter().filter(|(_, (read_in, _))| *read_in == age);
        current.map(|(key, (_, answer))| (K::clone(&key), answer)).collect()
    }

    /// Drops every answer, for changes that are rare and touch many.
    pub fn forget_all(&self) {
        if let Some(kept) = &self.0 {
            kept.age.fetch_add(1, Ordering::SeqCst);
            kept.answers.invalidate_all();
        }
    }
}

impl<K: Hash, V> Kept<K, V> {
    fn generation(&self, key: &K) -> MutexGuard<'_, u64> {
        // Any bits serve: the shard only spreads the locks.
        let shard = (self.hasher.hash_one(key) % SHARDS as u64) as usize;
        self.generations[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answers = Hot<u32, &'static str>;

    fn hot(dialect: Dialect) -> Answers {
        Hot::new(dialect, 100, |_, _| 1)
    }

    async fn ask(hot: &Answers, key: u32, answer: Option<&'static str>) -> Option<&'static str> {
        hot.get_or_read(key, async |_| Ok::<_, ()>(answer)).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_once_and_again_after_a_change() {
        let hot = hot(Dialect::Sqlite);
        assert_eq!(ask(&hot, 1, None).await, None);
        assert_eq!(ask(&hot, 1, Some("old")).await, Some("old"), "that something is missing is not kept");
        assert_eq!(ask(&hot, 1, Some("new")).await, Some("old"));
        hot.forget(&1);
        assert_eq!(ask(&hot, 1, Some("new")).await, Some("new"));
        hot.forget_all();
        assert_eq!(ask(&hot, 1, None).await, None);
    }

    #[tokio::test]
    async fn a_read_that_a_change_overtook_fills_nothing() {
        for forget in [|hot: &Answers| hot.forget(&1), |hot: &Answers| hot.forget_all()] {
            let hot = hot(Dialect::Sqlite);
            let overtaken = hot.get_or_read(1, async |_| {
                forget(&hot);
                Ok::<_, ()>(Some("old"))
            });
            assert_eq!(overtaken.await.unwrap(), Some("old"), "the reader began before the change");
            assert_eq!(ask(&hot, 1, Some("new")).await, Some("new"));
        }
    }

    #[tokio::test]
    async fn beside_other_writers_nothing_is_kept() {
        let hot = hot(Dialect::Postgres);
        assert_eq!(ask(&hot, 1, Some("old")).await, Some("old"));
        assert_eq!(ask(&hot, 1, Some("new")).await, Some("new"));
    }
}
