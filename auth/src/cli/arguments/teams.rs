//! `team`: named sets of accounts.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{NAMESPACE, Request};

/// Named sets of accounts.
#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Make a team.
    Add {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// List the teams of a namespace.
    List {
        /// Whose.
        namespace: String,
    },
    /// Delete a team, with its grants.
    Delete {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// List a team's members.
    Members {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// Put an account into a team.
    Join {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// The account.
        member: String,
    },
    /// List the groups of directories that feed a team.
    Mappings {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// Let a group of a directory feed a team.
    Map {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// What the directory is called in the settings.
        provider: String,
        /// The group's distinguished name.
        group: String,
    },
    /// Let a group feed a team no more.
    Unmap {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// What the directory is called in the settings.
        provider: String,
        /// The group's distinguished name.
        group: String,
    },
    /// Take an account out of a team.
    Leave {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// The account.
        member: String,
    },
}

impl TeamCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Add { team: (namespace, name) } => {
                Request::post(&["namespaces", &namespace, "teams"], json!({ "name": name }))
                    .about(NAMESPACE, &namespace)
            }
            Self::List { namespace } => {
                Request::list(&["namespaces", &namespace, "teams"], &["name"]).about(NAMESPACE, &namespace)
            }
            Self::Delete { team: (namespace, name) } => Request::delete(&["namespaces", &namespace, "teams", &name]),
            Self::Members { team: (namespace, name) } => {
                Request::list(&["namespaces", &namespace, "teams", &name, "members"], &["name", "source"])
            }
            Self::Join { team: (namespace, name), member } => {
                Request::put(&["namespaces", &namespace, "teams", &name, "members", &member], Value::Null)
            }
            Self::Mappings { team: (namespace, name) } => {
                Request::list(&["namespaces", &namespace, "teams", &name, "mappings"], &["provider", "group"])
            }
            Self::Map { team: (namespace, name), provider, group } => {
                Request::put(&["namespaces", &namespace, "teams", &name, "mappings", &provider, &group], Value::Null)
            }
            Self::Unmap { team: (namespace, name), provider, group } => {
                Request::delete(&["namespaces", &namespace, "teams", &name, "mappings", &provider, &group])
            }
            Self::Leave { team: (namespace, name), member } => {
                Request::delete(&["namespaces", &namespace, "teams", &name, "members", &member])
            }
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| format!("{text:?} is not <namespace>/<name>"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}
