//! What there is, as a document: applied again it changes nothing.

use std::str::FromStr;

use shared::{clock::Timestamp, settings::Placed};

use super::{
    current::{Account, Current, KeyRow, MappingRow, NamespaceRow, RuleRow, TeamRow},
    document::{
        Document, GrantPart, GuardrailPart, KeyPart, MappingPart, NamespacePart, RobotPart, Standing, SubjectName,
        TeamPart, UserPart,
    },
};
use crate::{
    accounts::{
        NamespaceId, Refusal,
        grants::{Effect, read_subject},
        names::{Handle, ROBOT_PREFIX},
        principals::AccountState,
    },
    permissions::Subject,
};

/// What has no form in a document. It is not left out: a document without it, applied with `--prune`, would remove it.
type Said<T> = Result<T, Refusal>;

impl Current {
    /// All of it, without secrets. A provider's account is named where something about it was decided here.
    ///
    /// # Errors
    /// [`Refusal::SetupUnsayable`]: something has a name that no document can have.
    pub fn document(&self) -> Said<Document> {
        let system = NamespaceId::SYSTEM.0;
        let mut namespaces: Vec<_> = self.namespaces.values().collect();
        namespaces.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Document {
            users: Some(parts(self.users().filter_map(|account| user(account).transpose()))?),
            namespaces: Some(parts(namespaces.into_iter().map(|row| self.namespace_part(row)))?),
            grants: Some(self.grants(system)?),
            guardrails: Some(parts(self.rules_of(system, Effect::Deny).into_iter().map(|row| Ok(guardrail(row))))?),
            ..Document::default()
        })
    }

    fn namespace_part(&self, row: &NamespaceRow) -> Said<NamespacePart> {
        Ok(NamespacePart {
            name: read("namespace", &row.name, &row.name)?,
            visibility: row.visibility,
            teams: Some(parts(self.teams_of(row.id).map(|team| self.team_part(team)))?),
            robots: Some(parts(self.robots_of(row.id).map(|robot| self.robot(robot, &row.name)))?),
            grants: Some(self.grants(row.id)?),
        })
    }

    fn team_part(&self, team: &TeamRow) -> Said<TeamPart> {
        let mapping = |row: &MappingRow| MappingPart { provider: row.provider.clone(), group: row.group.clone() };
        Ok(TeamPart {
            name: read("team", &team.name, &team.name)?,
            members: Some(parts(self.members_of(team.id).into_iter().map(|account| Ok(account.handle.clone())))?),
            mappings: Some(parts(self.mappings_of(team.id).into_iter().map(|row| Ok(mapping(row))))?),
        })
    }

    fn robot(&self, account: &Account, namespace: &str) -> Said<RobotPart> {
        let handle = &account.handle;
        let own = handle.strip_prefix(ROBOT_PREFIX).and_then(|rest| rest.strip_prefix(namespace)?.strip_prefix('.'));
        Ok(RobotPart {
            name: read("robot", handle, own.unwrap_or(handle))?,
            purpose: account.display_name.clone(),
            expires_at: account.expires_at.map(Timestamp::from_micros),
            state: standing(account),
            keys: Some(parts(self.keys_of(account.id).into_iter().map(|row| key(row, handle)))?),
        })
    }

    fn grants(&self, namespace: i64) -> Said<Vec<Placed<GrantPart>>> {
        let rows = self.rules_of(namespace, Effect::Allow).into_iter();
        parts(rows.filter_map(|row| self.grant(row).transpose()))
    }

    /// None where nobody has it: its account or its team is gone.
    fn grant(&self, row: &RuleRow) -> Said<Option<GrantPart>> {
        let unread = |_| unsayable("grant", &row.id.to_string());
        let subject = match read_subject(&row.subject, row.subject_id).map_err(unread)? {
            Subject::Everyone => SubjectName::Everyone,
            Subject::Authenticated => SubjectName::Authenticated,
            Subject::Principal(id) => match self.accounts.get(&id) {
                Some(account) => SubjectName::Account(account.handle.clone()),
                None => return Ok(None),
            },
            Subject::Team(id) => {
                match self.teams.get(&id).and_then(|team| Some((team, self.namespaces.get(&team.namespace)?))) {
                    Some((team, namespace)) => team_name(team, namespace, row)?,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(GrantPart {
            subject,
            repositories: row.pattern.clone(),
            actions: row.actions,
            tags: row.tags.clone(),
            expires_at: row.expires_at.map(Timestamp::from_micros),
        }))
    }
}

fn parts<T>(parts: impl Iterator<Item = Said<T>>) -> Said<Vec<Placed<T>>> {
    parts.map(|part| part.map(Placed::nowhere)).collect()
}

fn unsayable(kind: &str, name: &str) -> Refusal {
    Refusal::SetupUnsayable(format!("the {kind} {name:?}"))
}

/// The stored text as what a document may say; whose it is, is said where it cannot.
fn read<T: FromStr>(kind: &str, name: &str, text: &str) -> Said<T> {
    text.parse().map_err(|_| unsayable(kind, name))
}

/// A team's own name may have a slash; then its namespace stands before it.
fn team_name(team: &TeamRow, namespace: &NamespaceRow, row: &RuleRow) -> Said<SubjectName> {
    let elsewhere = team.namespace != row.namespace || team.name.contains('/');
    let owner = if elsewhere { Some(read("namespace", &namespace.name, &namespace.name)?) } else { None };
    Ok(SubjectName::Team(owner, read("team", &team.name, &team.name)?))
}

/// None where nothing about a provider's account was decided here.
fn user(account: &Account) -> Said<Option<UserPart>> {
    let state = standing(account);
    if account.provider.is_some() && account.system_role.is_none() && state.is_none() {
        return Ok(None);
    }
    let name: Handle = read("account", &account.handle, &account.handle)?;
    Ok(Some(UserPart {
        // What a provider calls its people is the provider's to say.
        display_name: if account.provider.is_none() { account.display_name.clone() } else { String::new() },
        provider: account.provider.clone(),
        system_role: account.system_role,
        state,
        ..UserPart::named(name)
    }))
}

/// Said only of who is not let in: where nothing is said, it stays as it is.
fn standing(account: &Account) -> Option<Standing> {
    (account.state == AccountState::Suspended).then_some(Standing::Suspended)
}

fn key(row: &KeyRow, robot: &str) -> Said<KeyPart> {
    let name = format!("{} of {robot}", row.name);
    Ok(KeyPart {
        name: read("key", &name, &row.name)?,
        scope: row.scope.as_deref().map(|scope| read("key", &name, scope)).transpose()?,
        api: row.api,
        networks: row.networks.as_deref().map(|networks| read("key", &name, networks)).transpose()?,
        expires_at: row.expires_at.map(Timestamp::from_micros),
        idle_days: row.idle_days(),
        secret_file: None,
    })
}

fn guardrail(row: &RuleRow) -> GuardrailPart {
    GuardrailPart {
        repositories: row.pattern.clone(),
        actions: row.actions,
        expires_at: row.expires_at.map(Timestamp::from_micros),
    }
}
