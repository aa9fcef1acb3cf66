//! The commands' arguments, a file for each noun, and the request that each becomes.

use std::{
    io::{self, Read},
    time::Duration,
};

use shared::clock::Clock;

use super::{CliError, request::Request};

mod audit;
mod bounds;
mod grants;
mod imports;
mod keys;
mod namespaces;
mod providers;
mod robots;
mod services;
mod teams;
mod tokens;
mod users;

pub(super) use self::{
    audit::{AuditCommand, AuditFilter},
    grants::GrantCommand,
    imports::ImportCommand,
    keys::KeysCommand,
    namespaces::NamespaceCommand,
    providers::{LdapCommand, ProviderCommand, test},
    robots::RobotCommand,
    services::ServiceCommand,
    teams::TeamCommand,
    tokens::TokenCommand,
    users::UserCommand,
};

/// Most bytes of a secret that is read from standard input.
const MAX_SECRET_BYTES: u64 = 4096;

const PRINCIPALS: &[&str] = &["name", "state", "system_role", "display_name", "created_at"];
const CREDENTIALS: &[&str] =
    &["id", "kind", "name", "api", "scope", "networks", "expires_at", "idle_days", "used_at", "used_from"];
const USER: &str = "user";
const NAMESPACE: &str = "namespace";

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

/// A secret from standard input, without the line's end. It never stands among a process's arguments, which others can see.
pub(super) fn secret(wanted: bool) -> Result<Option<String>, CliError> {
    if wanted { secret_of(io::stdin().lock()).map(Some) } else { Ok(None) }
}

/// All of it or nothing: half a secret is another one.
fn secret_of(input: impl Read) -> Result<String, CliError> {
    let mut text = String::new();
    input.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(CliError::Argument(format!("a secret on standard input has at most {MAX_SECRET_BYTES} bytes")));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        assert_eq!(span("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        assert_eq!(span("0s"), Ok(Duration::ZERO));
        for text in ["", "d", "90", "-1d", "1w", "1.5h", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_whole_or_refused() {
        let read = |text: &str| secret_of(text.as_bytes());
        let most = MAX_SECRET_BYTES as usize;
        assert_eq!(read("secret\r\n").unwrap(), "secret");
        assert_eq!(read(&"é".repeat(most / 2)).unwrap().len(), most);
        let refused = read(&format!("{}x", "é".repeat(most / 2))).unwrap_err().to_string();
        assert!(refused.contains("at most 4096 bytes") && !refused.contains('é'), "{refused}");
    }

    #[test]
    fn names_are_encoded_whatever_is_in_them() {
        let request = Request::delete(&["users", "a/../b?c#d é"]);
        assert_eq!(request.url.path(), "/api/v1/users/a%2F..%2Fb%3Fc%23d%20%C3%A9");
    }
}
