//! What bounds a new credential, whether a person or a robot is to hold it.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::{end, span};

/// What a new credential may be used for, where and how long.
#[derive(Debug, Args)]
pub struct Bounds {
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
    /// After how many days without a use it ends.
    #[arg(long, value_name = "DAYS")]
    idle: Option<u32>,
}

impl Bounds {
    /// The body of a request for a credential of this name.
    pub(super) fn body(self, name: String) -> Map<String, Value> {
        let members = [
            ("name", Some(name.into())),
            ("api", Some(self.api.into())),
            ("scope", self.scope.map(Value::from)),
            ("networks", self.networks.map(Value::from)),
            ("expires_at", end(self.expires).map(Value::from)),
            ("idle_days", self.idle.map(Value::from)),
        ];
        members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}
