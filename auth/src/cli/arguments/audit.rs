//! `audit`: what happened, and whether what is told of it is what was sealed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Request;
use crate::audit::{chain::PublicKey, verify::Head};

/// What happened, who did it, and whether the trail is whole.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, the newest first.
    List {
        #[command(flatten)]
        filter: AuditFilter,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Walk through the sealed trail and name the first event that is not as it was sealed. Ends with an error if there is one.
    Verify {
        /// An exported trail instead of a server's: `export --trail`; `-` is standard input. Needs --key.
        #[arg(long, value_name = "FILE", requires = "key")]
        file: Option<PathBuf>,
        /// The public key that checkpoints must be signed with, as verify printed it before. Without it the server says which.
        #[arg(long)]
        key: Vec<PublicKey>,
        /// An end that verify printed before: NUMBER:HASH. The trail must go through it.
        #[arg(long, value_name = "NUMBER:HASH")]
        known: Vec<Head>,
        /// An event by which the server says that sealed events were lost, after a restore: go on behind it.
        #[arg(long, value_name = "NUMBER")]
        accept: Vec<i64>,
    },
    /// Print events as JSON lines, the newest first; or the whole sealed trail, for whoever verifies it elsewhere.
    Export {
        #[command(flatten)]
        filter: AuditFilter,
        /// The sealed trail with its checkpoints, from its beginning.
        #[arg(long, conflicts_with_all = ["who", "target", "what", "namespace", "since", "until", "outcome"])]
        trail: bool,
    },
}

/// Which events.
#[derive(Debug, Args)]
pub struct AuditFilter {
    /// Who acted: an account, local, system, nobody or anonymous.
    #[arg(long)]
    who: Option<String>,
    /// What it was done to.
    #[arg(long)]
    target: Option<String>,
    /// What happened: names separated by commas; `grant.` is all that begins so.
    #[arg(long)]
    what: Option<String>,
    /// In which namespace.
    #[arg(long)]
    namespace: Option<String>,
    /// Not before: 2026-11-21T13:12:01Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// done or refused.
    #[arg(long)]
    outcome: Option<String>,
}

impl AuditFilter {
    /// A page of at most `limit` events behind `after`.
    pub(in crate::cli) fn page(&self, after: Option<&str>, limit: usize) -> Request {
        let Self { who, target, what, namespace, since, until, outcome } = self;
        let asked = [
            ("who", who),
            ("target", target),
            ("what", what),
            ("namespace", namespace),
            ("since", since),
            ("until", until),
            ("outcome", outcome),
        ];
        let mut request = Request::get(&["audit"]).asking("limit", &limit.to_string());
        for (key, value) in asked {
            if let Some(value) = value {
                request = request.asking(key, value);
            }
        }
        match after {
            Some(after) => request.asking("after", after),
            None => request,
        }
    }
}
