//! Which directories there are, in the order in which they are asked: those of the settings, then those that were added. Whoever asks one
//! has a handle of their own.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Mutex;

use super::super::ldap::Ldap;
use crate::accounts::{self, ProviderId, providers::added::AddedDirectory};

/// All of them.
pub(in crate::identity) struct Directories {
    settings: Vec<Arc<Ldap>>,
    added: RwLock<Vec<Added>>,
    /// Raised whenever another set of directories is asked.
    generation: AtomicU64,
    /// Held from reading what is stored until it is taken up: who has read earlier must not have the last word.
    looking: Mutex<()>,
}

/// One that was added.
#[derive(Clone)]
struct Added {
    stored: AddedDirectory,
    /// None where it cannot be asked.
    ldap: Option<Arc<Ldap>>,
}

impl Directories {
    /// Those of the settings.
    pub(in crate::identity) fn new(all: Vec<Ldap>) -> Self {
        Self {
            settings: all.into_iter().map(Arc::new).collect(),
            added: RwLock::default(),
            generation: AtomicU64::default(),
            looking: Mutex::default(),
        }
    }

    /// Each of them.
    pub(in crate::identity) fn all(&self) -> Vec<Arc<Ldap>> {
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        self.settings.iter().chain(added.iter().filter_map(|added| added.ldap.as_ref())).cloned().collect()
    }

    /// True if there are none.
    pub(in crate::identity) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.added.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Where a name may be known: at its owner's alone, if it has one.
    pub(in crate::identity) fn of(&self, owner: Option<ProviderId>) -> Vec<Arc<Ldap>> {
        self.all().into_iter().filter(|ldap| owner.is_none_or(|owner| ldap.provider() == owner)).collect()
    }

    /// The one of that name.
    pub(in crate::identity) fn called(&self, name: &str) -> Option<Arc<Ldap>> {
        self.all().into_iter().find(|ldap| ldap.name() == name)
    }

    /// How many the settings have.
    pub(super) fn of_settings(&self) -> usize {
        self.settings.len()
    }

    /// True if the settings have one of that name.
    pub(super) fn are_of_settings(&self, name: &str) -> bool {
        self.settings.iter().any(|ldap| ldap.name() == name)
    }

    /// Changes with the set of directories.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes up what is read as stored: what is as before stays, with its connections. Answers those whose description is new here, and what
    /// else was read.
    pub(super) async fn take_up<T>(
        &self,
        read: impl Future<Output = Result<(Vec<AddedDirectory>, T), accounts::Error>>,
        open: impl Fn(&AddedDirectory) -> Option<Ldap>,
    ) -> Result<(Vec<AddedDirectory>, T), accounts::Error> {
        let _looking = self.looking.lock().await;
        let (stored, more) = read.await?;
        let known = self.added.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.iter().map(|added| &added.stored).eq(&stored) {
            return Ok((Vec::new(), more));
        }
        let mut new = Vec::new();
        let added = stored.into_iter().map(|stored| match known.iter().find(|known| known.stored == stored) {
            Some(known) => known.clone(),
            None => {
                new.push(stored.clone());
                Added { ldap: open(&stored).map(Arc::new), stored }
            }
        });
        let added = added.collect();
        *self.added.write().unwrap_or_else(PoisonError::into_inner) = added;
        self.generation.fetch_add(1, Ordering::Release);
        Ok((new, more))
    }
}
