//! Who is among the newest, as far as rules ask: at most as many moments or versions as they name.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use shared::clock::Timestamp;

use super::verdict::Keeps;
use crate::{
    lifecycle::rules::{
        rule::{Keep, Versions},
        version::Version,
    },
    metadata::rules::TagFacts,
};

/// What is known of the tags of one repository.
#[derive(Clone, Debug)]
pub struct Ranks(Vec<Ranking>);

/// The newest that one rule keeps.
#[derive(Clone, Debug)]
enum Ranking {
    /// The rule does not count.
    All,
    /// When the tags pushed last were pushed, the earliest of these on top.
    Pushes(BinaryHeap<Reverse<Timestamp>>),
    /// The highest versions; two tags of one version take one place.
    Versions(BTreeSet<Version>),
}

impl Versions {
    /// The version that a tag names, if the rule means it.
    fn version(&self, tag: &TagFacts) -> Option<Version> {
        let version = Version::of(tag.tag.as_str())?;
        let meant = self.range.contains(&version) && (self.prereleases || !version.is_prerelease());
        meant.then_some(version)
    }
}

impl Ranks {
    pub(super) fn new<'k>(keeping: impl Iterator<Item = &'k Keep>) -> Self {
        let ranking = |keep: &Keep| match (keep.newest, &keep.versions) {
            (None, _) => Ranking::All,
            (Some(_), None) => Ranking::Pushes(BinaryHeap::new()),
            (Some(_), Some(_)) => Ranking::Versions(BTreeSet::new()),
        };
        Self(keeping.map(ranking).collect())
    }

    /// Whether a rule counts at all. If none does, nothing has to be ranked.
    pub fn are_asked_for(&self) -> bool {
        self.0.iter().any(|ranking| !matches!(ranking, Ranking::All))
    }

    /// Takes in a tag that the rule selects by its name.
    pub(super) fn look(&mut self, index: usize, keep: &Keep, tag: &TagFacts) {
        let Some(newest) = keep.newest else { return };
        match &mut self.0[index] {
            Ranking::All => {}
            Ranking::Pushes(pushes) => {
                pushes.push(Reverse(tag.pushed_at));
                if pushes.len() > newest {
                    pushes.pop();
                }
            }
            Ranking::Versions(versions) => {
                versions.extend(keep.versions.as_ref().and_then(|asked| asked.version(tag)));
                if versions.len() > newest {
                    versions.pop_first();
                }
            }
        }
    }

    /// Why the rule keeps a tag that it selects by its name, if it does.
    pub(super) fn keeps(&self, index: usize, keep: &Keep, tag: &TagFacts) -> Option<Keeps> {
        let version = match &keep.versions {
            Some(asked) => Some(asked.version(tag)?),
            None => None,
        };
        match (&self.0[index], version) {
            (Ranking::All, None) => Some(Keeps::Named),
            (Ranking::All, Some(version)) => Some(Keeps::Version { version, newest: None }),
            // Of tags pushed in the same moment none is older: all of them stay.
            (Ranking::Pushes(pushes), _) => pushes
                .peek()
                .is_none_or(|Reverse(oldest)| tag.pushed_at >= *oldest)
                .then_some(Keeps::Newest { of: keep.newest? }),
            (Ranking::Versions(versions), version) => {
                let version = version?;
                let kept = versions.first().is_none_or(|lowest| version >= *lowest);
                kept.then_some(Keeps::Version { version, newest: keep.newest })
            }
        }
    }
}
