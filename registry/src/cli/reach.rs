//! How commands reach a registry: the server that runs, over its data directory's socket, or the data directory itself where nobody holds it.
//!
//! A command is a request to the admin API either way. To add one: an `Args` structure in a module of its own that flattens [`Where`], a variant of
//! [`Command`](super::Command), and a function that asks [`Reached::target`]. The route behind it stands in `registry/src/http/admin.rs`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use shared::{
    clock::Clock,
    command::{Method, Target},
    data_directory::{DataDirectory, DataDirectoryError, Holder},
    settings::Source,
};

use super::{CommandError, configuration, load};
use crate::{
    server::Stopped,
    settings::{DatabaseSettings, RawSettings, Settings},
};

/// Where everything lies where nobody says otherwise; the same as for `up`.
const DATA: &str = "./data";

/// Which registry a command is about.
#[derive(Debug, Args)]
pub struct Where {
    /// The configuration that its server runs with; without it $REGISTRY_CONFIGURATION_PATH and the usual places, unless --data is given.
    config: Option<PathBuf>,
    /// Its data directory; with a configuration that is the `rootdirectory`, else ./data. While the server runs nothing else is needed.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

/// A registry that answers.
pub(super) struct Reached {
    pub(super) target: Target,
    stopped: Option<(Stopped, DataDirectory)>,
}

impl Reached {
    /// Lets go of what was opened for the command.
    pub(super) async fn close(self) {
        if let Some((stopped, _held)) = self.stopped {
            stopped.close().await;
        }
    }
}

impl Where {
    /// Finds whoever answers for the data directory, and opens it where that is nobody.
    pub(super) async fn reach(&self) -> Result<Reached, CommandError> {
        let configured = self.settings()?;
        let data = self.directory(configured.as_ref());
        let holder = match DataDirectory::holder(&data) {
            // Whoever names a configuration may have a registry that was never started: an empty one.
            Err(DataDirectoryError::NotOne { .. }) if configured.is_some() => {
                Holder::Caller(DataDirectory::claim(&data)?)
            }
            holder => holder?,
        };
        match holder {
            Holder::Server { socket } => Ok(Reached { target: Target::Socket(socket), stopped: None }),
            Holder::Caller(held) => {
                let settings = match configured {
                    Some(settings) => settings_at(settings, held.path()),
                    None => {
                        check_facts(held.path())?;
                        unconfigured(held.path())?
                    }
                };
                let stopped = Stopped::open(&settings, Clock::system()).await?;
                Ok(Reached { target: Target::Direct(stopped.socket_router()), stopped: Some((stopped, held)) })
            }
        }
    }

    /// One request, and the whole of its answer.
    pub(super) async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, CommandError> {
        let reached = self.reach().await?;
        let answer = reached.target.ask(method, path, body).await;
        reached.close().await;
        Ok(answer?)
    }

    /// Takes the data directory, which nobody serves and which may not be there yet.
    pub(super) fn claim(&self) -> Result<(Settings, DataDirectory), CommandError> {
        let configured = self.settings()?;
        let data = self.directory(configured.as_ref());
        let held = DataDirectory::claim(&data).map_err(|error| match error {
            DataDirectoryError::Held { path, .. } => CommandError::Served(path),
            other => other.into(),
        })?;
        let settings = match configured {
            Some(settings) => settings_at(settings, held.path()),
            None => unconfigured(held.path())?,
        };
        Ok((settings, held))
    }

    /// The same for a directory that must hold bytes already: a mistyped name makes nothing. Without a configuration its facts must lie in it, unless
    /// they are `lost`: a directory whose facts are in PostgreSQL looks the same, and a database begun beside it would know nothing of what is live.
    pub(super) fn claim_blobs(&self, lost: bool) -> Result<(Settings, DataDirectory), CommandError> {
        let configured = self.settings()?;
        let data = self.directory(configured.as_ref());
        if !data.join("blobs").is_dir() {
            return Err(DataDirectoryError::NotOne { path: data }.into());
        }
        if configured.is_none() && !lost {
            check_facts(&data)?;
        }
        self.claim()
    }

    fn directory(&self, configured: Option<&Settings>) -> PathBuf {
        match (&self.data, configured) {
            (Some(data), _) => data.clone(),
            (None, Some(settings)) => settings.storage.root.clone(),
            (None, None) => DATA.into(),
        }
    }

    /// The configuration, where one is named or no data directory is.
    fn settings(&self) -> Result<Option<Settings>, CommandError> {
        let path = match (&self.config, &self.data) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(_)) => None,
            (None, None) => configuration(None).ok(),
        };
        path.map(|path| Ok(load(&path, std::env::vars())?.0)).transpose()
    }
}

/// The settings with another data directory.
pub(super) fn settings_at(mut settings: Settings, data: &Path) -> Settings {
    data.clone_into(&mut settings.storage.root);
    if let DatabaseSettings::Sqlite { path } = &mut settings.database {
        *path = data.join("registry.db");
    }
    settings
}

/// Refuses a data directory whose facts are not in it.
fn check_facts(data: &Path) -> Result<(), CommandError> {
    if data.join("blobs").exists() && !data.join("registry.db").exists() {
        return Err(CommandError::Elsewhere(data.to_owned()));
    }
    Ok(())
}

/// What a data directory means without a configuration: its facts are in the database that lies in it.
fn unconfigured(data: &Path) -> Result<Settings, CommandError> {
    let tree = serde_json::json!({"version": "0.1", "storage": {"filesystem": {"rootdirectory": data}}});
    let raw = Source::text("defaults", &tree.to_string())?.read::<RawSettings>()?.value;
    let settings: Settings = raw.try_into().map_err(|error| CommandError::Setting { path: data.to_owned(), error })?;
    Ok(settings_at(settings, data))
}
