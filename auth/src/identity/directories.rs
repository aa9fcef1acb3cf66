//! Passwords that a directory proves. A directory that cannot be asked is no failed login, and nobody else is asked instead: another
//! directory may have the same name for somebody else.

mod added;
mod examine;
mod list;
mod sync;
mod turns;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    Attempt, Identity, NotIdentified, Parts,
    ldap::{Ldap, NotAsked, Person, Verdict},
    remembered::Proof,
};
use crate::{
    accounts::{
        self, PrincipalId, ProviderId, Refusal,
        credentials::{Claimed, Stored},
        memberships::{Fed, Said},
        names::{Handle, folded},
        providers::{Proved, Provided},
    },
    metrics::Answer,
};

pub use added::NotAdded;
pub use examine::Examined;
pub(super) use list::Directories;
pub(super) use turns::{LEADER, LEASE};

/// How old what a directory said about somebody's groups may be where it cannot be asked again.
pub(super) const GROUPS_LAST: Duration = Duration::from_secs(3600);

impl Parts {
    /// A password of somebody whom no account of this server and no file knows.
    pub(super) async fn directory_password(
        &self,
        attempt: &Attempt<'_>,
        username: &str,
        claimed: Option<&Claimed>,
    ) -> Result<Identity, NotIdentified> {
        // A filter for nothing, or a template without a name, is a question about nobody.
        if username.trim().is_empty() {
            return self.refuse(attempt, username).await;
        }
        let owner = match claimed {
            Some(claimed) => self.accounts.origin(claimed.principal.id).await?.map(|(provider, _)| provider),
            None => None,
        };
        let known = self.known(username, owner).await?;
        if let Some((ldap, provided)) = &known {
            let Stored { principal, credential, .. } = &provided.stored;
            let proof = Proof { provider: ldap.name(), account: principal.id, credential: credential.id };
            if self.remembers(attempt, username, &proof).await? {
                return self.active(principal, credential, attempt);
            }
        }
        let mut proved = None;
        let asked = async {
            proved = self.ask(attempt, username, owner, known.as_ref()).await?;
            Ok::<_, NotIdentified>(proved.is_some())
        };
        let account = known.as_ref().map(|(_, provided)| provided.stored.principal.id);
        // On the heap: what is asked of a directory is much.
        Box::pin(self.compare(attempt, username, account, asked)).await?;
        let Some((ldap, person)) = proved else { return Err(NotIdentified::Wrong) };
        let stored = self.provision(&ldap, &person).await?;
        self.refresh_groups(&ldap, &person, stored.principal.id).await?;
        let proof = Proof { provider: ldap.name(), account: stored.principal.id, credential: stored.credential.id };
        self.remembered.insert(&proof, attempt.secret);
        self.active(&stored.principal, &stored.credential, attempt)
    }

    /// The account that a directory made for this name, if one did: the owner of the name, or the first that has it.
    async fn known(
        &self,
        username: &str,
        owner: Option<ProviderId>,
    ) -> Result<Option<(Arc<Ldap>, Provided)>, NotIdentified> {
        for ldap in self.directories.of(owner) {
            if let Some(provided) = self.accounts.provided_as(ldap.provider(), username).await? {
                return Ok(Some((ldap, provided)));
            }
        }
        Ok(None)
    }

    /// Asks the directories for the name, and where none has it, the one that made an account of that name for what it calls that
    /// account itself.
    async fn ask(
        &self,
        attempt: &Attempt<'_>,
        username: &str,
        owner: Option<ProviderId>,
        known: Option<&(Arc<Ldap>, Provided)>,
    ) -> Result<Option<(Arc<Ldap>, Box<Person>)>, NotIdentified> {
        for ldap in self.directories.of(owner) {
            let mut verdict = self.sign_in(&ldap, username, attempt).await?;
            if verdict == Verdict::Unknown
                && let Some((_, provided)) = known.filter(|(known, _)| known.provider() == ldap.provider())
                && folded(&provided.external_name) != folded(username)
            {
                verdict = self.sign_in(&ldap, &provided.external_name, attempt).await?;
            }
            match verdict {
                Verdict::Proved(person) => return Ok(Some((ldap, person))),
                // Hashed like a name that nobody has: the time does not tell which names the directory knows.
                Verdict::Rejected => break,
                Verdict::Disabled(person) => {
                    self.accounts.disable_provided(ldap.provider(), &person.external_id, Said::Now).await?;
                    break;
                }
                Verdict::Unknown => {}
            }
        }
        self.compare_with_nothing(attempt, &folded(username)).await?;
        Ok(None)
    }

