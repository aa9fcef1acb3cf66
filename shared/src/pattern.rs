//! Patterns over repository names, as grants are written in: `acme/web`, `acme/*`, `acme/**`, `acme/{api,web}-?`.
//!
//! A pattern covers a whole name. Within a segment `*` stands for any characters or none, `?` for one, `{a,b}` for one
//! of several texts; a segment `**` stands for any number of whole segments, and for at least one where it ends the
//! pattern, so that `acme/**` is what lies in `acme` and not `acme` itself. `{username}` stands for the caller's name.
//! There is nothing else: what is no regular expression cannot be an unanchored one.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

use crate::{repository::RepositoryName, text::serde_as_text};

mod program;
mod reach;

use program::Program;

/// The longest pattern, in bytes. A name has no more, and it bounds the matcher's states.
pub const MAX_PATTERN_BYTES: usize = 255;

/// The most texts that one pair of braces may choose from.
pub const MAX_ALTERNATIVES: usize = 32;

/// What stands for the caller's name.
const USERNAME: &str = "{username}";

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The pattern has more than [`MAX_PATTERN_BYTES`] bytes.
    #[error("a repository pattern has at most {MAX_PATTERN_BYTES} characters")]
    TooLong,
    /// A segment is empty: the pattern is, or it begins or ends with `/`, or has two in a row.
    #[error("a repository pattern has text on both sides of every '/'")]
    EmptySegment,
    /// `**` beside other characters.
    #[error("'**' stands for whole segments, as in acme/**; within a segment use '*'")]
    DeepWithinSegment,
    /// A character that neither names nor patterns have.
    #[error(
        "{0:?} cannot stand in a repository pattern: use lower-case letters, digits, '.', '_', '-', '/', '*', '?' or {{a,b}}"
    )]
    Character(char),
    /// A brace without its partner, one within another, or one around a `/`.
    #[error("braces choose between texts within one segment, as in {{api,web}}, and do not nest")]
    Braces,
    /// Braces around one text that is not `username`.
    #[error("braces need a comma, as in {{api,web}}; only {{username}} stands without one")]
    Placeholder,
    /// More than [`MAX_ALTERNATIVES`] texts in one pair of braces.
    #[error("braces choose between at most {MAX_ALTERNATIVES} texts")]
    TooManyAlternatives,
}

/// A pattern that no repository name can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "no repository name can match: character {position} makes a component that is none; components begin and end with a letter or a \
     digit, and have '.', '_', '__' or dashes between"
)]
pub struct Unreachable {
    /// Which character of the pattern stands where none of its kind can, counted from 1.
    pub position: usize,
}

/// A pattern over whole repository names. Patterns compare as their texts do; cloning one is cheap.
#[derive(Clone)]
pub struct RepositoryPattern(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    program: Program,
}

impl RepositoryPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the pattern covers the whole name.
    ///
    /// The time is bounded by the product of both lengths, whatever the pattern. One with `{username}` matches nothing
    /// until [`RepositoryPattern::for_caller`] has made it somebody's.
    pub fn matches(&self, name: &str) -> bool {
        let well_formed = !name.is_empty() && !name.starts_with('/') && !name.ends_with('/') && !name.contains("//");
        well_formed && self.0.program.matches(name.as_bytes())
    }

    /// The text that every matching name begins with, for a range of names in an index.
    pub fn literal_prefix(&self) -> &str {
        &self.0.text[..self.0.text.find(['*', '?', '{']).unwrap_or(self.0.text.len())]
    }

    /// The namespace that all matching names lie in; `None` if the first segment is not a literal one.
    pub fn namespace(&self) -> Option<&str> {
        let prefix = self.literal_prefix();
        match prefix.split_once('/') {
            Some((first, _)) => Some(first),
            None => (prefix.len() == self.0.text.len()).then_some(prefix),
        }
    }

    /// The patterns of what this one covers within a namespace: together they match the names that lie in it, or are its
    /// own, and that this one matches.
    pub fn within_namespace(&self, namespace: &str) -> Vec<Self> {
        let mut texts = Vec::new();
        within(self.as_str(), namespace, &mut texts);
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Refuses a pattern whose literal characters already keep every name out, such as `acme/../x`. To be asked of what a person
    /// writes: what is stored, or made of other patterns, may reach nothing and then gives nothing.
    ///
    /// # Errors
    /// [`Unreachable`], with the character at fault.
    pub fn check_reach(&self) -> Result<(), Unreachable> {
        reach::check(self.as_str())
    }

    /// Whether `{username}` stands in the pattern.
    pub fn is_personal(&self) -> bool {
        self.0.text.contains(USERNAME)
    }

    /// The pattern as it is for one caller: with the caller's own name in place of `{username}`.
    ///
    /// `None` where that name is not one valid component of a repository name, or makes the pattern too long: the
    /// pattern then gives this caller nothing. A name cannot smuggle in a `/`, a wildcard or another segment.
    pub fn for_caller(&self, handle: &str) -> Option<Self> {
        if !self.is_personal() {
            return Some(self.clone());
        }
        let name: RepositoryName = handle.parse().ok()?;
        if name.namespace() != handle {
            return None;
        }
        self.0.text.replace(USERNAME, handle).parse().ok()
    }
}

/// Puts the namespace in the place of the segments that can stand for it. A leading `**` may stand for nothing, for the
/// namespace alone, or for more.
fn within(pattern: &str, namespace: &str, texts: &mut Vec<String>) {
    let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
    match (first, rest) {
        ("**", None) => texts.extend([namespace.to_owned(), format!("{namespace}/**")]),
        ("**", Some(rest)) => {
            texts.push(format!("{namespace}/**/{rest}"));
            within(rest, namespace, texts);
        }
        (first, rest) => {
            if Program::compile(first).is_ok_and(|program| program.matches(namespace.as_bytes())) {
                texts.push(rest.map_or_else(|| namespace.to_owned(), |rest| format!("{namespace}/{rest}")));
            }
        }
    }
}

impl FromStr for RepositoryPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let program = Program::compile(text)?;
        Ok(Self(Arc::new(Compiled { text: text.into(), program })))
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for RepositoryPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RepositoryPattern {}

impl PartialOrd for RepositoryPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RepositoryPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for RepositoryPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

serde_as_text!(RepositoryPattern);

#[cfg(test)]
mod tests;
