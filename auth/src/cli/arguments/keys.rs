//! `keys`: what signs tokens.

use clap::Subcommand;
use serde_json::json;

use super::Request;

const COLUMNS: &[&str] = &["id", "algorithm", "state", "active_at", "retired_at", "not_after"];

/// The keys that sign tokens.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List them, those that are gone too.
    List,
    /// Have the next key sign from now on. Registries notice nothing; tokens of the one before live to their end.
    Rotate,
    /// Refuse all that a key has signed, at registries that follow the feed. If it signs now, the next one does from now on.
    Revoke {
        /// The key's id, as `list` prints it.
        key: String,
    },
}

impl KeysCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::List => Request::list(&["keys"], COLUMNS),
            Self::Rotate => Request { columns: COLUMNS, ..Request::post(&["keys", "rotate"], json!({})) },
            Self::Revoke { key } => Request::delete(&["keys", &key]).about("signing key", &key),
        }
    }
}
