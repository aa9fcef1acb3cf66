//! A namespace's rules about tags that stay where they are: read and replaced as one document.

use std::{collections::BTreeSet, convert::Infallible, fmt};

use serde::Deserialize;
use shared::{
    database::{DatabaseError, Failure, Operation, Transaction},
    pattern::RepositoryPattern,
    repository::RepositoryName,
    tag::TagPattern,
};
use utoipa::ToSchema;

use super::{Lifecycle, rules::document::repository_pattern};
use crate::metadata::{
    events::{self, Event},
    immutable, repositories,
};

pub use crate::metadata::immutable::{Held, Immutable, Rule, RuleName};

/// The most rules of a namespace. A push that moves a tag reads all of them.
pub const MAX_RULES: usize = 50;

/// The most patterns in one list of a rule.
pub const MAX_PATTERNS: usize = 20;

/// The rules that somebody wants, not yet understood.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImmutableWanted)]
pub struct Wanted {
    /// All of them: what is not here is taken away.
    pub rules: Vec<WantedRule>,
}

/// One of them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImmutableRuleWanted)]
pub struct WantedRule {
    name: String,
    #[serde(default)]
    repositories: Vec<String>,
    tags: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

/// What cannot be a rule, and where it stands: `rules[1].tags[0]: character 3, '/', cannot …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct InvalidRules {
    place: String,
    reason: String,
}

impl InvalidRules {
    fn at(place: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { place: place.to_string(), reason: reason.to_string() }
    }
}

impl Wanted {
    /// The rules, if all of them can be in this namespace.
    ///
    /// # Errors
    /// The first that cannot, and where in it the fault is.
    pub fn understand(&self, namespace: &RepositoryName) -> Result<Immutable, InvalidRules> {
        if self.rules.len() > MAX_RULES {
            return Err(InvalidRules::at("rules", format_args!("a namespace has at most {MAX_RULES}")));
        }
        let mut names = BTreeSet::new();
        let rules = (0..).zip(&self.rules).map(|(number, rule)| {
            let place = format!("rules[{number}]");
            let rule = rule.understand(&place, namespace)?;
            let new = names.insert(rule.name.clone());
            let twice = || InvalidRules::at(format_args!("{place}.name"), "another rule has this name");
            if new { Ok(rule) } else { Err(twice()) }
        });
        Ok(Immutable { rules: rules.collect::<Result<_, _>>()? })
    }
}

impl WantedRule {
    fn understand(&self, place: &str, namespace: &RepositoryName) -> Result<Rule, InvalidRules> {
        let name = self.name.parse().map_err(|error| InvalidRules::at(format_args!("{place}.name"), error))?;
        let list = |member: &str| format!("{place}.{member}");
        if self.tags.is_empty() {
            return Err(InvalidRules::at(list("tags"), "a rule names at least one pattern; * is every tag"));
        }
        let tag = |text: &str| text.parse::<TagPattern>().map_err(|error| error.to_string());
        Ok(Rule {
            name,
            repositories: each(&list("repositories"), &self.repositories, |text| repositories_in(namespace, text))?,
            tags: each(&list("tags"), &self.tags, tag)?,
            except: each(&list("except"), &self.except, tag)?,
        })
    }
}

/// Every text of a list understood, or the first that cannot be with its number.
fn each<T>(list: &str, texts: &[String], one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, InvalidRules> {
    if texts.len() > MAX_PATTERNS {
        return Err(InvalidRules::at(list, format_args!("a list has at most {MAX_PATTERNS} patterns")));
    }
    let understand = |(number, text): (usize, &String)| {
        one(text).map_err(|reason| InvalidRules::at(format_args!("{list}[{number}]"), reason))
    };
    texts.iter().enumerate().map(understand).collect()
}

/// A pattern over repositories of this namespace alone: its administrators have no say elsewhere.
fn repositories_in(namespace: &RepositoryName, text: &str) -> Result<RepositoryPattern, String> {
    repository_pattern(namespace.as_str(), text).map_err(|error| error.to_string())
}

impl Lifecycle {
    /// The rules of a namespace; one that nobody has pushed to has none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn immutable(&self, namespace: &RepositoryName) -> Result<Immutable, DatabaseError> {
        immutable::read(&mut self.metadata.read().await?, namespace.as_str()).await
    }

    /// Replaces the rules of a namespace, which need not have been pushed to yet. A push that began before may still move a tag.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_immutable(
        &self,
        namespace: RepositoryName,
        rules: Immutable,
        actor: String,
    ) -> Result<(), DatabaseError> {
        Ok(self.metadata.write(SetImmutable { namespace, rules, actor }).await?)
    }
}

struct SetImmutable {
    namespace: RepositoryName,
    rules: Immutable,
    actor: String,
}

impl Operation for SetImmutable {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "set_immutable";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let id = repositories::ensure_namespace(tx, self.namespace.as_str()).await?.id;
        immutable::write(tx, id, &self.rules).await?;
        let (namespace, rules, actor) = (&self.namespace, &self.rules, self.actor.as_str());
        events::record(tx, &Event::ImmutableSet { namespace, rules, actor }).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::content::fixture::{Fixture, name, on_both};

