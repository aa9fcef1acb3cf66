//! Who there is and what they were given: principals, credentials, namespaces, teams and grants, in SQL.
//!
//! This is the only part of auth that knows tables. Reads and writes go through the doors of [`shared::database`]; what comes out
//! are domain values. Every change commits with its audit event and, where it takes something away, with the rows of the
//! revocation feed that make registries refuse tokens made before it.

pub mod census;
pub mod credentials;
pub mod events;
pub mod grants;
pub mod holders;
mod ids;
pub(crate) mod leader;
pub mod memberships;
pub mod names;
pub mod namespaces;
pub mod networks;
pub mod principals;
pub mod providers;
mod recent;
pub mod revocations;
pub mod rules;
pub mod services;
pub mod setup;
pub mod signing;
pub(crate) mod stored;
pub mod teams;
#[cfg(test)]
pub(crate) mod tests;
pub mod trail;
pub mod versions;

use std::sync::Arc;

use shared::{
    clock::Clock,
    database::{Database, DatabaseError, Dialect, Location, Migrations, Operation, WriteError},
};
use thiserror::Error;

use self::{
    recent::{Changes, Recent},
    versions::{Condition, Provided},
};
pub use ids::{CredentialId, GrantId, NamespaceId, PrincipalId, ProviderId, ServiceId, TeamId};

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/auth/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/auth/postgres");

/// Most rows of one page of a list.
pub const MAX_PAGE: u32 = 500;

/// The accounts of this server. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    database: Database,
    clock: Clock,
    uses: Arc<credentials::Uses>,
    events: Arc<events::Events>,
    changes: Changes,
    recent: Arc<RecentAnswers>,
    /// What has to hold for the one change that is made through this handle.
    condition: Option<Arc<Condition>>,
    /// What it costs to compare passwords that were imported.
    costs: Arc<credentials::Costs>,
}

/// What token requests ask for.
struct RecentAnswers {
    /// By the public part of a secret.
    stored: Recent<String, credentials::Stored>,
    /// By folded name.
    claimed: Recent<String, credentials::Claimed>,
    situations: Recent<rules::Question, rules::Known>,
}

/// How many secrets and names are kept each, and how many rules.
const RECENT_SECRETS: u64 = 10_000;
const RECENT_RULES: u64 = 50_000;

impl RecentAnswers {
    fn new(dialect: Dialect, changes: &Changes) -> Self {
        Self {
            stored: Recent::new(dialect, changes, RECENT_SECRETS, |_| 1),
            claimed: Recent::new(dialect, changes, RECENT_SECRETS, |_| 1),
            situations: Recent::new(dialect, changes, RECENT_RULES, rules::Known::weight),
        }
    }
}

impl Accounts {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// The database cannot be reached, or a migration failed.
    pub async fn open(location: &Location, clock: Clock) -> Result<Self, DatabaseError> {
        let migrations = Migrations { sqlite: &SQLITE, postgres: &POSTGRES };
        let database = Database::open(location, migrations, clock.clone()).await?;
        let changes = Changes::default();
        let recent = Arc::new(RecentAnswers::new(database.dialect(), &changes));
        Ok(Self {
            database,
            clock,
            uses: Arc::default(),
            events: Arc::default(),
            changes,
            recent,
            condition: None,
            costs: Arc::default(),
        })
    }

    /// Which database they lie in.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// Ends what was handed over, then closes all connections.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Ready if they can be read.
    ///
    /// # Errors
    /// They cannot.
    pub async fn ready(&self) -> Result<(), Error> {
        self.epoch().await.map(drop)
    }

    /// Runs a change to its end; once it is committed, those who wait for revocations wake and what was read before counts no more.
    /// Whatever decides about tokens is changed through here.
    async fn change<O: Operation<Refusal = Refusal>>(&self, operation: O) -> Result<O::Output, Error> {
        let operation = Provided { operation, condition: self.condition.clone() };
        Ok(self.database.write(self.changes.announcing(operation)).await?)
    }
}

