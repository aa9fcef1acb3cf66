//! `token`: personal access tokens.

use clap::Subcommand;

use super::{CREDENTIALS, Request, USER, bounds::Bounds};

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
        #[command(flatten)]
        bounds: Bounds,
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
            Self::Create { user, name, bounds } => {
                Request::post(&["users", &user, "tokens"], bounds.body(name).into()).about(USER, &user)
            }
            Self::List { user } => Request::list(&["users", &user, "tokens"], CREDENTIALS).about(USER, &user),
            Self::Revoke { user, id } => Request::delete(&["users", &user, "tokens", &id.to_string()]),
        }
    }
}
