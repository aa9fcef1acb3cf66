//! Counting cases and keeping failures.

use std::fmt::{self, Display};

use super::answer::Failure;

/// What a walk has found so far.
#[derive(Default)]
pub(crate) struct Report {
    groups: Vec<String>,
    passed: usize,
    failures: Vec<(String, Failure)>,
}

impl Report {
    /// Everything until the matching [`Report::leave`] belongs to this group.
    pub(crate) fn enter(&mut self, group: impl Into<String>) {
        self.groups.push(group.into());
    }

    pub(crate) fn leave(&mut self) {
        self.groups.pop().expect("every group that is left was entered");
    }

    /// Runs one case and counts it.
    pub(crate) async fn case(&mut self, name: &str, steps: impl Future<Output = Result<(), Failure>>) {
        match steps.await {
            Ok(()) => self.passed += 1,
            Err(failure) => self.failures.push((format!("{} / {name}", self.groups.join(" / ")), failure)),
        }
    }

    pub(crate) fn cases(&self) -> usize {
        self.passed + self.failures.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Whether a case whose path starts with `group` and ends with `name` failed.
    pub(crate) fn has_failure(&self, group: &str, name: &str) -> bool {
        self.failures.iter().any(|(path, _)| path.starts_with(group) && path.ends_with(name))
    }

    /// `1032 cases, 1032 passed, 0 failed`.
    pub(crate) fn counts(&self) -> String {
        format!("{} cases, {} passed, {} failed", self.cases(), self.passed, self.failed())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts())?;
        self.failures.iter().try_for_each(|(path, failure)| writeln!(f, "\n{path}\n  {failure}"))
    }
}
