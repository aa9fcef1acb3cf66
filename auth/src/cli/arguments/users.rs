//! `user`: people.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{CliError, PRINCIPALS, Request, USER, secret};

/// People.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account; its password is made and printed unless it comes on standard input.
    Add {
        /// The name to log in with.
        name: String,
        /// What people call them.
        #[arg(long)]
        display_name: Option<String>,
        /// Give them a role over the whole system: administrator or auditor.
        #[arg(long)]
        system_role: Option<String>,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account a new password; identity tokens end.
    Reset {
        /// Whose.
        name: String,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account a role over the whole system, or take it away.
    Role {
        /// Whose.
        name: String,
        /// Which.
        role: Role,
    },
    /// List accounts.
    List,
    /// Refuse every credential of an account, until it is resumed.
    Suspend {
        /// Whose.
        name: String,
    },
    /// Let a suspended account in again.
    Resume {
        /// Whose.
        name: String,
    },
    /// Delete an account, with its grants and credentials.
    Delete {
        /// Whose.
        name: String,
    },
}

/// A role over the whole system, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// May do everything that no guardrail forbids.
    Administrator,
    /// Sees every name and every rule, and changes none.
    Auditor,
    /// Has what was granted, and no more.
    None,
}

impl Role {
    /// The word of the API.
    const fn held(self) -> Option<&'static str> {
        match self {
            Self::Administrator => Some("administrator"),
            Self::Auditor => Some("auditor"),
            Self::None => None,
        }
    }
}

impl UserCommand {
    pub(in crate::cli) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::Add { name, display_name, system_role, password_stdin } => {
                let password = secret(password_stdin)?;
                let body = json!({
                    "name": name,
                    "display_name": display_name.unwrap_or_default(),
                    "system_role": system_role,
                    "password": password,
                });
                Request::post(&["users"], body)
            }
            Self::Reset { name, password_stdin } => {
                Request::put(&["users", &name, "password"], json!({ "password": secret(password_stdin)? }))
                    .about(USER, &name)
            }
            Self::Role { name, role } => {
                Request::put(&["users", &name, "system-role"], json!({ "system_role": role.held() })).about(USER, &name)
            }
            Self::List => Request::list(&["users"], PRINCIPALS),
            Self::Suspend { name } => Request::post(&["users", &name, "suspend"], Value::Null).about(USER, &name),
            Self::Resume { name } => Request::post(&["users", &name, "resume"], Value::Null).about(USER, &name),
            Self::Delete { name } => Request::delete(&["users", &name]).about(USER, &name),
        })
    }
}
