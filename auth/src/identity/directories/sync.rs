//! What directories say about everybody, every quarter of an hour: who left loses access without signing in.
//!
//! Everything is read before anything is changed. An answer that is not whole changes nothing, and one that would take away too much at
//! once is more likely a mistake in the directory than a truth.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tracing::{error, info, warn};

use super::super::{
    NotIdentified, Parts,
    ldap::{Fault, Ldap, Person},
};
use crate::{
    accounts::{
        self, PrincipalId, TeamId,
        memberships::{Fed, Feeding, Said},
        principals::AccountState,
    },
    audit::{Actor, Event, EventName},
    metrics::{Answer, Reading},
};

/// So many may always go at once.
const FEW: usize = 5;
/// And so many of a hundred.
const PERCENT: usize = 30;

/// What is to be done about one account.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is gone there, or disabled.
    Leaves,
    /// It is there, with these groups.
    Has(BTreeSet<String>),
    /// It is there, and which groups it has cannot be said.
    Stays,
}

impl Parts {
    /// Brings the accounts of every directory up to what it says now.
    pub(in crate::identity) async fn sync(&self) {
        // Where nobody searches, nobody reads in the background: that is no reading, neither good nor bad.
        for ldap in self.directories.all().iter().filter(|ldap| ldap.has_reader()) {
            let reading = self.sync_one(ldap).await.unwrap_or_else(|error| {
                match error {
                    NotIdentified::NotAsked(error) => {
                        warn!(%error, "a directory was not read; nobody loses anything by it");
                    }
                    error => error!(%error, provider = ldap.name(), "what a directory says was not written"),
                }
                Reading::Failed
            });
            self.metrics.read(ldap.name(), reading, self.clock.now());
        }
    }

    async fn sync_one(&self, ldap: &Ldap) -> Result<Reading, NotIdentified> {
        let fed = self.accounts.fed(ldap.provider()).await?;
        if fed.is_empty() {
            return Ok(Reading::Done);
        }
        let everybody = self.counted(ldap, ldap.everybody(), |_| Answer::Told).await?;
        let active = fed.iter().filter(|fed| fed.state == AccountState::Active).count();
        // Whoever may no longer read gets the answer of whoever finds nothing. However few they are, that they are all gone is no truth.
        if everybody.is_empty() && active > 0 {
            return self.stop(ldap, "accounts", active, active).await;
        }
        let people: BTreeMap<&str, &Person> = everybody
            .iter()
            .filter(|person| !person.disabled)
            .map(|person| (person.external_id.as_str(), person))
            .collect();
        let mut fates = Vec::with_capacity(fed.len());
        for fed in &fed {
            fates.push(match people.get(fed.external_id.as_str()) {
                None => Fate::Leaves,
                Some(person) => self.fate_of(ldap, person).await?,
            });
        }
        let feeding = self.accounts.feeding(ldap.provider()).await?;
        if let Some((what, lost, of)) = too_many(&fed, &fates, &feeding) {
            return self.stop(ldap, &what, lost, of).await;
        }
        self.apply(ldap, &fed, fates, &feeding).await?;
        Ok(Reading::Done)
    }

