//! The commands' arguments, and the request that each becomes.

use std::{
    io::{self, Read},
    time::Duration,
};

use clap::Subcommand;
use serde_json::{Map, Value, json};
use shared::clock::Clock;

use super::{CliError, request::Request};

/// Most bytes of a secret that is read from standard input.
const MAX_SECRET_BYTES: u64 = 4096;

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
        /// What it may do on the admin API: none, read or write.
        #[arg(long, default_value = "none")]
        api: String,
        /// What it may be used for, such as "acme/**:pull,push".
        #[arg(long)]
        scope: Option<String>,
        /// When it ends, such as 90d or 12h.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
    },
    /// List tokens, and the identity tokens that clients keep.
    List {
        /// Whose.
        #[arg(long)]
        user: String,
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
        /// What it is called.
        #[arg(long, default_value = "key")]
        name: String,
        /// When it ends, such as 90d.
        #[arg(long, value_parser = span)]
        expires: Option<Duration>,
        /// Read a secret of your own from standard input.
        #[arg(long)]
        secret_stdin: bool,
    },
    /// Make a key and let the others end after a while.
    Rotate {
        /// <namespace>/<name>.
        #[arg(value_parser = robot)]
        robot: (String, String),
        /// What the new key is called.
        #[arg(long, default_value = "key")]
        name: String,
        /// How long the others still work, such as 24h; 0s ends them now.
        #[arg(long, value_parser = span, default_value = "24h")]
        overlap: Duration,
        /// Read a secret of your own from standard input.
        #[arg(long)]
        secret_stdin: bool,
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
    /// Delete a namespace here, with its grants, teams and robots; images stay in the registry.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Named sets of accounts.
#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Make a team.
    Add {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// List the teams of a namespace.
    List {
        /// Whose.
        namespace: String,
    },
    /// Delete a team, with its grants.
    Delete {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// List a team's members.
    Members {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
    },
    /// Put an account into a team.
    Join {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// The account.
        member: String,
    },
    /// Take an account out of a team.
    Leave {
        /// <namespace>/<name>.
        #[arg(value_parser = pair)]
        team: (String, String),
        /// The account.
        member: String,
    },
}

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

/// The registries that tokens are made for.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Make a registry known and print its credential, this once.
    Add {
        /// What it calls itself: the `service` of its challenges.
        name: String,
        /// Who lists its catalog: filtered (everyone what they may read) or admins.
        #[arg(long, default_value = "filtered")]
        catalog: String,
        /// How long its tokens live.
        #[arg(long)]
        token_seconds: Option<u64>,
    },
    /// List registries.
    List,
}

const PRINCIPALS: &[&str] = &["name", "state", "system_role", "display_name", "created_at"];
const CREDENTIALS: &[&str] = &["id", "kind", "name", "api", "scope", "expires_at", "used_at", "used_from"];
const USER: &str = "user";
const NAMESPACE: &str = "namespace";
const RULES: &[&str] =
    &["id", "namespace", "effect", "subject", "repositories", "actions", "tags", "expires_at", "given_by"];

impl UserCommand {
    pub(super) fn request(self) -> Result<Request, CliError> {
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
            Self::List => Request::list(&["users"], PRINCIPALS),
            Self::Suspend { name } => Request::post(&["users", &name, "suspend"], Value::Null).about(USER, &name),
            Self::Resume { name } => Request::post(&["users", &name, "resume"], Value::Null).about(USER, &name),
            Self::Delete { name } => Request::delete(&["users", &name]).about(USER, &name),
        })
    }
}

impl TokenCommand {
    pub(super) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::Create { user, name, api, scope, expires } => {
                let body = json!({ "name": name, "api": api, "scope": scope, "expires_at": end(expires) });
                Request::post(&["users", &user, "tokens"], body).about(USER, &user)
            }
            Self::List { user } => Request::list(&["users", &user, "tokens"], CREDENTIALS).about(USER, &user),
            Self::Revoke { user, id } => Request::delete(&["users", &user, "tokens", &id.to_string()]),
        })
    }
}

