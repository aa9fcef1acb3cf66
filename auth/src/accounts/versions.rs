//! What a thing was when somebody looked at it, so that they change that and nothing newer: what `If-Match` means behind the admin API.
//!
//! A version is made of what is stored, not counted: no change can forget to raise it, and what was changed back is what it was.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::Serialize;
use shared::database::{Durability, Operation, Transaction};
use utoipa::ToSchema;

use super::{
    Accounts, CredentialId, Failure, GrantId, NamespaceId, PrincipalId, ProviderId, Refusal, TeamId,
    credentials::{self, Credential},
    grants::{self, Rule},
    namespaces::{self, Namespace},
    principals::{self, Principal},
    providers::{self, StoredProvider},
    signing::{self, StoredKey},
    teams,
};

/// A thing as it is stored at some moment. The same text means the same thing with the same content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Version(String);

/// Bytes of the hash that a version shows: nobody forges one to be refused, so chance is all that it has to exclude.
const SHOWN_BYTES: usize = 12;

impl Version {
    pub(super) fn of(content: &impl Serialize) -> Self {
        // Contents are texts, numbers and lists of those.
        let text = serde_json::to_vec(content).unwrap_or_default();
        let hash = digest(&SHA256, &text);
        Self(hash.as_ref().iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// As it stands between the quotes of an entity tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something that is read one by one and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An account, with its password.
    Principal(PrincipalId),
    /// A namespace.
    Namespace(NamespaceId),
    /// A team, with whom and what administrators have put into it.
    Team(TeamId),
    /// A grant or a guardrail of one namespace, or any.
    Rule(Option<NamespaceId>, GrantId),
    /// A token or a key of an account.
    Credential(PrincipalId, CredentialId),
    /// A key that signs, by its id.
    SigningKey(String),
    /// A provider.
    Provider(ProviderId),
}

/// What somebody saw of a thing whose change they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// That it is there.
    Something,
    /// It, as one of these versions.
    OneOf(Vec<String>),
}

impl Seen {
    fn is(&self, version: &Version) -> bool {
        match self {
            Self::Something => true,
            Self::OneOf(versions) => versions.iter().any(|seen| seen == version.as_str()),
        }
    }
}

/// A change is made only while this holds.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    thing: Thing,
    seen: Seen,
}

impl Accounts {
    /// These accounts, for one change that is made only while the thing is still as it was seen. Looking and changing are one operation.
    ///
    /// Every change through what is returned may be refused with [`Refusal::Changed`].
    #[must_use]
    pub fn only_if(&self, thing: Thing, seen: Option<Seen>) -> Self {
        let condition = seen.map(|seen| Arc::new(Condition { thing, seen }));
        Self { condition, ..self.clone() }
    }
}

impl Condition {
    /// Refuses what somebody wants who has seen something else.
    async fn hold(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        match self.thing.version(tx).await {
            Ok(version) if self.seen.is(&version) => Ok(()),
            // The operation has one answer for what is not there and for what is another's; here they must not differ either.
            Err(Failure::Refused(_)) if self.thing.is_named_by_the_caller() => Ok(()),
            // It was there a moment ago. Something else may have its name by now, which nobody has seen.
            Ok(_) | Err(Failure::Refused(_)) => Err(Failure::Refused(Refusal::Changed)),
            Err(failed) => Err(failed),
        }
    }
}

impl Thing {
    /// Whether its number is one that the caller said, which can be anybody's; of the others it was looked up what they are.
    fn is_named_by_the_caller(&self) -> bool {
        match self {
            Self::Rule(..) | Self::Credential(..) | Self::SigningKey(_) => true,
            Self::Principal(_) | Self::Namespace(_) | Self::Team(_) | Self::Provider(_) => false,
        }
    }

    /// Its version now, with its row locked until the operation ends.
    async fn version(&self, tx: &mut Transaction<'_>) -> Result<Version, Failure> {
        Ok(match self {
            Self::Principal(id) => principals::lock_account(tx, *id).await?.version,
            Self::Namespace(id) => namespaces::locked(tx, *id).await?.version(),
            Self::Team(id) => teams::lock(tx, *id).await?.version,
            // What owns a thing is locked before it, as the operations do.
            Self::Rule(namespace, id) => {
                if let Some(namespace) = namespace {
                    namespaces::lock_id(tx, *namespace).await?;
                }
                grants::lock(tx, *namespace, *id).await?.version()
            }
            Self::Credential(owner, id) => {
                principals::lock(tx, *owner).await?;
                credentials::lock(tx, *owner, *id).await?.version()
            }
            Self::SigningKey(kid) => signing::locked(tx, kid).await?.version(),
            Self::Provider(id) => providers::locked(tx, *id).await?.version(),
        })
    }
}

/// An operation under its condition, if it has one.
pub(super) struct Provided<O> {
    pub(super) operation: O,
    pub(super) condition: Option<Arc<Condition>>,
}

impl<O: Operation<Refusal = Refusal>> Operation for Provided<O> {
    type Output = O::Output;
    type Refusal = Refusal;
    const NAME: &'static str = O::NAME;

    fn durability(&self) -> Durability {
        self.operation.durability()
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<O::Output, Failure> {
        if let Some(condition) = &self.condition {
            condition.hold(tx).await?;
        }
        self.operation.run(tx).await
    }

    fn already_exists(&self) -> Option<Refusal> {
        self.operation.already_exists()
    }

    fn committed(&self, output: &O::Output) {
        self.operation.committed(output);
    }
}

impl Principal {
    /// What it is now, with the password that counts: a new one is a new row.
    pub(super) fn version(&self, password: Option<CredentialId>) -> Version {
        let Self { id, kind, handle, display_name, namespace, system_role, state, expires_at, created_at } = self;
        let account = (id, kind, handle, display_name, namespace, system_role, state, expires_at, created_at);
        Version::of(&(account, password))
    }
}

impl Namespace {
    /// What it is now.
    #[must_use]
    pub fn version(&self) -> Version {
        let Self { id, name, visibility, created_at } = self;
        Version::of(&(id, name, visibility, created_at))
    }
}

impl Rule {
    /// What it is now. Names of accounts and teams are theirs to change, not its.
    #[must_use]
    pub fn version(&self) -> Version {
        let subject = grants::write_subject(self.subject);
        let Self { id, namespace, pattern, actions, tags, effect, expires_at, created_at, .. } = self;
        Version::of(&(id, namespace, subject, pattern.as_str(), actions, tags, effect, expires_at, created_at))
    }
}

impl Credential {
    /// What it is now; that it was used changes nothing of it.
    #[must_use]
    pub fn version(&self) -> Version {
        let Self { id, kind, name, scope, networks, api, idle, created_at, expires_at, .. } = self;
        let (scope, networks) = (scope.clone().map(String::from), networks.clone().map(Vec::from));
        Version::of(&(id, kind, name, scope, networks, api, idle, created_at, expires_at))
    }
}

impl StoredProvider {
    /// What it is now; how many accounts and mappings hang on it is theirs.
    #[must_use]
    pub fn version(&self) -> Version {
        let Self { id, name, kind, state, settings, .. } = self;
        Version::of(&(id, name, kind, state, settings))
    }
}

impl StoredKey {
    /// What it is now.
    #[must_use]
    pub fn version(&self) -> Version {
        let Self { kid, state, active_at, retired_at, not_after, .. } = self;
        Version::of(&(kid, state, active_at, retired_at, not_after))
    }
}
