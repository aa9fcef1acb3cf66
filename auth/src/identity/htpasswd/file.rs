//! The htpasswd format: `name:hash` on each line, `#` for comments.

use std::{collections::HashMap, str};

use shared::logins::MAX_BCRYPT_COST;
use thiserror::Error;

use super::{Entry, Hash};
use crate::{
    accounts::names::{Handle, NameError},
    identity::passwords,
};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// A line that is refused. The whole file is, then: an account that silently could not sign in would be worse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line. Hashes are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file is too large.
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    Large,
    /// It is not text.
    #[error("not UTF-8")]
    Text,
    /// There is no colon.
    #[error("not of the form name:hash")]
    Form,
    /// The name cannot be an account's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name stands there twice.
    #[error("{0:?} has a line already")]
    Twice(String),
    /// Not bcrypt, not argon2.
    #[error("the hash of {name:?} is {what}; only bcrypt ($2a$, $2b$, $2y$) and argon2 are accepted")]
    Hash {
        /// Whose line it is.
        name: String,
        /// What it seems to be.
        what: &'static str,
    },
    /// Damaged, or dearer than this server grants.
    #[error("the hash of {0:?} is damaged, or costs more than this server grants")]
    Damaged(String),
}

/// The lines of a file.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    entries: HashMap<String, Entry>,
    samples: Vec<Entry>,
}

impl Listed {
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn samples(&self) -> &[Entry] {
        &self.samples
    }
}

/// Reads a file.
pub(super) fn parse(content: &[u8]) -> Result<Listed, FileError> {
    if content.len() > MAX_FILE_BYTES {
        return Err(FileError { line: 1, fault: Fault::Large });
    }
    let mut listed = Listed::default();
    let mut costs = HashMap::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let at = |fault| FileError { line: index + 1, fault };
        let line = str::from_utf8(line).map_err(|_| at(Fault::Text))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = entry(line).map_err(at)?;
        costs.entry(cost(&entry)).or_insert_with(|| entry.clone());
        if listed.entries.insert(entry.name.to_string(), entry.clone()).is_some() {
            return Err(at(Fault::Twice(entry.name.to_string())));
        }
    }
    let mut samples: Vec<(String, Entry)> = costs.into_iter().collect();
    samples.sort_by(|one, other| one.0.cmp(&other.0));
    listed.samples = samples.into_iter().map(|(_, entry)| entry).collect();
    Ok(listed)
}

fn entry(line: &str) -> Result<Entry, Fault> {
    let (name, hash) = line.split_once(':').ok_or(Fault::Form)?;
    let name: Handle = name.parse()?;
    let hash = if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        let parts: Option<bcrypt::HashParts> = hash.parse().ok();
        if parts.is_none_or(|parts| parts.get_cost() > MAX_BCRYPT_COST) {
            return Err(Fault::Damaged(name.to_string()));
        }
        Hash::Bcrypt(hash.into())
    } else if hash.starts_with("$argon2") {
        if !passwords::is_affordable(hash) {
            return Err(Fault::Damaged(name.to_string()));
        }
        Hash::Argon2(hash.into())
    } else {
        return Err(Fault::Hash { name: name.to_string(), what: what(hash) });
    };
    Ok(Entry { name, hash })
}

/// What sort of hash was refused, so that whoever reads the message knows which program to call otherwise.
fn what(hash: &str) -> &'static str {
    match hash {
        "" => "missing",
        _ if hash.starts_with("$apr1$") => "Apache's MD5",
        _ if hash.starts_with("$1$") => "MD5",
        _ if hash.starts_with("$5$") => "SHA-256 crypt",
        _ if hash.starts_with("$6$") => "SHA-512 crypt",
        _ if hash.starts_with("{SHA}") => "unsalted SHA-1",
        _ if hash.starts_with("$2x$") => "the bcrypt of a faulty program",
        _ => "of another kind (DES crypt, or no hash at all)",
    }
}

/// What checking the line costs, as text: `$2y$10$…` is `10`, whatever the spelling, and argon2 everything before the salt.
fn cost(entry: &Entry) -> String {
    let fields = |text: &str, skip, take| text.split('$').skip(skip).take(take).collect::<Vec<_>>().join("$");
    match &entry.hash {
        Hash::Bcrypt(text) => fields(text, 2, 1),
        Hash::Argon2(text) => fields(text, 1, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(content: &str) -> (usize, String) {
        let error = parse(content.as_bytes()).unwrap_err();
        (error.line, error.to_string())
    }

    #[test]
    fn other_hashes_are_refused_with_their_line_and_not_repeated() {
        let good = bcrypt::hash("x", 4).unwrap();
        for (hash, what) in [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "Apache's MD5"),
            ("$1$abc$def", "MD5"),
            ("$5$abc$def", "SHA-256 crypt"),
            ("$6$abc$def", "SHA-512 crypt"),
            ("{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "unsalted SHA-1"),
            ("rl.3StKT.4T8M", "DES crypt"),
            ("hunter2hunter2", "no hash at all"),
            ("", "missing"),
            (&good.replacen("$2b$", "$2x$", 1), "faulty"),
        ] {
            let (line, text) = fault(&format!("# users\n\nalice:{good}\nbob:{hash}\n"));
            assert_eq!(line, 4);
            assert!(text.starts_with("line 4: ") && text.contains("\"bob\"") && text.contains(what), "{text}");
            assert!(hash.is_empty() || !text.contains(hash), "{text}");
        }
    }

    #[test]
    fn damaged_lines_are_refused() {
        let good = bcrypt::hash("x", 4).unwrap();
        for (content, expected) in [
            ("alice".to_owned(), "name:hash"),
            (format!("robot.acme.ci:{good}"), "only robots"),
            (format!("a b:{good}"), "not an account name"),
            (format!("alice:{}", &good[..50]), "damaged"),
            ("alice:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ".to_owned(), "damaged"),
            ("alice:$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$M6Nlnpvkc3CW3Ao+7SdYGw".to_owned(), "costs more"),
            (format!("bob:{good}\nalice:{}", good.replacen("$04$", "$18$", 1)), "line 2: the hash of \"alice\""),
            (format!("alice:{}", good.replacen("$2b$04$", "$2y$31$", 1)), "costs more"),
            (format!("alice:{good}\nalice:{good}"), "line 2"),
        ] {
            assert!(fault(&content).1.contains(expected), "{content}: {}", fault(&content).1);
        }
        assert!(parse(format!("alice:{}", good.replacen("$04$", "$17$", 1)).as_bytes()).is_ok());
        assert_eq!(parse(b"\xff:x").unwrap_err().fault, Fault::Text);
        let mut large = vec![b'#'; MAX_FILE_BYTES + 1];
        assert_eq!(parse(&large).unwrap_err().fault, Fault::Large);
        large.pop();
        assert_eq!(parse(&large).unwrap().entries().count(), 0);
    }

    #[test]
    fn there_is_a_sample_for_each_cost() {
        let lines: Vec<String> = [4, 5, 4, 6, 5]
            .iter()
            .enumerate()
            .map(|(n, cost)| format!("u{n}:{}\r\n", bcrypt::hash("x", *cost).unwrap()))
            .collect();
        let argon2 = "u9:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$M6Nlnpvkc3CW3Ao+7SdYGw";
        let listed = parse(format!("{}{argon2}", lines.concat()).as_bytes()).unwrap();
        assert_eq!(listed.entries().count(), 6);
        let costs: Vec<String> = listed.samples().iter().map(cost).collect();
        assert_eq!(costs, ["04", "05", "06", "argon2id$v=19$m=64,t=1,p=1"]);
    }
}