    on_both! {
        rules_are_replaced_as_a_whole_and_each_change_leaves_an_event
    }

    async fn rules_are_replaced_as_a_whole_and_each_change_leaves_an_event(fixture: &Fixture) {
        let window = std::time::Duration::ZERO;
        let lifecycle = Lifecycle::new(fixture.content.metadata.clone(), fixture.clock.clone(), window);
        let acme = name("acme");
        assert_eq!(lifecycle.immutable(&acme).await.unwrap(), Immutable::default(), "nobody has heard of it");
        let set = async |rules: &Immutable| {
            lifecycle.set_immutable(acme.clone(), rules.clone(), "ada".to_owned()).await.unwrap();
            lifecycle.immutable(&acme).await.unwrap()
        };
        for said in [json!([{"name": "a", "tags": ["v*"]}]), json!([{"name": "b", "tags": ["*"], "except": ["pr-*"]}])]
        {
            let rules = understand(json!({ "rules": said })).unwrap();
            assert_eq!(set(&rules).await, rules);
        }
        assert_eq!(lifecycle.immutable(&name("other")).await.unwrap(), Immutable::default());
        assert_eq!(set(&Immutable::default()).await, Immutable::default());
        assert_eq!(fixture.count("SELECT count(*) FROM namespace WHERE immutable IS NOT NULL").await, 0);
        let events = fixture.texts("SELECT body FROM event WHERE kind = 'immutable_set' ORDER BY id").await;
        assert_eq!(events.len(), 3);
        let first = json!({"event": "immutable_set", "namespace": "acme", "rules": [{"name": "a", "tags": ["v*"]}], "actor": "ada"});
        assert_eq!(serde_json::from_str::<Value>(&events[0]).unwrap(), first);
    }

    fn understand(wanted: Value) -> Result<Immutable, String> {
        let wanted: Wanted = serde_json::from_value(wanted).unwrap();
        wanted.understand(&"acme".parse().unwrap()).map_err(|error| error.to_string())
    }

    fn refusal(rule: &Value) -> String {
        understand(json!({ "rules": [{"name": "first", "tags": ["*"]}, rule] })).unwrap_err()
    }

    #[test]
    fn what_is_understood_is_what_was_said() {
        let said = json!({"rules": [
            {"name": "releases", "repositories": ["acme/**", "acme"], "tags": ["v*"], "except": ["v*-rc*"]},
            {"name": "all", "tags": ["*"]},
        ]});
        assert_eq!(serde_json::to_value(understand(said.clone()).unwrap()).unwrap(), said);
        assert_eq!(understand(json!({"rules": []})).unwrap(), Immutable::default());
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        for (rule, place, reason) in [
            (json!({"name": "A", "tags": ["*"]}), "rules[1].name", "a rule's name has"),
            (json!({"name": "first", "tags": ["*"]}), "rules[1].name", "another rule has this name"),
            (json!({"name": "a", "tags": []}), "rules[1].tags", "at least one pattern"),
            (json!({"name": "a", "tags": ["v*", "pr-[0-9]"]}), "rules[1].tags[1]", "character 4, '['"),
            (json!({"name": "a", "tags": ["*"], "except": [""]}), "rules[1].except[0]", "1 to 128 characters"),
            (
                json!({"name": "a", "tags": ["*"], "repositories": ["acme/Web"]}),
                "rules[1].repositories[0]",
                "character 6: 'W' cannot stand",
            ),
            (
                json!({"name": "a", "tags": ["*"], "repositories": ["acme/../x"]}),
                "rules[1].repositories[0]",
                "character 6 makes a component that is none",
            ),
            (
                json!({"name": "a", "tags": ["*"], "repositories": ["acme/**", "other/**"]}),
                "rules[1].repositories[1]",
                "character 1: a pattern here begins with acme/, or is acme",
            ),
            (json!({"name": "a", "tags": ["*"], "repositories": ["**"]}), "rules[1].repositories[0]", "character 1: "),
            (
                json!({"name": "a", "tags": ["*"], "repositories": ["acme/{username}"]}),
                "rules[1].repositories[0]",
                "character 6: {username} stands for a caller, and a rule has none",
            ),
            (json!({"name": "a", "tags": vec!["v*"; MAX_PATTERNS + 1]}), "rules[1].tags", "at most 20"),
        ] {
            let refused = refusal(&rule);
            assert!(refused.starts_with(&format!("{place}: ")) && refused.contains(reason), "{refused}");
        }
        let many: Vec<Value> =
            (0..=MAX_RULES).map(|number| json!({"name": format!("r{number}"), "tags": ["*"]})).collect();
        assert_eq!(understand(json!({ "rules": many[..MAX_RULES] })).unwrap().rules.len(), MAX_RULES);
        assert_eq!(understand(json!({ "rules": many })).unwrap_err(), "rules: a namespace has at most 50");
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for strange in [json!({}), json!({"rules": [{"name": "a", "tags": ["*"], "keep": true}]}), json!({"rules": {}})]
        {
            assert!(serde_json::from_value::<Wanted>(strange.clone()).is_err(), "{strange}");
        }
    }
}
