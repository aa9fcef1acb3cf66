//! What a caller is told about the actions that a token does not allow: which rule fell short, as far as the caller may know it.
//!
//! Whoever shows a credential may know what that credential is confined to, what its owner was given in a namespace, and that somebody who
//! may already do one thing there may not do another. Whether a namespace exists is told to nobody who is not in it: of one that hides
//! itself and of one that is not there the sentence is the same, word for word. What is said of a confined credential does not depend on
//! what its owner may do: whoever holds a narrow one learns nothing about a wide one.

use std::{collections::BTreeSet, fmt};

use shared::{
    access::{Resource, ResourceKind},
    clock::Timestamp,
    repository::RepositoryName,
    scope::Scope,
    shortfall::{Sentence, Shortfall},
};

use super::{
    Actions, Caller, CallerKind, Grant, Origin, Role, Rules, SystemRole, TagPatterns,
    decide::{forbidden, permitting},
};

/// The most patterns that one sentence lists.
const MAX_LISTED: usize = 4;

/// Why the token that [`decide`](super::decide) decides on falls short of the request. Nobody is told anything who showed nothing: to
/// log in comes first.
///
/// `rules` are those of the caller alone: rules of others are left to `explain`.
#[must_use]
pub fn shortfalls(now: Timestamp, caller: &Caller, rules: &Rules, requested: &[Scope]) -> Vec<Shortfall> {
    if caller.kind == CallerKind::Anonymous {
        return Vec::new();
    }
    let repositories = requested.iter().filter(|scope| scope.resource.kind == ResourceKind::Repository);
    repositories.flat_map(|scope| of_scope(now, caller, rules, scope)).collect()
}

fn of_scope(now: Timestamp, caller: &Caller, rules: &Rules, scope: &Scope) -> Vec<Shortfall> {
    let Ok(repository) = scope.resource.name.as_str().parse::<RepositoryName>() else { return Vec::new() };
    let requested: Actions = scope.actions.iter().map(Actions::of).collect();
    let weighing = Weighing::new(now, caller, rules, &repository);
    let mut found: Vec<(Cause<'_>, Actions)> = Vec::new();
    for single in requested.and(Actions::CONTENT).singles() {
        let Some(cause) = weighing.cause(single) else { continue };
        match found.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, actions)) => *actions = *actions | single,
            None => found.push((cause, single)),
        }
    }
    found.iter().map(|(cause, actions)| weighing.shortfall(&scope.resource, cause, *actions)).collect()
}

