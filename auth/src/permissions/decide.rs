//! The decision: what of a request is granted.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    access::{Access, Action, Limit, Resource, ResourceKind},
    clock::Timestamp,
    repository::RepositoryName,
    scope::{Scope, Scopes},
    tag::TagPattern,
};

use super::{Actions, ApiLevel, Caller, CallerKind, Catalog, Grant, Rules, SystemRole, TagPatterns, Visibility};

/// What is granted of a request: what was asked for, and is permitted, and lies within the credential's own scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// One entry for each resource of which anything is granted, in the order of the request.
    pub access: Vec<Access>,
}

impl Decision {
    /// What is granted, limited or not, as the `scope` of an answer.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        let mut scopes = Scopes::default();
        for Access { resource, actions, limited } in &self.access {
            let all = actions.iter().chain(limited.iter().flat_map(|limit| &limit.actions)).cloned();
            scopes.merge(Scope::new(resource.clone(), all));
        }
        scopes
    }
}

/// Decides what of `requested` the caller is granted at this time, under these rules.
///
/// A requested `*` on a repository means pull, push and delete. A kind of resource or an action that is unknown here is
/// no error: it is not granted.
#[must_use]
pub fn decide(now: Timestamp, caller: &Caller, rules: &Rules, requested: &[Scope]) -> Decision {
    let one = |scope: &Scope| {
        let access = match &scope.resource.kind {
            ResourceKind::Repository => repository(now, caller, rules, scope)?,
            ResourceKind::Registry if scope.resource == Resource::catalog() => catalog(caller, rules, scope)?,
            ResourceKind::Registry if scope.resource == Resource::system() => system(caller, scope),
            ResourceKind::Namespace => namespace(now, caller, rules, scope),
            ResourceKind::Registry | ResourceKind::Other(_) => return None,
        };
        (!access.actions.is_empty() || !access.limited.is_empty()).then_some(access)
    };
    Decision { access: requested.iter().filter_map(one).collect() }
}

/// Where a permission comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'r> {
    /// The caller is a system administrator, or an auditor.
    SystemRole(SystemRole),
    /// The namespace shows itself to such callers.
    Visibility(Visibility),
    /// This grant.
    Grant(&'r Grant),
}

impl<'r> Origin<'r> {
    /// The tags that it confines an action to.
    #[must_use]
    pub fn limit(&self, action: Actions) -> Option<&'r TagPatterns> {
        match self {
            Self::Grant(grant) if action != Actions::PULL => grant.tags.as_ref(),
            _ => None,
        }
    }
}

/// All that permits the caller something on the repository, before guardrails and the credential's scope.
///
/// A namespace that is not known here is private, and grants do not reach it, one with a wildcard in its first segment
/// neither: nobody but a system administrator fills a namespace before somebody owns it.
pub(super) fn permitting<'r>(
    now: Timestamp,
    caller: &Caller,
    rules: &'r Rules,
    repository: &RepositoryName,
) -> Vec<(Actions, Origin<'r>)> {
    let mut found = Vec::new();
    if caller.system_role == Some(SystemRole::Administrator) {
        found.push((Actions::CONTENT, Origin::SystemRole(SystemRole::Administrator)));
    }
    let Some(namespace) = rules.namespaces.named(repository.namespace()) else { return found };
    if shows_itself_to(namespace.visibility, caller.kind) {
        found.push((Actions::PULL, Origin::Visibility(namespace.visibility)));
    }
    for grant in rules.grants.iter().filter(|grant| grant.is_for(caller) && grant.is_live(now)) {
        if grant.covers(repository.as_str(), &caller.handle, &rules.namespaces) {
            found.push((grant.content(), Origin::Grant(grant)));
        }
    }
    found
}

pub(super) const fn shows_itself_to(visibility: Visibility, kind: CallerKind) -> bool {
    match visibility {
        Visibility::Private => false,
        Visibility::Internal => matches!(kind, CallerKind::User),
        Visibility::Public => true,
    }
}

/// What guardrails forbid on the repository, whoever asks.
pub(super) fn forbidden(now: Timestamp, rules: &Rules, repository: &str) -> Actions {
    let binding = |rail: &&super::Guardrail| rail.is_live(now) && rail.pattern.matches(repository);
    rules.guardrails.iter().filter(binding).map(|rail| rail.actions).collect()
}

