//! Grants and guardrails. A rule is known by its subject and its pattern; where several have both, by what it gives, then by age.

use shared::{
    clock::Timestamp,
    pattern::RepositoryPattern,
    settings::{Place, Placed},
};

use super::{
    Document, Existing, Unfit,
    current::RuleRow,
    difference::{Comparison, named, unfit},
    document::{GrantPart, NamespacePart, SubjectName},
    steps::{AccountRef, Action, Given, Line, SubjectRef, TeamRef, Verb},
};
use crate::{
    accounts::{
        NamespaceId,
        grants::{Effect, NewRule, read_subject},
        names::{NamespaceName, folded},
    },
    permissions::{ProposedGrant, ProposedGuardrail, Recipient, Subject, is_sound, is_sound_guardrail},
};

/// A rule that the document has.
struct WantedRule<'a> {
    place: &'a Place,
    subject: SubjectRef,
    recipient: Recipient,
    pattern: &'a RepositoryPattern,
    given: Given,
}

/// Where rules are written: in a namespace, there already or not yet, or in the system.
struct Home<'a> {
    name: Option<&'a NamespaceName>,
    id: Option<i64>,
    effect: Effect,
}

impl Comparison<'_> {
    pub(super) fn grants(&mut self, part: &Placed<NamespacePart>, id: Option<i64>) -> Result<(), Unfit> {
        let Some(grants) = &part.grants else { return Ok(()) };
        self.allow(grants, &Home { name: Some(&part.name), id, effect: Effect::Allow })
    }

    pub(super) fn system_rules(&mut self, document: &Document) -> Result<(), Unfit> {
        let home = |effect| Home { name: None, id: Some(NamespaceId::SYSTEM.0), effect };
        if let Some(grants) = &document.grants {
            self.allow(grants, &home(Effect::Allow))?;
        }
        let Some(guardrails) = &document.guardrails else { return Ok(()) };
        let wanted = guardrails.iter().filter(|part| !self.has_ended(part.expires_at)).map(|part| WantedRule {
            place: &part.place,
            subject: SubjectRef::Everyone,
            recipient: Recipient::Everyone,
            pattern: &part.repositories,
            given: Given { actions: part.actions, tags: None, expires_at: part.expires_at },
        });
        let wanted = wanted.collect();
        self.rules(wanted, &home(Effect::Deny))
    }

    fn allow(&mut self, grants: &[Placed<GrantPart>], home: &Home<'_>) -> Result<(), Unfit> {
        let mut wanted = Vec::with_capacity(grants.len());
        for part in grants.iter().filter(|part| !self.has_ended(part.expires_at)) {
            let (subject, recipient) = self.subject(part, home.name)?;
            let given = Given { actions: part.actions, tags: part.tags.clone(), expires_at: part.expires_at };
            wanted.push(WantedRule { place: &part.place, subject, recipient, pattern: &part.repositories, given });
        }
        self.rules(wanted, home)
    }

    /// Whom a grant is for: somebody who is there, or will be.
    fn subject(
        &self,
        part: &Placed<GrantPart>,
        home: Option<&NamespaceName>,
    ) -> Result<(SubjectRef, Recipient), Unfit> {
        match &part.subject {
            SubjectName::Everyone => Ok((SubjectRef::Everyone, Recipient::Everyone)),
            SubjectName::Authenticated => Ok((SubjectRef::Authenticated, Recipient::Authenticated)),
            SubjectName::Team(namespace, team) => {
                let found = namespace.as_ref().or(home).map(|namespace| TeamRef(namespace.clone(), team.clone()));
                let found = found.filter(|team| self.teams.contains(&(team.0.to_string(), team.1.as_str().to_owned())));
                let unknown = || {
                    unfit(
                        &part.place,
                        format!(
                            "there is no team {:?}; one of another namespace is team:<namespace>/<team>",
                            team.as_str()
                        ),
                    )
                };
                found.map(|team| (SubjectRef::Team(team), Recipient::Team)).ok_or_else(unknown)
            }
            SubjectName::Account(name) => {
                let found = self.accounts.get(&folded(name)).copied();
                let unknown = || unfit(&part.place, format!("there is no account called {name:?}"));
                found.map(|recipient| (SubjectRef::Account(AccountRef(folded(name))), recipient)).ok_or_else(unknown)
            }
        }
    }

    fn rules(&mut self, mut wanted: Vec<WantedRule<'_>>, home: &Home<'_>) -> Result<(), Unfit> {
        let current = self.current;
        let rows = home.id.map(|id| current.rules_of(id, home.effect)).unwrap_or_default();
        let mut there: Vec<(SubjectRef, &RuleRow)> =
            rows.into_iter().filter_map(|row| Some((self.subject_of(row)?, row))).collect();
        let mut changed = Vec::new();
        let same = |one: &WantedRule<'_>, (subject, row): &(SubjectRef, &RuleRow)| {
            one.subject == *subject && *one.pattern == row.pattern
        };
        wanted.retain(|one| {
            let found = there.iter().position(|row| same(one, row) && one.given == given(row.1));
            found.map(|index| there.remove(index)).is_none()
        });
        if self.mode.existing == Existing::Change {
            wanted.retain(|one| {
                let found = there.iter().position(|row| same(one, row));
                let found = found.map(|index| there.remove(index));
                changed.extend(found.as_ref().map(|(_, row)| (one.place, one.recipient, one.given.clone(), *row)));
                found.is_none()
            });
        }
        for (place, recipient, given, row) in changed {
            self.changed_rule(place, recipient, given, row, home)?;
        }
        for one in wanted {
            self.new_rule(one, home)?;
        }
        for (subject, row) in there {
            let line = line(Verb::Remove, home, &subject, &row.pattern).before(text(&given(row)));
            self.missing(line, Action::RemoveRule { id: row.id });
        }
        Ok(())
    }

    fn new_rule(&mut self, rule: WantedRule<'_>, home: &Home<'_>) -> Result<(), Unfit> {
        let WantedRule { place, subject, recipient, pattern, given } = rule;
        if home.effect == Effect::Allow && pattern.namespace() != home.name.map(NamespaceName::as_str) {
            return Err(unfit(
                place,
                match home.name {
                    Some(name) => format!("a grant of {name} is about {name}, or begins with {name}/"),
                    None => "a grant about one namespace stands among that namespace's grants".to_owned(),
                },
            ));
        }
        pattern.check_reach().map_err(|error| unfit(place, error.to_string()))?;
        sound(place, recipient, pattern, &given, home.effect)?;
        let line = line(Verb::Create, home, &subject, pattern).after(text(&given));
        let action = Action::AddRule {
            namespace: home.name.cloned(),
            subject,
            pattern: pattern.clone(),
            given,
            effect: home.effect,
        };
        self.step(place, line, action);
        Ok(())
    }

    fn changed_rule(
        &mut self,
        place: &Place,
        recipient: Recipient,
        wanted: Given,
        row: &RuleRow,
        home: &Home<'_>,
    ) -> Result<(), Unfit> {
        sound(place, recipient, &row.pattern, &wanted, home.effect)?;
        let Some(subject) = self.subject_of(row) else { return Ok(()) };
        let line = line(Verb::Change, home, &subject, &row.pattern).before(text(&given(row))).after(text(&wanted));
        let stored = |_| unfit(place, format!("the rule {} is stored in a form that is not read here", row.id));
        let rule = NewRule {
            namespace: (row.namespace != NamespaceId::SYSTEM.0).then_some(NamespaceId(row.namespace)),
            subject: read_subject(&row.subject, row.subject_id).map_err(stored)?,
            pattern: row.pattern.clone(),
            actions: wanted.actions,
            tags: wanted.tags,
            effect: row.effect,
            expires_at: wanted.expires_at,
        };
        self.step(place, line, Action::ChangeRule { id: row.id, rule: Box::new(rule) });
        Ok(())
    }

    /// Whom a stored rule is for.
    fn subject_of(&self, row: &RuleRow) -> Option<SubjectRef> {
        match read_subject(&row.subject, row.subject_id).ok()? {
            Subject::Everyone => Some(SubjectRef::Everyone),
            Subject::Authenticated => Some(SubjectRef::Authenticated),
            Subject::Team(id) => {
                let team = self.current.teams.get(&id)?;
                let namespace = self.current.namespaces.get(&team.namespace)?;
                Some(SubjectRef::Team(TeamRef(namespace.name.parse().ok()?, team.name.parse().ok()?)))
            }
            Subject::Principal(id) => {
                self.current.accounts.get(&id).map(|account| SubjectRef::Account(AccountRef(account.folded.clone())))
            }
        }
    }
}

