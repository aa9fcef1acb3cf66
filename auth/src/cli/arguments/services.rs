//! `service`: the registries that tokens are made for.

use clap::Subcommand;
use serde_json::json;

use super::Request;

/// The registries that tokens are made for.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Make a registry known and print its credential, this once.
    Add {
        /// What it calls itself: the `service` of its challenges.
        name: String,
        /// Who lists its catalog: filtered (everyone what they may read) or admins.
        #[arg(long, default_value = "filtered")]
        catalog: String,
        /// How long its tokens live.
        #[arg(long)]
        token_seconds: Option<u64>,
    },
    /// List registries.
    List,
}

impl ServiceCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Add { name, catalog, token_seconds } => Request::post(
                &["services"],
                json!({ "name": name, "catalog": catalog, "token_seconds": token_seconds }),
            ),
            Self::List => Request::list(&["services"], &["name", "catalog", "token_seconds"]),
        }
    }
}
