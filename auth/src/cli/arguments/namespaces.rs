//! `namespace`: first segments of repository names.

use clap::Subcommand;
use serde_json::json;

use super::{NAMESPACE, Request};

/// First segments of repository names.
#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Make a namespace known.
    Add {
        /// Its name.
        name: String,
        /// Who may pull without a grant: private (nobody), internal (users) or public (everyone).
        #[arg(long, default_value = "private")]
        visibility: String,
    },
    /// List namespaces.
    List,
    /// Open or close a namespace.
    Visibility {
        /// Its name.
        name: String,
        /// private, internal or public.
        visibility: String,
    },
    /// Who may pull, push or delete in a namespace, and by which rule.
    Access {
        /// Its name.
        name: String,
    },
    /// Delete a namespace here, with its grants, teams and robots; images stay in the registry.
    Delete {
        /// Its name.
        name: String,
    },
}

const HELD: &[&str] = &["holder", "actions", "repositories", "tags", "by", "grant", "subject", "expires_at"];

impl NamespaceCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Add { name, visibility } => {
                Request::post(&["namespaces"], json!({ "name": name, "visibility": visibility }))
            }
            Self::List => Request::list(&["namespaces"], &["name", "visibility", "created_at"]),
            Self::Visibility { name, visibility } => {
                Request::patch(&["namespaces", &name], json!({ "visibility": visibility })).about(NAMESPACE, &name)
            }
            Self::Access { name } => Request::list(&["namespaces", &name, "access"], HELD).about(NAMESPACE, &name),
            Self::Delete { name } => Request::delete(&["namespaces", &name]).about(NAMESPACE, &name),
        }
    }
}
