//! Accounts of an LDAP directory: OpenLDAP, Active Directory and their kin.
//!
//! A directory proves passwords; what it says about an account is kept under the account's immutable id. That it says no, that it does
//! not know the name, and that it cannot be asked are three answers: only the first two end in 401.

pub mod config;
mod connection;
mod directory;
mod examine;
mod fault;
mod gate;
mod groups;
mod message;
pub mod names;
mod person;
#[cfg(test)]
pub(crate) mod tests;
pub mod written;

use std::{collections::BTreeSet, time::Duration};

use shared::secret::Secret;
use tokio::{sync::Semaphore, time::timeout};
use tracing::{info, warn};

use self::{
    config::{Config, Searcher},
    connection::{Bound, Entry, Search, signs_in_nobody},
    directory::Directory,
    groups::{Asking, Nesting},
    names::{Dn, Filter},
};
pub use self::{
    examine::{Examination, Step, What},
    fault::{Fault, NotAsked},
    groups::By,
    person::Person,
};
use crate::accounts::ProviderId;

/// Most sign-ins that one directory is asked for, or that wait for it: each holds a request for as long as the directory takes.
const MOST_AT_ONCE: usize = 256;
/// Most administrators who look at one directory at once: each asks every server of it.
const MOST_EXAMINE: usize = 4;
/// How long a sign-in may take, with every server that is tried.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(30);

/// A directory that proves who people are.
#[derive(Debug)]
pub struct Ldap {
    provider: ProviderId,
    config: Config,
    directory: Directory,
    nesting: Nesting,
    places: Semaphore,
    examining: Semaphore,
}

/// What a directory says to a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// That is who they are.
    Proved(Box<Person>),
    /// The directory has the name, and the password is not its.
    Rejected,
    /// The directory has the name, and says that its owner may not sign in.
    Disabled(Box<Person>),
    /// The directory does not have the name.
    Unknown,
}

impl Ldap {
    /// Reads the files that the settings name. Nobody is asked yet: a directory that is away does not keep the server from starting.
    ///
    /// # Errors
    /// A certificate, a key or a password cannot be read.
    pub fn new(provider: ProviderId, config: Config) -> Result<Self, NotAsked> {
        match Directory::new(&config) {
            Ok(directory) => Ok(Self {
                provider,
                config,
                directory,
                nesting: Nesting::default(),
                places: Semaphore::new(MOST_AT_ONCE),
                examining: Semaphore::new(MOST_EXAMINE),
            }),
            Err(fault) => Err(NotAsked { provider: config.name, fault }),
        }
    }

    /// Whether its certificates, its keys and its password can be used; nobody is asked.
    ///
    /// # Errors
    /// Which cannot.
    pub fn can_be_asked(config: &Config) -> Result<(), NotAsked> {
        Directory::new(config).map(drop).map_err(|fault| NotAsked { provider: config.name.clone(), fault })
    }

    /// Its row among the providers.
    #[must_use]
    pub fn provider(&self) -> ProviderId {
        self.provider
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// What it is asked, and where.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Asks whether the name's owner has this password.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn sign_in(&self, name: &str, password: &Secret<String>) -> Result<Verdict, NotAsked> {
        // Refused before a byte is sent.
        if signs_in_nobody(password) {
            return Ok(Verdict::Rejected);
        }
        let _place = self.places.try_acquire().map_err(|_| self.not_asked(Fault::Crowded))?;
        let asked = async {
            match &self.config.template {
                Some(template) => self.by_template(&template.name_of(name), password).await,
                None => self.by_search(name, password).await,
            }
        };
        let late = Fault::Slow { what: "signing in", limit: SIGN_IN_LIMIT };
        timeout(SIGN_IN_LIMIT, asked).await.unwrap_or(Err(late)).map_err(|fault| self.not_asked(fault))
    }

    /// The user with that id, if the directory still has them.
    ///
    /// # Errors
    /// The directory cannot be asked.
    pub async fn person(&self, external_id: &str) -> Result<Option<Person>, NotAsked> {
        let Some(search) = person::with_id(&self.config, external_id) else { return Ok(None) };
        self.one(&search).await.map_err(|fault| self.not_asked(fault))
    }

    /// True if there is somebody to ask for others: where users sign in by a template, that is who `bind` names and nobody else.
    #[must_use]
    pub fn has_reader(&self) -> bool {
        self.config.template.is_none() || !matches!(self.config.searcher, Searcher::Anonymous)
    }

