//! What a setup looks like: read from YAML or JSON, each part with the place it stood at, and written again.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use shared::{clock::Timestamp, openapi::text, pattern::RepositoryPattern, settings::Placed};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::{
    accounts::{
        names::{Handle, Label, NameError, NamespaceName, RobotName},
        networks::Networks,
    },
    permissions::{Actions, ApiLevel, CredentialScope, SystemRole, TagPatterns, Visibility},
};

/// The version of the form.
const VERSION: u32 = 1;

/// A list of parts; None where nothing is said about them at all.
pub type Parts<T> = Option<Vec<Placed<T>>>;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Setup)]
pub struct Document {
    /// 1.
    #[serde(default = "version")]
    pub version: u32,
    /// People.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<UserPart>>)]
    pub users: Parts<UserPart>,
    /// First segments of repository names, with what belongs to each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<NamespacePart>>)]
    pub namespaces: Parts<NamespacePart>,
    /// Grants whose first segment is a wildcard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<GrantPart>>)]
    pub grants: Parts<GrantPart>,
    /// Rules that forbid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<GuardrailPart>>)]
    pub guardrails: Parts<GuardrailPart>,
}

fn version() -> u32 {
    VERSION
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, users: None, namespaces: None, grants: None, guardrails: None }
    }
}

impl Document {
    /// The files that first passwords are in.
    pub fn password_files(&self) -> impl Iterator<Item = &str> {
        each(self.users.as_ref()).filter_map(|user| user.secret_file.as_deref())
    }

    /// The files that robots' keys are in.
    pub fn key_files(&self) -> impl Iterator<Item = &str> {
        let robots = each(self.namespaces.as_ref()).flat_map(|namespace| each(namespace.robots.as_ref()));
        robots.flat_map(|robot| each(robot.keys.as_ref())).filter_map(|key| key.secret_file.as_deref())
    }
}

/// The parts of a list that may not be there.
pub(super) fn each<T>(parts: Option<&Vec<Placed<T>>>) -> impl Iterator<Item = &Placed<T>> {
    parts.into_iter().flatten()
}

/// Whether an account is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SetupStanding)]
pub enum Standing {
    /// It is.
    Active,
    /// It is not, for now.
    Suspended,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupUser)]
pub struct UserPart {
    /// The name to sign in with.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub name: Handle,
    /// What people call them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// The directory or file that made the account; None for a local one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What they may do everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_role: Option<SystemRole>,
    /// Whether they are let in; as it is, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// The file that a new account's first password is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// Instead of it, the hash of a new account's first password: bcrypt or argon2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
}

impl UserPart {
    /// A local account of which nothing else is said.
    #[must_use]
    pub fn named(name: Handle) -> Self {
        Self {
            name,
            display_name: String::new(),
            provider: None,
            system_role: None,
            state: None,
            secret_file: None,
            password_hash: None,
        }
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupNamespace)]
pub struct NamespacePart {
    /// The first segment of its repositories' names.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub name: NamespaceName,
    /// Who pulls without a grant.
    #[serde(default)]
    pub visibility: Visibility,
    /// Its teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<TeamPart>>)]
    pub teams: Parts<TeamPart>,
    /// Its robots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<RobotPart>>)]
    pub robots: Parts<RobotPart>,
    /// What is given in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<GrantPart>>)]
    pub grants: Parts<GrantPart>,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupTeam)]
pub struct TeamPart {
    /// Its name in its namespace.
    pub name: Label,
    /// Who is in it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub members: Parts<String>,
    /// The groups of directories that feed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<MappingPart>>)]
    pub mappings: Parts<MappingPart>,
}

/// A group that feeds a team.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupMapping)]
pub struct MappingPart {
    /// Whose group.
    pub provider: String,
    /// Its distinguished name, in its one spelling once it was read.
    pub group: String,
}

/// A robot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupRobot)]
pub struct RobotPart {
    /// Its name in its namespace.
    #[serde(with = "as_text")]
    #[schema(value_type = String)]
    pub name: RobotName,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it is let in; as it is, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// Its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<KeyPart>>)]
    pub keys: Parts<KeyPart>,
}

/// A robot's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupKey)]
pub struct KeyPart {
    /// What it is called.
    pub name: Label,
    /// What it may be used for, of what the robot may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<CredentialScope>,
    /// What it may do on the admin API.
    #[serde(default, skip_serializing_if = "is_none")]
    pub api: ApiLevel,
    /// Where it may be used from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Networks>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// After how many days without a use it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_days: Option<u32>,
    /// The file that its secret is in. Another secret there is another key here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(level: &ApiLevel) -> bool {
    *level == ApiLevel::None
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupGrant)]
pub struct GrantPart {
    /// Whom it is for.
    pub subject: SubjectName,
    /// The repositories it is about.
    pub repositories: RepositoryPattern,
    /// A role, or actions separated by commas.
    pub actions: Actions,
    /// The tags that push and delete may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagPatterns>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A guardrail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SetupGuardrail)]
pub struct GuardrailPart {
    /// The repositories it is about.
    pub repositories: RepositoryPattern,
    /// What it forbids.
    pub actions: Actions,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Whom a grant is for, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    /// `everyone`.
    Everyone,
    /// `authenticated`.
    Authenticated,
    /// `team:dev`, of the grant's own namespace, or `team:acme/dev`.
    Team(Option<NamespaceName>, Label),
    /// An account's name.
    Account(String),
}

impl PartialSchema for SubjectName {
    fn schema() -> RefOr<Schema> {
        text("everyone, authenticated, team:<name>, or an account's name", "team:dev")
    }
}

impl ToSchema for SubjectName {}

impl FromStr for SubjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match (text, text.strip_prefix("team:")) {
            ("everyone", _) => Self::Everyone,
            ("authenticated", _) => Self::Authenticated,
            (_, Some(team)) => match team.split_once('/').map(|(namespace, name)| (namespace.parse(), name)) {
                Some((Ok(namespace), name)) => Self::Team(Some(namespace), name.parse()?),
                // A team's own name may have a slash.
                _ => Self::Team(None, team.parse()?),
            },
            (name, None) => Self::Account(name.to_owned()),
        })
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Team(Some(namespace), name) => write!(f, "team:{namespace}/{}", name.as_str()),
            Self::Team(None, name) => write!(f, "team:{}", name.as_str()),
            Self::Account(name) => f.write_str(name),
        }
    }
}

impl Serialize for SubjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Names whose types know text and not serde.
mod as_text {
    use super::{Deserialize, Deserializer, FromStr, Serializer, de, fmt};

    pub(super) fn serialize<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
