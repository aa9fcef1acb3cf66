//! Tags that stay where they are: a namespace's rules, and what the operations that move and remove tags ask of them.
//!
//! The rules stand in the namespace's row as JSON. Operations read them in the statement that looks at the repository anyway, and understand
//! them only where a tag would leave the manifest that it points at: most pushes bring new tags.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use shared::{
    database::{DatabaseError, Reader, Transaction},
    digest::Digest,
    on,
    pattern::RepositoryPattern,
    repository::RepositoryName,
    tag::{Tag, TagPattern},
};
use sqlx::Error;
use utoipa::ToSchema;

use super::{NamespaceId, locking, parse_json};

/// The longest name of a rule, in bytes.
pub const MAX_RULE_NAME_BYTES: usize = 64;

/// The name of a rule: refusals call it by that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
pub struct RuleName(String);

/// The text names no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule's name has 1 to {MAX_RULE_NAME_BYTES} lower-case letters, digits, '.', '_' and '-'")]
pub struct RuleNameError;

impl FromStr for RuleName {
    type Err = RuleNameError;

    fn from_str(text: &str) -> Result<Self, RuleNameError> {
        let fits = (1..=MAX_RULE_NAME_BYTES).contains(&text.len());
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
        if fits && text.bytes().all(known) { Ok(Self(text.to_owned())) } else { Err(RuleNameError) }
    }
}

impl TryFrom<String> for RuleName {
    type Error = RuleNameError;

    fn try_from(text: String) -> Result<Self, RuleNameError> {
        text.parse()
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether what stands in the way of an administrator counts: a rule that keeps a tag where it is, a tag that has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It does.
    No,
    /// An administrator of the namespace has said that it does not.
    Yes,
}

impl From<bool> for Force {
    /// As a request says it: `force=true`.
    fn from(said: bool) -> Self {
        if said { Self::Yes } else { Self::No }
    }
}

/// Which tags stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ImmutableRule)]
pub struct Rule {
    /// What refusals call it.
    pub name: RuleName,
    /// In which repositories; an empty list is every repository of the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryPattern>,
    /// Tags that match one of these stay,
    pub tags: Vec<TagPattern>,
    /// but for those that match one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<TagPattern>,
}

impl Rule {
    /// Whether it keeps this tag of this repository.
    pub fn keeps(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        let here = |pattern: &RepositoryPattern| pattern.matches(repository.as_str());
        let matching = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.matches(tag));
        (self.repositories.is_empty() || self.repositories.iter().any(here))
            && matching(&self.tags)
            && !matching(&self.except)
    }
}

/// As a refusal names it: `"releases" (v*, but not v*-rc*)`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |patterns: &[TagPattern]| patterns.iter().map(TagPattern::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "\"{}\" ({}", self.name, list(&self.tags))?;
        if !self.except.is_empty() {
            write!(f, ", but not {}", list(&self.except))?;
        }
        f.write_str(")")
    }
}

/// The rules of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ImmutableRules)]
pub struct Immutable {
    /// Any of them keeps a tag.
    pub rules: Vec<Rule>,
}

impl Immutable {
    /// Whether any of them is about this repository.
    pub fn concern(&self, repository: &RepositoryName) -> bool {
        let here = |pattern: &RepositoryPattern| pattern.matches(repository.as_str());
        self.rules.iter().any(|rule| rule.repositories.is_empty() || rule.repositories.iter().any(here))
    }

    /// The first rule that keeps this tag of this repository where it is.
    pub fn rule_for(&self, repository: &RepositoryName, tag: &Tag) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.keeps(repository, tag))
    }
}

/// A tag that has to stay: why somebody is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tag {tag} in {repository} is immutable by rule {rule} of {}: it stays at {at}", repository.namespace())]
pub struct Held {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub tag: Tag,
    /// What it points at.
    pub at: Digest,
    /// What keeps it there.
    pub rule: Rule,
}

/// The rules of a namespace as its row has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(Option<String>);

impl Written {
    pub(super) const fn new(text: Option<String>) -> Self {
        Self(text)
    }

    /// Whether there are no rules at all.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The rules.
    ///
    /// # Errors
    /// Somebody else wrote the row.
    pub fn rules(&self) -> Result<Immutable, Error> {
        self.0.as_deref().map_or_else(|| Ok(Immutable::default()), parse_json)
    }

    /// The first of these tags, each with what it points at, that has to stay.
    ///
    /// # Errors
    /// Somebody else wrote the row.
    pub fn first_held<'t>(
        &self,
        repository: &RepositoryName,
        tags: impl IntoIterator<Item = (&'t Tag, Digest)>,
    ) -> Result<Option<Held>, Error> {
        let mut tags = tags.into_iter().peekable();
        if self.is_empty() || tags.peek().is_none() {
            return Ok(None);
        }
        let rules = self.rules()?;
        let held = tags.find_map(|(tag, at)| {
            let rule = rules.rule_for(repository, tag)?.clone();
            Some(Held { repository: repository.clone(), tag: tag.clone(), at, rule })
        });
        Ok(held)
    }
}

