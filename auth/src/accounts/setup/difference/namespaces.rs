//! Namespaces with their teams and robots.

use std::collections::BTreeSet;

use shared::settings::Placed;

use super::{Comparison, fits, unfit, until};
use crate::accounts::{
    names::{Label, NamespaceName, folded},
    setup::{
        Document, Existing, Unfit,
        current::{Account, NamespaceRow},
        document::{MappingPart, NamespacePart, RobotPart, Standing, TeamPart},
        steps::{AccountRef, Action, Line, TeamRef, Verb},
    },
};

const NAMESPACE: &str = "namespace";
const TEAM: &str = "team";
const MEMBER: &str = "member";
const MAPPING: &str = "mapping";
const ROBOT: &str = "robot";

impl Comparison<'_> {
    pub(super) fn namespaces(&mut self, document: &Document) -> Result<(), Unfit> {
        let Some(namespaces) = &document.namespaces else { return Ok(()) };
        let current = self.current;
        for part in namespaces {
            let row = current.namespace(part.name.as_str());
            self.namespace(part, row);
            self.teams(part, row)?;
            self.robots(part, row)?;
            self.grants(part, row.map(|row| row.id))?;
        }
        let said: BTreeSet<&str> = namespaces.iter().map(|part| part.name.as_str()).collect();
        for row in current.namespaces.values().filter(|row| !said.contains(row.name.as_str())) {
            let Ok(name) = row.name.parse() else { continue };
            let line = Line::new(Verb::Remove, NAMESPACE, &row.name).before(row.visibility.as_str());
            self.missing(line, Action::DeleteNamespace { name });
        }
        Ok(())
    }

    fn namespace(&mut self, part: &Placed<NamespacePart>, row: Option<&NamespaceRow>) {
        let (name, visibility) = (part.name.clone(), part.visibility);
        let line = |verb| Line::new(verb, NAMESPACE, name.as_str()).after(visibility.as_str());
        match row {
            None => {
                self.step(&part.place, line(Verb::Create), Action::CreateNamespace { name: name.clone(), visibility });
            }
            Some(row) if row.visibility != visibility => {
                let line = line(Verb::Change).before(row.visibility.as_str());
                self.differs(&part.place, line, Action::SetVisibility { name: name.clone(), visibility });
            }
            Some(_) => {}
        }
    }

    fn teams(&mut self, part: &Placed<NamespacePart>, row: Option<&NamespaceRow>) -> Result<(), Unfit> {
        let Some(teams) = &part.teams else { return Ok(()) };
        let current = self.current;
        for team in teams {
            let known = row.and_then(|row| current.team(row.id, team.name.as_str())).map(|known| known.id);
            let team_ref = TeamRef(part.name.clone(), team.name.clone());
            if known.is_none() {
                self.step(
                    &team.place,
                    Line::new(Verb::Create, TEAM, named(&team_ref)),
                    Action::CreateTeam { team: team_ref.clone() },
                );
            }
            self.members(team, &team_ref, known)?;
            self.mappings(team, &team_ref, known)?;
        }
        let said: BTreeSet<&str> = teams.iter().map(|team| team.name.as_str()).collect();
        for known in
            row.into_iter().flat_map(|row| current.teams_of(row.id)).filter(|team| !said.contains(team.name.as_str()))
        {
            let Ok(name) = known.name.parse::<Label>() else { continue };
            let team = TeamRef(part.name.clone(), name);
            self.missing(Line::new(Verb::Remove, TEAM, named(&team)), Action::DeleteTeam { team });
        }
        Ok(())
    }

    fn members(&mut self, part: &Placed<TeamPart>, team: &TeamRef, known: Option<i64>) -> Result<(), Unfit> {
        let Some(members) = &part.members else { return Ok(()) };
        let there: Vec<&Account> = known.map(|id| self.current.members_of(id)).unwrap_or_default();
        let mut said = BTreeSet::new();
        for member in members {
            let name = folded(&member.value);
            if !self.accounts.contains_key(&name) {
                return Err(unfit(&member.place, format!("there is no account called {:?}", member.value)));
            }
            if !said.insert(name.clone()) {
                return Err(unfit(&member.place, format!("{:?} stands here twice", member.value)));
            }
            if there.iter().all(|account| account.folded != name) {
                let line = Line::new(Verb::Create, MEMBER, format!("{} in {}", member.value, named(team)));
                self.step(&member.place, line, Action::AddMember { team: team.clone(), member: AccountRef(name) });
            }
        }
        for account in there.into_iter().filter(|account| !said.contains(&account.folded)) {
            let line = Line::new(Verb::Remove, MEMBER, format!("{} in {}", account.handle, named(team)));
            let member = AccountRef(account.folded.clone());
            self.missing(line, Action::RemoveMember { team: team.clone(), member });
        }
        Ok(())
    }

    fn mappings(&mut self, part: &Placed<TeamPart>, team: &TeamRef, known: Option<i64>) -> Result<(), Unfit> {
        let Some(mappings) = &part.mappings else { return Ok(()) };
        let rows = known.map(|id| self.current.mappings_of(id)).unwrap_or_default();
        let there: BTreeSet<(&str, &str)> =
            rows.iter().map(|row| (row.provider.as_str(), row.group.as_str())).collect();
        let mut said = BTreeSet::new();
        let line = |verb, provider: &str, group: &str| {
            Line::new(verb, MAPPING, format!("{group} of {provider} to {}", named(team)))
        };
        for mapping in mappings {
            let MappingPart { provider, group } = &mapping.value;
            let Some(id) = self.current.providers.get(provider).copied() else {
                return Err(unfit(&mapping.place, format!("there is no provider called {provider:?}")));
            };
            if !said.insert((provider.as_str(), group.as_str())) {
                return Err(unfit(&mapping.place, format!("{group:?} of {provider:?} stands here twice")));
            }
            if !there.contains(&(provider.as_str(), group.as_str())) {
                let action = Action::Map { team: team.clone(), provider: id, group: group.clone() };
                self.step(&mapping.place, line(Verb::Create, provider, group), action);
            }
        }
        for (provider, group) in there.into_iter().filter(|pair| !said.contains(pair)) {
            let Some(id) = self.current.providers.get(provider).copied() else { continue };
            let action = Action::Unmap { team: team.clone(), provider: id, group: group.to_owned() };
            self.missing(line(Verb::Remove, provider, group), action);
        }
        Ok(())
    }

    fn robots(&mut self, part: &Placed<NamespacePart>, row: Option<&NamespaceRow>) -> Result<(), Unfit> {
        let Some(robots) = &part.robots else { return Ok(()) };
        let current = self.current;
        let mut said = BTreeSet::new();
        for robot in robots {
            fits(&robot.place, &robot.purpose)?;
            let handle = robot.name.handle_in(&part.name);
            said.insert(folded(&handle));
            let known = row.and_then(|row| current.account(&folded(&handle)).filter(|known| known.namespace == row.id));
            match known {
                None => self.new_robot(robot, &part.name, &handle),
                Some(account) => self.known_robot(robot, account),
            }
            self.keys(robot, &handle, known.map(|account| account.id))?;
        }
        let there = row.into_iter().flat_map(|row| current.robots_of(row.id));
        for account in there.filter(|account| !said.contains(&account.folded)) {
            let line = Line::new(Verb::Remove, ROBOT, &account.handle);
            self.missing(line, Action::DeleteAccount { account: AccountRef(account.folded.clone()) });
        }
        Ok(())
    }

    fn new_robot(&mut self, robot: &Placed<RobotPart>, namespace: &NamespaceName, handle: &str) {
        let action = Action::CreateRobot {
            namespace: namespace.clone(),
            name: robot.name.clone(),
            purpose: robot.purpose.clone(),
            expires_at: robot.expires_at,
        };
        self.step(&robot.place, Line::new(Verb::Create, ROBOT, handle).after(until(robot.expires_at)), action);
        if robot.state == Some(Standing::Suspended) {
            self.suspend_new(&robot.place, ROBOT, handle, folded(handle));
        }
    }

    fn known_robot(&mut self, robot: &Placed<RobotPart>, account: &Account) {
        if self.mode.existing == Existing::Keep {
            return self
                .keep(Line::new(Verb::Keep, ROBOT, &account.handle).before("there is a robot of this name already"));
        }
        let ends = account.expires_at.map(shared::clock::Timestamp::from_micros);
        if robot.purpose != account.display_name || robot.expires_at != ends {
            let text = |purpose: &str, end| format!("{purpose:?}, {}", until(end));
            let line = Line::new(Verb::Change, ROBOT, &account.handle)
                .before(text(&account.display_name, ends))
                .after(text(&robot.purpose, robot.expires_at));
            let action = Action::Describe {
                account: AccountRef(account.folded.clone()),
                display_name: robot.purpose.clone(),
                expires_at: robot.expires_at,
            };
            self.differs(&robot.place, line, action);
        }
        self.state(&robot.place, ROBOT, account, robot.state);
    }
}

pub(in crate::accounts::setup) fn named(team: &TeamRef) -> String {
    format!("{}/{}", team.0, team.1.as_str())
}
