//! All steps in one operation, each by the operation of its own command.

use serde_json::json;
use shared::{
    database::{Dialect, Operation, Transaction},
    on,
    settings::Place,
};

use super::{
    Unfit, Wanted, current,
    difference::{Difference, difference},
    document::Standing,
    steps::{AccountRef, Action, Password, Step, SubjectRef, TeamRef, Verb},
};
use crate::{
    accounts::{
        CredentialId, Failure, GrantId, PrincipalId, ProviderId, Refusal, TeamId,
        credentials::{self, OtherKeys},
        grants::{self, NewRule},
        memberships,
        names::NamespaceName,
        namespaces,
        principals::{self, AccountState, NewRobot, NewUser},
        teams,
    },
    audit::{Actor, Event, EventName, record},
    permissions::Subject,
};

/// Looks, compares and changes.
pub(super) struct Apply {
    pub(super) actor: Actor,
    pub(super) wanted: Wanted,
}

/// On PostgreSQL nobody else changes anything between the look and the last step. Who reads is not disturbed.
const ALONE: &str =
    "LOCK TABLE namespace, principal, identity, team, team_member, team_mapping, grants, credential IN EXCLUSIVE MODE";

impl Operation for Apply {
    type Output = Difference;
    type Refusal = Refusal;
    const NAME: &'static str = "apply_setup";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Difference, Failure> {
        if tx.dialect() == Dialect::Postgres {
            on!(tx, c => sqlx::query(ALONE).execute(c).await.map(drop))?;
        }
        let Wanted { document, mode, verifiers, seen } = &self.wanted;
        let current = current::read_in(tx).await?;
        let found = difference(&current, document, *mode, verifiers, tx.now())
            .map_err(|unfit| Failure::Refused(unfit.into()))?;
        if seen.as_ref().is_some_and(|seen| *seen != found.fingerprint()) {
            return Err(Failure::Refused(Refusal::SetupChanged));
        }
        for step in &found.steps {
            Box::pin(self.make(tx, &step.action)).await.map_err(|failure| at(failure, step))?;
        }
        self.note(tx, &found).await?;
        Ok(found)
    }
}

/// What a step refuses is refused at the line it comes from.
fn at(failure: Failure, step: &Step) -> Failure {
    match failure {
        Failure::Refused(refusal @ (Refusal::SetupChanged | Refusal::SetupUnfit(_))) => Failure::Refused(refusal),
        Failure::Refused(refusal) => {
            let place = match &step.place {
                place if *place == Place::default() => {
                    Place { line: 0, key: format!("{} {}", step.line.kind, step.line.name) }
                }
                place => place.clone(),
            };
            Failure::Refused(Refusal::SetupUnfit(Unfit { place, reason: refusal.to_string() }))
        }
        other => other,
    }
}

impl Apply {
    async fn note(&self, tx: &mut Transaction<'_>, found: &Difference) -> Result<(), sqlx::Error> {
        if found.steps.is_empty() {
            return Ok(());
        }
        let count = |verb| found.steps.iter().filter(|step| step.line.change == verb).count();
        let counts = json!({
            "created": count(Verb::Create), "changed": count(Verb::Change), "removed": count(Verb::Remove),
            "difference": found.fingerprint(),
        });
        record(tx, &self.actor, &Event::done(EventName::SetupApplied, "setup").with(counts)).await
    }

    async fn make(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        match action {
            Action::CreateNamespace { .. } | Action::SetVisibility { .. } | Action::DeleteNamespace { .. } => {
                self.make_namespace(tx, action).await
            }
            Action::CreateTeam { .. }
            | Action::DeleteTeam { .. }
            | Action::AddMember { .. }
            | Action::RemoveMember { .. }
            | Action::Map { .. }
            | Action::Unmap { .. } => self.make_team(tx, action).await,
            Action::AddRule { .. } | Action::ChangeRule { .. } | Action::RemoveRule { .. } => {
                self.make_rule(tx, action).await
            }
            Action::AddKey { .. } | Action::ChangeKey { .. } | Action::RevokeKey { .. } => {
                self.make_key(tx, action).await
            }
            _ => self.make_account(tx, action).await,
        }
    }

    async fn make_namespace(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        let actor = self.actor.clone();
        match action.clone() {
            Action::CreateNamespace { name, visibility } => {
                namespaces::Create { actor, name, visibility }.run(tx).await.map(drop)
            }
            Action::SetVisibility { name, visibility } => {
                namespaces::SetVisibility { actor, name, visibility }.run(tx).await.map(drop)
            }
            Action::DeleteNamespace { name } => namespaces::Delete { actor, name }.run(tx).await,
            _ => Ok(()),
        }
    }

    async fn make_account(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        let actor = self.actor.clone();
        match action.clone() {
            Action::CreateUser { handle, display_name, role, password } => {
                let user = NewUser { handle, display_name, system_role: role, password: self.hash(password)? };
                principals::CreateUser { actor, user, only_first: false }.run(tx).await.map(drop)
            }
            Action::CreateRobot { namespace, name, purpose, expires_at } => {
                let robot = NewRobot { namespace, name, purpose, expires_at };
                principals::CreateRobot { actor, robot }.run(tx).await.map(drop)
            }
            Action::Describe { account, display_name, expires_at } => {
                let id = account_id(tx, &account).await?;
                principals::Describe { actor, id, display_name, expires_at }.run(tx).await
            }
            Action::SetRole { account, role } => {
                let id = account_id(tx, &account).await?;
                principals::SetSystemRole { actor, id, role }.run(tx).await
            }
            Action::SetState { account, state } => {
                let state = match state {
                    Standing::Active => AccountState::Active,
                    Standing::Suspended => AccountState::Suspended,
                };
                let id = account_id(tx, &account).await?;
                principals::SetState { actor, id, state }.run(tx).await
            }
            Action::DeleteAccount { account } => {
                let id = account_id(tx, &account).await?;
                principals::SetState { actor, id, state: AccountState::Deleted }.run(tx).await
            }
            _ => Ok(()),
        }
    }

