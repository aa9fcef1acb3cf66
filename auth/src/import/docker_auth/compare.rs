//! Both answers, for every account and every sample.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    access::{Action, Resource},
    clock::Timestamp,
    repository::RepositoryName,
    scope::Scope,
};

use super::{
    Changed,
    acl::View,
    config::{Config, User},
    samples::Samples,
};
use crate::{
    accounts::{
        names::folded,
        setup::{Document, GrantPart, SubjectName},
    },
    permissions::{
        Actions, Caller, CallerKind, Grant, Namespace, Rules, SYSTEM_NAMESPACE, Subject, Visibility, decide,
    },
};

/// How somebody is called who signs in and does not stand in the file.
const ANYBODY_ELSE: &str = "*";

/// The pairs whose answer changes, and how many there are in all. Namespaces of samples count as known: what is compared are the rules.
pub(super) fn differences(
    config: &Config,
    views: &[View<'_>],
    document: &Document,
    samples: &Samples,
) -> (Vec<Changed>, usize) {
    let world = World::of(config, document, samples);
    let stranger = User::stranger();
    let (mut changed, mut compared) = (Vec::new(), 0);
    for view in views {
        let caller = world.caller(view.user);
        for repository in samples.of_account(view.user) {
            compared += 1;
            let (before, after) = (view.allows(repository.as_str()), world.allows(&caller, repository));
            if before != after {
                let account = if view.user.name == stranger.name { ANYBODY_ELSE } else { &view.user.name };
                let (account, repository) = (account.to_owned(), repository.as_str().to_owned());
                let more = !before.contains(after);
                changed.push(Changed { account, repository, before: text(before), after: text(after), more });
            }
        }
    }
    (changed, compared)
}

fn text(actions: Actions) -> String {
    if actions.is_empty() { "nothing".to_owned() } else { actions.to_string() }
}

/// The document as if it had been applied to nothing.
struct World {
    rules: Rules,
    accounts: BTreeMap<String, i64>,
    /// Teams by namespace and name, with the folded names of members.
    teams: BTreeMap<(String, String), (i64, BTreeSet<String>)>,
}

impl World {
    fn of(config: &Config, document: &Document, samples: &Samples) -> Self {
        let accounts = config.users.iter().zip(1..).map(|(user, id)| (folded(&user.name), id)).collect();
        let written = document.namespaces.iter().flatten();
        let names: BTreeSet<&str> = written
            .clone()
            .map(|part| part.name.as_str())
            .chain(samples.all().map(RepositoryName::namespace))
            .collect();
        let namespaces: Vec<Namespace> = names
            .into_iter()
            .zip(1..)
            .map(|(name, id)| Namespace { id, name: name.to_owned(), visibility: Visibility::Private })
            .collect();
        let parts = written.clone().flat_map(|part| part.teams.iter().flatten().map(move |team| (part, team)));
        let teams = parts.zip(1..).map(|((part, team), id)| {
            let members = team.members.iter().flatten().map(|member| folded(&member.value)).collect();
            ((part.name.to_string(), team.name.as_str().to_owned()), (id, members))
        });
        let mut world = Self { rules: Rules::default(), accounts, teams: teams.collect() };
        let id_of = |name: &str| {
            namespaces
                .iter()
                .find(|namespace| namespace.name == name)
                .map_or(SYSTEM_NAMESPACE, |namespace| namespace.id)
        };
        let within =
            written.flat_map(|part| part.grants.iter().flatten().map(move |grant| (part.name.as_str(), &grant.value)));
        let beyond = document.grants.iter().flatten().map(|grant| ("", &grant.value));
        let grants = within.chain(beyond).filter_map(|(home, grant)| world.grant(home, id_of(home), grant));
        let grants: Vec<Grant> = grants.collect();
        world.rules = Rules {
            grants: grants.into(),
            namespaces: std::sync::Arc::new(namespaces.into_iter().collect()),
            ..Rules::default()
        };
        world
    }

    fn grant(&self, home: &str, namespace: i64, part: &GrantPart) -> Option<Grant> {
        let subject = match &part.subject {
            SubjectName::Everyone => Subject::Everyone,
            SubjectName::Authenticated => Subject::Authenticated,
            SubjectName::Account(name) => Subject::Principal(*self.accounts.get(&folded(name))?),
            SubjectName::Team(owner, team) => {
                let owner = owner.as_ref().map_or_else(|| home.to_owned(), ToString::to_string);
                Subject::Team(self.teams.get(&(owner, team.as_str().to_owned()))?.0)
            }
        };
        let (pattern, actions) = (part.repositories.clone(), part.actions);
        Some(Grant { id: 0, namespace, subject, pattern, actions, tags: None, expires_at: None })
    }

    fn caller(&self, user: &User) -> Caller {
        let Some(handle) = &user.handle else { return Caller::anonymous() };
        let name = handle.folded();
        let teams =
            self.teams.values().filter(|(_, members)| members.contains(&name)).map(|(id, _)| *id).collect::<Vec<_>>();
        let id = self.accounts.get(&name).copied().unwrap_or_default();
        Caller::principal(CallerKind::User, id, handle.to_string(), teams)
    }

    fn allows(&self, caller: &Caller, repository: &RepositoryName) -> Actions {
        let asked = Scope::new(Resource::repository(repository), [Action::Pull, Action::Push, Action::Delete]);
        let decision = decide(Timestamp::EPOCH, caller, &self.rules, &[asked]);
        decision.access.iter().flat_map(|access| &access.actions).map(Actions::of).collect()
    }
}