impl RobotCommand {
    pub(super) fn request(self) -> Result<Request, CliError> {
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
            Self::Add { robot, name, expires, secret_stdin } => {
                let body = key(&name, end(expires), secret(secret_stdin)?, None);
                of_robot(&robot, &["keys"], |path| Request::post(path, body))
            }
            Self::Rotate { robot, name, overlap, secret_stdin } => {
                let body = key(&name, None, secret(secret_stdin)?, Some(overlap));
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

fn key(name: &str, expires_at: Option<String>, secret: Option<String>, overlap: Option<Duration>) -> Value {
    let mut body = Map::from_iter([("name".to_owned(), json!(name))]);
    let optional = [
        ("expires_at", expires_at.map(Value::from)),
        ("secret", secret.map(Value::from)),
        ("others_end_after", overlap.map(|overlap| json!(overlap.as_secs()))),
    ];
    body.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    body.into()
}

impl NamespaceCommand {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add { name, visibility } => {
                Request::post(&["namespaces"], json!({ "name": name, "visibility": visibility }))
            }
            Self::List => Request::list(&["namespaces"], &["name", "visibility", "created_at"]),
            Self::Visibility { name, visibility } => {
                Request::patch(&["namespaces", &name], json!({ "visibility": visibility })).about(NAMESPACE, &name)
            }
            Self::Delete { name } => Request::delete(&["namespaces", &name]).about(NAMESPACE, &name),
        }
    }
}

impl TeamCommand {
    pub(super) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            Self::Add { team: (namespace, name) } => {
                Request::post(&["namespaces", &namespace, "teams"], json!({ "name": name }))
                    .about(NAMESPACE, &namespace)
            }
            Self::List { namespace } => {
                Request::list(&["namespaces", &namespace, "teams"], &["name"]).about(NAMESPACE, &namespace)
            }
            Self::Delete { team: (namespace, name) } => Request::delete(&["namespaces", &namespace, "teams", &name]),
            Self::Members { team: (namespace, name) } => {
                Request::list(&["namespaces", &namespace, "teams", &name, "members"], &["name", "source"])
            }
            Self::Join { team: (namespace, name), member } => {
                Request::put(&["namespaces", &namespace, "teams", &name, "members", &member], Value::Null)
            }
            Self::Leave { team: (namespace, name), member } => {
                Request::delete(&["namespaces", &namespace, "teams", &name, "members", &member])
            }
        })
    }
}

impl GrantCommand {
    pub(super) fn request(self) -> Result<Request, CliError> {
        Ok(match self {
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
        })
    }
}

impl ServiceCommand {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add { name, catalog, token_seconds } => Request::post(
                &["services"],
                json!({ "name": name, "catalog": catalog, "token_seconds": token_seconds }),
            ),
            Self::List => Request::list(&["services"], &["name", "catalog", "token_seconds"]),
        }
    }
}

/// `90d`, `12h`, `30m`, `45s`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span such as 90d, 12h, 30m or 45s");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 24 * 3600,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn end(expires: Option<Duration>) -> Option<String> {
    expires.map(|span| (Clock::system().now() + span).rfc3339())
}

/// `acme/ci`, or what the robot logs in as, `robot.acme.ci`.
fn robot(text: &str) -> Result<(String, String), String> {
    let handle = text.strip_prefix("robot.").and_then(|rest| rest.rsplit_once('.'));
    let (namespace, name) = handle
        .or_else(|| text.split_once('/'))
        .ok_or_else(|| format!("{text:?} is not a robot: <namespace>/<name>, or robot.<namespace>.<name>"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| format!("{text:?} is not <namespace>/<name>"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// A secret from standard input, without the line's end. It never stands among a process's arguments, which others can see.
fn secret(wanted: bool) -> Result<Option<String>, CliError> {
    if !wanted {
        return Ok(None);
    }
    let mut text = String::new();
    io::stdin().lock().take(MAX_SECRET_BYTES).read_to_string(&mut text)?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_robots_are_read() {
        assert_eq!(span("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        assert_eq!(span("0s"), Ok(Duration::ZERO));
        for text in ["", "d", "90", "-1d", "1w", "1.5h", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
        let ci = Ok(("acme.io".to_owned(), "ci".to_owned()));
        assert_eq!(robot("acme.io/ci"), ci);
        assert_eq!(robot("robot.acme.io.ci"), ci);
        assert!(robot("ci").is_err());
    }

    #[test]
    fn names_are_encoded_whatever_is_in_them() {
        let request = Request::delete(&["users", "a/../b?c#d é"]);
        assert_eq!(request.url.path(), "/api/v1/users/a%2F..%2Fb%3Fc%23d%20%C3%A9");
    }
}