    async fn sign_in(&self, ldap: &Ldap, name: &str, attempt: &Attempt<'_>) -> Result<Verdict, NotAsked> {
        let answer = |verdict: &Verdict| match verdict {
            Verdict::Proved(_) => Answer::Proved,
            Verdict::Rejected => Answer::Rejected,
            Verdict::Disabled(_) => Answer::Disabled,
            Verdict::Unknown => Answer::Unknown,
        };
        self.counted(ldap, ldap.sign_in(name, attempt.secret), answer).await
    }

    async fn groups_of(&self, ldap: &Ldap, person: &Person) -> Result<BTreeSet<String>, NotAsked> {
        let groups = self.counted(ldap, ldap.groups(person), |_| Answer::Told).await?;
        Ok(groups.iter().map(ToString::to_string).collect())
    }

    /// Asks a directory, and counts what it answers.
    async fn counted<T>(
        &self,
        ldap: &Ldap,
        asked: impl Future<Output = Result<T, NotAsked>>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Result<T, NotAsked> {
        let begun = Instant::now();
        let answered = asked.await;
        self.metrics.asked(ldap.name(), answered.as_ref().map_or(Answer::Failed, answer), begun.elapsed());
        answered
    }

    /// The account of somebody who has just proved a password, made at their first sign-in.
    async fn provision(&self, ldap: &Ldap, person: &Person) -> Result<Stored, NotIdentified> {
        // Folded: directories compare names without regard to case, and `{username}` in a pattern means a small one.
        let handle: Handle = match folded(&person.name).parse() {
            Ok(handle) => handle,
            Err(error) => {
                warn!(provider = ldap.name(), entry = person.entry, %error, "an entry of the directory cannot have an account");
                return Err(NotIdentified::Wrong);
            }
        };
        let proved = Proved {
            external_id: person.external_id.clone(),
            external_name: person.name.clone(),
            handle,
            display_name: person.display_name.clone(),
            fingerprint: person.fingerprint.clone(),
        };
        match self.accounts.provision(ldap.provider(), proved).await {
            // It was removed while it was asked.
            Err(accounts::Error::Refused(Refusal::ProviderUnknown)) => Err(NotIdentified::Wrong),
            provisioned => Ok(provisioned?),
        }
    }
}

impl Parts {
    /// Asks for the groups of somebody who signs in. Where they cannot be had, those of the last hour still hold; after that nobody is
    /// given fewer rights than they have.
    async fn refresh_groups(&self, ldap: &Ldap, person: &Person, principal: PrincipalId) -> Result<(), NotIdentified> {
        if !ldap.has_groups() {
            return Ok(());
        }
        match self.groups_of(ldap, person).await {
            Ok(groups) => Ok(self.accounts.set_groups(ldap.provider(), &person.external_id, groups, Said::Now).await?),
            Err(error) => {
                let known = self.accounts.fed_by(principal).await?;
                if !known.is_some_and(|(_, fed)| self.are_recent(&fed)) {
                    return Err(error.into());
                }
                warn!(%error, "somebody signs in with the groups of the last hour");
                Ok(())
            }
        }
    }

    /// What `docker login` keeps opens what the directory's groups open: they are asked for again when they are older than an hour.
    pub(super) async fn recent_groups(&self, principal: PrincipalId) -> Result<(), NotIdentified> {
        let Some((provider, fed)) = self.accounts.fed_by(principal).await? else { return Ok(()) };
        let Some(ldap) = self.directories.of(Some(provider)).into_iter().find(|ldap| ldap.has_groups()) else {
            return Ok(());
        };
        if self.are_recent(&fed) {
            return Ok(());
        }
        match self.counted(&ldap, ldap.person(&fed.external_id), |_| Answer::Told).await? {
            Some(person) if !person.disabled => {
                let groups = self.groups_of(&ldap, &person).await?;
                Ok(self.accounts.set_groups(provider, &fed.external_id, groups, Said::Now).await?)
            }
            _ => {
                self.accounts.disable_provided(provider, &fed.external_id, Said::Now).await?;
                Err(NotIdentified::Wrong)
            }
        }
    }

    fn are_recent(&self, fed: &Fed) -> bool {
        fed.groups_at.is_some_and(|at| self.clock.now() < at + GROUPS_LAST)
    }
}

#[cfg(test)]
mod tests;
