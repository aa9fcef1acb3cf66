//! Whether a history of calls on a register is linearizable: whether each call can be given a moment between its beginning and its end so that, one after the
//! other, they have the answers that they had (Wing and Gong, "Testing and Verifying Concurrent Objects", 1993).

use std::collections::HashSet;

/// What a call did, as its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The register holds this value now.
    Wrote(u64),
    /// It holds this value again, whatever it held.
    Restored(u64),
    /// It holds nothing now, and held something.
    Deleted,
    /// It holds nothing now, and held this.
    DeletedValue(u64),
    /// It held this, or nothing.
    Read(Option<u64>),
}

impl Answer {
    pub(super) const fn deletes(self) -> bool {
        matches!(self, Self::Deleted | Self::DeletedValue(_))
    }

    /// What the register holds afterwards, if it can have answered so while it held `value`.
    fn after(self, value: Option<u64>) -> Option<Option<u64>> {
        match self {
            Self::Wrote(value) | Self::Restored(value) => Some(Some(value)),
            Self::Deleted => value.map(|_| None),
            Self::DeletedValue(deleted) => (value == Some(deleted)).then_some(None),
            Self::Read(read) => (value == read).then_some(value),
        }
    }
}

/// A call with the moments at which it was made and answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) answer: Answer,
}

/// At most 64 calls on a register that held nothing before.
#[derive(Clone, Debug)]
pub(super) struct History(Vec<Call>);

impl History {
    pub(super) fn new(mut calls: Vec<Call>) -> Self {
        assert!(calls.len() <= 64, "a set of calls is a number of 64 bits");
        calls.sort_by_key(|call| call.began);
        Self(calls)
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.0
    }

    pub(super) fn is_linearizable(&self) -> bool {
        self.goes_on(0, None, &mut HashSet::new())
    }

    /// Whether the calls that are not in `done` can follow while the register holds `value`. What was tried in vain is not tried again.
    fn goes_on(&self, done: u64, value: Option<u64>, tried: &mut HashSet<(u64, Option<u64>)>) -> bool {
        let left = || (0..).zip(&self.0).filter(|(place, _)| done & (1 << place) == 0);
        // Whoever comes next began before any of the others ended.
        let Some(first_end) = left().map(|(_, call)| call.ended).min() else { return true };
        if !tried.insert((done, value)) {
            return false;
        }
        left()
            .filter(|(_, call)| call.began < first_end)
            .filter_map(|(place, call)| Some((place, call.answer.after(value)?)))
            .any(|(place, after)| self.goes_on(done | 1 << place, after, tried))
    }

    /// Histories that differ from this one in a single answer, which cannot have been: a read of a value whose write began only after the read had ended.
    pub(super) fn lies(&self) -> Vec<Self> {
        let mut lies = Vec::new();
        for (place, read) in self.0.iter().enumerate().filter(|(_, call)| matches!(call.answer, Answer::Read(_))) {
            let later = self.0.iter().filter(|call| call.began > read.ended);
            let written =
                later.filter_map(|call| if let Answer::Wrote(value) = call.answer { Some(value) } else { None });
            for value in written.take(1) {
                let mut lie = self.clone();
                lie.0[place].answer = Answer::Read(Some(value));
                lies.push(lie);
            }
        }
        lies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(calls: &[(u64, u64, Answer)]) -> History {
        History::new(
            calls.iter().map(|(began, ended, answer)| Call { began: *began, ended: *ended, answer: *answer }).collect(),
        )
    }

    #[test]
    fn what_a_register_can_have_answered_is_accepted() {
        use Answer::{Deleted, DeletedValue, Read, Restored, Wrote};
        for good in [
            history(&[]),
            history(&[
                (0, 1, Read(None)),
                (2, 3, Wrote(1)),
                (4, 5, Read(Some(1))),
                (6, 7, Deleted),
                (8, 9, Read(None)),
            ]),
            // Reads during a write may see it or not, each on its own until one has seen it.
            history(&[(0, 9, Wrote(1)), (1, 2, Read(None)), (3, 4, Read(Some(1))), (5, 6, Read(Some(1)))]),
            // Two writes at once: the reads decide which came first.
            history(&[(0, 9, Wrote(1)), (1, 8, Wrote(2)), (2, 3, Read(Some(2))), (4, 5, Read(Some(1)))]),
            history(&[(0, 9, Wrote(1)), (1, 8, DeletedValue(1)), (10, 11, Read(None))]),
            history(&[(0, 1, Wrote(1)), (2, 9, Deleted), (3, 8, Restored(1)), (10, 11, Read(Some(1)))]),
        ] {
            assert!(good.is_linearizable(), "{good:?}");
        }
    }

    #[test]
    fn what_no_register_can_have_answered_is_rejected() {
        use Answer::{Deleted, DeletedValue, Read, Wrote};
        for (what, bad) in [
            ("a stale read", history(&[(0, 1, Wrote(1)), (2, 3, Wrote(2)), (4, 5, Read(Some(1)))])),
            ("a lost write", history(&[(0, 1, Wrote(1)), (2, 3, Read(None))])),
            ("a value from nowhere", history(&[(0, 1, Wrote(1)), (2, 3, Read(Some(2)))])),
            ("a deletion that did not last", history(&[(0, 1, Wrote(1)), (2, 3, Deleted), (4, 5, Read(Some(1)))])),
            ("a deletion of nothing", history(&[(0, 1, Deleted)])),
            ("a deletion of another value", history(&[(0, 1, Wrote(1)), (2, 3, Wrote(2)), (4, 5, DeletedValue(1))])),
            ("one write deleted twice", history(&[(0, 9, Wrote(1)), (1, 8, Deleted), (2, 7, Deleted)])),
            (
                "a read that sees less than an earlier one",
                history(&[(0, 9, Wrote(1)), (1, 2, Read(Some(1))), (3, 4, Read(None))]),
            ),
            (
                "two readers that disagree",
                history(&[
                    (0, 20, Wrote(1)),
                    (1, 19, Wrote(2)),
                    (2, 3, Read(Some(1))),
                    (4, 5, Read(Some(2))),
                    (6, 7, Read(Some(1))),
                ]),
            ),
        ] {
            assert!(!bad.is_linearizable(), "{what}: {bad:?}");
        }
    }
}