fn repository(now: Timestamp, caller: &Caller, rules: &Rules, scope: &Scope) -> Option<Access> {
    // Scopes may name what no registry has, `host:port/name` for one; no pattern should be tried on such a name.
    let name: RepositoryName = scope.resource.name.as_str().parse().ok()?;
    let requested: Actions = scope.actions.iter().map(Actions::of).collect();
    let allowed = caller.confined(name.as_str(), requested).without(forbidden(now, rules, name.as_str()));
    let permitting = permitting(now, caller, rules, &name);
    let mut access = Access::new(scope.resource.clone(), []);
    let mut limits: BTreeMap<BTreeSet<&TagPattern>, BTreeSet<Action>> = BTreeMap::new();
    for single in allowed.and(Actions::CONTENT).singles() {
        let mut origins = permitting.iter().filter(|(actions, _)| actions.contains(single)).map(|(_, origin)| origin);
        if origins.clone().any(|origin| origin.limit(single).is_none()) {
            access.actions.extend(single.iter());
        } else if origins.clone().next().is_some() {
            let tags = origins.by_ref().filter_map(|origin| origin.limit(single)).flat_map(TagPatterns::as_slice);
            limits.entry(tags.collect()).or_default().extend(single.iter());
        }
    }
    access.limited = limits
        .into_iter()
        .map(|(tags, actions)| Limit::to_tags(actions, tags.into_iter().cloned().collect()))
        .collect();
    Some(access)
}

/// A registry that does not know limits refuses a filtered catalog, because `*` stands in a limit only.
fn catalog(caller: &Caller, rules: &Rules, scope: &Scope) -> Option<Access> {
    if !scope.actions.contains(&Action::Any) {
        return None;
    }
    let resource = scope.resource.clone();
    if caller.system_role.is_some() && caller.credential_scope.is_none() {
        return Some(Access::new(resource, [Action::Any]));
    }
    let filtered = rules.catalog == Catalog::Filtered;
    filtered.then(|| Access { limited: vec![Limit::to_readable([Action::Any])], ..Access::new(resource, []) })
}

fn namespace(now: Timestamp, caller: &Caller, rules: &Rules, scope: &Scope) -> Access {
    let held = namespace_actions(now, caller, rules, scope.resource.name.as_str());
    asked_for(scope, held)
}

/// What the caller may do with the registry as a whole through its API: a system role, and a credential confined to nothing.
fn system(caller: &Caller, scope: &Scope) -> Access {
    let role = caller.system_role.filter(|_| caller.credential_scope.is_none());
    let held: &[Action] = match (caller.api, role) {
        (ApiLevel::None, _) | (_, None) => &[],
        (ApiLevel::Write, Some(SystemRole::Administrator)) => BOTH,
        (ApiLevel::Read, Some(_)) | (ApiLevel::Write, Some(SystemRole::Auditor)) => READ,
    };
    asked_for(scope, held)
}

fn asked_for(scope: &Scope, held: &[Action]) -> Access {
    let asked = |action: &Action| scope.actions.contains(action) || scope.actions.contains(&Action::Any);
    Access::new(scope.resource.clone(), held.iter().filter(|action| asked(action)).cloned())
}

const BOTH: &[Action] = &[Action::Read, Action::Admin];
const READ: &[Action] = &[Action::Read];

/// What the caller may do with a namespace through the API, given its credential.
fn namespace_actions(now: Timestamp, caller: &Caller, rules: &Rules, name: &str) -> &'static [Action] {
    if !caller.confined(name, Actions::ADMIN).contains(Actions::ADMIN) {
        return &[];
    }
    match (caller.api, power_over(now, caller, rules, name)) {
        (ApiLevel::None, _) | (_, None) => &[],
        (ApiLevel::Write, Some(Power::Administers)) => BOTH,
        (ApiLevel::Read, Some(_)) | (ApiLevel::Write, Some(Power::Sees)) => READ,
    }
}

/// What somebody is to a namespace, whatever credential was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    Sees,
    Administers,
}

pub(super) fn power_over(now: Timestamp, caller: &Caller, rules: &Rules, name: &str) -> Option<Power> {
    let is_namespace = name.parse::<RepositoryName>().is_ok_and(|parsed| parsed.namespace() == name);
    let mut grants = rules.grants.iter().filter(|grant| grant.is_for(caller) && grant.is_live(now));
    if !is_namespace {
        None
    } else if caller.system_role == Some(SystemRole::Administrator)
        || grants.any(|grant| grant.administers(name, &rules.namespaces))
    {
        Some(Power::Administers)
    } else {
        (caller.system_role == Some(SystemRole::Auditor)).then_some(Power::Sees)
    }
}

/// Whether the caller, with the credential shown, may administer the namespace now.
#[must_use]
pub fn administers(now: Timestamp, caller: &Caller, rules: &Rules, namespace: &str) -> bool {
    namespace_actions(now, caller, rules, namespace).contains(&Action::Admin)
}
