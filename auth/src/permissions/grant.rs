//! Stored rules: grants allow, guardrails forbid.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::{
    clock::Timestamp,
    pattern::RepositoryPattern,
    tag::{Tag, TagPattern, TagPatternError},
};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Actions, Caller, CallerKind, Namespace, Namespaces};

/// The namespace that owns grants whose pattern begins with a wildcard. No repository lies in it.
pub const SYSTEM_NAMESPACE: i64 = 0;

/// The most tag patterns that one grant may have.
pub const MAX_TAG_PATTERNS: usize = 16;

/// Whom a grant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One user or robot, by its id.
    Principal(i64),
    /// The members of a team, by its id.
    Team(i64),
    /// Every user and every robot.
    Authenticated,
    /// Everyone, signed in or not.
    Everyone,
}

/// A stored rule that allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id, by which explain names it.
    pub id: i64,
    /// The namespace it was written in, [`SYSTEM_NAMESPACE`] if its pattern begins with a wildcard. Elsewhere it gives nothing.
    pub namespace: i64,
    /// Whom it is for.
    pub subject: Subject,
    /// The repositories it is about. With [`Actions::ADMIN`] it is exactly the namespace's name, and means all that lies in it as well.
    pub pattern: RepositoryPattern,
    /// What it allows.
    pub actions: Actions,
    /// The tags that push and delete may touch; `None` for all. Pull is never limited to tags.
    pub tags: Option<TagPatterns>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it is for the caller. An admin grant is for a user, or for the users of a team: a robot in the team is no
    /// administrator, and neither is everybody, whatever a row says.
    #[must_use]
    pub fn is_for(&self, caller: &Caller) -> bool {
        let may_administer =
            caller.kind == CallerKind::User && matches!(self.subject, Subject::Principal(_) | Subject::Team(_));
        caller.subjects.contains(&self.subject) && (may_administer || !self.actions.contains(Actions::ADMIN))
    }

    /// What it allows on the repositories it covers. Who administers a namespace could give themselves all of it.
    #[must_use]
    pub fn content(&self) -> Actions {
        if self.actions.contains(Actions::ADMIN) { Actions::CONTENT } else { self.actions.and(Actions::CONTENT) }
    }

    /// Whether it is about the repository, for a caller of this name.
    #[must_use]
    pub fn covers(&self, repository: &str, handle: &str, namespaces: &Namespaces) -> bool {
        let namespace = first_segment(repository);
        let known = namespaces.named(namespace);
        if !known.map_or(self.namespace == SYSTEM_NAMESPACE, |known| self.is_at_home_in(known)) {
            return false;
        }
        if self.actions.contains(Actions::ADMIN) {
            return self.pattern.as_str() == namespace;
        }
        if self.pattern.is_personal() {
            return self.pattern.for_caller(handle).is_some_and(|pattern| pattern.matches(repository));
        }
        self.pattern.matches(repository)
    }

    /// Whether it gives anything in the namespace: that is where it was written, or it is the system's.
    #[must_use]
    pub fn is_at_home_in(&self, namespace: &Namespace) -> bool {
        self.namespace == SYSTEM_NAMESPACE || self.namespace == namespace.id
    }

    /// Whether it makes its subject an administrator of the namespace.
    #[must_use]
    pub fn administers(&self, namespace: &str, namespaces: &Namespaces) -> bool {
        let known = namespaces.named(namespace).is_some_and(|known| known.id == self.namespace);
        known && self.actions.contains(Actions::ADMIN) && self.pattern.as_str() == namespace
    }
}

/// A system administrator's rule that forbids. It binds everyone and knows no tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guardrail {
    /// Its id, by which explain names it. Grants and guardrails share one table.
    pub id: i64,
    /// The repositories it is about.
    pub pattern: RepositoryPattern,
    /// What it forbids, of pull, push and delete.
    pub actions: Actions,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Guardrail {
    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The tag patterns of a grant: one at least, sorted, none twice. As text they are separated by commas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "pr-*,main")]
pub struct TagPatterns(Vec<TagPattern>);

/// The text is no list of tag patterns.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagPatternsError {
    /// One of them is none.
    #[error(transparent)]
    Pattern(#[from] TagPatternError),
    /// More than [`MAX_TAG_PATTERNS`].
    #[error("a grant has at most {MAX_TAG_PATTERNS} tag patterns")]
    TooMany,
}

impl TagPatterns {
    /// The patterns, sorted.
    #[must_use]
    pub fn as_slice(&self) -> &[TagPattern] {
        &self.0
    }

    /// Whether one of the patterns matches the tag.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        self.0.iter().any(|pattern| pattern.matches(tag))
    }
}

impl FromStr for TagPatterns {
    type Err = TagPatternsError;

    fn from_str(text: &str) -> Result<Self, TagPatternsError> {
        let mut patterns = text.split(',').map(|one| one.trim().parse()).collect::<Result<Vec<TagPattern>, _>>()?;
        patterns.sort();
        patterns.dedup();
        if patterns.len() > MAX_TAG_PATTERNS {
            return Err(TagPatternsError::TooMany);
        }
        Ok(Self(patterns))
    }
}

impl fmt::Display for TagPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(TagPattern::as_str).collect();
        f.write_str(&texts.join(","))
    }
}

impl TryFrom<String> for TagPatterns {
    type Error = TagPatternsError;

    fn try_from(text: String) -> Result<Self, TagPatternsError> {
        text.parse()
    }
}

impl From<TagPatterns> for String {
    fn from(patterns: TagPatterns) -> Self {
        patterns.to_string()
    }
}

/// The namespace that a repository's name puts it in.
pub(super) fn first_segment(repository: &str) -> &str {
    repository.split_once('/').map_or(repository, |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn tag_patterns_are_stored_and_read_again_as_the_same(
            texts in vec("[a-z0-9_?*][a-z0-9._?*-]{0,12}", 1..=MAX_TAG_PATTERNS),
        ) {
            let patterns: TagPatterns = texts.join(", ").parse().unwrap();
            prop_assert_eq!(patterns.to_string().parse::<TagPatterns>(), Ok(patterns.clone()));
            let mut said = texts.clone();
            said.sort();
            said.dedup();
            prop_assert_eq!(patterns.to_string(), said.join(","), "none is lost and none is added");
        }

        #[test]
        fn any_text_at_all_is_a_list_that_is_read_again_or_refused(text in "[a-z*?, ._-]{0,24}|.{0,12}") {
            if let Ok(patterns) = text.parse::<TagPatterns>() {
                prop_assert_eq!(patterns.to_string().parse::<TagPatterns>(), Ok(patterns));
            }
        }
    }

    #[test]
    fn tag_patterns_are_sorted_and_never_none() {
        let patterns: TagPatterns = "rc-*, pr-*,pr-*".parse().unwrap();
        assert_eq!(patterns.to_string(), "pr-*,rc-*");
        assert!(patterns.matches(&"pr-1".parse().unwrap()) && !patterns.matches(&"latest".parse().unwrap()));
        for text in ["", "pr-*,", ",", "a b", "a/b"] {
            assert!(text.parse::<TagPatterns>().is_err(), "{text:?}");
        }
        let many: Vec<String> = (0..=MAX_TAG_PATTERNS).map(|n| format!("t{n}")).collect();
        assert!(many[..MAX_TAG_PATTERNS].join(",").parse::<TagPatterns>().is_ok());
        assert_eq!(many.join(",").parse::<TagPatterns>(), Err(TagPatternsError::TooMany));
    }
}
