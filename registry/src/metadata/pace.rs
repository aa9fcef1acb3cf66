//! How much of something one operation takes on, and how long it took.
//!
//! A transaction of a collector holds rows that pushes may want, and on SQLite the one writer. So its batches are as large as fits into a part of 50 ms on the
//! machine at hand, busy as it is: each tells how long it took, and the next one of its kind follows. What they follow is the time of their own statements;
//! what is told to those who watch is all the time that they held their locks, COMMIT included.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use shared::database::{Durability, Failure, Operation, Took, Transaction};

use super::timings::Timings;

/// What a batch should stay below, with room for one that meets larger rows than the last.
const AIM: Duration = Duration::from_millis(20);

/// What is taken away in batches. Each kind finds its own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Uploads that nobody came back for.
    Uploads,
    /// What a manifest names, row by row.
    References,
    /// Rows of a deleted repository.
    Repositories,
    /// Links that no manifest needs.
    Links,
    /// Keys whose bytes are gone.
    Trash,
    /// Events that nobody came for.
    Events,
    /// Tags that rules or a pattern let go.
    Tags,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Uploads, Self::References, Self::Repositories, Self::Links, Self::Trash, Self::Events, Self::Tags];

    /// How many a batch has at least, to begin with, and at most. Below the least a transaction costs more than what it does; beyond the most little is
    /// saved, and on PostgreSQL plans of statements over many rows grow worse before the statistics follow.
    const fn bounds(self) -> Bounds {
        let (least, first, most) = match self {
            Self::Links => (8, 64, 128),
            Self::Uploads | Self::Tags => (10, 50, 200),
            Self::Trash => (50, 125, 1_000),
            Self::References | Self::Repositories => (100, 250, 2_000),
            Self::Events => (100, 250, 4_000),
        };
        Bounds { least, first, most }
    }
}

/// How large batches of a kind may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: i64,
    first: i64,
    most: i64,
}

/// An operation that takes on some of a kind.
pub trait Batch: Operation {
    /// Of which.
    const KIND: Kind;

    /// How many it has taken on: one that found little to do and was quick says nothing of larger ones.
    fn size(&self, output: &Self::Output) -> usize;
}

/// The sizes of the next batches, and the times of those before. Clones share them.
#[derive(Clone, Debug)]
pub struct Paces {
    paces: Arc<[Pace; Kind::ALL.len()]>,
    timings: Timings,
}

impl Default for Paces {
    fn default() -> Self {
        Self { paces: Arc::new(Kind::ALL.map(Pace::new)), timings: Timings::default() }
    }
}

impl Paces {
    /// How many things the next batch of a kind takes on.
    pub fn batch(&self, kind: Kind) -> i64 {
        self.of(kind).batch()
    }

    /// How long batches have taken.
    pub const fn timings(&self) -> &Timings {
        &self.timings
    }

    /// The operation, which the next ones of its kind will follow.
    pub(super) fn follow<O: Batch>(&self, operation: O) -> Followed<O> {
        Followed { operation, paces: self.clone() }
    }

    fn of(&self, kind: Kind) -> &Pace {
        &self.paces[kind as usize]
    }
}

/// The size of the next batch.
#[derive(Debug)]
struct Pace {
    size: AtomicI64,
    bounds: Bounds,
}

impl Pace {
    fn new(kind: Kind) -> Self {
        let bounds = kind.bounds();
        Self { size: AtomicI64::new(bounds.first), bounds }
    }

    fn batch(&self) -> i64 {
        self.size.load(Ordering::Relaxed)
    }

    /// A batch of so many took so long. Two that end at once may overwrite each other: the next one says the same.
    fn note(&self, taken: i64, took: Duration) {
        let (size, Bounds { least, most, .. }) = (self.batch(), self.bounds);
        if took > AIM {
            self.size.store((size / 2).max(least), Ordering::Relaxed);
        } else if took < AIM / 4 && taken >= size {
            self.size.store((size * 2).min(most), Ordering::Relaxed);
        }
    }
}

/// An operation whose time is noted.
pub(super) struct Followed<O> {
    operation: O,
    paces: Paces,
}

impl<O: Batch> Operation for Followed<O> {
    type Output = O::Output;
    type Refusal = O::Refusal;
    const NAME: &'static str = O::NAME;
    const TIMED: bool = true;

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
    }

    fn took(&self, output: &O::Output, took: Took) {
        let taken = i64::try_from(self.operation.size(output)).unwrap_or(i64::MAX);
        self.paces.of(O::KIND).note(taken, took.run);
        self.paces.timings.note(O::NAME, took.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_what_the_machine_can_do() {
        for kind in Kind::ALL {
            let (pace, Bounds { least, first, most }) = (Pace::new(kind), kind.bounds());
            assert!(0 < least && least < first && first < most, "{kind:?}");
            assert_eq!(pace.batch(), first);
            for _ in 0..10 {
                pace.note(first - 1, Duration::from_millis(1));
            }
            assert_eq!(pace.batch(), first, "a part of a batch says nothing of a whole one");
            for _ in 0..10 {
                pace.note(pace.batch(), Duration::from_millis(1));
            }
            assert_eq!(pace.batch(), most);
            pace.note(most, Duration::from_millis(10));
            assert_eq!(pace.batch(), most, "as it should be");
            for _ in 0..20 {
                pace.note(1, Duration::from_millis(21));
            }
            assert_eq!(pace.batch(), least, "however slow it is, it goes on");
        }
    }

    #[test]
    fn each_kind_has_a_pace_of_its_own() {
        let paces = Paces::default();
        paces.of(Kind::Links).note(64, Duration::from_secs(1));
        for kind in Kind::ALL {
            let expected = if kind == Kind::Links { 32 } else { kind.bounds().first };
            assert_eq!(paces.batch(kind), expected, "{kind:?}");
        }
    }
}
