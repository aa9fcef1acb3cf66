//! The token server as a whole: built from settings, a router, and what runs beside requests.

#[cfg(test)]
mod tests;

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::Router;
use shared::{
    clock::Clock,
    crypto,
    data_directory::{DataDirectory, DataDirectoryError},
    database::DatabaseError,
    listen::{Limits, ListenError, Listener, Place},
    shutdown::CancellationToken,
    watched::WatchError,
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::{
    accounts::{self, Accounts, providers::ProviderKind},
    audit::witness::Witness,
    first_start::{FirstPassword, FirstStartError},
    http::{self, App, Proxies},
    identity::{
        Identities, Providers,
        htpasswd::{FileError, Htpasswd, PROVIDER},
        ldap::{Ldap, NotAsked},
        queue::Queue,
    },
    pki::{PkiError, TokenAuthority},
    sealing::Sealing,
    secrets::{MasterKeyError, MasterKeys},
    settings::{ProcessSettings, Settings},
    signing::{Signing, SigningError},
    tokens::Tokens,
};

/// How often it is looked which uses of credentials are to be written.
const FLUSH: Duration = Duration::from_secs(30);
/// How often the events of tokens and failed logins are written.
const WRITE_EVENTS: Duration = Duration::from_secs(1);
/// How often the htpasswd file is compared with the accounts it provides.
const RECONCILE: Duration = Duration::from_secs(5);
/// How often what only the database knows is counted for metrics.
const COUNT: Duration = Duration::from_secs(15);
/// How often it is asked whether a signing key is due, and whether another process has turned them.
const ROTATE: Duration = Duration::from_secs(2);
/// How often what has become too old is removed: revocations, known networks, events of tokens and failed logins.
const FORGET: Duration = Duration::from_secs(3600);

/// Why the token server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The master key cannot be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The database hangs on another master key.
    #[error("the accounts hang on the master key {known}, and keys/master is another: restore it from a backup")]
    OtherMasterKey {
        /// The id that rows carry.
        known: String,
    },
    /// The keys that sign tokens cannot be had.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No key can sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The accounts cannot be read or written.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
    /// The htpasswd file cannot be used.
    #[error(transparent)]
    Htpasswd(#[from] WatchError<FileError>),
    /// What remembers the end of the audit is damaged.
    #[error("{}: {error}; if it is known why, move it away", path.display())]
    Witness {
        /// Where it lies.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// What the settings of a directory name cannot be used.
    #[error(transparent)]
    Ldap(#[from] NotAsked),
    /// The first account cannot be made.
    #[error(transparent)]
    FirstStart(#[from] FirstStartError),
    /// Another process has the data directory.
    #[error(transparent)]
    Data(#[from] DataDirectoryError),
    /// Nobody can be heard.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Passwords could be read on the way, and nobody asked for it.
    #[error("listening on {0} without TLS lets everybody on the way read passwords; set http.tls, or say --insecure")]
    BeyondLoopback(Place),
}

/// The token server, ready to answer.
#[derive(Clone)]
pub struct Auth {
    app: App,
    proxies: Proxies,
    /// True if this start made the first administrator.
    pub made_administrator: bool,
}

impl Auth {
    /// Puts the server together over a data directory that the caller holds: keys, accounts, providers, the first administrator.
    ///
    /// # Errors
    /// [`StartError`]: nothing is served then.
    pub async fn build(settings: &Settings, data: &Path, clock: Clock) -> Result<Self, StartError> {
        crypto::install();
        let keys = data.join("keys");
        let accounts = Accounts::open(&settings.location(data), clock.clone()).await?;
        let master = master_keys(&keys, &accounts.master_ids().await?)?;
        let authority = TokenAuthority::open(&keys, settings.token_key.clone(), clock.now())?;
        if let Some(path) = &settings.bundle {
            authority.publish_bundle(path)?;
        }
        let signing =
            Signing::open(&settings.issuer, accounts.clone(), authority, master.clone(), clock.clone()).await?;
        let issuer = signing.issuer().clone();
        for (name, catalog) in &settings.services {
            accounts.ensure_service(name.clone(), *catalog).await?;
        }
        let queue = Queue::for_this_machine();
        let htpasswd = match &settings.htpasswd {
            Some(path) => {
                let provider = accounts.ensure_provider(PROVIDER, ProviderKind::Htpasswd).await?;
                Some(Htpasswd::open(path, provider, queue.clone())?)
            }
            None => None,
        };
        let sealing = Sealing::new(&accounts, &master, data, settings.retention)
            .map_err(|error| StartError::Witness { path: Witness::in_directory(data).path().to_owned(), error })?;
        let mut ldap = Vec::with_capacity(settings.ldap.len());
        for config in &settings.ldap {
            let provider = accounts.ensure_provider(config.name.as_str(), ProviderKind::Ldap).await?;
            ldap.push(Ldap::new(provider, config.clone())?);
        }
        let providers = Providers { htpasswd, ldap };
        let identities = Identities::new(accounts.clone(), master, queue, providers, clock.clone());
        identities.look_for_directories().await?;
        identities.reconcile().await?;
        let first_password = FirstPassword::in_directory(data);
        let made_administrator = first_password.make(&accounts, identities.passwords()).await?;
        let tokens = Tokens::new(accounts.clone(), identities.clone(), issuer, settings.token_life, clock.clone());
        let bundle = signing.bundle().into();
        let app = App { accounts, identities, tokens, signing, sealing, bundle, first_password, clock };
        let proxies = Proxies::trusting(settings.trusted_proxies.clone());
        Ok(Self { app, proxies, made_administrator })
    }

    /// What handlers share, for a registry in the same process.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Every route, for listeners that anybody reaches.
    pub fn router(&self) -> Router {
        http::router(self.app.clone(), self.proxies.clone())
    }

    /// Every route, for the data directory's socket and for nothing else: whoever is let in there administers.
    pub fn socket_router(&self) -> Router {
        http::socket_router(self.app.clone())
    }

    /// Lets go who waits for news of the revocation feed; a stop would wait for them. To be called when one is asked for.
    pub fn close(&self) {
        self.app.tokens.close();
    }

    /// Ready if the accounts can be read.
    ///
    /// # Errors
    /// They cannot.
    pub async fn ready(&self) -> Result<(), accounts::Error> {
        self.app.accounts.ready().await
    }

    /// What is done beside requests, until `cancelled`; then what waits is written, and the database closed.
    pub async fn background(&self, cancelled: CancellationToken) {
        // On the heap: whoever runs it beside other things carries a pointer.
        let work = Box::pin(async {
            tokio::join!(
                self.flush(),
                self.write_events(),
                self.reconcile(),
                self.app.identities.follow_added(),
                self.app.identities.follow_directories(),
                self.rotate(),
                self.count(),
                self.forget()
            );
        });
        cancelled.run_until_cancelled(work).await;
        Box::pin(self.finish()).await;
    }

    async fn finish(&self) {
        self.app.identities.leave_directories().await;
        let accounts = &self.app.accounts;
        if let Err(error) = accounts.flush_uses().await {
            warn!(%error, "when credentials were last used was not written");
        }
        if let Err(error) = accounts.flush_events().await {
            warn!(%error, "the last second's tokens and failed logins are missing in the audit");
        }
        if let Err(error) = self.app.sealing.seal().await {
            warn!(%error, "the last events of the audit are not sealed; the next start does it");
        }
        accounts.close().await;
    }

    async fn write_events(&self) {
        let mut ticks = ticks(WRITE_EVENTS);
        loop {
            ticks.tick().await;
            if let Err(error) = self.app.accounts.flush_events().await {
                warn!(%error, "tokens and failed logins were not written to the audit; they are kept");
            }
            if let Err(error) = self.app.sealing.seal().await {
                warn!(%error, "the audit was not sealed; it is tried again");
            }
        }
    }

    async fn flush(&self) {
        let mut ticks = ticks(FLUSH);
        loop {
            ticks.tick().await;
            if let Err(error) = self.app.accounts.flush_uses().await {
                warn!(%error, "when credentials were last used was not written; it is kept");
            }
        }
    }

    async fn reconcile(&self) {
        let Some(mut seen) = self.app.identities.htpasswd_generation() else { return pending().await };
        let mut ticks = ticks(RECONCILE);
        loop {
            ticks.tick().await;
            let now = self.app.identities.htpasswd_generation().unwrap_or(seen);
            if now == seen {
                continue;
            }
            match self.app.identities.reconcile().await {
                Ok(()) => seen = now,
                Err(error) => {
                    error!(%error, "the accounts were not brought up to the htpasswd file; it is tried again");
                }
            }
        }
    }

    async fn count(&self) {
        let mut ticks = ticks(COUNT);
        loop {
            ticks.tick().await;
            match self.app.accounts.census().await {
                Ok(census) => self.app.identities.metrics().saw(census),
                Err(error) => warn!(%error, "credentials, events and keys were not counted for metrics"),
            }
        }
    }

    async fn rotate(&self) {
        let mut ticks = ticks(ROTATE);
        loop {
            ticks.tick().await;
            if let Err(error) = self.app.signing.tend().await {
                error!(%error, "the signing keys were not looked after; the old one still signs");
            }
        }
    }

    async fn forget(&self) {
        let mut ticks = ticks(FORGET);
        loop {
            ticks.tick().await;
            let accounts = &self.app.accounts;
            if let Err(error) = accounts.forget_old_revocations().await {
                warn!(%error, "old revocations were not forgotten");
            }
            if let Err(error) = accounts.warn_of_endings().await {
                warn!(%error, "credentials that are about to end were not looked for");
            }
            if let Err(error) = accounts.forget_old_networks().await {
                warn!(%error, "networks that are no longer known were not forgotten");
            }
            if let Err(error) = self.app.sealing.remove_old().await {
                warn!(%error, "old events were not removed from the audit");
            }
        }
    }
}

/// The master keys of the directory. Where those are missing that the database hangs on, nothing is made: a new key, with an authority and a
/// bundle of its own, would look as if it were the one to keep.
fn master_keys(keys: &Path, known: &[String]) -> Result<MasterKeys, StartError> {
    let other = |id: &String| Err(StartError::OtherMasterKey { known: id.clone() });
    if let Some(id) = known.first()
        && !MasterKeys::are_in(keys)
    {
        return other(id);
    }
    let master = MasterKeys::open(keys)?;
    known.iter().find(|id| master.named(id).is_none()).map_or(Ok(master.clone()), other)
}

/// Serves auth alone until `stop` is cancelled. `listening` is told where, once it is ready.
///
/// # Errors
/// [`StartError`], before anything is served.
pub async fn serve(
    settings: &ProcessSettings,
    clock: Clock,
    stop: CancellationToken,
    listening: impl FnOnce(&Auth, &Listener),
) -> Result<(), StartError> {
    if settings.tls.is_none() && !settings.listen.is_loopback() {
        if !settings.insecure {
            return Err(StartError::BeyondLoopback(settings.listen.clone()));
        }
        warn!(listen = %settings.listen, "no TLS: everybody on the way can read passwords and tokens");
    }
    let data = DataDirectory::claim(&settings.data)?;
    let auth = Auth::build(&settings.auth, data.path(), clock).await?;
    let proxies = settings.auth.trusted_proxies.clone();
    let network = Listener::bind(&settings.listen, settings.tls.as_ref(), Limits::default())
        .await?
        .exempting(move |address| proxies.as_ref().is_some_and(|proxies| proxies.contains(address)))
        .refusing(http::refusal());
    let socket = Listener::bind(&Place::Unix(data.socket()), None, Limits::default()).await?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let debug = match &settings.debug {
        Some(debug) => Some(Listener::bind(&debug.listen, None, Limits::default()).await?),
        None => None,
    };
    data.publish("address", &format!("{scheme}://{}", network.address()))?;
    info!(address = %network.address(), "auth is listening");
    listening(&auth, &network);
    // Background work ends after the last request: what a request leaves to be written is written.
    let done = CancellationToken::new();
    let requests = async {
        let health = http::health_router(auth.app.accounts.clone());
        let watched = async {
            let Some((listener, told)) = debug.zip(settings.debug.as_ref()) else { return };
            info!(address = %listener.address(), metrics = told.metrics, "health is told on the debug listener");
            let metrics = told.metrics.as_ref().map(|path| http::metrics_router(path, auth.app.clone()));
            listener.serve(health.clone().merge(metrics.unwrap_or_default()), stop.clone()).await;
        };
        tokio::join!(
            network.serve(auth.router().merge(health.clone()), stop.clone()),
            socket.serve(auth.socket_router().merge(health.clone()), stop.clone()),
            watched
        );
        done.cancel();
    };
    let letting_go = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = done.cancelled() => {}
        }
        auth.close();
    };
    tokio::join!(requests, letting_go, auth.background(done.clone()));
    Ok(())
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
