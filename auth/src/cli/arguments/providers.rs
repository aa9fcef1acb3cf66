//! `provider` and `ldap`: where identities come from.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Request, secret};
use crate::settings;

/// What a list of providers shows.
pub(in crate::cli) const PROVIDERS: &[&str] = &["name", "kind", "source", "accounts", "mappings", "urls"];

/// Where identities come from.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// List them: the htpasswd file and directories, and how many accounts and mappings hang on each.
    List,
    /// Tell where a directory is and what it is asked.
    Show {
        /// Which.
        name: String,
    },
    /// Add a directory beside those of the settings, for every server over these accounts, without a restart.
    Add {
        /// What describes it: the entry that the settings would have under `ldap`. Files that it names are read here and sent.
        file: PathBuf,
        /// Read the password to search with from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a directory that was added. Its accounts are disabled, and come back with it.
    Remove {
        /// Which.
        name: String,
    },
    /// Ask a directory what a sign-in asks, and tell every step.
    Test {
        /// Which.
        name: String,
        /// Somebody to look for: their entry, groups, account and teams.
        #[arg(long)]
        user: Option<String>,
        /// Read their password from standard input, and sign in as them.
        #[arg(long, requires = "user")]
        password_stdin: bool,
    },
}

/// Directories.
#[derive(Debug, Subcommand)]
pub enum LdapCommand {
    /// Look for somebody as their sign-in would, and tell every step: the entry, the groups by which rule, the account, the teams.
    Test {
        /// The name that they type.
        user: String,
        /// In this directory, not in each until one has the name.
        #[arg(long)]
        provider: Option<String>,
        /// Read their password from standard input, and sign in as them.
        #[arg(long)]
        password_stdin: bool,
    },
}

impl ProviderCommand {
    pub(in crate::cli) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::List => Request::list(&["providers"], PROVIDERS),
            Self::Show { name } => Request::get(&["providers", &name]).about("provider", &name),
            Self::Add { file, password_stdin } => {
                let body = settings::to_be_added(&file, secret(password_stdin)?)?;
                Request::post(&["providers"], body)
            }
            Self::Remove { name } => Request::delete(&["providers", &name]).about("provider", &name),
            Self::Test { name, user, password_stdin } => {
                test(&name, user.as_deref(), secret(password_stdin)?.as_deref())
            }
        })
    }
}

/// One directory, asked about somebody or about nobody.
pub(in crate::cli) fn test(name: &str, user: Option<&str>, password: Option<&str>) -> Request {
    let body = json!({ "user": user, "password": password });
    Request::post(&["providers", name, "test"], body).about("directory", name)
}
