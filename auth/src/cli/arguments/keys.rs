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
        // Base64 for addresses begins with a hyphen as well as with anything else.
        #[arg(allow_hyphen_values = true)]
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        keys: KeysCommand,
    }

    #[test]
    fn a_key_whose_id_begins_with_a_hyphen_is_no_option() {
        let line = Line::try_parse_from(["keys", "revoke", "-Gq0_thumb-print"]).unwrap();
        assert!(matches!(line.keys, KeysCommand::Revoke { key } if key == "-Gq0_thumb-print"));
    }
}
