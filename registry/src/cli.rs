//! The registry's command line: `registry serve [CONFIG]`, and what is administered there.

mod backup;
mod doctor;
mod garbage;
mod immutable;
mod lifecycle;
mod manifests;
mod quotas;
mod reach;
mod reindex;
mod repositories;
mod restore;
mod tags;
#[cfg(test)]
mod tests;

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use shared::{
    clock::Clock,
    command::NotAnswered,
    data_directory::{DataDirectory, DataDirectoryError},
    listen::{ListenError, Listener, Place},
    settings::{SettingsError as UnreadableSettings, Source, Unknown},
    shutdown::{self, CancellationToken},
    telemetry,
};
use tracing::{info, warn};

pub use self::{
    backup::Backup,
    doctor::Doctor,
    garbage::GarbageCollect,
    immutable::ImmutableCommand,
    lifecycle::LifecycleCommand,
    manifests::ManifestCommand,
    quotas::QuotaCommand,
    reach::Where,
    reindex::Reindex,
    repositories::{DeletedCommand, RepositoryCommand},
    restore::Restore,
    tags::TagCommand,
};
use crate::{
    server::{Registry, StartError, refusal, restore::RestoreError},
    settings::{HttpSettings, LogSettings, RawSettings, Settings, SettingsError, refuse_unknown_access},
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
        /// The data directory, in place of the configuration's `storage.filesystem.rootdirectory`.
        #[arg(long, value_name = "DIRECTORY")]
        data: Option<PathBuf>,
    },
    /// Free the space of what was deleted.
    GarbageCollect(GarbageCollect),
    /// Copy what is needed to bring this registry back.
    Backup(Backup),
    /// Bring a registry back from a backup, where none runs.
    Restore(Restore),
    /// Make blobs of the bytes of a registry whose database is lost, where none runs.
    Reindex(Reindex),
    /// Look for faults, and repair them.
    Doctor(Doctor),
    /// Tags that stay where they are, by namespace.
    #[command(subcommand)]
    Immutable(ImmutableCommand),
    /// What was deleted in a namespace and can still come back.
    Deleted(DeletedCommand),
    /// Repositories as a whole.
    #[command(subcommand)]
    Repository(RepositoryCommand),
    /// Single manifests.
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// What namespaces may have at most.
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Rules by which tags and untagged manifests go with time.
    #[command(subcommand)]
    Lifecycle(LifecycleCommand),
    /// Tags, one by one or by a pattern.
    #[command(subcommand)]
    Tag(TagCommand),
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
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// Nobody can be heard.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The facts that belong to the data directory lie in a database that the command was not told of.
    #[error(
        "what {} holds is not in its registry.db: name the configuration that its server runs with (`reindex --database-lost` begins a new database)", .0.display()
    )]
    Elsewhere(PathBuf),
    /// There is no answer to print.
    #[error(transparent)]
    NotAnswered(#[from] NotAnswered),
    /// A document that the command was given cannot be read.
    #[error("{}: {reason}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A preview or a run of lifecycle rules did not do all of it.
    #[error("lifecycle: {0}")]
    RulesNotRun(String),
    /// Collecting broke off.
    #[error("failed to garbage collect: {0}")]
    NotCollected(String),
    /// A backup was not made.
    #[error("no backup was made: {0}")]
    NotBackedUp(String),
    /// Nothing, or not everything, was restored.
    #[error(transparent)]
    NotRestored(#[from] RestoreError),
    /// A server has what is to be restored.
    #[error("a server runs on {}: stop it first", .0.display())]
    Served(PathBuf),
    /// The doctor found something.
    #[error("{findings} findings, {repaired} of them repaired")]
    Found {
        /// How much was wrong,
        findings: u64,
        /// and how much of that was put right.
        repaired: u64,
    },
    /// The doctor did not look at everything.
    #[error("the doctor did not come to the end: {0}")]
    NotExamined(#[source] Box<CommandError>),
    /// The doctor broke off.
    #[error("{0}")]
    BrokenOff(String),
    /// The operating system refuses.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl CommandError {
    /// What the process ends with: 1, and 2 where 1 means something else.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::NotExamined(_) => 2,
            _ => 1,
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// [`CommandError`], to be printed.
pub async fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Serve { config, data } => Box::pin(serve(config, data)).await,
        Command::GarbageCollect(command) => command.run(&mut std::io::stdout()).await,
        Command::Backup(command) => command.run(&mut std::io::stdout()).await,
        Command::Reindex(command) => command.run(&mut std::io::stdout()).await,
        Command::Restore(command) => command.run(&mut std::io::stdout()).await,
        Command::Doctor(command) => command.run(&mut std::io::stdout()).await,
        Command::Immutable(command) => command.run(&mut std::io::stdout()).await,
        Command::Deleted(command) => command.run(&mut std::io::stdout()).await,
        Command::Repository(command) => command.run(&mut std::io::stdout()).await,
        Command::Manifest(command) => command.run(&mut std::io::stdout()).await,
        Command::Quota(command) => command.run(&mut std::io::stdout()).await,
        Command::Lifecycle(command) => command.run(&mut std::io::stdout()).await,
        Command::Tag(command) => command.run(&mut std::io::stdout()).await,
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
    let refused = |error| CommandError::Setting { path: path.to_owned(), error };
    refuse_unknown_access(&read.unknown).map_err(refused)?;
    let settings = read.value.try_into().map_err(refused)?;
    Ok((settings, read.unknown))
}

async fn serve(config: Option<PathBuf>, data: Option<PathBuf>) -> Result<(), CommandError> {
    let path = configuration(config)?;
    let (settings, unknown) = load(&path, env::vars())?;
    let settings = match data {
        Some(data) => reach::settings_at(settings, &data),
        None => settings,
    };
    start_log(&settings.log);
    for unknown in unknown {
        warn!("{unknown}");
    }
    let data = DataDirectory::claim(&settings.storage.root)?;
    let registry = Registry::build(&settings, None, Clock::system()).await?;
    let http = &settings.http;
    let limits = http.limits();
    warn_of_plain_text(http);
    let requests = settings.log.requests;
    let network = Listener::bind(&http.listen, http.tls.as_ref(), limits).await?;
    let network = network.exempting(http.trusted()).log_requests(requests).refusing(refusal(&settings)?);
    let socket = Listener::bind(&Place::Unix(data.socket()), None, limits).await?.log_requests(requests);
    let debug = registry.debug(http, None).await?;
    data.publish("address", &network.address().url(http.tls.is_some()))?;
    let stop = shutdown::on_signal()?;
    info!(address = %network.address(), configuration = %path.display(), "serving");
    // Background work ends after the last request: what a request leaves to be written is written.
    let done = CancellationToken::new();
    let requests = async {
        tokio::join!(
            network.serve(registry.router().merge(registry.probes()), stop.clone()),
            socket.serve(registry.socket_router().merge(registry.probes()), stop.clone())
        );
        done.cancel();
    };
    tokio::join!(requests, debug.serve(stop.clone()), registry.background(done.clone()));
    Ok(())
}

fn configuration(given: Option<PathBuf>) -> Result<PathBuf, CommandError> {
    let named = || env::var_os(CONFIGURATION_PATH).filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || USUAL_PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    given.or_else(named).or_else(usual).ok_or(CommandError::NoConfiguration)
}

/// A configuration that names such an address asks for it, as at the stock registries; it is said once, and loudly.
fn warn_of_plain_text(http: &HttpSettings) {
    if http.tls.is_none() && !http.listen.is_loopback() {
        warn!(listen = %http.listen, "NO TLS: everybody on the way can read passwords, tokens and images; set http.tls or listen on 127.0.0.1");
    }
}

/// Lines of whoever embeds us are left alone: a log that was started stays.
pub fn start_log(log: &LogSettings) {
    if telemetry::init_with_fields(log.format, log.level, &log.fields).is_err() {
        warn!("the log was started before its settings were read");
    }
}
