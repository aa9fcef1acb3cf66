//! A run: what rules let go, goes, a hundred tags at a time.
//!
//! One process runs a namespace at a time: it holds a lease that every operation renews and checks. Where it stands is written in the operations that
//! delete, so whoever goes on after it, goes on there. Rules that are set meanwhile count from the next operation on.

mod passage;

use serde::Serialize;
use shared::{clock::Timestamp, database::WriteError, random, repository::RepositoryName};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::{Error, Expiry, set::Loaded};
use crate::{
    failpoints::{Failed, Point, reach},
    metadata::rules::{
        previews::{self, Preview},
        runs::{Asked, BeginRun, Begun, Held, Interrupted, NotBegun, NoteRun, Progress, State},
    },
};

/// What a run tells as it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schema(as = RunEvent)]
pub enum Told {
    /// It begins, or goes on.
    Started {
        /// Its number.
        run: i64,
    },
    /// It has come to the end of a repository; the numbers are those of the whole run.
    Repository {
        /// Which.
        repository: RepositoryName,
        /// Where the run stands.
        #[serde(flatten)]
        progress: Progress,
    },
    /// It has come to its end.
    Done(Progress),
    /// It ended before its end, or left something alone.
    Failed {
        /// Why.
        detail: String,
    },
}

/// Whoever listens to a run. It does not wait for anybody: what a slow listener misses stands in the database.
#[derive(Clone, Debug, Default)]
pub struct Listener(Option<mpsc::Sender<Told>>);

impl Listener {
    /// Somebody who listens.
    #[must_use]
    pub const fn new(sender: mpsc::Sender<Told>) -> Self {
        Self(Some(sender))
    }

    fn tell(&self, told: Told) {
        // Full or gone: either way the run goes on.
        let _ = self.0.as_ref().map(|sender| sender.try_send(told));
    }

    /// The end is waited for: whoever still listens must hear it.
    async fn tell_end(&self, told: Told) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(told).await;
        }
    }
}

/// A run that holds its namespace.
pub struct Run {
    expiry: Expiry,
    namespace: RepositoryName,
    held: Held,
    progress: Progress,
    confined: Option<Preview>,
    loaded: Loaded,
    listener: Listener,
    /// When it last wrote where it stands.
    noted: Timestamp,
}

/// Why a run stops going through repositories.
#[derive(Debug)]
pub(super) enum Broken {
    /// Somebody else goes on.
    TakenOver,
    /// Rules were set: it goes on by the new ones.
    RulesChanged,
    /// Something failed, or it was told to stop: it is left lying, and gone on with later.
    Left(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Left(error)
    }
}

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Self {
        Self::Left(failed.into())
    }
}

impl From<WriteError<Interrupted>> for Broken {
    fn from(error: WriteError<Interrupted>) -> Self {
        match error {
            WriteError::Refused(Interrupted::TakenOver) => Self::TakenOver,
            WriteError::Refused(Interrupted::RulesChanged) => Self::RulesChanged,
            WriteError::Unavailable(error) => Self::Left(error.into()),
        }
    }
}

impl Expiry {
    /// Takes the namespace for a run that somebody asks for, confined to a preview if a token names one.
    ///
    /// # Errors
    /// The rules cannot be read or were never set, a run is under way, or the token names no preview that still counts.
    pub async fn begin(&self, namespace: &RepositoryName, actor: &str, token: Option<&str>) -> Result<Run, Error> {
        let loaded = self.load(namespace).await?;
        let preview = match token {
            Some(token) => Some(self.shown(namespace, &loaded, token).await?),
            None => None,
        };
        self.take(namespace, loaded, Asked::By { actor: actor.to_owned(), preview }).await
    }

    /// The preview that a token names, if a run may be confined to it.
    async fn shown(&self, namespace: &RepositoryName, loaded: &Loaded, token: &str) -> Result<Preview, Error> {
        let found = previews::find(&mut self.metadata().read().await?, token).await?;
        let own = found.filter(|preview| preview.namespace == loaded.namespace);
        let preview = own.ok_or_else(|| Error::ForeignPreview(namespace.clone()))?;
        if preview.expires_at <= self.0.clock.now() {
            return Err(Error::ExpiredPreview);
        }
        if preview.version == loaded.version { Ok(preview) } else { Err(Error::RulesChanged) }
    }

