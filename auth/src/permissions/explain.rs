//! Why a request is granted, and what was lacking where it is not.
//!
//! It weighs with the functions that [`decide`](super::decide) decides with, so an explanation cannot disagree with a token.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Serialize;
use shared::{
    access::{Action, Resource, ResourceKind},
    clock::Timestamp,
    repository::RepositoryName,
    scope::Scope,
};
use utoipa::ToSchema;

use super::{
    Actions, ApiLevel, Caller, Decision, Grant, Origin, Rules, SystemRole, TagPatterns, Visibility,
    decide::{Power, decide, permitting, power_over},
    grant::first_segment,
};

/// The answer for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What was asked about.
    pub resource: Resource,
    /// What the token would say, as it would say it.
    pub decision: Decision,
    /// One line for each granted action and each rule that grants it.
    pub why: Vec<Why>,
    /// One line for each refused action.
    pub why_not: Vec<WhyNot>,
}

/// One reason for an action to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What is granted.
    pub action: Action,
    /// By what.
    pub by: RuleSeen,
    /// The tags it is limited to by that rule.
    pub tags: Option<TagPatterns>,
}

/// One action that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyNot {
    /// What is refused.
    pub action: Action,
    /// Because of what.
    pub reason: Reason,
}

/// A rule, as far as the reader of an explanation may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSeen {
    /// A role over the whole system.
    SystemRole(SystemRole),
    /// The namespace's visibility.
    Visibility(Visibility),
    /// This grant.
    Grant(Box<Grant>),
    /// A rule that the reader may not see: one of a namespace that they may not look into, or a role over the whole system.
    Elsewhere,
}

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No resource of this kind knows the action.
    Meaningless,
    /// Rules allow it, and a guardrail forbids it; the id is there for those who may see it.
    Guardrail(Option<i64>),
    /// Rules allow it, and the credential is confined to less.
    CredentialScope,
    /// Rules allow it, and the credential has no such API level.
    ApiLevel,
    /// The namespace is not known: only a system administrator reaches it.
    NamespaceUnknown,
    /// No rule allows it. The nearest miss is the one that would have, had something not been lacking.
    NoGrant(Option<NearestMiss>),
}

/// The grant that would have allowed a refused action, and what was lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMiss {
    /// The grant.
    pub rule: RuleSeen,
    /// What was lacking.
    pub lacking: Lacking,
}

/// What a near miss lacked. The first is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lacking {
    /// It has ended.
    Time,
    /// It covers the name, and does not have the action.
    Action,
    /// It is somebody else's.
    Membership,
    /// It has the action, in the same namespace, on other names.
    Pattern,
}

/// How much of the rules the reader of an explanation may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything: system administrators, auditors.
    Everything,
    /// The rules of the namespaces that the reader administers.
    Administered(BTreeSet<i64>),
    /// One's own standing: what one was given, and misses where one was given something.
    Own,
}

/// Explains what [`decide`] answers, one scope at a time.
#[must_use]
pub fn explain(now: Timestamp, caller: &Caller, rules: &Rules, requested: &[Scope], view: &View) -> Vec<Explained> {
    let one = |scope: &Scope| {
        let caller = &*weighed(caller, scope, view);
        let explaining = Explaining { now, caller, rules, view, namespace: namespace_of(scope, rules) };
        let actions = spelled_out(scope);
        let lines: Vec<Line> = actions.iter().flat_map(|action| explaining.action(scope, action)).collect();
        let (mut why, mut why_not) = (Vec::new(), Vec::new());
        for line in lines {
            match line {
                Line::Why(line) => why.push(line),
                Line::WhyNot(line) => why_not.push(line),
            }
        }
        let decision = if explaining.is_hidden(scope) {
            Decision::default()
        } else {
            decide(now, caller, rules, std::slice::from_ref(scope))
        };
        Explained { resource: scope.resource.clone(), decision, why, why_not }
    };
    requested.iter().map(one).collect()
}

/// Whom to weigh. All of the catalog is opened by a role over the system alone, which administrators of namespaces are not told of:
/// to them everybody's catalog is that of somebody without one.
fn weighed<'a>(caller: &'a Caller, scope: &Scope, view: &View) -> Cow<'a, Caller> {
    match view {
        View::Administered(_) if scope.resource == Resource::catalog() => {
            Cow::Owned(Caller { system_role: None, ..caller.clone() })
        }
        View::Administered(_) | View::Everything | View::Own => Cow::Borrowed(caller),
    }
}

enum Line {
    Why(Why),
    WhyNot(WhyNot),
}

struct Explaining<'a> {
    now: Timestamp,
    caller: &'a Caller,
    rules: &'a Rules,
    view: &'a View,
    /// The id of the namespace that is asked about, if it is known.
    namespace: Option<i64>,
}

