//! `token`: personal access tokens.

use clap::Subcommand;

use super::{CREDENTIALS, NAMESPACE, Request, USER, bounds::Bounds};

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
    /// List everybody's tokens and keys, or those that somebody should look at.
    Review {
        /// Only what nobody has used for so many days.
        #[arg(long, value_name = "DAYS")]
        unused: Option<u32>,
        /// Only what ends within so many days.
        #[arg(long, value_name = "DAYS")]
        ending: Option<u32>,
        /// Only the keys of this namespace's robots.
        #[arg(long)]
        namespace: Option<String>,
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

const OWNED: &[&str] =
    &["id", "owner", "kind", "name", "created_at", "used_at", "used_from", "expires_at", "idle_days"];

impl TokenCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Create { user, name, bounds } => {
                Request::post(&["users", &user, "tokens"], bounds.body(name).into()).about(USER, &user)
            }
            Self::List { user } => Request::list(&["users", &user, "tokens"], CREDENTIALS).about(USER, &user),
            Self::Review { unused, ending, namespace } => {
                let all = match &namespace {
                    Some(name) => Request::list(&["namespaces", name, "credentials"], OWNED).about(NAMESPACE, name),
                    None => Request::list(&["credentials"], OWNED),
                };
                let asked = [("unused_days", unused), ("ending_days", ending)];
                let asked = asked.into_iter().filter_map(|(key, days)| Some((key, days?)));
                asked.fold(all, |all, (key, days)| all.asking(key, &days.to_string()))
            }
            Self::Revoke { user, id } => Request::delete(&["users", &user, "tokens", &id.to_string()]),
        }
    }
}