/// Which rule fell short.
#[derive(Debug, PartialEq, Eq)]
enum Cause<'r> {
    /// The credential that was shown is confined to less.
    Confined,
    /// A guardrail forbids what rules allow.
    Guardrail,
    /// All that allows it is confined to tags.
    Tags(BTreeSet<&'r str>, BTreeSet<&'r str>),
    /// What allowed it has ended.
    Ended(&'r str, Timestamp),
    /// The caller may do this much there, and it is not enough.
    Less(Actions),
    /// The caller may do it under other names of the namespace.
    OtherNames(BTreeSet<&'r str>),
    /// The namespace is not known, which auditors may know.
    NoNamespace,
    /// Nothing that the caller may know of.
    Nothing,
}

struct Weighing<'a> {
    now: Timestamp,
    caller: &'a Caller,
    rules: &'a Rules,
    repository: &'a RepositoryName,
    permitting: Vec<(Actions, Origin<'a>)>,
    forbidden: Actions,
}

impl<'a> Weighing<'a> {
    fn new(now: Timestamp, caller: &'a Caller, rules: &'a Rules, repository: &'a RepositoryName) -> Self {
        let permitting = permitting(now, caller, rules, repository);
        let forbidden = forbidden(now, rules, repository.as_str());
        Self { now, caller, rules, repository, permitting, forbidden }
    }

    /// What keeps the caller from this one action, or to some tags; nothing if it is allowed without a limit.
    fn cause(&self, single: Actions) -> Option<Cause<'a>> {
        if self.caller.confined(self.repository.as_str(), single).is_empty() {
            return Some(Cause::Confined);
        }
        let origins: Vec<Origin<'a>> =
            self.permitting.iter().filter(|(actions, _)| actions.contains(single)).map(|(_, origin)| *origin).collect();
        if origins.is_empty() {
            return Some(self.lacking(single));
        }
        if self.forbidden.contains(single) {
            return Some(Cause::Guardrail);
        }
        let limits: Option<Vec<_>> = origins.iter().map(|origin| origin.limit(single)).collect();
        let tags = limits?.into_iter().flat_map(TagPatterns::as_slice).map(shared::tag::TagPattern::as_str).collect();
        Some(Cause::Tags(tags, origins.iter().filter_map(pattern).collect()))
    }

    /// What is nearest, where no rule allows it.
    fn lacking(&self, single: Actions) -> Cause<'a> {
        let Some(namespace) = self.rules.namespaces.named(self.repository.namespace()) else {
            let sees_every_name = self.caller.system_role == Some(SystemRole::Auditor);
            return if sees_every_name { Cause::NoNamespace } else { Cause::Nothing };
        };
        let mine: Vec<&Grant> = self.rules.grants.iter().filter(|grant| grant.is_for(self.caller)).collect();
        let lives_here = |grant: &&Grant| grant.namespace == namespace.id && grant.is_live(self.now);
        if self.permitting.is_empty() && !mine.iter().any(lives_here) {
            return Cause::Nothing;
        }
        let giving: Vec<&Grant> = mine.into_iter().filter(|grant| grant.content().contains(single)).collect();
        let ended =
            giving.iter().filter(|grant| self.covers(grant)).filter_map(|grant| Some((grant.expires_at?, grant)));
        if let Some((end, grant)) = ended.max_by_key(|(end, grant)| (*end, grant.id)) {
            return Cause::Ended(grant.pattern.as_str(), end);
        }
        let held = self.held();
        let elsewhere: BTreeSet<&str> =
            giving.into_iter().filter(lives_here).map(|grant| grant.pattern.as_str()).collect();
        if held.is_empty() && !elsewhere.is_empty() { Cause::OtherNames(elsewhere) } else { Cause::Less(held) }
    }

    fn covers(&self, grant: &Grant) -> bool {
        grant.covers(self.repository.as_str(), &self.caller.handle, &self.rules.namespaces)
    }

    /// All that the caller may do with the repository, limited to tags or not.
    fn held(&self) -> Actions {
        let permitted: Actions = self.permitting.iter().map(|(actions, _)| *actions).collect();
        self.caller.confined(self.repository.as_str(), permitted.without(self.forbidden))
    }

    fn shortfall(&self, resource: &Resource, cause: &Cause<'_>, actions: Actions) -> Shortfall {
        let sentence = Sentence::new(&self.sentence(cause, actions));
        Shortfall { resource: resource.clone(), actions: actions.iter().collect(), sentence }
    }

    fn sentence(&self, cause: &Cause<'_>, actions: Actions) -> String {
        let (who, repository) = (&self.caller.handle, self.repository);
        let (and, or) = (Verbs(actions, "and"), Verbs(actions, "or"));
        match cause {
            Cause::Confined => {
                let scope = self.caller.credential_scope.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("the credential shown may not {or} {repository}: it is confined to {scope}")
            }
            Cause::Guardrail => format!("a guardrail forbids everybody to {or} {repository}"),
            Cause::Tags(tags, patterns) => {
                format!("{who} may {and} only tags matching {} in {}", Listed(tags), Listed(patterns))
            }
            Cause::Ended(pattern, end) => {
                format!("{who} may not {or} {repository}: the grant on {pattern} ended at {}", end.rfc3339())
            }
            Cause::Less(held) => {
                let nearest = Role::ALL.into_iter().find(|role| role.actions().contains(*held | actions));
                let nearest = nearest.map(|role| format!("; nearest: role {role}")).unwrap_or_default();
                if held.is_empty() {
                    format!("{who} may not {or} {repository}{nearest}")
                } else {
                    format!("{who} may {} {repository} but not {or}{nearest}", Verbs(*held, "and"))
                }
            }
            Cause::OtherNames(patterns) => {
                format!("{who} may {and} only {} in {}, not {repository}", Listed(patterns), repository.namespace())
            }
            Cause::NoNamespace => {
                format!("{who} may not {or} {repository}: there is no namespace {}", repository.namespace())
            }
            Cause::Nothing => format!(
                "{who} may not {or} {repository}: nothing that was granted reaches it, or there is no namespace {}",
                repository.namespace()
            ),
        }
    }
}

fn pattern<'r>(origin: &Origin<'r>) -> Option<&'r str> {
    match origin {
        Origin::Grant(grant) => Some(grant.pattern.as_str()),
        Origin::SystemRole(_) | Origin::Visibility(_) => None,
    }
}

/// `pull, push or delete`.
struct Verbs(Actions, &'static str);

impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.iter().count();
        for (index, action) in self.0.iter().enumerate() {
            match index {
                0 => {}
                _ if index + 1 == count => write!(f, " {} ", self.1)?,
                _ => f.write_str(", ")?,
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

/// The first few of many.
struct Listed<'a>(&'a BTreeSet<&'a str>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<&str> = self.0.iter().take(MAX_LISTED).copied().collect();
        f.write_str(&first.join(", "))?;
        match self.0.len().checked_sub(MAX_LISTED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}
