//! What a caller may read, as patterns: the same answer as [`decide`](super::decide) gives for pull, for all names at once.

use std::collections::BTreeSet;

use shared::{clock::Timestamp, pattern::RepositoryPattern, readable::Readable};

use super::{Actions, Caller, Grant, Namespace, Rules, SYSTEM_NAMESPACE, SystemRole, decide::shows_itself_to};

/// The patterns of all that the caller may pull. The rules must hold every living namespace.
#[must_use]
pub fn readable(now: Timestamp, caller: &Caller, rules: &Rules) -> Readable {
    let deny = rules.guardrails.iter().filter(|rail| rail.is_live(now) && rail.actions.contains(Actions::PULL));
    Readable {
        allow: allowed(now, caller, rules).into_iter().collect(),
        deny: deny.map(|rail| rail.pattern.clone()).collect(),
        within: caller.credential_scope.as_ref().map(|scope| scope.pullable().cloned().collect()),
    }
}

fn allowed(now: Timestamp, caller: &Caller, rules: &Rules) -> BTreeSet<RepositoryPattern> {
    if caller.system_role == Some(SystemRole::Administrator) {
        return "**".parse().into_iter().collect();
    }
    let mut allow = BTreeSet::new();
    for namespace in rules.namespaces.iter().filter(|namespace| shows_itself_to(namespace.visibility, caller.kind)) {
        allow.extend(all_of(&namespace.name));
    }
    let mine = |grant: &&Grant| grant.is_for(caller) && grant.is_live(now) && grant.content().contains(Actions::PULL);
    for grant in rules.grants.iter().filter(mine) {
        allow.extend(patterns_of(grant, caller, rules));
    }
    allow
}

/// What one grant lets be read, never beyond the living namespaces.
fn patterns_of(grant: &Grant, caller: &Caller, rules: &Rules) -> Vec<RepositoryPattern> {
    let Some(pattern) = grant.pattern.for_caller(&caller.handle) else { return Vec::new() };
    let at_home = |namespace: &&Namespace| grant.namespace == SYSTEM_NAMESPACE || grant.namespace == namespace.id;
    if grant.actions.contains(Actions::ADMIN) {
        let namespace = rules.namespaces.named(pattern.as_str()).filter(at_home);
        return namespace.map(|namespace| all_of(&namespace.name)).unwrap_or_default();
    }
    match pattern.namespace() {
        Some(name) => rules.namespaces.named(name).filter(at_home).map(|_| pattern.clone()).into_iter().collect(),
        None => rules.namespaces.iter().filter(at_home).flat_map(|one| pattern.within_namespace(&one.name)).collect(),
    }
}

/// A namespace's name is a repository's as well, beside those that lie in it.
fn all_of(namespace: &str) -> Vec<RepositoryPattern> {
    [namespace.to_owned(), format!("{namespace}/**")].iter().filter_map(|text| text.parse().ok()).collect()
}
