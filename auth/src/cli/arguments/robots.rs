//! `robot`: machines and their keys.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CREDENTIALS, CliError, NAMESPACE, PRINCIPALS, Request, bounds::Bounds, end, secret, span};

/// Machines.
#[derive(Debug, Subcommand)]
pub enum RobotCommand {
    /// Make a robot; it gets in once it has a key.
    Add {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
        /// What it is for.
        #[arg(long)]
        purpose: Option<String>,
        /// When it ends, such as 90d.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
    },
    /// List the robots of a namespace.
    List {
        /// Whose.
        namespace: String,
    },
    /// Refuse every key of a robot, until it is resumed.
    Suspend {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
    },
    /// Let a suspended robot in again.
    Resume {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
    },
    /// Delete a robot.
    Delete {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
    },
    /// Keys of robots.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Keys of robots.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, this once.
    Add {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
        #[command(flatten)]
        key: NewKey,
    },
    /// Make a key and let the others end after a while.
    Rotate {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
        #[command(flatten)]
        key: NewKey,
        /// How long the others still work, such as 24h; 0s ends them now.
        #[arg(long, value_parser = span, default_value = "24h")]
        overlap: Duration,
    },
    /// List a robot's keys.
    List {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
    },
    /// Revoke a key.
    Revoke {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
        /// Its number.
        id: i64,
    },
}

/// What a new key is to be.
#[derive(Debug, Args)]
pub struct NewKey {
    /// What it is called.
    #[arg(long, default_value = "key")]
    name: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Read a secret of your own from standard input.
    #[arg(long)]
    secret_stdin: bool,
}

impl RobotCommand {
    pub(in crate::cli) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::Add { robot: (namespace, name), purpose, expires } => {
                let body = json!({ "name": name, "purpose": purpose.unwrap_or_default(), "expires_at": end(expires) });
                Request::post(&["namespaces", &namespace, "robots"], body).about(NAMESPACE, &namespace)
            }
            Self::List { namespace } => {
                Request::list(&["namespaces", &namespace, "robots"], PRINCIPALS).about(NAMESPACE, &namespace)
            }
            Self::Suspend { robot } => of_robot(&robot, &["suspend"], |path| Request::post(path, Value::Null)),
            Self::Resume { robot } => of_robot(&robot, &["resume"], |path| Request::post(path, Value::Null)),
            Self::Delete { robot } => of_robot(&robot, &[], Request::delete),
            Self::Key(command) => command.request()?,
        })
    }
}

impl KeyCommand {
    fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::Add { robot, key } => {
                let body = key.body(None)?;
                of_robot(&robot, &["keys"], |path| Request::post(path, body))
            }
            Self::Rotate { robot, key, overlap } => {
                let body = key.body(Some(overlap))?;
                of_robot(&robot, &["keys"], |path| Request::post(path, body))
            }
            Self::List { robot } => of_robot(&robot, &["keys"], |path| Request::list(path, CREDENTIALS)),
            Self::Revoke { robot, id } => of_robot(&robot, &["keys", &id.to_string()], Request::delete),
        })
    }
}

/// A request about a robot, or about what it has.
fn of_robot((namespace, name): &(String, String), rest: &[&str], request: impl FnOnce(&[&str]) -> Request) -> Request {
    let path = [&["namespaces", namespace, "robots", name], rest].concat();
    request(&path).about("robot", &format!("{namespace}/{name}"))
}

impl NewKey {
    fn body(self, overlap: Option<Duration>) -> Result<Value, CliError> {
        let mut body = self.bounds.body(self.name);
        if let Some(secret) = secret(self.secret_stdin)? {
            body.insert("secret".to_owned(), secret.into());
        }
        if let Some(overlap) = overlap {
            body.insert("others_end_after".to_owned(), overlap.as_secs().into());
        }
        Ok(body.into())
    }
}

/// `acme/ci`, or what the robot logs in as, `robot.acme.ci`.
fn robot(text: &str) -> Result<(String, String), String> {
    let handle = text.strip_prefix("robot.").and_then(|rest| rest.rsplit_once('.'));
    let (namespace, name) = handle
        .or_else(|| text.split_once('/'))
        .ok_or_else(|| format!("{text:?} is not a robot: <namespace>/<name>, or robot.<namespace>.<name>"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robot_is_read_in_both_forms() {
        let ci = Ok(("acme.io".to_owned(), "ci".to_owned()));
        assert_eq!(robot("acme.io/ci"), ci);
        assert_eq!(robot("robot.acme.io.ci"), ci);
        assert!(robot("ci").is_err());
    }
}
