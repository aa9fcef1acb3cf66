//! What may be done: the resources and actions of scopes and tokens, and the limits on them (design: "Limits").

use std::collections::BTreeSet;

use crate::tag::TagPattern;

mod action;
mod resource;
mod wire;

pub use action::Action;
pub use resource::{MAX_RESOURCE_NAME_BYTES, Resource, ResourceKind, ResourceName, ResourceNameError};
pub use wire::AccessError;

/// What a token allows on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What it is about.
    pub resource: Resource,
    /// What is allowed without a limit.
    pub actions: BTreeSet<Action>,
    /// What is allowed within limits. An action that stands here only is unknown to registries that do not know
    /// limits, so they refuse it.
    pub limited: Vec<Limit>,
}

/// Actions that are allowed within limits. Every limit given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is allowed.
    pub actions: BTreeSet<Action>,
    /// The tags that may be touched. None at all is not "any tag": nothing is allowed then, unless `readable` says so.
    pub tags: Vec<TagPattern>,
    /// Only what the caller may read may be seen: the catalog of a registry that filters it.
    pub readable: bool,
}

/// Whether an action is allowed on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is allowed.
    Yes,
    /// It is allowed on the tags that one of these patterns matches; there is at least one pattern.
    OnlyTags(Vec<TagPattern>),
    /// It is not allowed.
    No,
}

/// How much of the catalog may be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogView {
    /// Every repository.
    Everything,
    /// The repositories that the caller may read.
    OnlyReadable,
    /// None: the request is refused.
    Nothing,
}

impl Access {
    /// Access without limits.
    pub fn new(resource: Resource, actions: impl IntoIterator<Item = Action>) -> Self {
        Self { resource, actions: actions.into_iter().collect(), limited: Vec::new() }
    }
}

impl Limit {
    /// Actions that may touch only tags that one of the patterns matches.
    pub fn to_tags(actions: impl IntoIterator<Item = Action>, tags: Vec<TagPattern>) -> Self {
        Self { actions: actions.into_iter().collect(), tags, readable: false }
    }

    /// Actions that see only what the caller may read.
    pub fn to_readable(actions: impl IntoIterator<Item = Action>) -> Self {
        Self { actions: actions.into_iter().collect(), tags: Vec::new(), readable: true }
    }
}

/// Whether an action is allowed on a resource by what a token grants.
///
/// `*` among the actions of a resource allows every action on it. Only push and delete can be limited to tags: a limit
/// on any other action grants nothing. [`catalog_view`] answers for the catalog, which can be limited to what is
/// readable.
pub fn allows(granted: &[Access], resource: &Resource, action: &Action) -> Permit {
    let relevant = || granted.iter().filter(|access| access.resource == *resource);
    if relevant().any(|access| has(&access.actions, action)) {
        return Permit::Yes;
    }
    if !matches!(action, Action::Push | Action::Delete) {
        return Permit::No;
    }
    let limits = relevant().flat_map(|access| &access.limited).filter(|limit| has(&limit.actions, action));
    let mut patterns = Vec::new();
    for pattern in limits.filter(|limit| !limit.readable).flat_map(|limit| &limit.tags) {
        if !patterns.contains(pattern) {
            patterns.push(pattern.clone());
        }
    }
    if patterns.is_empty() { Permit::No } else { Permit::OnlyTags(patterns) }
}

/// How much of the catalog what a token grants allows to list.
pub fn catalog_view(granted: &[Access]) -> CatalogView {
    let catalog = Resource::catalog();
    if allows(granted, &catalog, &Action::Any) == Permit::Yes {
        return CatalogView::Everything;
    }
    let mut limits = granted.iter().filter(|access| access.resource == catalog).flat_map(|access| &access.limited);
    if limits.any(|limit| limit.readable && limit.tags.is_empty() && has(&limit.actions, &Action::Any)) {
        return CatalogView::OnlyReadable;
    }
    CatalogView::Nothing
}

fn has(actions: &BTreeSet<Action>, action: &Action) -> bool {
    actions.contains(&Action::Any) || actions.contains(action)
}

#[cfg(test)]
pub(crate) mod tests;
