//! The document that rules are written in, and how it becomes rules: whole and valid, or not at all.

mod patterns;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::pattern::RepositoryPattern;

use super::{
    age::{Age, InvalidAge},
    everything::{Selection, are_everything},
    rule::{About, Does, Expire, ExpireUntagged, Keep, Rule, Versions, listed},
    version::{InvalidRange, Range},
};
pub use patterns::{WrongPattern, repository_pattern, tag_pattern};

/// How many rules a set may have.
pub const MAX_RULES: usize = 64;

/// How many patterns stand in one list.
pub const MAX_PATTERNS: usize = 64;

/// The most tags that a rule may keep by their number: they are remembered while a repository is looked at.
pub const MAX_NEWEST: usize = 1000;

/// The longest name of a rule, in characters.
pub const MAX_RULE_NAME: usize = 64;

/// The document, as it is sent, stored and shown: `{"rules": [{"expire": {"tags": "pr-*", "not_pushed_for": "7d"}}]}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The rules. Each is read by itself, so that what is wrong with it names its place.
    #[serde(default)]
    pub rules: Vec<Value>,
}

/// A set of rules: every one of them is valid. Their order means nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    document: Document,
    rules: Vec<Rule>,
}

/// What lets every tag of everything go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Everything {
    /// One rule does.
    By(Arc<str>),
    /// None of them does by itself, and nothing is left between them.
    Together,
}

impl fmt::Display for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(rule) => write!(f, "the rule {rule:?} lets"),
            Self::Together => f.write_str("these rules together let"),
        }
    }
}

