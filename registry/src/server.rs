//! The registry put together: settings become content, access, routes and the tasks behind them.

mod reading;
pub mod restore;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use shared::{
    clock::Clock,
    database::{DatabaseError, Location},
    listen::{Limits, ListenError, Listener, Place, Refuse},
    shutdown::CancellationToken,
};
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use crate::{
    access::{
        self, Access, Companion, CompanionUnavailable, Htpasswd, TokenAccess,
        companion::RemoteCompanion,
        htpasswd::HtpasswdError,
        trust::{TrustError, TrustStore},
        verifier::Verifier,
    },
    content::{Content, Lives, pulls::FLUSH_EVERY},
    gc::{self, Collector, backup::Backups, doctor::Doctor, restore::unfinished},
    health::{Checks, Readiness},
    http::{
        self, InvalidHeader, MoreMetrics,
        admin::{Administration, Door, Rooms},
    },
    lifecycle::{
        Lifecycle,
        rules::{self, Expiry},
    },
    metadata::Metadata,
    settings::{AccessSettings, DatabaseSettings, HttpSettings, JwksPlace, Settings, TokenSettings, Writes},
    store::{Store, filesystem::Filesystem},
};

pub(crate) use reading::reading;

/// Why a registry with valid settings does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("storage.filesystem.rootdirectory: {0}")]
    Store(#[from] std::io::Error),
    /// A restore began in the data directory and broke off.
    #[error("{}: a restore began here and has not come to its end: run it again, with --force; to use what is there all the same, delete this file", .0.display())]
    HalfRestored(PathBuf),
    /// The database cannot be used.
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    /// The name of the database's schema is none.
    #[error("portreeve.database.schema: {0}")]
    Schema(String),
    /// There is nobody to believe.
    #[error("auth.token: {0}")]
    Trust(#[from] TrustError),
    /// The password file cannot be used.
    #[error("auth.htpasswd.path: {0}")]
    Htpasswd(#[from] shared::watched::WatchError<HtpasswdError>),
    /// The companion's address cannot be used.
    #[error("portreeve.companion: {0}")]
    Companion(#[from] CompanionUnavailable),
    /// A header to set is none.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
}

/// Health for those who watch, apart from clients and without access control.
pub struct DebugServer(Option<(Listener, axum::Router)>);

impl DebugServer {
    /// Answers until `stop` is cancelled; at once if there is none.
    pub async fn serve(self, stop: CancellationToken) {
        if let Some((listener, router)) = self.0 {
            listener.serve(router, stop).await;
        }
    }
}

/// Refuses a data directory in which a restore has not come to its end: half of one looks like a registry.
///
/// # Errors
/// [`StartError::HalfRestored`]
pub fn check_restored(data: &Path) -> Result<(), StartError> {
    unfinished::of(data).map_or(Ok(()), |marker| Err(StartError::HalfRestored(marker)))
}

/// What a listener answers those of the protocol's requests that it shows to no router ([`Listener::refusing`]).
///
/// # Errors
/// [`StartError`] for a header of the settings that is none.
pub fn refusal(settings: &Settings) -> Result<Refuse, StartError> {
    Ok(http::refusal(settings)?)
}

/// A registry that is ready to serve.
pub struct Registry {
    router: axum::Router,
    administration: Administration,
    content: Content,
    checks: Checks,
    access: Arc<Access>,
    jwks: Option<Url>,
    collector: Collector,
    doctor: Doctor,
    expiry: Expiry,
    clock: Clock,
}

impl Registry {
    /// Opens store and database, reads whom to believe, and makes the routes.
    ///
    /// `companion` is the auth service of the same process; without one the settings may name another.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn build(
        settings: &Settings,
        companion: Option<Arc<dyn Companion>>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        check_restored(&settings.storage.root)?;
        let store: Arc<dyn Store> = Arc::new(Filesystem::open(&settings.storage.root)?);
        let metadata = Metadata::open(&location(&settings.database)?, clock.clone()).await?;
        let content = Content::new(metadata.clone(), Arc::clone(&store), clock.clone(), lives(settings));
        let lifecycle = Lifecycle::new(metadata.clone(), clock.clone(), settings.lives.undelete);
        let doctor = doctor(settings, &metadata, &store, &clock);
        let expiry = Expiry::new(metadata.clone(), clock.clone(), rules(settings));
        let collector = Collector::new(metadata, store, clock.clone(), collecting(settings));
        let checks = Checks::new(&settings.health, &settings.storage.root);
        let access = Arc::new(access(settings, companion, &clock)?);
        let router = http::router(settings, content.clone(), Arc::clone(&access), checks.clone(), clock.clone())?;
        let (references, backups) = (settings.references.into(), backups(settings, &collector));
        let rooms = Rooms {
            content: content.clone(),
            references,
            lifecycle,
            expiry: expiry.clone(),
            collector: collector.clone(),
            backups,
            doctor: doctor.clone(),
        };
        let administration = http::administration(settings, Arc::clone(&access), rooms, clock.clone());
        let jwks = jwks_url(&settings.access);
        Ok(Self { router, administration, content, checks, access, jwks, collector, doctor, expiry, clock })
    }

    /// The routes of the protocol and of the admin API, for listeners that anybody reaches.
    pub fn router(&self) -> axum::Router {
        self.behind(Door::Anywhere)
    }

    /// The same for the data directory's socket and for nothing else: root and the server's own user administer there.
    pub fn socket_router(&self) -> axum::Router {
        self.behind(Door::DataDirectory)
    }

    fn behind(&self, door: Door) -> axum::Router {
        self.router.clone().merge(self.administration.router(door))
    }

    /// What a registry that has a port to itself answers besides.
    pub fn probes(&self) -> axum::Router {
        http::probes(self.readiness(), self.checks.clone())
    }

    /// Tells whether the registry can serve.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness::new(self.content.clone(), self.checks.clone())
    }

    /// Takes the place of the debug server, where `http.debug.addr` names one. What `beside` tells stands behind the registry's metrics.
    ///
    /// # Errors
    /// The place is taken or forbidden.
    pub async fn debug(&self, http: &HttpSettings, beside: Option<MoreMetrics>) -> Result<DebugServer, ListenError> {
        let Some(address) = &http.debug else { return Ok(DebugServer(None)) };
        let listener = Listener::bind(&Place::Tcp(address.clone()), None, Limits::default()).await?;
        info!(address = %listener.address(), "health is told at /debug/health");
        let mut router = http::debug(self.checks.clone());
        if let Some(path) = &http.metrics {
            let watched = (self.collector.clone(), self.doctor.clone(), self.expiry.clone());
            router = router.merge(http::metrics(path, watched, beside));
        }
        Ok(DebugServer(Some((listener, router))))
    }

    /// What the repositories hold.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Looks for faults.
    #[must_use]
    pub fn doctor(&self) -> &Doctor {
        &self.doctor
    }

    /// Does what is to be done between requests, until cancelled.
    pub async fn background(&self, cancelled: CancellationToken) {
        let upkeep = access::upkeep(Arc::clone(&self.access), self.jwks.clone(), self.clock.clone(), cancelled.clone());
        let (collector, checks) = (self.collector.clone(), self.checks.run(cancelled.clone()));
        let pulls = self.write_pulls(cancelled.clone());
        let rules = Box::pin(self.expiry.clone().run(cancelled.clone()));
        tokio::join!(upkeep, collector.run(cancelled), rules, checks, pulls, self.recall());
    }

    /// What the doctor came to before this process is told at `/metrics` again.
    async fn recall(&self) {
        if let Err(error) = self.doctor.recall().await {
            warn!(error = &error as &dyn std::error::Error, "what the doctor found last is not known");
        }
    }

    /// Pulls are counted in memory; what was counted is written now and then, and before the end.
    async fn write_pulls(&self, cancelled: CancellationToken) {
        while !cancelled.is_cancelled() {
            tokio::select! {
                () = sleep(FLUSH_EVERY) => {}
                () = cancelled.cancelled() => {}
            }
            if let Err(error) = self.content.write_pulls().await {
                warn!(error = &error as &dyn std::error::Error, "counted pulls are lost");
            }
        }
    }
}

/// A registry that does not serve: what its commands need, and nothing of whom to believe.
pub struct Stopped {
    administration: Administration,
    metadata: Metadata,
}

impl Stopped {
    /// Opens store and database; the caller holds the data directory.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn open(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        check_restored(&settings.storage.root)?;
        let store: Arc<dyn Store> = Arc::new(Filesystem::open(&settings.storage.root)?);
        let metadata = Metadata::open(&location(&settings.database)?, clock.clone()).await?;
        let collector = Collector::new(metadata.clone(), Arc::clone(&store), clock.clone(), collecting(settings));
        let doctor = doctor(settings, &metadata, &store, &clock);
        let rooms = Rooms {
            content: Content::new(metadata.clone(), store, clock.clone(), lives(settings)),
            references: settings.references.into(),
            expiry: Expiry::new(metadata.clone(), clock.clone(), rules(settings)),
            backups: backups(settings, &collector),
            collector,
            doctor,
            lifecycle: Lifecycle::new(metadata.clone(), clock.clone(), settings.lives.undelete),
        };
        let administration = http::administration(settings, Arc::new(Access::None), rooms, clock);
        Ok(Self { administration, metadata })
    }

    /// The routes of the data directory's socket: whoever could take the directory's lock is let in.
    pub fn socket_router(&self) -> axum::Router {
        self.administration.router(Door::DataDirectory)
    }

    /// Ends what runs and closes the database.
    pub async fn close(&self) {
        self.metadata.close().await;
    }
}