impl Explaining<'_> {
    fn action(&self, scope: &Scope, action: &Action) -> Vec<Line> {
        let outcome = match &scope.resource.kind {
            ResourceKind::Repository => self.on_repository(scope.resource.name.as_str(), action),
            ResourceKind::Namespace => self.on_namespace(scope.resource.name.as_str(), action),
            ResourceKind::Registry if scope.resource == Resource::catalog() => self.on_catalog(scope, action),
            ResourceKind::Registry if scope.resource == Resource::system() => self.on_system(action),
            ResourceKind::Registry | ResourceKind::Other(_) => Err(Reason::Meaningless),
        };
        match outcome {
            Err(Reason::Meaningless) => {
                vec![Line::WhyNot(WhyNot { action: action.clone(), reason: Reason::Meaningless })]
            }
            _ if self.is_hidden(scope) => {
                vec![Line::WhyNot(WhyNot { action: action.clone(), reason: Reason::NoGrant(None) })]
            }
            Ok(origins) => origins.into_iter().map(|why| Line::Why(Why { action: action.clone(), ..why })).collect(),
            Err(reason) => vec![Line::WhyNot(WhyNot { action: action.clone(), reason: self.shown(reason) })],
        }
    }

    fn on_repository(&self, name: &str, action: &Action) -> Result<Vec<Why>, Reason> {
        let single = Actions::of(action).and(Actions::CONTENT);
        let (Ok(name), false) = (name.parse::<RepositoryName>(), single.is_empty()) else {
            return Err(Reason::Meaningless);
        };
        let mut origins = permitting(self.now, self.caller, self.rules, &name);
        origins.retain(|(actions, _)| actions.contains(single));
        if origins.is_empty() {
            return Err(match self.namespace {
                None => Reason::NamespaceUnknown,
                Some(id) => Reason::NoGrant(self.nearest_miss(name.as_str(), id, single)),
            });
        }
        let forbids = |rail: &&super::Guardrail| {
            rail.is_live(self.now) && rail.actions.contains(single) && rail.pattern.matches(name.as_str())
        };
        if let Some(rail) = self.rules.guardrails.iter().filter(forbids).min_by_key(|rail| rail.id) {
            return Err(Reason::Guardrail(Some(rail.id)));
        }
        if self.caller.confined(name.as_str(), single).is_empty() {
            return Err(Reason::CredentialScope);
        }
        Ok(origins.iter().map(|(_, origin)| self.why(*origin, origin.limit(single))).collect())
    }

    fn on_namespace(&self, name: &str, action: &Action) -> Result<Vec<Why>, Reason> {
        let (needed, level) = match action {
            Action::Read => (Power::Sees, ApiLevel::Read),
            Action::Admin => (Power::Administers, ApiLevel::Write),
            _ => return Err(Reason::Meaningless),
        };
        match power_over(self.now, self.caller, self.rules, name) {
            Some(power) if power == Power::Administers || needed == Power::Sees => {}
            _ => {
                let miss = |id| self.nearest_miss(name, id, Actions::ADMIN);
                return Err(self.namespace.map_or(Reason::NamespaceUnknown, |id| Reason::NoGrant(miss(id))));
            }
        }
        if self.caller.api < level {
            return Err(Reason::ApiLevel);
        }
        if self.caller.confined(name, Actions::ADMIN).is_empty() {
            return Err(Reason::CredentialScope);
        }
        let role = self.caller.system_role.filter(|role| *role == SystemRole::Administrator || needed == Power::Sees);
        let role = role.map(|role| self.why(Origin::SystemRole(role), None));
        let giving = |grant: &&Grant| self.is_mine(grant) && grant.administers(name, &self.rules.namespaces);
        let grants = self.rules.grants.iter().filter(|grant| grant.is_live(self.now)).filter(giving);
        Ok(role.into_iter().chain(grants.map(|grant| self.why(Origin::Grant(grant), None))).collect())
    }

    fn on_catalog(&self, scope: &Scope, action: &Action) -> Result<Vec<Why>, Reason> {
        if *action != Action::Any {
            return Err(Reason::Meaningless);
        }
        let granted = decide(self.now, self.caller, self.rules, std::slice::from_ref(scope)).access;
        // A filtered catalog is everybody's, so no rule stands behind it.
        let whole = granted.iter().any(|access| access.actions.contains(&Action::Any));
        match (granted.is_empty(), self.caller.system_role) {
            (true, None) => Err(Reason::NoGrant(None)),
            (true, Some(_)) => Err(Reason::CredentialScope),
            (false, role) => {
                Ok(role.filter(|_| whole).map(|role| self.why(Origin::SystemRole(role), None)).into_iter().collect())
            }
        }
    }

    fn on_system(&self, action: &Action) -> Result<Vec<Why>, Reason> {
        let level = match action {
            Action::Read => ApiLevel::Read,
            Action::Admin => ApiLevel::Write,
            _ => return Err(Reason::Meaningless),
        };
        let suffices = |role: &SystemRole| *role == SystemRole::Administrator || level == ApiLevel::Read;
        let role = self.caller.system_role.filter(suffices).ok_or(Reason::NoGrant(None))?;
        if self.caller.api < level {
            return Err(Reason::ApiLevel);
        }
        if self.caller.credential_scope.is_some() {
            return Err(Reason::CredentialScope);
        }
        Ok(vec![self.why(Origin::SystemRole(role), None)])
    }

    fn nearest_miss(&self, name: &str, namespace: i64, single: Actions) -> Option<NearestMiss> {
        let near = |grant| self.lacks(grant, name, namespace, single).map(|lacking| (lacking, grant));
        let nearest = self.rules.grants.iter().filter_map(near).min_by_key(|(lacking, grant)| (*lacking, grant.id));
        nearest.map(|(lacking, grant)| NearestMiss { rule: self.seen(Origin::Grant(grant)), lacking })
    }

    /// What the grant lacks to allow the action on the name, where that is one thing only.
    fn lacks(&self, grant: &Grant, name: &str, namespace: i64, single: Actions) -> Option<Lacking> {
        let covers = if single == Actions::ADMIN {
            grant.namespace == namespace && grant.pattern.as_str() == name
        } else {
            grant.covers(name, &self.caller.handle, &self.rules.namespaces)
        };
        let has = if single == Actions::ADMIN { grant.actions } else { grant.content() }.contains(single);
        match (self.is_mine(grant), covers, has, grant.is_live(self.now)) {
            (true, true, true, false) => Some(Lacking::Time),
            (true, true, false, true) => Some(Lacking::Action),
            (false, true, true, true) => Some(Lacking::Membership),
            (true, false, true, true) if grant.namespace == namespace => Some(Lacking::Pattern),
            _ => None,
        }
    }

    fn is_mine(&self, grant: &Grant) -> bool {
        grant.is_for(self.caller)
    }

    fn why(&self, origin: Origin<'_>, tags: Option<&TagPatterns>) -> Why {
        let by = self.seen(origin);
        let tags = if by == RuleSeen::Elsewhere { None } else { tags.cloned() };
        Why { action: Action::Any, by, tags }
    }

    fn seen(&self, origin: Origin<'_>) -> RuleSeen {
        match origin {
            // Who oversees the system is not for administrators of a namespace to list.
            Origin::SystemRole(_) if matches!(self.view, View::Administered(_)) => RuleSeen::Elsewhere,
            Origin::SystemRole(role) => RuleSeen::SystemRole(role),
            Origin::Visibility(visibility) => RuleSeen::Visibility(visibility),
            Origin::Grant(grant) => {
                let visible = match self.view {
                    View::Everything => true,
                    View::Administered(namespaces) => namespaces.contains(&grant.namespace),
                    View::Own => self.is_mine(grant) || self.namespace == Some(grant.namespace),
                };
                if visible { RuleSeen::Grant(Box::new(grant.clone())) } else { RuleSeen::Elsewhere }
            }
        }
    }

    /// Of namespaces that they do not administer, those that there are and those that there are not, administrators read
    /// one and the same thing, whatever the one they ask about may do there.
    fn is_hidden(&self, scope: &Scope) -> bool {
        let View::Administered(namespaces) = self.view else { return false };
        scope.resource != Resource::catalog() && !self.namespace.is_some_and(|id| namespaces.contains(&id))
    }

    /// The reason without what the reader may not know: whether a namespace exists is told to those only who are in it.
    fn shown(&self, reason: Reason) -> Reason {
        let inside = match self.view {
            View::Everything => return reason,
            View::Administered(namespaces) => self.namespace.is_some_and(|id| namespaces.contains(&id)),
            View::Own => self.namespace.is_some_and(|id| {
                self.rules
                    .grants
                    .iter()
                    .any(|grant| grant.namespace == id && self.is_mine(grant) && grant.is_live(self.now))
            }),
        };
        match reason {
            Reason::Guardrail(_) => Reason::Guardrail(None),
            Reason::NoGrant(_) | Reason::NamespaceUnknown if !inside => Reason::NoGrant(None),
            other => other,
        }
    }
}

/// A requested `*` asks for each action that there is.
fn spelled_out(scope: &Scope) -> Vec<Action> {
    let of_any = |action: &Action| match (&scope.resource.kind, action) {
        (ResourceKind::Repository, Action::Any) => Actions::CONTENT.iter().collect(),
        (ResourceKind::Namespace, Action::Any) => vec![Action::Read, Action::Admin],
        (ResourceKind::Registry, Action::Any) if scope.resource == Resource::system() => {
            vec![Action::Read, Action::Admin]
        }
        (_, one) => vec![one.clone()],
    };
    let all: BTreeSet<Action> = scope.actions.iter().flat_map(of_any).collect();
    all.into_iter().collect()
}

fn namespace_of(scope: &Scope, rules: &Rules) -> Option<i64> {
    rules.namespaces.named(first_segment(scope.resource.name.as_str())).map(|namespace| namespace.id)
}
