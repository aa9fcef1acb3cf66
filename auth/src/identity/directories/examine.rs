//! What a directory would mean for somebody here: their account, and the teams that their groups give.

use std::collections::BTreeSet;

use super::super::{
    Attempt, NotIdentified, Parts, Peer,
    foreign::stored_here,
    ldap::{By, Examination, Ldap, Person, Step, What, names::Dn},
};
use crate::accounts::{
    self,
    names::{Handle, folded},
    principals::{AccountState, PrincipalKind},
};

use shared::secret::Secret;

/// A directory that was looked at.
#[derive(Debug)]
pub struct Examined {
    /// Step by step.
    pub steps: Vec<Step>,
    /// The groups of whoever was looked for, by which rule they are in each, and the teams that it gives.
    pub groups: Vec<(Dn, By, BTreeSet<String>)>,
}

impl Examined {
    /// True if nothing failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.said.is_ok())
    }

    /// Every team, `<namespace>/<name>`.
    #[must_use]
    pub fn teams(&self) -> BTreeSet<&str> {
        self.groups.iter().flat_map(|(_, _, teams)| teams).map(String::as_str).collect()
    }
}

impl Parts {
    pub(in crate::identity) async fn examine(
        &self,
        provider: &str,
        name: Option<&str>,
        password: Option<&Secret<String>>,
        peer: Peer,
    ) -> Result<Option<Examined>, NotIdentified> {
        let Some(ldap) = self.directories.called(provider) else { return Ok(None) };
        let mut seen = match (name, password) {
            (Some(username), Some(secret)) => {
                let attempt = Attempt { username: Some(username), secret, service: None, peer };
                self.try_out(&ldap, username, &attempt).await?
            }
            _ => ldap.examine(name, None).await,
        };
        let mut groups = Vec::new();
        if let (Some(name), Some(person)) = (name, seen.person.take()) {
            let account = self.account_of(&ldap, name, &person).await?;
            seen.note(What::Account, name, account);
            if ldap.has_groups() {
                groups = self.teams_of(&ldap, &mut seen).await?;
            }
        }
        Ok(Some(Examined { steps: seen.steps, groups }))
    }

    /// Somebody else's password is tried as often as at a sign-in, and no oftener.
    async fn try_out(&self, ldap: &Ldap, name: &str, attempt: &Attempt<'_>) -> Result<Examination, NotIdentified> {
        let mut seen = Examination::default();
        let asked = async {
            seen = ldap.examine(Some(name), Some(attempt.secret)).await;
            Ok::<_, NotIdentified>(!seen.rejected)
        };
        match Box::pin(self.compare(attempt, name, None, asked)).await {
            // That the password is wrong is one of the steps.
            Ok(()) | Err(NotIdentified::Wrong) => Ok(seen),
            Err(error) => Err(error),
        }
    }

    /// Which account somebody of the directory signs in to under that name; or why they do not get there.
    async fn account_of(
        &self,
        ldap: &Ldap,
        name: &str,
        person: &Person,
    ) -> Result<Result<String, String>, accounts::Error> {
        let claimed = self.accounts.claimed(name).await?;
        if let Some(claimed) = &claimed {
            let owner = self.accounts.origin(claimed.principal.id).await?.map(|(owner, _)| owner);
            let local = stored_here(claimed).is_some() || claimed.principal.kind == PrincipalKind::Robot;
            if local || owner.is_some_and(|owner| owner != ldap.provider()) {
                let handle = &claimed.principal.handle;
                return Ok(Err(format!("{handle} is not this directory's account: it is never asked for the name")));
            }
        }
        if self.htpasswd.as_ref().is_some_and(|htpasswd| htpasswd.entry(name).is_some()) {
            return Ok(Err("the htpasswd file has the name: this directory is never asked for it".to_owned()));
        }
        if let Some(stored) = self.accounts.provided(ldap.provider(), &person.external_id).await? {
            let said = format!("{}, {}", stored.principal.handle, stored.principal.state.word());
            return Ok(if stored.principal.state == AccountState::Active { Ok(said) } else { Err(said) });
        }
        let handle = folded(&person.name).parse::<Handle>();
        Ok(match handle {
            Ok(handle) => Ok(format!("none yet: the first sign-in makes {}", handle.as_str())),
            Err(error) => Err(format!("{:?} cannot have an account: {error}", person.name)),
        })
    }

    async fn teams_of(
        &self,
        ldap: &Ldap,
        seen: &mut Examination,
    ) -> Result<Vec<(Dn, By, BTreeSet<String>)>, accounts::Error> {
        let fed = self.accounts.teams_fed_by(ldap.provider()).await?;
        let teams = |group: &Dn| -> BTreeSet<String> {
            fed.iter().filter(|(_, key)| key == group.as_str()).map(|(team, _)| team.clone()).collect()
        };
        let groups: Vec<_> =
            std::mem::take(&mut seen.groups).into_iter().map(|(group, by)| (teams(&group), group, by)).collect();
        let given: BTreeSet<&str> = groups.iter().flat_map(|(teams, _, _)| teams).map(String::as_str).collect();
        let said = match given.is_empty() {
            true => "none: no group of theirs feeds a team".to_owned(),
            false => given.into_iter().collect::<Vec<_>>().join(", "),
        };
        seen.note(What::Teams, ldap.name(), Ok(said));
        Ok(groups.into_iter().map(|(teams, group, by)| (group, by, teams)).collect())
    }
}