/// What the permissions would say of it, whoever writes it.
fn sound(
    place: &Place,
    recipient: Recipient,
    pattern: &RepositoryPattern,
    given: &Given,
    effect: Effect,
) -> Result<(), Unfit> {
    let Given { actions, tags, .. } = given.clone();
    let pattern = pattern.clone();
    let said = match effect {
        Effect::Allow => is_sound(&ProposedGrant { recipient, pattern, actions, tags }),
        Effect::Deny => is_sound_guardrail(&ProposedGuardrail { pattern, actions }),
    };
    said.map_err(|error| unfit(place, error.to_string()))
}

fn given(row: &RuleRow) -> Given {
    Given { actions: row.actions, tags: row.tags.clone(), expires_at: row.expires_at.map(Timestamp::from_micros) }
}

fn text(given: &Given) -> String {
    let tags = given.tags.as_ref().map(|tags| format!(", tags {tags}")).unwrap_or_default();
    let end = given.expires_at.map(|end| format!(", until {end}")).unwrap_or_default();
    format!("{}{tags}{end}", given.actions)
}

fn line(verb: Verb, home: &Home<'_>, subject: &SubjectRef, pattern: &RepositoryPattern) -> Line {
    match home.effect {
        Effect::Allow => Line::new(verb, "grant", format!("{} on {pattern}", subject_text(subject))),
        Effect::Deny => Line::new(verb, "guardrail", pattern.as_str()),
    }
}

fn subject_text(subject: &SubjectRef) -> String {
    match subject {
        SubjectRef::Everyone => "everyone".to_owned(),
        SubjectRef::Authenticated => "authenticated".to_owned(),
        SubjectRef::Team(team) => format!("team:{}", named(team)),
        SubjectRef::Account(AccountRef(name)) => name.clone(),
    }
}
