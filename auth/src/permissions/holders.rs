//! Who holds what in a namespace, and by which rule: "who can push here?".
//!
//! [`decide`](super::decide()) is asked about one caller and one repository at a time. This is the same sum read the other way: what everybody together
//! holds, what those who are signed in hold, and what one principal holds beside that.

use shared::{clock::Timestamp, pattern::RepositoryPattern};

use super::{
    Actions, Caller, Grant, Guardrail, Namespace, Origin, Rules, Subject, SystemRole, TagPatterns, Visibility,
};

/// Somebody, or a sort of callers, that may hold something.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// Everyone, signed in or not.
    Everyone,
    /// Every user. Robots are none.
    Users,
    /// Every user and every robot.
    Authenticated,
    /// One of them: what they hold by themselves and by their teams, beside what the others above do.
    Principal(&'a Caller),
}

/// Something that a holder may do in a namespace, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<'r> {
    /// Pull, push and delete, as many of them.
    pub actions: Actions,
    /// The repositories, none of them beyond the namespace. With `{username}` where each holder has their own.
    pub repositories: Vec<RepositoryPattern>,
    /// The tags that push and delete may touch.
    pub tags: Option<&'r TagPatterns>,
    /// The rule.
    pub origin: Origin<'r>,
}

/// What guardrails forbid in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barred<'r> {
    /// Where, none of it beyond the namespace.
    pub repositories: Vec<RepositoryPattern>,
    /// The guardrail.
    pub by: &'r Guardrail,
}

/// What the holder holds in the namespace, before guardrails and whatever a credential is confined to.
///
/// A caller may do what these allow that are about it: as [`Holder::Principal`], as one of the others, or both.
#[must_use]
pub fn held<'r>(now: Timestamp, holder: Holder<'_>, rules: &'r Rules, namespace: &'r Namespace) -> Vec<Held<'r>> {
    let whole = |actions, origin| Held { actions, repositories: whole(&namespace.name), tags: None, origin };
    let role = match holder {
        Holder::Principal(caller) => caller.system_role.filter(|role| *role == SystemRole::Administrator),
        Holder::Everyone | Holder::Users | Holder::Authenticated => None,
    };
    let shown = matches!(
        (namespace.visibility, holder),
        (Visibility::Public, Holder::Everyone) | (Visibility::Internal, Holder::Users)
    );
    let role = role.map(|role| whole(Actions::CONTENT, Origin::SystemRole(role)));
    let shown = shown.then(|| whole(Actions::PULL, Origin::Visibility(namespace.visibility)));
    let live = rules.grants.iter().filter(|grant| grant.is_live(now) && is_for(grant, holder));
    let given = live.filter_map(|grant| {
        let repositories = within(grant, holder, namespace);
        let held =
            Held { actions: grant.content(), repositories, tags: grant.tags.as_ref(), origin: Origin::Grant(grant) };
        (!held.actions.is_empty() && !held.repositories.is_empty()).then_some(held)
    });
    role.into_iter().chain(shown).chain(given).collect()
}

/// What is forbidden in the namespace, whoever holds it.
#[must_use]
pub fn barred<'r>(now: Timestamp, rules: &'r Rules, namespace: &Namespace) -> Vec<Barred<'r>> {
    let binding = rules.guardrails.iter().filter(|rail| rail.is_live(now));
    let here = binding.map(|by| Barred { repositories: by.pattern.within_namespace(&namespace.name), by });
    here.filter(|barred| !barred.repositories.is_empty()).collect()
}

/// Each grant has one subject, so nothing is said of two holders.
fn is_for(grant: &Grant, holder: Holder<'_>) -> bool {
    match (holder, grant.subject) {
        (Holder::Everyone, Subject::Everyone) | (Holder::Authenticated, Subject::Authenticated) => {
            // Nobody is an administrator by being anybody, whatever a row says.
            !grant.actions.contains(Actions::ADMIN)
        }
        (Holder::Principal(caller), Subject::Principal(_) | Subject::Team(_)) => grant.is_for(caller),
        _ => false,
    }
}

/// As [`Grant::covers`] does it for one repository.
fn within(grant: &Grant, holder: Holder<'_>, namespace: &Namespace) -> Vec<RepositoryPattern> {
    if !grant.is_at_home_in(namespace) {
        return Vec::new();
    }
    if grant.actions.contains(Actions::ADMIN) {
        return if grant.pattern.as_str() == namespace.name { whole(&namespace.name) } else { Vec::new() };
    }
    let pattern = match holder {
        Holder::Principal(caller) => grant.pattern.for_caller(&caller.handle),
        Holder::Everyone | Holder::Users | Holder::Authenticated => Some(grant.pattern.clone()),
    };
    pattern.map(|pattern| pattern.within_namespace(&namespace.name)).unwrap_or_default()
}

/// The namespace's own name and all below it.
fn whole(namespace: &str) -> Vec<RepositoryPattern> {
    [namespace.to_owned(), format!("{namespace}/**")].iter().filter_map(|text| text.parse().ok()).collect()
}
