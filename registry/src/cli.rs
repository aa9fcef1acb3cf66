//! The registry's command line: `registry serve [CONFIG]`.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use shared::{
    clock::Clock,
    data_directory::DataDirectory,
    listen::{Limits, ListenError, Listener},
    settings::{SettingsError as UnreadableSettings, Source, Unknown},
    shutdown,
    telemetry::{self, Observe},
};
use tracing::{info, warn};

use crate::{
    server::{Registry, StartError},
    settings::{HttpSettings, LogSettings, RawSettings, Settings, SettingsError},
};

/// The variable that names the configuration, as at the stock registries.
const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// Where the stock images keep their configuration: version 3's place, then version 2's.
const USUAL_PLACES: [&str; 2] = ["/etc/distribution/config.yml", "/etc/docker/registry/config.yml"];

/// What the environment calls keys that Distribution's own program names otherwise.
pub const ALIASES: &[(&str, &str)] = &[
    ("notifications.events", "EVENTCONFIG"),
    ("health.file", "FILECHECKERS"),
    ("health.http", "HTTPCHECKERS"),
    ("health.tcp", "TCPCHECKERS"),
];

/// What the registry can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve images.
    Serve {
        /// The configuration, as the stock registry has it; without it $REGISTRY_CONFIGURATION_PATH, then
        /// /etc/distribution/config.yml, then /etc/docker/registry/config.yml.
        config: Option<PathBuf>,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no configuration.
    #[error("configuration path unspecified; name one, or set {CONFIGURATION_PATH}")]
    NoConfiguration,
    /// The configuration cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableSettings),
    /// A setting cannot be.
    #[error("{path}: {error}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        error: SettingsError,
    },
    /// Something that the settings name cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Somebody else has the data directory, or it cannot be had.
    #[error("{0}")]
    DataDirectory(String),
    /// Nobody can be heard.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The operating system refuses.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// Runs a command to its end.
///
/// # Errors
/// [`CommandError`], to be printed.
pub async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Serve { config } => serve(config).await,
    }
}

/// Reads a configuration with the environment laid over it, and names what it says in vain.
///
/// # Errors
/// [`CommandError`]
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Settings, Vec<Unknown>), CommandError> {
    // The variable that names the file is no setting in it.
    let environment = environment.into_iter().filter(|(name, _)| name != CONFIGURATION_PATH);
    let source = Source::file(path)?.version("0.1")?.overlay("REGISTRY", environment).aliases(ALIASES);
    let read = source.read::<RawSettings>()?;
    let settings = read.value.try_into().map_err(|error| CommandError::Setting { path: path.to_owned(), error })?;
    Ok((settings, read.unknown))
}

async fn serve(config: Option<PathBuf>) -> Result<(), CommandError> {
    let path = configuration(config)?;
    let (settings, unknown) = load(&path, env::vars())?;
    start_log(&settings.log);
    for unknown in unknown {
        warn!("{unknown}");
    }
    let _held =
        DataDirectory::claim(&settings.storage.root).map_err(|error| CommandError::DataDirectory(error.to_string()))?;
    let stop = shutdown::on_signal()?;
    let registry = Registry::build(&settings, None, Clock::system()).await?;
    let listener = listen(&settings.http).await?;
    info!(address = %listener.address(), configuration = %path.display(), "serving");
    let background = registry.background(stop.clone());
    let router = registry.router().layer(Observe(settings.log.requests));
    tokio::join!(listener.serve(router, stop.clone()), background);
    Ok(())
}

fn configuration(given: Option<PathBuf>) -> Result<PathBuf, CommandError> {
    let named = || env::var_os(CONFIGURATION_PATH).filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || USUAL_PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    given.or_else(named).or_else(usual).ok_or(CommandError::NoConfiguration)
}

async fn listen(http: &HttpSettings) -> Result<Listener, ListenError> {
    if http.tls.is_none() {
        warn!(address = %http.listen, "serving without TLS: passwords, tokens and images can be read on the way");
    }
    let limits = Limits { drain: http.drain, http2: http.http2, h2c: http.h2c, ..Limits::default() };
    Listener::bind(&http.listen, http.tls.as_ref(), limits).await
}

/// Lines of whoever embeds us are left alone: a log that was started stays.
pub fn start_log(log: &LogSettings) {
    if telemetry::init(log.format, log.level).is_err() {
        warn!("the log was started before its settings were read");
    }
    if !log.fields.is_empty() {
        info!(fields = ?log.fields, "log.fields stand here, not on every line");
    }
}
