//! What a rule says, as values that cannot be wrong any more.

use std::{fmt, sync::Arc};

use shared::{
    pattern::RepositoryPattern,
    repository::RepositoryName,
    tag::{Tag, TagPattern},
};

use super::{age::Age, everything::Selection, version::Range};

/// What a set of rules was written for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// All repositories of a namespace: a repository name of one segment.
    Namespace(RepositoryName),
    /// One repository, beside the rules of its namespace.
    Repository(RepositoryName),
}

impl About {
    /// The name of the namespace or the repository.
    pub const fn name(&self) -> &RepositoryName {
        match self {
            Self::Namespace(name) | Self::Repository(name) => name,
        }
    }

    /// The namespace that it is, or lies in.
    pub fn namespace(&self) -> &str {
        self.name().namespace()
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in previews, histories and events: the name that it was given, or what it says.
    pub name: Arc<str>,
    /// For what it was written.
    pub about: About,
    /// Which of those repositories it is limited to; without any it is about all of them.
    pub repositories: Vec<RepositoryPattern>,
    /// What it does.
    pub does: Does,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// Lets tags go.
    Expire(Expire),
    /// Keeps tags, whatever else is said about them.
    Keep(Keep),
    /// Lets manifests go that nothing holds.
    ExpireUntagged(ExpireUntagged),
    /// Lets go what says of itself how long it is to live.
    ExpireAnnotated,
}

/// Tags that go with age. Every condition that is named must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expire {
    /// Tags that match one of these.
    pub tags: Vec<TagPattern>,
    /// How long the tag was not pushed.
    pub not_pushed_for: Option<Age>,
    /// How long it was neither pulled nor pushed.
    pub not_pulled_for: Option<Age>,
}

/// Tags that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Tags that match one of these; without any, every tag.
    pub tags: Vec<TagPattern>,
    /// Only those that are versions in a range.
    pub versions: Option<Versions>,
    /// Only so many of these, in each repository: the highest versions where versions are asked for, else those pushed last.
    pub newest: Option<usize>,
}

/// Tags that are versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Which.
    pub range: Range,
    /// Whether a prerelease counts. Where it does, release candidates take places among the newest.
    pub prereleases: bool,
}

/// Manifests without a tag, a parent or a subject that is kept, after the registry's own grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpireUntagged {
    /// How long nothing held it.
    pub after: Age,
    /// How long it was not pulled.
    pub not_pulled_for: Option<Age>,
}

impl Rule {
    /// Whether the rule says anything about a repository.
    pub fn applies_to(&self, repository: &RepositoryName) -> bool {
        let in_scope = match &self.about {
            About::Namespace(namespace) => repository.namespace() == namespace.as_str(),
            About::Repository(own) => own == repository,
        };
        in_scope && (self.repositories.is_empty() || self.repositories.iter().any(|p| p.matches(repository.as_str())))
    }

    /// Which tags the rule lets go sooner or later.
    pub(super) fn lets_go(&self) -> Option<Selection<'_>> {
        match &self.does {
            Does::Expire(expire) => Some(Selection { repositories: &self.repositories, tags: &expire.tags }),
            _ => None,
        }
    }
}

impl Expire {
    /// Whether the rule speaks of a tag.
    pub fn selects(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|pattern| pattern.matches(tag))
    }
}

impl Keep {
    /// Whether the rule speaks of a tag's name.
    pub fn selects(&self, tag: &Tag) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|pattern| pattern.matches(tag))
    }
}

/// Why a rule speaks, in a few words: what it is called where it has no name.
impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expire(Expire { tags, not_pushed_for, not_pulled_for }) => {
                write!(f, "expire {}", listed(tags))?;
                if let Some(age) = not_pushed_for {
                    write!(f, " not pushed for {age}")?;
                }
                let and = if not_pushed_for.is_some() { " and" } else { "" };
                if let Some(age) = not_pulled_for { write!(f, "{and} not pulled for {age}") } else { Ok(()) }
            }
            Self::Keep(keep) => keep.fmt(f),
            Self::ExpireUntagged(ExpireUntagged { after, not_pulled_for }) => {
                write!(f, "expire untagged after {after}")?;
                if let Some(age) = not_pulled_for { write!(f, " and not pulled for {age}") } else { Ok(()) }
            }
            Self::ExpireAnnotated => f.write_str("expire what its annotation says"),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keep ")?;
        if let Some(newest) = self.newest {
            write!(f, "the newest {newest} of ")?;
        }
        match (&self.versions, self.tags.is_empty()) {
            (None, true) => f.write_str("all tags"),
            (None, false) => f.write_str(&listed(&self.tags)),
            (Some(versions), alone) => {
                write!(f, "versions {}", versions.range)?;
                f.write_str(if versions.prereleases { " with prereleases" } else { "" })?;
                if alone { Ok(()) } else { write!(f, " among {}", listed(&self.tags)) }
            }
        }
    }
}

pub(super) fn listed<T: ToString>(patterns: &[T]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
