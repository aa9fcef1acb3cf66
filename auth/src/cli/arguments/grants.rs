//! `grant`: who may do what.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{NAMESPACE, Request, end, span};

/// Who may do what.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Write a grant: `grant add robot.acme.ci "acme/**" pull,push --tags "pr-*"`.
    Add {
        /// everyone, authenticated, team:<name> or an account.
        subject: String,
        /// Such as "acme/**".
        repositories: String,
        /// reader, contributor, maintainer, admin, or actions separated by commas.
        actions: String,
        /// Tags that push and delete may touch, such as "pr-*,tmp-?".
        #[arg(long)]
        tags: Option<String>,
        /// When it ends, such as 7d.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
    },
    /// Write a guardrail, which forbids, whatever is granted.
    Forbid {
        /// Such as "acme/release/**".
        repositories: String,
        /// pull, push, delete.
        actions: String,
        /// When it ends, such as 7d.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
    },
    /// List grants and guardrails.
    List {
        /// Only those written in this namespace.
        #[arg(long)]
        namespace: Option<String>,
        /// Only those for exactly this one: everyone, authenticated, team:<namespace>/<name> or an account.
        #[arg(long)]
        subject: Option<String>,
    },
    /// Remove a grant or a guardrail.
    Remove {
        /// Its number.
        id: i64,
    },
}

const RULES: &[&str] =
    &["id", "namespace", "effect", "subject", "repositories", "actions", "tags", "expires_at", "given_by"];

impl GrantCommand {
    pub(in crate::cli) fn request(self) -> Request {
        match self {
            Self::Add { subject, repositories, actions, tags, expires } => {
                let body = json!({
                    "subject": subject,
                    "repositories": repositories,
                    "actions": actions,
                    "tags": tags,
                    "expires_at": end(expires),
                });
                // A pattern whose first segment is a name is that namespace's; the rest is the system's.
                let first = repositories.split('/').next().unwrap_or_default();
                if first.contains(['*', '?', '{']) {
                    Request::post(&["grants"], body)
                } else {
                    Request::post(&["namespaces", first, "grants"], body).about(NAMESPACE, first)
                }
            }
            Self::Forbid { repositories, actions, expires } => {
                let body = json!({
                    "effect": "deny",
                    "repositories": repositories,
                    "actions": actions,
                    "expires_at": end(expires),
                });
                Request::post(&["grants"], body)
            }
            Self::List { namespace, subject } => {
                let all = match &namespace {
                    Some(name) => Request::list(&["namespaces", name, "grants"], RULES).about(NAMESPACE, name),
                    None => Request::list(&["grants"], RULES),
                };
                subject.iter().fold(all, |all, subject| all.asking("subject", subject))
            }
            Self::Remove { id } => Request::delete(&["grants", &id.to_string()]),
        }
    }
}
