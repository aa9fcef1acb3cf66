//! The `htpasswd` that older registry images shipped: `htpasswd -Bbn user password >> htpasswd`.
//!
//! Only bcrypt is written, because only bcrypt and argon2 are read; a request for another hash is refused by name.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
};

use clap::Parser;
use shared::logins::MAX_BCRYPT_COST;

/// Writes an entry of an htpasswd file, hashed with bcrypt.
#[derive(Debug, Parser)]
#[command(name = "htpasswd", about, disable_version_flag = true)]
pub(crate) struct Htpasswd {
    /// Hash with bcrypt (the default and the only one).
    #[arg(short = 'B')]
    bcrypt: bool,
    /// Take the password from the command line instead of asking for it.
    #[arg(short = 'b')]
    batch: bool,
    /// Print the entry instead of writing a file.
    #[arg(short = 'n')]
    print: bool,
    /// Read the password from standard input.
    #[arg(short = 'i', conflicts_with = "batch")]
    stdin: bool,
    /// Create the file, replacing a former one.
    #[arg(short = 'c', conflicts_with = "print")]
    create: bool,
    /// Delete the user.
    #[arg(short = 'D', conflicts_with_all = ["print", "create", "batch"])]
    delete: bool,
    /// The work factor of bcrypt.
    #[arg(short = 'C', default_value_t = 10, value_parser = clap::value_parser!(u32).range(4..=i64::from(MAX_BCRYPT_COST)))]
    cost: u32,
    /// `[FILE] USER [PASSWORD]`; no FILE with -n, PASSWORD only with -b.
    #[arg(required = true, num_args = 1..=3)]
    words: Vec<String>,
}

/// Why no entry was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HtpasswdError {
    #[error("expected {0}")]
    Usage(&'static str),
    #[error("a user name is 1 to 255 characters without a colon or control characters")]
    UserName,
    #[error("bcrypt reads 72 bytes of a password, this one is longer; it would be cut without a word")]
    TooLong,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the password could not be read: {0}")]
    Password(io::Error),
    #[error(transparent)]
    Bcrypt(#[from] bcrypt::BcryptError),
}

/// Runs the command with the words behind its name.
///
/// # Errors
/// [`HtpasswdError`], to be printed.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), HtpasswdError> {
    let command = Htpasswd::parse_from(arguments);
    let mut words = command.words.iter();
    let file = if command.print { None } else { words.next().map(PathBuf::from) };
    let user = words.next().ok_or(HtpasswdError::Usage("FILE and USER, or -n and USER"))?;
    if user.is_empty() || user.len() > 255 || user.contains(|c: char| c == ':' || c.is_control()) {
        return Err(HtpasswdError::UserName);
    }
    let entry = if command.delete { None } else { Some(command.entry(user, words.next())?) };
    match (file, entry) {
        (None, Some(entry)) => writeln!(io::stdout(), "{entry}").map_err(HtpasswdError::Password),
        (Some(path), entry) => command.rewrite(&path, user, entry.as_deref()),
        (None, None) => Err(HtpasswdError::Usage("a FILE to delete the user from")),
    }
}

impl Htpasswd {
    fn entry(&self, user: &str, given: Option<&String>) -> Result<String, HtpasswdError> {
        let password = match (self.batch, given) {
            (true, Some(password)) => password.clone(),
            (true, None) => return Err(HtpasswdError::Usage("PASSWORD behind USER with -b")),
            (false, Some(_)) => return Err(HtpasswdError::Usage("-b where the password stands on the command line")),
            (false, None) => ask()?,
        };
        match bcrypt::non_truncating_hash(&password, self.cost) {
            Ok(hash) => Ok(format!("{user}:{hash}")),
            Err(bcrypt::BcryptError::Truncation(_)) => Err(HtpasswdError::TooLong),
            Err(other) => Err(other.into()),
        }
    }

    fn rewrite(&self, path: &Path, user: &str, entry: Option<&str>) -> Result<(), HtpasswdError> {
        let at = |source| HtpasswdError::File { path: path.to_owned(), source };
        let former = if self.create { String::new() } else { fs::read_to_string(path).map_err(at)? };
        let mut lines: Vec<&str> =
            former.lines().filter(|line| line.split_once(':').is_none_or(|(name, _)| name != user)).collect();
        lines.extend(entry);
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        // A running server may read the file at any moment: it finds the former one or the new one, never half of it.
        let part = path.with_extension("new");
        fs::write(&part, text).and_then(|()| fs::rename(&part, path)).map_err(at)
    }
}

fn ask() -> Result<String, HtpasswdError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(HtpasswdError::Password)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn htpasswd(words: &[&str]) -> Result<(), HtpasswdError> {
        run(std::iter::once("htpasswd").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn file_gains_replaces_and_loses_a_user() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("users");
        let file = path.to_str().unwrap();
        htpasswd(&["-cBb", "-C", "4", file, "alice", "first"]).unwrap();
        htpasswd(&["-Bb", "-C", "4", file, "bob", "second"]).unwrap();
        htpasswd(&["-Bb", "-C", "4", file, "alice", "third"]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let hash = |user: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{user}:"))).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(bcrypt::verify("third", hash("alice")).unwrap());
        assert!(bcrypt::verify("second", hash("bob")).unwrap());
        htpasswd(&["-D", file, "alice"]).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("alice"));
    }

    #[test]
    fn password_that_bcrypt_would_cut_is_refused() {
        let long = "x".repeat(73);
        assert!(matches!(htpasswd(&["-Bbn", "-C", "4", "alice", &long]), Err(HtpasswdError::TooLong)));
    }

    #[test]
    fn name_with_a_colon_is_refused() {
        assert!(matches!(htpasswd(&["-Bbn", "a:b", "secret"]), Err(HtpasswdError::UserName)));
    }
}
