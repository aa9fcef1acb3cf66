//! `import`: accounts and rules of other programs.

use std::path::PathBuf;

use clap::Subcommand;

/// Take over accounts and rules of other programs. What is there already is never overwritten.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Make the lines of an htpasswd file local accounts, with their bcrypt and argon2 hashes as they are.
    Htpasswd {
        /// The file.
        file: PathBuf,
        /// Show what would be made and make nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the users and the ordered list of a docker_auth configuration accounts, teams, namespaces and grants.
    DockerAuth {
        /// Its auth_config.yml.
        file: PathBuf,
        /// Repositories to compare the answers over, a name a line, besides those that the patterns suggest; their namespaces are made.
        #[arg(long, value_name = "FILE")]
        repositories: Option<PathBuf>,
        /// Go on although some accounts may do more than before: what order keeps from somebody, grants that add up cannot.
        #[arg(long)]
        allow_more: bool,
        /// Show what would be made and make nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
