//! Who may write which grant: nobody gives what they do not have.

use shared::{clock::Timestamp, pattern::RepositoryPattern};
use thiserror::Error;

use super::{Actions, ApiLevel, Caller, Rules, SystemRole, TagPatterns, decide::administers};

/// Whom a proposed grant is for; what sort of principal it is decides whether it can be given administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A person.
    User,
    /// A machine.
    Robot,
    /// A team.
    Team,
    /// Every user and every robot.
    Authenticated,
    /// Everyone.
    Everyone,
}

/// A grant that somebody wants to write.
#[derive(Clone, Debug)]
pub struct ProposedGrant {
    /// Whom it is for.
    pub recipient: Recipient,
    /// The repositories it is about.
    pub pattern: RepositoryPattern,
    /// What it allows.
    pub actions: Actions,
    /// The tags that push and delete may touch.
    pub tags: Option<TagPatterns>,
}

/// A guardrail that somebody wants to write.
#[derive(Clone, Debug)]
pub struct ProposedGuardrail {
    /// The repositories it is about.
    pub pattern: RepositoryPattern,
    /// What it forbids.
    pub actions: Actions,
}

/// Why a rule may not be written, or not by this caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotGiven {
    /// It allows or forbids nothing.
    #[error("a rule names at least one action")]
    Nothing,
    /// Push or delete without pull: no client could use it.
    #[error("push and delete need pull beside them")]
    WithoutPull,
    /// A tag pattern beside pull alone: pull is never limited, so it would not do what it seems to.
    #[error("a tag pattern limits push and delete, and this grant has neither")]
    NothingToLimit,
    /// Administration with a tag pattern.
    #[error("an admin grant cannot be limited to tags")]
    LimitedAdministration,
    /// An admin grant over anything but one namespace.
    #[error("an admin grant's pattern is exactly the namespace's name")]
    AdministrationOfAPart,
    /// An admin grant for a machine, or for anybody who comes.
    #[error("an admin grant goes to a user or a team, never to everyone, to authenticated or to a robot")]
    AdministrationForAnybody,
    /// A wildcard first segment, from somebody who is no system administrator.
    #[error("only a system administrator writes a pattern whose first segment is not a namespace's name")]
    BeyondOneNamespace,
    /// The caller does not administer the namespace. The answer is the same where there is none.
    #[error("you do not administer the namespace {0:?}")]
    NotYours(String),
    /// A guardrail, or a role, from somebody who is no system administrator.
    #[error("only a system administrator writes guardrails")]
    NotYourGuardrail,
    /// A guardrail for each caller's own repositories: it binds everyone, so it has no caller.
    #[error("a guardrail binds everyone and cannot have {{username}} in its pattern")]
    PersonalGuardrail,
    /// A guardrail on administration.
    #[error("a guardrail forbids pull, push and delete only")]
    GuardrailOnAdministration,
}

/// Whether the caller may write the grant, with the credential shown.
///
/// Holding admin of a namespace contains all that can be given there. What lies beyond one namespace is a system
/// administrator's to give.
///
/// # Errors
/// [`NotGiven`] says why not; what is wrong with the grant itself is said to everybody.
pub fn may_write(now: Timestamp, writer: &Caller, rules: &Rules, grant: &ProposedGrant) -> Result<(), NotGiven> {
    is_sound(grant)?;
    let Some(namespace) = grant.pattern.namespace() else {
        return if rules_the_system(writer) { Ok(()) } else { Err(NotGiven::BeyondOneNamespace) };
    };
    if administers(now, writer, rules, namespace) { Ok(()) } else { Err(NotGiven::NotYours(namespace.to_owned())) }
}

/// Whether the caller may write the guardrail, with the credential shown.
///
/// # Errors
/// [`NotGiven`] says why not.
pub fn may_write_guardrail(writer: &Caller, guardrail: &ProposedGuardrail) -> Result<(), NotGiven> {
    is_sound_guardrail(guardrail)?;
    if rules_the_system(writer) { Ok(()) } else { Err(NotGiven::NotYourGuardrail) }
}

/// Whether the guardrail can be anybody's to write.
///
/// # Errors
/// [`NotGiven`] says what is wrong with it.
pub fn is_sound_guardrail(guardrail: &ProposedGuardrail) -> Result<(), NotGiven> {
    if guardrail.actions.is_empty() {
        Err(NotGiven::Nothing)
    } else if guardrail.actions.contains(Actions::ADMIN) {
        Err(NotGiven::GuardrailOnAdministration)
    } else if guardrail.pattern.is_personal() {
        Err(NotGiven::PersonalGuardrail)
    } else {
        Ok(())
    }
}

/// Whether the caller has the powers of a system administrator with this credential. One that is confined to some
/// names carries none that reach beyond names.
#[must_use]
pub fn rules_the_system(caller: &Caller) -> bool {
    caller.system_role == Some(SystemRole::Administrator)
        && caller.api == ApiLevel::Write
        && caller.credential_scope.is_none()
}

/// Whether the grant can be anybody's to write.
///
/// # Errors
/// [`NotGiven`] says what is wrong with it.
pub fn is_sound(grant: &ProposedGrant) -> Result<(), NotGiven> {
    let changes = grant.actions.meets(Actions::PUSH | Actions::DELETE);
    if grant.actions.is_empty() {
        Err(NotGiven::Nothing)
    } else if grant.actions.contains(Actions::ADMIN) {
        is_sound_administration(grant)
    } else if changes && !grant.actions.contains(Actions::PULL) {
        Err(NotGiven::WithoutPull)
    } else if grant.tags.is_some() && !changes {
        Err(NotGiven::NothingToLimit)
    } else {
        Ok(())
    }
}

fn is_sound_administration(grant: &ProposedGrant) -> Result<(), NotGiven> {
    if grant.tags.is_some() {
        Err(NotGiven::LimitedAdministration)
    } else if grant.pattern.namespace() != Some(grant.pattern.as_str()) {
        Err(NotGiven::AdministrationOfAPart)
    } else if !matches!(grant.recipient, Recipient::User | Recipient::Team) {
        Err(NotGiven::AdministrationForAnybody)
    } else {
        Ok(())
    }
}