    async fn fate_of(&self, ldap: &Ldap, person: &Person) -> Result<Fate, NotIdentified> {
        match self.groups_of(ldap, person).await {
            Ok(groups) => Ok(Fate::Has(groups)),
            // That is about this one, and keeps nobody else waiting.
            Err(error) if matches!(error.fault, Fault::TooMany { .. }) => {
                warn!(%error, entry = person.entry, "somebody's groups were not read");
                Ok(Fate::Stays)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes nothing, and says so.
    async fn stop(&self, ldap: &Ldap, what: &str, lost: usize, of: usize) -> Result<Reading, NotIdentified> {
        error!(provider = ldap.name(), what, lost, of, "a directory takes too many away at once: nothing was changed");
        let details = json!({ "what": what, "would_lose": lost, "of": of });
        let event = Event::done(EventName::SyncStopped, ldap.name()).with(details);
        self.accounts.note(&Actor::system(), event).await?;
        Ok(Reading::Stopped)
    }

    async fn apply(
        &self,
        ldap: &Ldap,
        fed: &[Fed],
        fates: Vec<Fate>,
        feeding: &Feeding,
    ) -> Result<(), accounts::Error> {
        let provider = ldap.provider();
        let (mut unchanged, mut changed) = (Vec::new(), 0);
        for (fed, fate) in fed.iter().zip(fates) {
            let said = Said::Before { lease: self.turn.clone(), groups_at: fed.groups_at };
            match fate {
                Fate::Leaves if fed.state == AccountState::Active => {
                    changed += 1;
                    self.accounts.disable_provided(provider, &fed.external_id, said).await?;
                }
                Fate::Leaves | Fate::Stays => {}
                Fate::Has(groups) => {
                    if fed.state == AccountState::Disabled {
                        changed += 1;
                        self.accounts.enable_provided(provider, &fed.external_id, said.clone()).await?;
                    }
                    if !ldap.has_groups() {
                        continue;
                    }
                    let follows = wanted(feeding, &groups) == current(feeding, fed.principal);
                    match fed.groups_at {
                        Some(at) if follows && fed.groups.as_ref() == Some(&groups) => {
                            unchanged.push((fed.external_id.clone(), at));
                        }
                        _ => {
                            changed += 1;
                            self.accounts.set_groups(provider, &fed.external_id, groups, said).await?;
                        }
                    }
                }
            }
        }
        self.accounts.confirm_groups(provider, &self.turn, &unchanged).await?;
        info!(provider = ldap.name(), accounts = fed.len(), changed, "a directory was read");
        Ok(())
    }
}

/// What would be lost where that is more than [`FEW`] and more than [`PERCENT`] of it: members of a team, or accounts.
fn too_many(fed: &[Fed], fates: &[Fate], feeding: &Feeding) -> Option<(String, usize, usize)> {
    let exceeds = |lost: usize, of: usize| lost > FEW && lost * 100 > of * PERCENT;
    let active = fed.iter().filter(|fed| fed.state == AccountState::Active).count();
    let leaving =
        fed.iter().zip(fates).filter(|(fed, fate)| fed.state == AccountState::Active && **fate == Fate::Leaves).count();
    if exceeds(leaving, active) {
        return Some(("accounts".to_owned(), leaving, active));
    }
    let fates: BTreeMap<PrincipalId, (&Fed, &Fate)> =
        fed.iter().zip(fates).map(|(fed, fate)| (fed.principal, (fed, fate))).collect();
    let mut teams: BTreeMap<TeamId, (usize, usize)> = BTreeMap::new();
    for (team, member) in &feeding.members {
        // Who is disabled already has lost the team long since.
        let Some((fed, fate)) = fates.get(member).filter(|(fed, _)| fed.state != AccountState::Disabled) else {
            continue;
        };
        let stays = match fate {
            Fate::Leaves => fed.state != AccountState::Active,
            Fate::Has(groups) => wanted(feeding, groups).contains(team),
            Fate::Stays => true,
        };
        let (lost, of) = teams.entry(*team).or_default();
        *lost += usize::from(!stays);
        *of += 1;
    }
    let (team, (lost, of)) = teams.into_iter().find(|(_, (lost, of))| exceeds(*lost, *of))?;
    Some((format!("team {team}"), lost, of))
}

fn wanted(feeding: &Feeding, groups: &BTreeSet<String>) -> BTreeSet<TeamId> {
    feeding.mappings.iter().filter(|(_, group)| groups.contains(group)).map(|(team, _)| *team).collect()
}

fn current(feeding: &Feeding, principal: PrincipalId) -> BTreeSet<TeamId> {
    feeding.members.iter().filter(|(_, member)| *member == principal).map(|(team, _)| *team).collect()
}

#[cfg(test)]
mod tests;