fn backups(settings: &Settings, collector: &Collector) -> Backups {
    Backups::new(collector, &settings.storage.root, settings.database.file().map(Path::to_owned))
}

fn doctor(settings: &Settings, metadata: &Metadata, store: &Arc<dyn Store>, clock: &Clock) -> Doctor {
    let reading = reading(settings.references, settings.lives.grace);
    Doctor::new(metadata.clone(), Arc::clone(store), clock.clone(), reading)
}

const fn collecting(settings: &Settings) -> gc::Settings {
    let lives = &settings.lives;
    gc::Settings { interval: lives.collect, trash_wait: lives.trash, grace: lives.grace }
}

/// A registry that refuses writes is left as it is: there rules are run by people alone.
fn rules(settings: &Settings) -> rules::Settings {
    let every = settings.rules_every.filter(|_| settings.storage.writes != Writes::Refused);
    rules::Settings { every, grace: settings.lives.grace, undelete: settings.lives.undelete }
}

fn location(settings: &DatabaseSettings) -> Result<Location, StartError> {
    Ok(match settings {
        DatabaseSettings::Sqlite { path } => Location::Sqlite { path: path.clone() },
        DatabaseSettings::Postgres { url, schema } => Location::Postgres {
            url: url.expose().clone().into(),
            schema: schema
                .parse()
                .map_err(|error: shared::database::InvalidSchema| StartError::Schema(error.to_string()))?,
        },
    })
}

