//! Who may do what: grants, visibility and guardrails, and the one place that adds them up.
//!
//! Everything here is pure. The accounts load the rules, the clock is a parameter, and the token endpoint, the readable
//! patterns, the administration and explain all ask the same functions, so that no two of them can disagree.
//!
//! Grants are additive, and what no grant allows is refused. There is no first match and no order to get wrong.
//! Guardrails are subtracted last and bind everyone, system administrators too.

use std::sync::Arc;

mod actions;
mod caller;
mod decide;
mod delegation;
mod explain;
mod grant;
mod holders;
mod namespace;
mod readable;
mod refusal;
#[cfg(test)]
mod tests;

pub use actions::{Actions, ActionsError, Role, RoleError};
pub use caller::{
    ApiLevel, ApiLevelError, Caller, CallerKind, CredentialScope, CredentialScopeError, MAX_SCOPE_ENTRIES, SystemRole,
    SystemRoleError,
};
pub use decide::{Decision, Origin, administers, decide};
pub use delegation::{
    NotGiven, ProposedGrant, ProposedGuardrail, Recipient, is_sound, is_sound_guardrail, may_write,
    may_write_guardrail, rules_the_system,
};
pub use explain::{Explained, Lacking, NearestMiss, Reason, RuleSeen, View, Why, WhyNot, explain};
pub use grant::{Grant, Guardrail, MAX_TAG_PATTERNS, SYSTEM_NAMESPACE, Subject, TagPatterns, TagPatternsError};
pub use holders::{Barred, Held, Holder, barred, held};
pub use namespace::{Catalog, CatalogError, Namespace, Namespaces, Visibility, VisibilityError};
pub use readable::readable;
pub use refusal::shortfalls;

/// The rules that a decision is made under, as they stood in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Grants. Those of other subjects do no harm: explain names the nearest of them.
    pub grants: Arc<[Grant]>,
    /// Guardrails, all of them.
    pub guardrails: Arc<[Guardrail]>,
    /// The living namespaces, at least those that are asked about; all of them for the readable patterns.
    pub namespaces: Arc<Namespaces>,
    /// Who may list the catalog of the service that is asked for.
    pub catalog: Catalog,
}

impl Rules {
    /// The rules as they would be with another grant.
    #[must_use]
    pub fn with_grant(self, grant: Grant) -> Self {
        Self { grants: self.grants.iter().cloned().chain([grant]).collect(), ..self }
    }

    /// The rules as they would be with another guardrail.
    #[must_use]
    pub fn with_guardrail(self, guardrail: Guardrail) -> Self {
        Self { guardrails: self.guardrails.iter().cloned().chain([guardrail]).collect(), ..self }
    }
}