    /// Takes the namespace.
    pub(super) async fn take(&self, namespace: &RepositoryName, loaded: Loaded, asked: Asked) -> Result<Run, Error> {
        let holder = random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let begin = BeginRun { namespace: loaded.namespace, asked, holder };
        let Begun { held, progress, preview } =
            self.metadata().write(begin).await.map_err(|refused| match refused {
                WriteError::Refused(NotBegun::NoRules) => Error::NoRules(namespace.clone()),
                WriteError::Refused(NotBegun::Running { actor, since }) => Error::Running { actor, since },
                WriteError::Refused(NotBegun::RulesChanged) => Error::RulesChanged,
                WriteError::Unavailable(error) => error.into(),
            })?;
        reach(Point::RunBegun)?;
        let confined = match preview {
            // One whose rows have gone shows nothing, so nothing goes.
            Some(id) => previews::read(&mut self.metadata().read().await?, id).await?.or(Some(Preview {
                id,
                namespace: held.namespace,
                version: loaded.version,
                expires_at: self.0.clock.now(),
            })),
            None => None,
        };
        let (expiry, namespace, listener) = (self.clone(), namespace.clone(), Listener::default());
        let noted = self.0.clock.now();
        Ok(Run { expiry, namespace, held, progress, confined, loaded, listener, noted })
    }
}

impl Run {
    /// The same with somebody who listens.
    #[must_use]
    pub fn told_to(mut self, listener: Listener) -> Self {
        self.listener = listener;
        self
    }

    /// Goes through the namespace to its end, and answers what the run has done; `stop` leaves it lying for whoever comes next.
    ///
    /// # Errors
    /// It did not come to its end, or left something alone.
    pub async fn go(mut self, stop: &CancellationToken) -> Result<Progress, Error> {
        self.listener.tell(Told::Started { run: self.held.run });
        let listener = self.listener.clone();
        let ended = self.finish(stop).await;
        match &ended {
            Ok(progress) => listener.tell_end(Told::Done(progress.clone())).await,
            Err(error) => listener.tell_end(Told::Failed { detail: error.to_string() }).await,
        }
        ended
    }

    async fn finish(&mut self, stop: &CancellationToken) -> Result<Progress, Error> {
        loop {
            let outcome = match self.pass(stop).await {
                Ok(()) => self.end().await,
                Err(broken) => Err(broken),
            };
            match outcome {
                Ok(()) => return self.ended(),
                Err(Broken::TakenOver) => {
                    warn!(namespace = %self.namespace, "another process goes on with this run");
                    return Err(Error::Stopped);
                }
                Err(Broken::RulesChanged) => self.by_new_rules().await?,
                Err(Broken::Left(error)) => return Err(error),
            }
        }
    }

    /// Rules were set: it goes on by those, unless it was confined to what the old ones said or there is nothing to go by.
    async fn by_new_rules(&mut self) -> Result<(), Error> {
        let (namespace, expiry) = (self.namespace.clone(), self.expiry.clone());
        let ground = expiry.ground(&namespace).await?;
        match expiry.load(&namespace).await {
            Ok(loaded) if self.confined.is_none_or(|preview| preview.version == loaded.version) => {
                self.loaded = loaded;
                // What the old rules did not get to take away is looked at again.
                self.progress.at = None;
                Ok(())
            }
            Ok(_) => Err(self.fail(ground, Error::RulesChanged).await),
            Err(error @ Error::Unreadable { .. }) => Err(self.fail(ground, error).await),
            Err(error) => Err(error),
        }
    }

    /// Ends the run before its end, and says why to those who look later.
    pub(super) async fn fail(&mut self, ground: Loaded, error: Error) -> Error {
        self.loaded = ground;
        self.progress.failure = Some(error.to_string());
        match self.end().await {
            Ok(()) => self.expiry.0.counts.ended(false, self.expiry.0.clock.now()),
            Err(_) => warn!(namespace = %self.namespace, "why a run failed could not be written"),
        }
        error
    }

    /// Writes that the run is over.
    async fn end(&self) -> Result<(), Broken> {
        let state = if self.progress.failure.is_some() { State::Failed } else { State::Done };
        let (held, progress) = (self.held.clone(), self.progress.clone());
        let note = NoteRun { held, version: self.loaded.version, progress, ended: Some(state) };
        Ok(self.expiry.metadata().write(note).await?)
    }

    fn ended(&self) -> Result<Progress, Error> {
        let Progress { looked, expired, moved, manifests, failure, .. } = &self.progress;
        self.expiry.0.counts.ended(failure.is_none(), self.expiry.0.clock.now());
        let namespace = &self.namespace;
        match failure {
            Some(reason) => {
                error!(%namespace, looked, expired, moved, manifests, reason, "lifecycle rules were run in part");
            }
            None => info!(%namespace, looked, expired, moved, manifests, "lifecycle rules were run"),
        }
        Ok(self.progress.clone())
    }
}