/// The rules of the namespace of this name; none where there is no such namespace.
///
/// # Errors
/// The database failed, or somebody else wrote the row.
pub async fn read(reader: &mut Reader, namespace: &str) -> Result<Immutable, DatabaseError> {
    let sql = "SELECT immutable FROM namespace WHERE name = $1";
    let name = namespace.to_owned();
    let found: Option<(Option<String>,)> = on!(reader, c => sqlx::query_as(sql).bind(name).fetch_optional(c).await)?;
    Ok(Written(found.and_then(|(text,)| text)).rules()?)
}

/// The rules of a namespace, for an operation that moves or removes tags in it.
///
/// # Errors
/// The database failed.
pub async fn of(tx: &mut Transaction<'_>, namespace: NamespaceId) -> Result<Written, Error> {
    let sql = "SELECT immutable FROM namespace WHERE id = $1";
    let (text,): (Option<String>,) = on!(tx, c => sqlx::query_as(sql).bind(namespace).fetch_one(c).await)?;
    Ok(Written(text))
}

/// Writes the rules of a namespace over those it has; an empty list takes them away.
///
/// # Errors
/// The database failed.
pub async fn write(tx: &mut Transaction<'_>, namespace: NamespaceId, rules: &Immutable) -> Result<(), Error> {
    let lock = locking!(tx, "SELECT id FROM namespace WHERE id = $1", "FOR NO KEY UPDATE");
    let _: (NamespaceId,) = on!(tx, c => sqlx::query_as(lock).bind(namespace).fetch_one(c).await)?;
    let text = serde_json::to_string(rules).map_err(|error| Error::Encode(Box::new(error)))?;
    let text = (!rules.rules.is_empty()).then_some(text);
    let sql = "UPDATE namespace SET immutable = $2 WHERE id = $1";
    on!(tx, c => sqlx::query(sql).bind(namespace).bind(text).execute(c).await.map(drop))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rules_name_is_its_text(text in "[a-z0-9._-]{0,66}|.{0,12}") {
            match text.parse::<RuleName>() {
                Ok(name) => {
                    prop_assert_eq!(name.to_string(), text.as_str());
                    prop_assert_eq!(serde_json::to_value(&name).unwrap(), text.as_str());
                    prop_assert_eq!(serde_json::from_value::<RuleName>(text.into()).unwrap(), name);
                }
                Err(RuleNameError) => {
                    let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
                    prop_assert!(!plain || text.is_empty() || text.len() > MAX_RULE_NAME_BYTES);
                }
            }
        }
    }

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_rule_keeps_what_it_names_and_nothing_else() {
        let releases = rule(r#"{"name":"releases","repositories":["acme/**"],"tags":["v*","1.?"],"except":["*-rc*"]}"#);
        let keeps = |repository: &str, tag: &str| releases.keeps(&repository.parse().unwrap(), &tag.parse().unwrap());
        for (repository, tag, expected) in [
            ("acme/web", "v1", true),
            ("acme/web/api", "1.2", true),
            ("acme", "v1", false),
            ("other/web", "v1", false),
            ("acme/web", "v1-rc1", false),
            ("acme/web", "latest", false),
            ("acme/web", "1.23", false),
        ] {
            assert_eq!(keeps(repository, tag), expected, "{repository}:{tag}");
        }
        let everywhere = rule(r#"{"name":"all","tags":["*"]}"#);
        assert!(everywhere.keeps(&"acme".parse().unwrap(), &"x".parse().unwrap()), "no list is every repository");
    }

    #[test]
    fn a_refusal_is_a_sentence_that_names_the_rule() {
        let text = r#"{"rules":[{"name":"releases","tags":["v*"],"except":["*-rc*"]}]}"#;
        let written = Written(Some(text.to_owned()));
        let (repository, at) = ("acme/web".parse().unwrap(), Digest::of(shared::digest::Algorithm::Sha256, b""));
        let held = |tag: &str| written.first_held(&repository, [(&tag.parse().unwrap(), at)]).unwrap();
        assert_eq!(held("v1-rc1"), None);
        let expected = format!(
            "the tag v1 in acme/web is immutable by rule \"releases\" (v*, but not *-rc*) of acme: it stays at {at}"
        );
        assert_eq!(held("v1").unwrap().to_string(), expected);
        assert_eq!(serde_json::to_string(&written.rules().unwrap()).unwrap(), text, "stored as it is read");
    }

    #[test]
    fn rules_are_not_even_read_where_no_tag_leaves_anything() {
        let damaged = Written(Some("rubbish".to_owned()));
        assert_eq!(damaged.first_held(&"acme/web".parse().unwrap(), []).unwrap(), None);
        let (tag, at) = ("v1".parse().unwrap(), Digest::of(shared::digest::Algorithm::Sha256, b""));
        assert!(damaged.first_held(&"acme/web".parse().unwrap(), [(&tag, at)]).is_err(), "and never taken for none");
    }

    #[test]
    fn names_of_rules() {
        for name in ["a", "releases", "v1.x_2-b", &"r".repeat(MAX_RULE_NAME_BYTES)] {
            assert_eq!(name.parse::<RuleName>().unwrap().to_string(), name);
        }
        for name in ["", "A", "a b", "a\"", "é", &"r".repeat(MAX_RULE_NAME_BYTES + 1)] {
            assert_eq!(name.parse::<RuleName>(), Err(RuleNameError), "{name:?}");
        }
    }
}
