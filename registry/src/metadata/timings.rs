//! How long transactions took, by the operation's name, for those who watch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The bounds of the buckets in milliseconds: what a batch aims at, what it may take, and what is too long.
pub const BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// The times of all operations that are followed. Clones share them. A lock, because each is noted behind a transaction, which costs a thousand times as much.
#[derive(Clone, Debug, Default)]
pub struct Timings(Arc<Mutex<BTreeMap<&'static str, Spread>>>);

impl Timings {
    /// One more transaction of this operation.
    pub(super) fn note(&self, operation: &'static str, held: Duration) {
        self.all().entry(operation).or_default().add(held);
    }

    /// What there was until now, by the operation's name.
    #[must_use]
    pub fn now(&self) -> Vec<(&'static str, Spread)> {
        self.all().iter().map(|(operation, spread)| (*operation, *spread)).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Spread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many transactions there were, and how their times spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// All of their time.
    pub sum: Duration,
    /// The longest.
    pub longest: Duration,
    within: [u64; BOUNDS_MS.len()],
}

impl Spread {
    fn add(&mut self, held: Duration) {
        self.count += 1;
        self.sum += held;
        self.longest = self.longest.max(held);
        for (bound, within) in BOUNDS_MS.iter().zip(&mut self.within) {
            *within += u64::from(held <= Duration::from_millis(*bound));
        }
    }

    /// How many took at most so long, for each bound.
    pub fn within(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS_MS.into_iter().map(Duration::from_millis).zip(self.within)
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.count += other.count;
        self.sum += other.sum;
        self.longest = self.longest.max(other.longest);
        self.within.iter_mut().zip(other.within).for_each(|(within, others)| *within += others);
        self
    }
}

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut spread = Self::default();
        times.into_iter().for_each(|held| spread.add(held));
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_all_that_were_as_quick() {
        let timings = Timings::default();
        for ms in [1, 3, 20, 21, 2_000] {
            timings.note("a", Duration::from_millis(ms));
        }
        timings.note("b", Duration::from_micros(1_500));
        let [("a", a), ("b", b)] = timings.now()[..] else { panic!("{timings:?}") };
        let within: Vec<u64> = a.within().map(|(_, count)| count).collect();
        assert_eq!(within, [1, 1, 2, 2, 3, 4, 4, 4, 4, 4], "and one that was longer than all bounds");
        assert_eq!((a.count, a.longest, a.sum), (5, Duration::from_secs(2), Duration::from_millis(2_045)));
        let both = a.and(&b);
        assert_eq!((both.count, both.within().nth(1)), (6, Some((Duration::from_millis(2), 2))));
    }
}
