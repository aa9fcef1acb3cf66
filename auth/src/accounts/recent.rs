//! Answers that token requests ask for again and again, kept for a moment where this process is the database's only writer (SQLite).
//!
//! A statement costs as much as signing the token does. An answer counts as long as no change was committed since before it was
//! read, so there is nothing to drop and nothing to forget to drop: every change raises one count, after COMMIT and before its own
//! answer. Where other replicas write too (PostgreSQL) nothing is kept: nobody here would hear of their changes.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use shared::database::{Dialect, Durability, Failure, Operation, Transaction};
use tokio::sync::watch;

/// How long an answer is kept: no longer than a burst of requests, so that what nobody asks for takes no memory.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The changes of this process: how many there were, and who waits for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Arc<Made>);

#[derive(Debug, Default)]
struct Made {
    count: AtomicU64,
    waiting: watch::Sender<()>,
}

impl Changes {
    /// Ends a wait at the next change.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.waiting.subscribe()
    }

    /// The operation, announced when it has been committed, also where its caller has gone away by then.
    pub(super) fn announcing<O>(&self, operation: O) -> Announced<O> {
        Announced { operation, changes: self.clone() }
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    fn announce(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.send_replace(());
    }
}

/// An operation that changes what answers are made of.
pub(super) struct Announced<O> {
    operation: O,
    changes: Changes,
}

impl<O: Operation> Operation for Announced<O> {
    type Output = O::Output;
    type Refusal = O::Refusal;
    const NAME: &'static str = O::NAME;

    fn durability(&self) -> Durability {
        self.operation.durability()
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<O::Output, Failure<O::Refusal>> {
        self.operation.run(tx).await
    }

    fn already_exists(&self) -> Option<O::Refusal> {
        self.operation.already_exists()
    }

    fn committed(&self, output: &O::Output) {
        self.operation.committed(output);
        self.changes.announce();
    }
}

/// Answers to one kind of question.
pub(super) struct Recent<K, V> {
    /// Each with the count of changes before it was read. None where nothing may be kept.
    answers: Option<Cache<K, (u64, V)>>,
    changes: Changes,
}

impl<K, V> Recent<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps answers worth at most `capacity` by `weigh`, or none where other processes write too.
    pub(super) fn new(
        dialect: Dialect,
        changes: &Changes,
        capacity: u64,
        weigh: impl Fn(&V) -> u32 + Send + Sync + 'static,
    ) -> Self {
        let cache = Cache::builder().max_capacity(capacity).weigher(move |_, (_, answer)| weigh(answer));
        let answers = (dialect == Dialect::Sqlite).then(|| cache.time_to_live(KEPT_FOR).build());
        Self { answers, changes: changes.clone() }
    }

    /// What was read a moment ago, if it still holds and is `good`; else what `read` finds, which is kept for the next.
    ///
    /// # Errors
    /// What `read` fails with.
    pub(super) async fn get_or_read<E>(
        &self,
        key: K,
        good: impl FnOnce(&V) -> bool,
        read: impl AsyncFnOnce(&K) -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        let Some(answers) = &self.answers else { return read(&key).await };
        // Before the read: a change that is committed meanwhile makes the answer an old one, whether it was seen or not.
        let changes = self.changes.count();
        match answers.get(&key) {
            Some((read_at, answer)) if read_at == changes && good(&answer) => return Ok(Some(answer)),
            _ => {}
        }
        let found = read(&key).await?;
        if let Some(answer) = &found {
            answers.insert(key, (changes, answer.clone()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answers = Recent<u32, &'static str>;

    fn recent(dialect: Dialect) -> Answers {
        Recent::new(dialect, &Changes::default(), 100, |_| 1)
    }

    async fn ask(recent: &Answers, answer: Option<&'static str>) -> Option<&'static str> {
        recent.get_or_read(1, |_| true, async |_| Ok::<_, ()>(answer)).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_counts_until_the_next_change() {
        let recent = recent(Dialect::Sqlite);
        assert_eq!(ask(&recent, None).await, None);
        assert_eq!(ask(&recent, Some("old")).await, Some("old"), "that something is missing is not kept");
        assert_eq!(ask(&recent, Some("new")).await, Some("old"));
        recent.changes.announce();
        assert_eq!(ask(&recent, Some("new")).await, Some("new"));
        recent.changes.announce();
        assert_eq!(ask(&recent, None).await, None);
    }

    #[tokio::test]
    async fn a_read_that_a_change_overtook_is_not_used_again() {
        let recent = recent(Dialect::Sqlite);
        let overtaken = recent.get_or_read(
            1,
            |_| true,
            async |_| {
                recent.changes.announce();
                Ok::<_, ()>(Some("old"))
            },
        );
        assert_eq!(overtaken.await.unwrap(), Some("old"), "the reader began before the change");
        assert_eq!(ask(&recent, Some("new")).await, Some("new"));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_good_any_more_is_read_again() {
        let recent = recent(Dialect::Sqlite);
        assert_eq!(ask(&recent, Some("old")).await, Some("old"));
        let read = recent.get_or_read(1, |_| false, async |_| Ok::<_, ()>(Some("new")));
        assert_eq!(read.await.unwrap(), Some("new"));
        assert_eq!(ask(&recent, None).await, Some("new"));
    }

    #[tokio::test]
    async fn beside_other_writers_nothing_is_kept() {
        let recent = recent(Dialect::Postgres);
        assert_eq!(ask(&recent, Some("old")).await, Some("old"));
        assert_eq!(ask(&recent, Some("new")).await, Some("new"));
    }
}