    /// What is stored for a first password. A file that nobody hashed was not needed when somebody looked: things have changed since.
    fn hash(&self, password: Option<Password>) -> Result<Option<String>, Failure> {
        match password {
            None => Ok(None),
            Some(Password::Hash(hash)) => Ok(Some(hash)),
            Some(Password::File(file)) => {
                let hash = self.wanted.verifiers.passwords.get(&file).cloned();
                hash.map(Some).ok_or(Failure::Refused(Refusal::SetupChanged))
            }
        }
    }

    async fn make_team(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        let actor = self.actor.clone();
        match action.clone() {
            Action::CreateTeam { team: TeamRef(namespace, name) } => {
                teams::Create { actor, namespace, name }.run(tx).await.map(drop)
            }
            Action::DeleteTeam { team } => {
                let team = team_id(tx, &team).await?;
                teams::Delete { actor, team }.run(tx).await
            }
            Action::AddMember { team, member } => {
                let (team, member) = (team_id(tx, &team).await?, account_id(tx, &member).await?);
                teams::AddMember { actor, team, member }.run(tx).await
            }
            Action::RemoveMember { team, member } => {
                let (team, member) = (team_id(tx, &team).await?, account_id(tx, &member).await?);
                teams::RemoveMember { actor, team, member }.run(tx).await
            }
            Action::Map { team, provider, group } => {
                self.map(tx, &team, provider, group, memberships::Change::Map).await
            }
            Action::Unmap { team, provider, group } => {
                self.map(tx, &team, provider, group, memberships::Change::Unmap).await
            }
            _ => Ok(()),
        }
    }

    async fn map(
        &self,
        tx: &mut Transaction<'_>,
        team: &TeamRef,
        provider: i64,
        group: String,
        change: memberships::Change,
    ) -> Result<(), Failure> {
        let team = team_id(tx, team).await?;
        let (actor, provider) = (self.actor.clone(), ProviderId(provider));
        memberships::MapGroup { actor, team, provider, group, change }.run(tx).await
    }

    async fn make_rule(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        let actor = self.actor.clone();
        match action.clone() {
            Action::AddRule { namespace, subject, pattern, given, effect } => {
                let namespace = match &namespace {
                    Some(name) => Some(namespaces::lock(tx, name).await?),
                    None => None,
                };
                let subject = subject_id(tx, &subject).await?;
                let (actions, tags, expires_at) = (given.actions, given.tags, given.expires_at);
                let rule = NewRule { namespace, subject, pattern, actions, tags, effect, expires_at };
                grants::Add { actor, rule }.run(tx).await.map(drop)
            }
            Action::ChangeRule { id, rule } => grants::Replace { actor, id: GrantId(id), rule: *rule }.run(tx).await,
            Action::RemoveRule { id } => grants::Remove { actor, namespace: None, id: GrantId(id) }.run(tx).await,
            _ => Ok(()),
        }
    }

    async fn make_key(&self, tx: &mut Transaction<'_>, action: &Action) -> Result<(), Failure> {
        let actor = self.actor.clone();
        match action.clone() {
            Action::AddKey { robot, mut key } => {
                key.principal = account_id(tx, &robot).await?;
                credentials::AddRobotKey { actor, new: *key, others: OtherKeys::Stay }.run(tx).await.map(drop)
            }
            Action::ChangeKey { robot, id, mut key } => {
                key.principal = account_id(tx, &robot).await?;
                credentials::Alter { actor, id: CredentialId(id), new: *key }.run(tx).await
            }
            Action::RevokeKey { robot, id } => {
                let owner = account_id(tx, &robot).await?;
                credentials::Revoke { actor, owner, id: CredentialId(id) }.run(tx).await
            }
            _ => Ok(()),
        }
    }
}

async fn account_id(tx: &mut Transaction<'_>, account: &AccountRef) -> Result<PrincipalId, Failure> {
    let found: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT id FROM principal WHERE folded = $1 AND state <> 'deleted'")
        .bind(&account.0).fetch_optional(c).await)?;
    found.map(|(id,)| PrincipalId(id)).ok_or(Failure::Refused(Refusal::PrincipalUnknown))
}

async fn team_id(tx: &mut Transaction<'_>, TeamRef(namespace, name): &TeamRef) -> Result<TeamId, Failure> {
    let namespace: &NamespaceName = namespace;
    let found: Option<(i64,)> = on!(tx, c => sqlx::query_as(
        "SELECT t.id FROM team t JOIN namespace n ON n.id = t.namespace_id WHERE n.name = $1 AND n.deleted_at IS NULL AND t.name = $2")
        .bind(namespace.as_str()).bind(name.as_str()).fetch_optional(c).await)?;
    found.map(|(id,)| TeamId(id)).ok_or(Failure::Refused(Refusal::TeamUnknown))
}

async fn subject_id(tx: &mut Transaction<'_>, subject: &SubjectRef) -> Result<Subject, Failure> {
    Ok(match subject {
        SubjectRef::Everyone => Subject::Everyone,
        SubjectRef::Authenticated => Subject::Authenticated,
        SubjectRef::Team(team) => Subject::Team(team_id(tx, team).await?.0),
        SubjectRef::Account(account) => Subject::Principal(account_id(tx, account).await?.0),
    })
}