/// Why a document is no set of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {wrong}")]
pub struct InvalidRules {
    /// Where, as in `rules[1].expire.tags[0]`.
    pub place: String,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What can be wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A member is unknown, is missing or has the wrong type.
    #[error("{0}")]
    Form(String),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] WrongPattern),
    /// An age is none.
    #[error(transparent)]
    Age(#[from] InvalidAge),
    /// A range of versions is none.
    #[error(transparent)]
    Range(#[from] InvalidRange),
    /// A rule does nothing, or two things.
    #[error("a rule does one thing: expire, keep, expire_untagged or expire_annotated")]
    NotOneThing,
    /// Tags expire at no age.
    #[error("say not_pushed_for or not_pulled_for, or both; 0s is an age too")]
    NoAge,
    /// A list is empty.
    #[error("name at least one pattern")]
    NoPattern,
    /// More than [`MAX_RULES`] or [`MAX_PATTERNS`].
    #[error("at most {0} may stand here")]
    TooMany(usize),
    /// Outside of 1 to [`MAX_NEWEST`].
    #[error("must be from 1 to {MAX_NEWEST}")]
    Newest,
    /// Not 1 to [`MAX_RULE_NAME`] printable characters.
    #[error("a name has 1 to {MAX_RULE_NAME} printable characters")]
    Name,
    /// Two rules are called the same.
    #[error("the rule {0:?} stands here twice; give one of them another name")]
    Twice(String),
    /// The set is about one repository already.
    #[error("these rules are a repository's own: leave this out")]
    OneRepository,
    /// Prereleases of what?
    #[error("prereleases are said of a semver range")]
    PrereleasesOfWhat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Option<String>,
    repositories: Option<Texts>,
    expire: Option<RawExpire>,
    keep: Option<RawKeep>,
    expire_untagged: Option<RawUntagged>,
    expire_annotated: Option<RawAnnotated>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpire {
    tags: Texts,
    not_pushed_for: Option<String>,
    not_pulled_for: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeep {
    tags: Option<Texts>,
    semver: Option<String>,
    prereleases: Option<bool>,
    newest: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUntagged {
    after: String,
    not_pulled_for: Option<String>,
}

/// Nothing is to be said about it yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnnotated {}

/// One text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern or a list of patterns")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Rules {
    /// No rules at all: nothing goes.
    #[must_use]
    pub fn none() -> Self {
        Self { document: Document::default(), rules: Vec::new() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`InvalidRules`] names the first thing that is wrong, and its place.
    pub fn read(about: &About, document: Document) -> Result<Self, InvalidRules> {
        if document.rules.len() > MAX_RULES {
            return Err(Wrong::TooMany(MAX_RULES).at("rules"));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(document.rules.len());
        for (index, value) in document.rules.iter().enumerate() {
            let at = format!("rules[{index}]");
            let rule = rule(about, value).map_err(|wrong| wrong.below(&at))?;
            if rules.iter().any(|other| other.name == rule.name) {
                return Err(Wrong::Twice(short(&rule.name)).at(&at));
            }
            rules.push(rule);
        }
        shorten(&mut rules);
        Ok(Self { document, rules })
    }

    /// Reads what a row holds.
    ///
    /// # Errors
    /// The text is no document, or one that is not valid (any more).
    pub fn stored(about: &About, text: &str) -> Result<Self, InvalidRules> {
        let unreadable = |error: serde_json::Error| Wrong::Form(error.to_string()).at("rules");
        // An object first: a structure would be read out of a list, too.
        let members: Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
        Self::read(about, Document::deserialize(Value::Object(members)).map_err(unreadable)?)
    }

    /// As it was written.
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The document as a row holds it.
    pub(super) fn stored_text(&self) -> String {
        serde_json::json!(self.document).to_string()
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether every tag of everything goes by them, which has to be confirmed.
    pub fn about_everything(&self, about: &About) -> Option<Everything> {
        let selections: Vec<Selection<'_>> = self.rules.iter().filter_map(Rule::lets_go).collect();
        let are = |selections: &[Selection<'_>]| are_everything(about.namespace(), selections);
        if !are(&selections) {
            return None;
        }
        let alone = self.rules.iter().find(|rule| rule.lets_go().is_some_and(|one| are(&[one])));
        Some(alone.map_or(Everything::Together, |rule| Everything::By(rule.name.clone())))
    }
}

impl Wrong {
    fn at(self, place: &str) -> InvalidRules {
        InvalidRules { place: place.to_owned(), wrong: self }
    }
}

impl InvalidRules {
    /// The same, seen from outside.
    fn below(mut self, place: &str) -> Self {
        let joint = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{place}{joint}{}", self.place);
        self
    }
}

fn rule(about: &About, value: &Value) -> Result<Rule, InvalidRules> {
    if !value.is_object() {
        return Err(Wrong::Form("a rule is an object".to_owned()).at(""));
    }
    let raw = RawRule::deserialize(value).map_err(|error| Wrong::Form(error.to_string()).at(""))?;
    let repositories = match (raw.repositories, about) {
        (Some(_), About::Repository(_)) => return Err(Wrong::OneRepository.at("repositories")),
        (Some(texts), About::Namespace(_)) => {
            listed_at("repositories", texts, |text| repository_pattern(about.namespace(), text))?
        }
        (None, _) => Vec::new(),
    };
    let does = match (raw.expire, raw.keep, raw.expire_untagged, raw.expire_annotated) {
        (Some(raw), None, None, None) => Does::Expire(expire(raw).map_err(|wrong| wrong.below("expire"))?),
        (None, Some(raw), None, None) => Does::Keep(keep(raw).map_err(|wrong| wrong.below("keep"))?),
        (None, None, Some(raw), None) => {
            Does::ExpireUntagged(untagged(raw).map_err(|wrong| wrong.below("expire_untagged"))?)
        }
        (None, None, None, Some(RawAnnotated {})) => Does::ExpireAnnotated,
        _ => return Err(Wrong::NotOneThing.at("")),
    };
    let name = match raw.name {
        Some(name) if !is_name(&name) => return Err(Wrong::Name.at("name")),
        Some(name) => name,
        None => described(&does, &repositories),
    };
    Ok(Rule { name: name.into(), about: about.clone(), repositories, does })
}

fn is_name(text: &str) -> bool {
    let length = text.chars().count();
    (1..=MAX_RULE_NAME).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
}

/// A rule without a name is called what it says.
fn described(does: &Does, repositories: &[RepositoryPattern]) -> String {
    if repositories.is_empty() { does.to_string() } else { format!("{does} in {}", listed(repositories)) }
}

/// Names that are too long for every history and event to carry are cut; where two are the same then, they are numbered.
fn shorten(rules: &mut [Rule]) {
    let mut taken: BTreeSet<Arc<str>> = rules.iter().map(|rule| rule.name.clone()).collect();
    for rule in rules.iter_mut().filter(|rule| rule.name.chars().count() > MAX_RULE_NAME) {
        let cut = short(&rule.name);
        let numbered = (2..).map(|number| format!("{cut} ({number})"));
        let free = std::iter::once(cut.clone()).chain(numbered).find(|name| !taken.contains(name.as_str()));
        rule.name = free.unwrap_or(cut).into();
        taken.insert(rule.name.clone());
    }
}

/// The beginning of a text that is longer than a name may be.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_RULE_NAME) {
        Some(_) => text.chars().take(MAX_RULE_NAME - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

fn expire(raw: RawExpire) -> Result<Expire, InvalidRules> {
    let expire = Expire {
        tags: listed_at("tags", raw.tags, tag_pattern)?,
        not_pushed_for: age("not_pushed_for", raw.not_pushed_for)?,
        not_pulled_for: age("not_pulled_for", raw.not_pulled_for)?,
    };
    match expire {
        Expire { not_pushed_for: None, not_pulled_for: None, .. } => Err(Wrong::NoAge.at("")),
        expire => Ok(expire),
    }
}

fn keep(raw: RawKeep) -> Result<Keep, InvalidRules> {
    let tags = raw.tags.map(|texts| listed_at("tags", texts, tag_pattern)).transpose()?;
    let range: Option<Range> =
        raw.semver.map(|text| text.parse().map_err(|error| Wrong::Range(error).at("semver"))).transpose()?;
    let versions = match (range, raw.prereleases) {
        (Some(range), prereleases) => Some(Versions { range, prereleases: prereleases == Some(true) }),
        (None, None) => None,
        (None, Some(_)) => return Err(Wrong::PrereleasesOfWhat.at("prereleases")),
    };
    if tags.is_none() && versions.is_none() {
        return Err(Wrong::Form("name tags or a semver range".to_owned()).at(""));
    }
    let newest = raw.newest.map(|newest| {
        let newest = usize::try_from(newest).ok().filter(|newest| (1..=MAX_NEWEST).contains(newest));
        newest.ok_or_else(|| Wrong::Newest.at("newest"))
    });
    Ok(Keep { tags: tags.unwrap_or_default(), versions, newest: newest.transpose()? })
}

fn untagged(raw: RawUntagged) -> Result<ExpireUntagged, InvalidRules> {
    let after = raw.after.parse().map_err(|error| Wrong::Age(error).at("after"))?;
    Ok(ExpireUntagged { after, not_pulled_for: age("not_pulled_for", raw.not_pulled_for)? })
}

fn age(member: &str, given: Option<String>) -> Result<Option<Age>, InvalidRules> {
    given.map(|text| text.parse().map_err(|error| Wrong::Age(error).at(member))).transpose()
}

/// Every text of a list, read; what is wrong names its place in it.
fn listed_at<T>(
    member: &str,
    texts: Texts,
    read: impl Fn(&str) -> Result<T, WrongPattern>,
) -> Result<Vec<T>, InvalidRules> {
    match texts {
        Texts::One(text) => Ok(vec![read(&text).map_err(|wrong| Wrong::Pattern(wrong).at(member))?]),
        Texts::Many(texts) if texts.is_empty() => Err(Wrong::NoPattern.at(member)),
        Texts::Many(texts) if texts.len() > MAX_PATTERNS => Err(Wrong::TooMany(MAX_PATTERNS).at(member)),
        Texts::Many(texts) => {
            let read = |(index, text): (usize, &String)| {
                read(text).map_err(|wrong| Wrong::Pattern(wrong).at(&format!("{member}[{index}]")))
            };
            texts.iter().enumerate().map(read).collect()
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}
