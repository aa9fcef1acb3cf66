//! Why a token allows less than was asked for, in a sentence that its bearer may read.
//!
//! The issuer knows which rule fell short, the registry is where somebody is refused because of it; the token carries the sentence from
//! the one to the other, so that a registry can explain itself without asking anybody (docs/decisions/0029). Nothing is allowed or
//! refused because of it: what cannot be read is passed over.

use std::{collections::BTreeSet, fmt};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::access::{Action, Resource, ResourceKind};

/// The longest sentence, in bytes: with the longest scope it still fits into the header of a challenge.
pub const MAX_SENTENCE_BYTES: usize = 400;

/// The most shortfalls that are read from a token.
const MAX_SHORTFALLS: usize = 64;

/// Actions that a token does not allow on a resource, or only on some tags, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// What was asked about.
    pub resource: Resource,
    /// The actions that fell short.
    pub actions: BTreeSet<Action>,
    /// Why.
    pub sentence: Sentence,
}

/// A sentence that can be printed on any terminal: no control characters, at most [`MAX_SENTENCE_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence(String);

impl Sentence {
    /// The sentence, without control characters and cut where it is too long.
    pub fn new(text: &str) -> Self {
        const DOTS: &str = "...";
        let mut clean: String = text.chars().filter(|character| !character.is_control()).collect();
        if clean.len() > MAX_SENTENCE_BYTES {
            while clean.len() > MAX_SENTENCE_BYTES - DOTS.len() {
                clean.pop();
            }
            clean.push_str(DOTS);
        }
        Self(clean)
    }

    /// The sentence as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Shortfall {
    /// Reads what a token says of its shortfalls.
    pub(crate) fn read_all(claim: Option<&Value>) -> Vec<Self> {
        let entries = claim.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        entries.iter().take(MAX_SHORTFALLS).filter_map(|entry| Self::read(entry.as_object()?)).collect()
    }

    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name)?.as_str();
        let resource = Resource { kind: ResourceKind::from(text("type")?), name: text("name")?.parse().ok()? };
        let actions = members.get("actions")?.as_array()?.iter();
        let actions = actions.map(|action| action.as_str().map(Action::from)).collect::<Option<_>>()?;
        Some(Self { resource, actions, sentence: Sentence::new(text("why")?) })
    }
}

impl Serialize for Shortfall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("type", self.resource.kind.as_str())?;
        members.serialize_entry("name", self.resource.name.as_str())?;
        members.serialize_entry("actions", &self.actions)?;
        members.serialize_entry("why", self.sentence.as_str())?;
        members.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::scope::tests::scopes;

    pub(crate) fn shortfalls() -> impl Strategy<Value = Shortfall> {
        (scopes(), ".{0,40}").prop_map(|(scope, why)| Shortfall {
            resource: scope.resource,
            actions: scope.actions,
            sentence: Sentence::new(&why),
        })
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let good = json!({"type": "repository", "name": "acme/web", "actions": ["push"], "why": "because"});
        let mut claim = vec![json!(null), json!({}), json!({"why": "x"}), json!("x")];
        for (member, odd) in [("type", json!(1)), ("name", json!("a b")), ("actions", json!([1])), ("why", json!(null))]
        {
            let mut bad = good.clone();
            bad[member] = odd;
            claim.push(bad);
        }
        claim.push(good.clone());
        let read = Shortfall::read_all(Some(&Value::Array(claim)));
        assert_eq!(read.len(), 1);
        assert_eq!(serde_json::to_value(&read[0]).unwrap(), good);
        for odd in [None, Some(json!(null)), Some(json!({})), Some(json!("x"))] {
            assert_eq!(Shortfall::read_all(odd.as_ref()), []);
        }
        let many = Value::Array(vec![good; MAX_SHORTFALLS + 1]);
        assert_eq!(Shortfall::read_all(Some(&many)).len(), MAX_SHORTFALLS);
    }

    proptest! {
        #[test]
        fn a_sentence_is_short_and_prints_on_any_terminal(text in "(.|\n|\u{1b}){0,300}") {
            let sentence = Sentence::new(&text);
            prop_assert!(sentence.as_str().len() <= MAX_SENTENCE_BYTES);
            prop_assert!(!sentence.as_str().contains(char::is_control));
            prop_assert_eq!(Sentence::new(sentence.as_str()), sentence);
        }
    }

    #[test]
    fn a_sentence_is_cut_at_its_limit_and_not_before() {
        let fits = "é".repeat(MAX_SENTENCE_BYTES / 2);
        assert_eq!(Sentence::new(&fits).as_str(), fits);
        let cut = Sentence::new(&format!("{fits}x"));
        assert!(cut.as_str().ends_with("é...") && cut.as_str().len() > MAX_SENTENCE_BYTES - 4, "{cut}");
    }
}
