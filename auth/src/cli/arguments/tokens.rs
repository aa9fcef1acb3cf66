//! `token`: personal access tokens.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{CREDENTIALS, Request, USER, end, span};

/// Personal access tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, this once.
    Create {
        /// Whose.
        #[arg(long)]
        user: String,
        /// What it is called.
        #[arg(long, default_value = "command line")]
        name: String,
        /// What it may do on the admin API: none, read or write.
        #[arg(long, default_value = "none")]
        api: String,
        /// What it may be used for, such as "acme/**:pull,push".
        #[arg(long)]
        scope: Option<String>,
        /// Where it may be used from, such as 10.0.0.0/8,192.0.2.0/24; without it from anywhere.
        #[arg(long, value_delimiter = ',')]
        networks: Option<Vec<String>>,
        /// When it ends, such as 90d or 12h.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
    },
    /// List tokens, and the identity tokens that clients keep.
    List {
        /// Whose.
        #[arg(long)]
        user: String,
    },
    /// Revoke a token.
    Revoke {
        /// Whose.
        #[arg(long)]
        user: String,
        /// Its number.
        id: i64,
    },
}

impl TokenCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Create { user, name, api, scope, networks, expires } => {
                let body = json!({
                    "name": name,
                    "api": api,
                    "scope": scope,
                    "networks": networks,
                    "expires_at": end(expires),
                });
                Request::post(&["users", &user, "tokens"], body).about(USER, &user)
            }
            Self::List { user } => Request::list(&["users", &user, "tokens"], CREDENTIALS).about(USER, &user),
            Self::Revoke { user, id } => Request::delete(&["users", &user, "tokens", &id.to_string()]),
        }
    }
}
