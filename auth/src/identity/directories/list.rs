//! Which directories there are, in the order in which they are asked. Whoever asks one has a handle of their own.

use std::sync::Arc;

use super::super::ldap::Ldap;
use crate::accounts::ProviderId;

/// All of them.
pub(in crate::identity) struct Directories(Vec<Arc<Ldap>>);

impl Directories {
    /// Those of the settings.
    pub(in crate::identity) fn new(all: Vec<Ldap>) -> Self {
        Self(all.into_iter().map(Arc::new).collect())
    }

    /// Each of them.
    pub(in crate::identity) fn all(&self) -> &[Arc<Ldap>] {
        &self.0
    }

    /// True if there are none.
    pub(in crate::identity) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a name may be known: at its owner's alone, if it has one.
    pub(in crate::identity) fn of(&self, owner: Option<ProviderId>) -> Vec<Arc<Ldap>> {
        self.0.iter().filter(|ldap| owner.is_none_or(|owner| ldap.provider() == owner)).cloned().collect()
    }

    /// The one of that name.
    pub(in crate::identity) fn called(&self, name: &str) -> Option<Arc<Ldap>> {
        self.0.iter().find(|ldap| ldap.name() == name).cloned()
    }
}
