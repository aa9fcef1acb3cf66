//! Rules are set and shown.

use serde::Serialize;
use shared::{clock::Timestamp, database::WriteError, repository::RepositoryName};
use utoipa::ToSchema;

use super::{About, Document, Error, Expiry, Rules};
use crate::metadata::{
    NamespaceId,
    immutable::{self, Immutable},
    rules::{
        pages,
        runs::{self, LastRun},
        sets::{self, RulesOf, SetRules},
    },
};

/// How many repositories with rules of their own are named.
const MOST_NAMED: i64 = 1000;

/// Whether a rule about everything is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It is.
    Yes,
    /// Nobody said so.
    No,
}

/// The rules of a namespace or a repository.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Rules)]
pub struct Shown {
    /// Of which.
    pub about: RepositoryName,
    /// The set as it was written; None where it cannot be read.
    pub rules: Option<Vec<serde_json::Value>>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// The rules of a namespace, and how its runs are doing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RulesOverview)]
pub struct Overview {
    /// Its own rules.
    #[serde(flatten)]
    pub own: Shown,
    /// When they, or those of a repository, were last set.
    pub set_at: Option<Timestamp>,
    /// Repositories with rules of their own, the first thousand.
    pub repositories: Vec<String>,
    /// The run under way, or the last one.
    pub run: Option<LastRun>,
}

/// A namespace's rules, ready to decide by.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) namespace: NamespaceId,
    pub(super) version: i64,
    pub(super) rules: Rules,
    /// Tags that stay, whatever rules let go.
    pub(super) immutable: Immutable,
}

impl Expiry {
    /// Puts a set of rules in the place of the one before; an empty one takes it away. When this answers, nothing goes by the old ones any more.
    ///
    /// # Errors
    /// The document is not valid, a rule about everything was not confirmed, or there is no such repository.
    pub async fn set(
        &self,
        about: &About,
        document: Document,
        confirmed: Confirmed,
        actor: &str,
    ) -> Result<Shown, Error> {
        let rules = Rules::read(about, document)?;
        if confirmed == Confirmed::No
            && let Some(by) = rules.about_everything(about)
        {
            return Err(Error::Unconfirmed { by, about: about.name().clone() });
        }
        let count = rules.rules().len();
        let set = SetRules {
            about: match about {
                About::Namespace(name) => RulesOf::Namespace(name.clone()),
                About::Repository(name) => RulesOf::Repository(name.clone()),
            },
            policy: (count > 0).then(|| rules.stored_text()),
            rules: count,
            actor: actor.to_owned(),
        };
        match self.metadata().write(set).await {
            Ok(_) => Ok(shown(about, Ok(rules))),
            Err(WriteError::Refused(sets::NoRepository)) => Err(Error::NoRepository(about.name().clone())),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// The rules of a namespace with its last run.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overview(&self, namespace: &RepositoryName) -> Result<Overview, Error> {
        let mut reader = self.metadata().read().await?;
        let stored = sets::read(&mut reader, namespace.as_str()).await?;
        let (repositories, run) = match stored.namespace {
            Some(id) => (
                pages::with_own_rules(&mut reader, (id, namespace.as_str()), MOST_NAMED).await?,
                runs::last(&mut reader, id).await?,
            ),
            None => (Vec::new(), None),
        };
        let about = About::Namespace(namespace.clone());
        let own = shown(&about, stored_rules(&about, stored.policy.as_deref()));
        Ok(Overview { own, set_at: stored.set_at, repositories, run })
    }

    /// The rules of one repository.
    ///
    /// # Errors
    /// There is no such repository, or the database failed.
    pub async fn own_rules(&self, repository: &RepositoryName) -> Result<Shown, Error> {
        let found = sets::read_own(&mut self.metadata().read().await?, repository).await?;
        let policy = found.ok_or_else(|| Error::NoRepository(repository.clone()))?;
        let about = About::Repository(repository.clone());
        Ok(shown(&about, stored_rules(&about, policy.as_deref())))
    }

    /// The rules of a namespace, to decide by.
    pub(super) async fn load(&self, namespace: &RepositoryName) -> Result<Loaded, Error> {
        let stored = sets::read(&mut self.metadata().read().await?, namespace.as_str()).await?;
        let id = stored.namespace.ok_or_else(|| Error::NoRules(namespace.clone()))?;
        let about = About::Namespace(namespace.clone());
        let rules = stored_rules(&about, stored.policy.as_deref())?;
        // The version is that of the text: whoever has set other rules since must not see these run under the number of those.
        Ok(Loaded { rules, namespace: id, version: stored.version, ..self.ground(namespace).await? })
    }
}

impl Expiry {
    /// A namespace for rules that are not stored. One without a row has no repositories.
    pub(super) async fn ground(&self, namespace: &RepositoryName) -> Result<Loaded, Error> {
        let mut reader = self.metadata().read().await?;
        let immutable = immutable::read(&mut reader, namespace.as_str()).await?;
        let stored = sets::read(&mut reader, namespace.as_str()).await?;
        let namespace = stored.namespace.unwrap_or(NamespaceId(0));
        Ok(Loaded { namespace, version: stored.version, rules: Rules::none(), immutable })
    }
}

/// What a row holds; nothing is no rules.
pub(super) fn stored_rules(about: &About, text: Option<&str>) -> Result<Rules, Error> {
    let read = text.map_or_else(|| Ok(Rules::none()), |text| Rules::stored(about, text));
    read.map_err(|reason| Error::Unreadable { about: about.name().clone(), reason })
}

fn shown(about: &About, rules: Result<Rules, Error>) -> Shown {
    let about = about.name().clone();
    match rules {
        Ok(rules) => Shown { about, rules: Some(rules.document().rules.clone()), unreadable: None },
        Err(error) => Shown { about, rules: None, unreadable: Some(error.to_string()) },
    }
}