/// Why a change was refused. Nothing of it was made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The name, in some spelling, is another account's.
    #[error("there is already an account called {0:?}")]
    NameTaken(String),
    /// A living namespace has the name.
    #[error("there is already a namespace {0:?}")]
    NamespaceTaken(String),
    /// The namespace has a team of that name.
    #[error("there is already a team {0:?} in this namespace")]
    TeamTaken(String),
    /// A service has the name.
    #[error("there is already a service {0:?}")]
    ServiceTaken(String),
    /// No such account, or it was deleted.
    #[error("there is no such account")]
    PrincipalUnknown,
    /// No such namespace, or it was deleted.
    #[error("there is no such namespace")]
    NamespaceUnknown,
    /// No such credential, or it was revoked.
    #[error("there is no such credential")]
    CredentialUnknown,
    /// A chosen secret was a key of this robot, and was revoked.
    #[error("this secret was a key of this robot and was revoked: choose another one")]
    SecretRevoked,
    /// No such team.
    #[error("there is no such team")]
    TeamUnknown,
    /// The group does not feed the team.
    #[error("this group does not feed this team")]
    MappingUnknown,
    /// People administer; a key that lies in a pipeline does not.
    #[error("the team administers a namespace, and a robot cannot: give the robot a grant of its own")]
    RobotInAdminTeam,
    /// No such grant.
    #[error("there is no such grant")]
    GrantUnknown,
    /// No such signing key.
    #[error("there is no such signing key")]
    KeyUnknown,
    /// Somebody else turned the keys meanwhile.
    #[error("another process has just turned the signing keys: look again")]
    KeysChanged,
    /// No such service.
    #[error("there is no such service")]
    ServiceUnknown,
    /// No such provider, or it was removed.
    #[error("there is no such provider")]
    ProviderUnknown,
    /// A provider has the name.
    #[error("there is already a provider {0:?}")]
    ProviderTaken(String),
    /// Whoever changes the settings changes it.
    #[error("the provider {0:?} is described in the server's settings, and changed there")]
    ProviderOfSettings(String),
    /// Two descriptions of one name are one too many.
    #[error(
        "the directory {0:?} is in the settings, and was added over the API as well: take it out of the settings, or start without it and remove it there"
    )]
    ProviderAdded(String),
    /// Each is asked for a name that nobody has yet.
    #[error("there are at most {limit} directories, those of the settings included; remove one first")]
    TooManyDirectories {
        /// How many there may be.
        limit: usize,
    },
    /// Rotation overlaps: the oldest must be revoked, or end, first.
    #[error("a robot has at most {limit} live keys; revoke one first")]
    TooManyKeys {
        /// How many may live.
        limit: usize,
    },
    /// Tokens that nobody remembers are tokens that nobody revokes.
    #[error("an account has at most {limit} live tokens; revoke one first")]
    TooManyTokens {
        /// How many may live.
        limit: usize,
    },
    /// Nobody could undo it.
    #[error("this is the last active system administrator")]
    LastAdministrator,
    /// Another replica, or an earlier start, made it.
    #[error("the first account exists already")]
    AlreadyStarted,
    /// Somebody changed it first, or the caller looked at another.
    #[error("it has changed since you looked at it: read it again")]
    Changed,
    /// A line of a setup cannot be.
    #[error(transparent)]
    SetupUnfit(#[from] setup::Unfit),
    /// Something that is there has no form in a setup.
    #[error("{0} cannot be written in a setup: rename it, or remove it")]
    SetupUnsayable(String),
    /// What is there is not what somebody compared with.
    #[error("what is there has changed since the difference was shown: look again")]
    SetupChanged,
    /// The account lives elsewhere: its password is changed there.
    #[error("the password of this account belongs to the provider {0:?}")]
    ForeignPassword(String),
}

/// A change or a question that did not succeed.
#[derive(Debug, Error)]
pub enum Error {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database did not answer.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl From<WriteError<Refusal>> for Error {
    fn from(error: WriteError<Refusal>) -> Self {
        match error {
            WriteError::Refused(refusal) => Self::Refused(refusal),
            WriteError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// What an operation of this crate ends with before it commits.
type Failure = shared::database::Failure<Refusal>;
