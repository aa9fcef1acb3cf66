//! `portreeve up`: both services in one process, on one port, over one data directory, with no configuration needed.

mod banner;
mod companion;
mod health;
mod settings;

use std::{path::PathBuf, sync::Arc};

use auth::server::Auth;
use clap::Args;
use registry::{access::Companion, server::Registry};
use shared::{
    clock::Clock,
    data_directory::{DataDirectory, DataDirectoryError},
    listen::{ListenError, Listener, Place},
    shutdown::{self, CancellationToken},
};
use tracing::{info, warn};

use self::{companion::InProcess, settings::Together};
/// Runs both services in one process.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where to listen; port 0 takes a free one. Without it the configuration's `http.addr`, then 127.0.0.1:5000.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Keys, databases and blobs lie here. Without it the configuration's `rootdirectory`, then ./data.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// The registry's configuration, `version: 0.1`, with auth's settings under `portreeve.auth`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speak TLS with a certificate of the development authority under the data directory.
    #[arg(long)]
    tls: bool,
    /// A name or address that the development certificate is for, besides localhost.
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
    /// Listen beyond loopback without TLS: passwords and tokens can be read on the way.
    #[arg(long)]
    insecure: bool,
}

/// Why Portreeve did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Data(#[from] DataDirectoryError),
    #[error("auth: {0}")]
    Auth(#[from] auth::server::StartError),
    #[error("registry: {0}")]
    Registry(#[from] registry::server::StartError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "listening on {0} without TLS lets everybody on the way read passwords; give a certificate (http.tls), --tls, or say --insecure"
    )]
    BeyondLoopback(Place),
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`UpError`], before anything is served.
pub(crate) async fn run(up: Up) -> Result<(), UpError> {
    let mut settings = Together::load(&up, &std::env::vars().collect::<Vec<_>>())?;
    registry::cli::start_log(&settings.registry.log);
    for unknown in &settings.unknown {
        warn!("{unknown}");
    }
    let data = DataDirectory::claim(&settings.registry.storage.root)?;
    registry::server::check_restored(data.path())?;
    let clock = Clock::system();
    if up.tls {
        let root = settings.use_development_tls(&data, &up.tls_name, &clock)?;
        info!(trust = %root.display(), "speaking TLS with a development certificate");
    }
    let http = &settings.registry.http;
    if http.tls.is_none() && !http.listen.is_loopback() {
        if !up.insecure {
            return Err(UpError::BeyondLoopback(http.listen.clone()));
        }
        warn!(listen = %http.listen, "no TLS: everybody on the way can read passwords, tokens and images");
    }
    let auth = Auth::build(&settings.auth, data.path(), clock.clone()).await?;
    let companion: Arc<dyn Companion> = Arc::new(InProcess::new(auth.app().tokens.clone(), settings.service()));
    let registry = Registry::build(&settings.registry, Some(companion), clock).await?;
    let limits = http.limits();
    let requests = settings.registry.log.requests;
    let network = Listener::bind(&http.listen, http.tls.as_ref(), limits).await?;
    let network = network.exempting(http.trusted()).log_requests(requests);
    let network = network.refusing(registry::server::refusal(&settings.registry)?).refusing(auth::http::refusal());
    let socket = Listener::bind(&Place::Unix(data.socket()), None, limits).await?.log_requests(requests);
    let counted = auth.app().clone();
    let debug = registry.debug(http, Some(Arc::new(move || counted.metrics()))).await?;
    let address = network.address().url(http.tls.is_some());
    data.publish("address", &address)?;
    let stop = shutdown::on_signal().map_err(UpError::Signals)?;
    banner::greet(&address, &data);
    tokio::join!(serve(&registry, &auth, network, socket, stop.clone()), debug.serve(stop));
    Ok(())
}

async fn serve(registry: &Registry, auth: &Auth, network: Listener, socket: Listener, stop: CancellationToken) {
    let anywhere = registry.router().merge(health::router(registry, auth)).merge(auth.router());
    let data_directory = registry.socket_router().merge(health::router(registry, auth)).merge(auth.socket_router());
    // Background work ends after the last request: what a request leaves to be written is written.
    let done = CancellationToken::new();
    let requests = async {
        tokio::join!(network.serve(anywhere, stop.clone()), socket.serve(data_directory, stop.clone()));
        done.cancel();
    };
    // Whoever waits for news of the revocation feed would hold up the end by half a minute.
    let letting_go = async {
        stop.cancelled().await;
        auth.close();
    };
    tokio::join!(requests, letting_go, registry.background(done.clone()), auth.background(done.clone()));
}
