//! One step from what there is to what is wanted: what a person reads of it, and what is done.

use serde::Serialize;
use shared::{clock::Timestamp, settings::Place};
use utoipa::ToSchema;

use super::document::Standing;
use crate::{
    accounts::{
        credentials::NewCredential,
        grants::{Effect, NewRule},
        names::{Handle, Label, NamespaceName, RobotName},
    },
    permissions::{Actions, SystemRole, TagPatterns, Visibility},
};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SetupVerb)]
pub enum Verb {
    /// Makes something.
    Create,
    /// Changes something.
    Change,
    /// Removes something.
    Remove,
    /// Nothing: it is there, and the document does not have it, or not so.
    Keep,
}

/// What a person reads of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SetupLine)]
pub struct Line {
    /// What is done.
    pub change: Verb,
    /// To what: `user`, `team`, `grant`.
    pub kind: &'static str,
    /// Its name; a grant's is its subject and its pattern.
    pub name: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Line {
    pub(super) fn new(change: Verb, kind: &'static str, name: impl Into<String>) -> Self {
        Self { change, kind, name: name.into(), before: None, after: None }
    }

    pub(super) fn before(self, text: impl Into<String>) -> Self {
        Self { before: Some(text.into()), ..self }
    }

    pub(super) fn after(self, text: impl Into<String>) -> Self {
        Self { after: Some(text.into()), ..self }
    }
}

/// A step.
#[derive(Debug, Clone)]
pub struct Step {
    /// What a person reads.
    pub line: Line,
    /// Where in the document it comes from; nowhere for what the document does not have.
    pub place: Place,
    pub(super) action: Action,
}

/// An account by folded name; it may be made by an earlier step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AccountRef(pub(super) String);

/// A team by its namespace's name and its own; it may be made by an earlier step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TeamRef(pub(super) NamespaceName, pub(super) Label);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubjectRef {
    Everyone,
    Authenticated,
    Team(TeamRef),
    Account(AccountRef),
}

/// What a rule gives, or forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) actions: Actions,
    pub(super) tags: Option<TagPatterns>,
    pub(super) expires_at: Option<Timestamp>,
}

/// The first password of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Password {
    /// Its hash is there already.
    Hash(String),
    /// It comes in a file of this name.
    File(String),
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    CreateNamespace {
        name: NamespaceName,
        visibility: Visibility,
    },
    SetVisibility {
        name: NamespaceName,
        visibility: Visibility,
    },
    DeleteNamespace {
        name: NamespaceName,
    },
    CreateUser {
        handle: Handle,
        display_name: String,
        role: Option<SystemRole>,
        password: Option<Password>,
    },
    CreateRobot {
        namespace: NamespaceName,
        name: RobotName,
        purpose: String,
        expires_at: Option<Timestamp>,
    },
    Describe {
        account: AccountRef,
        display_name: String,
        expires_at: Option<Timestamp>,
    },
    SetRole {
        account: AccountRef,
        role: Option<SystemRole>,
    },
    SetState {
        account: AccountRef,
        state: Standing,
    },
    DeleteAccount {
        account: AccountRef,
    },
    CreateTeam {
        team: TeamRef,
    },
    DeleteTeam {
        team: TeamRef,
    },
    AddMember {
        team: TeamRef,
        member: AccountRef,
    },
    RemoveMember {
        team: TeamRef,
        member: AccountRef,
    },
    Map {
        team: TeamRef,
        provider: i64,
        group: String,
    },
    Unmap {
        team: TeamRef,
        provider: i64,
        group: String,
    },
    AddRule {
        namespace: Option<NamespaceName>,
        subject: SubjectRef,
        pattern: shared::pattern::RepositoryPattern,
        given: Given,
        effect: Effect,
    },
    ChangeRule {
        id: i64,
        rule: Box<NewRule>,
    },
    RemoveRule {
        id: i64,
    },
    /// The owner's number in it is set when the step is made.
    AddKey {
        robot: AccountRef,
        key: Box<NewCredential>,
    },
    ChangeKey {
        robot: AccountRef,
        id: i64,
        key: Box<NewCredential>,
    },
    RevokeKey {
        robot: AccountRef,
        id: i64,
    },
}

impl Action {
    /// When it is made: what is made stands before what refers to it, who comes to administer before who stops, and a key, or a grant
    /// that keeps robots out of a team, makes room before another comes.
    pub(super) fn stage(&self) -> u8 {
        match self {
            Self::CreateNamespace { .. } | Self::SetVisibility { .. } => 0,
            Self::CreateUser { .. } | Self::CreateRobot { .. } | Self::Describe { .. } => 1,
            Self::SetRole { role: Some(SystemRole::Administrator), .. }
            | Self::SetState { state: Standing::Active, .. } => 2,
            Self::CreateTeam { .. } | Self::RevokeKey { .. } | Self::RemoveRule { .. } | Self::ChangeRule { .. } => 3,
            Self::AddMember { .. } | Self::Map { .. } => 4,
            Self::AddRule { .. } | Self::AddKey { .. } | Self::ChangeKey { .. } => 5,
            Self::Unmap { .. } | Self::RemoveMember { .. } => 6,
            Self::DeleteTeam { .. } => 7,
            Self::SetRole { .. } | Self::SetState { .. } => 8,
            Self::DeleteAccount { .. } => 9,
            Self::DeleteNamespace { .. } => 10,
        }
    }
}
