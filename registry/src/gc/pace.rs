//! How much a collector takes on at a time.
//!
//! A transaction of its own holds rows that pushes may want, and on SQLite the one writer. So its batches are as large as fits into a part of 50 ms on the
//! machine at hand, busy as it is: each tells how long it took, and the next one follows.

use std::time::Duration;

/// What a batch should stay below, with room for one that meets larger rows than the last.
const AIM: Duration = Duration::from_millis(20);

/// Where a collector begins.
const FIRST: i64 = 64;

/// Beyond this a larger batch saves little, and on PostgreSQL its plans grow worse before the statistics follow.
const MOST: i64 = 128;

/// The size of the next batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(i64);

impl Pace {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// How many things the next batch takes on; at least one.
    pub(super) const fn batch(self) -> i64 {
        self.0
    }

    /// The last batch held its locks for so long.
    pub(super) fn note(&mut self, took: Duration) {
        if took > AIM {
            self.0 = (self.0 / 2).max(1);
        } else if took < AIM / 4 {
            self.0 = (self.0 * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_what_the_machine_can_do() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.note(Duration::from_millis(1));
        }
        assert_eq!(pace.batch(), MOST);
        pace.note(Duration::from_millis(10));
        assert_eq!(pace.batch(), MOST, "as it should be");
        for _ in 0..20 {
            pace.note(Duration::from_millis(21));
        }
        assert_eq!(pace.batch(), 1, "one goes on, however slow it is");
    }
}