    /// True if anybody asks for groups.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        self.config.groups.is_some()
    }

    /// Every group that somebody is in, groups in groups included where the settings say so: all of them, or the reason why not.
    ///
    /// # Errors
    /// The directory cannot be asked, or its answer is not whole.
    pub async fn groups(&self, person: &Person) -> Result<BTreeSet<Dn>, NotAsked> {
        let asked = async {
            let found = groups::of(&self.directory, &self.config, &self.nesting, person, Asking::AtOnce).await?;
            if let Some(groups) = self.config.groups.as_ref().filter(|_| found.is_empty()) {
                self.sees(&groups::any(groups), &groups.filter).await?;
            }
            Ok(found)
        };
        let late = Fault::Slow { what: "asking for groups", limit: SIGN_IN_LIMIT };
        let found = timeout(SIGN_IN_LIMIT, asked).await.unwrap_or(Err(late)).map_err(|fault| self.not_asked(fault))?;
        Ok(found.into_keys().collect())
    }

    /// All users of the directory, read in pages.
    ///
    /// # Errors
    /// The directory cannot be asked, or its answer is not whole: who is not in it may be there all the same.
    pub async fn everybody(&self) -> Result<Vec<Person>, NotAsked> {
        let search = person::everybody(&self.config);
        let limit = self.config.limits.reading;
        let late = Fault::Slow { what: "reading everybody", limit };
        let entries = timeout(limit, self.directory.search(&search)).await.unwrap_or(Err(late));
        let entries = entries.map_err(|fault| self.not_asked(fault))?;
        // Containers lie among the users: an entry without a name is nobody's.
        let named = entries.iter().filter(|entry| entry.text(self.config.users.name.as_str()).is_some());
        let people = named.map(|entry| Person::read(&self.config.users, entry));
        people.collect::<Result<Vec<_>, _>>().map_err(|fault| self.not_asked(fault))
    }

    fn not_asked(&self, fault: Fault) -> NotAsked {
        NotAsked { provider: self.config.name.clone(), fault }
    }

    async fn by_search(&self, name: &str, password: &Secret<String>) -> Result<Verdict, Fault> {
        let Some(person) = self.one(&person::called(&self.config, name)).await? else { return Ok(Verdict::Unknown) };
        let (bound, _) = self.directory.prove(&person.entry, password, None).await?;
        Ok(self.verdict(bound, Some(person)))
    }

    /// Who binds by a template reads their own entry; nobody else has to be able to.
    async fn by_template(&self, entry: &str, password: &Secret<String>) -> Result<Verdict, Fault> {
        let look = person::at(&self.config, entry);
        let (bound, entries) = self.directory.prove(entry, password, Some(&look)).await?;
        let person = self.only(&entries)?;
        Ok(self.verdict(bound, person))
    }

    /// The user whom a search finds. That it finds nobody counts where it could have found somebody.
    async fn one(&self, search: &Search) -> Result<Option<Person>, Fault> {
        let found = self.only(&self.directory.search(search).await?)?;
        if found.is_none() {
            self.sees(&person::anybody(&self.config), &self.config.users.filter).await?;
        }
        Ok(found)
    }

    /// Proves that the searcher may read at all: to somebody who may not, directories say that there is nothing.
    async fn sees(&self, any: &Search, filter: &Filter) -> Result<(), Fault> {
        match self.directory.search(any).await {
            Ok(seen) if seen.is_empty() => {
                Err(Fault::Blind { base: any.base.clone(), filter: filter.as_str().to_owned() })
            }
            // Limits of time, size and administrators: there is more than it may look at.
            Ok(_) | Err(Fault::Incomplete { code: 3 | 4 | 11, .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn only(&self, entries: &[Entry]) -> Result<Option<Person>, Fault> {
        match entries {
            [] => Ok(None),
            [entry] => Person::read(&self.config.users, entry).map(Some),
            _ => Err(Fault::Ambiguous),
        }
    }

    fn verdict(&self, bound: Bound, person: Option<Person>) -> Verdict {
        if let Bound::No { code, text } = &bound {
            // The words say why (Active Directory: data 533, disabled; 775, locked out), to the operator alone.
            info!(provider = self.name(), code, text, "a directory refused a password");
        }
        match (bound, person) {
            // Whatever the password is: some directories refuse the right one, too.
            (_, Some(person)) if person.disabled => Verdict::Disabled(Box::new(person)),
            (Bound::No { .. }, _) => Verdict::Rejected,
            (Bound::Yes, Some(person)) => Verdict::Proved(Box::new(person)),
            (Bound::Yes, None) => {
                warn!(provider = self.name(), "somebody signed in to the directory whose entry is none of the users'");
                Verdict::Unknown
            }
        }
    }
}