fn jwks_url(settings: &AccessSettings) -> Option<Url> {
    match settings {
        AccessSettings::Token(token) => match &token.jwks {
            Some(JwksPlace::Url(url)) => Some(url.clone()),
            Some(JwksPlace::File(_)) | None => None,
        },
        AccessSettings::Htpasswd { .. } | AccessSettings::None => None,
    }
}

fn access(settings: &Settings, companion: Option<Arc<dyn Companion>>, clock: &Clock) -> Result<Access, StartError> {
    match &settings.access {
        AccessSettings::Token(token) => token_access(settings, token, companion, clock),
        AccessSettings::Htpasswd { realm, path } => {
            Ok(Access::Htpasswd(Box::new(Htpasswd::open(realm.clone(), path, clock.clone())?)))
        }
        AccessSettings::None => {
            warn!("everybody may pull, push and delete: no access control is configured under `auth`");
            Ok(Access::None)
        }
    }
}

fn token_access(
    settings: &Settings,
    token: &TokenSettings,
    companion: Option<Arc<dyn Companion>>,
    clock: &Clock,
) -> Result<Access, StartError> {
    let file = match &token.jwks {
        Some(JwksPlace::File(path)) => Some(path.as_path()),
        Some(JwksPlace::Url(_)) | None => None,
    };
    let trust = Arc::new(TrustStore::open(token.bundle.as_deref(), file, clock.now())?);
    let verifier = Verifier::new(token.issuer.clone(), token.service.clone(), token.algorithms.clone(), trust);
    let companion = match (companion, &settings.companion) {
        (Some(companion), _) => Some(companion),
        (None, Some(remote)) => {
            let credential = remote.credential.expose().clone().into();
            let remote = RemoteCompanion::new(&remote.url, token.service.clone(), credential)?;
            Some(Arc::new(remote) as Arc<dyn Companion>)
        }
        (None, None) => None,
    };
    if let Some(realm) = token.realm.private() {
        warn!(%realm, "the realm is a private address: crane, cosign and kaniko refuse it; use a name");
    }
    let access = TokenAccess::new(verifier, token.realm.clone(), token.service.clone(), companion);
    Ok(Access::Token(Box::new(access)))
}

fn lives(settings: &Settings) -> Lives {
    Lives { upload: settings.storage.upload_life, grace: settings.lives.grace }
}
