//! Accounts of an htpasswd file: names and password hashes that other programs write.

mod file;

use std::{path::PathBuf, sync::Arc};

use ring::digest::{SHA256, digest};
use shared::{
    secret::Secret,
    watched::{WatchError, Watched},
};

use super::{
    passwords,
    queue::{Busy, Queue},
};
use crate::accounts::{
    self, Accounts, ProviderId,
    credentials::Stored,
    names::Handle,
    providers::{Known, Proved},
};
pub use file::{Fault, FileError, MAX_FILE_BYTES};
use file::{Listed, parse};

/// What the provider is called.
pub const PROVIDER: &str = "htpasswd";
pub use passwords::MAX_BCRYPT_BYTES;

/// An htpasswd file, read again when it changes.
#[derive(Debug)]
pub struct Htpasswd {
    provider: ProviderId,
    file: Watched<Listed, FileError>,
    queue: Queue,
}

/// A line of the file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub name: Handle,
    hash: Hash,
}

#[derive(Debug, Clone)]
enum Hash {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(Arc<str>),
    /// A PHC string.
    Argon2(Arc<str>),
}

/// The lines of a file, by name.
///
/// # Errors
/// The first line that is refused: the whole file is, then.
pub fn entries(content: &[u8]) -> Result<Vec<Entry>, FileError> {
    let mut entries: Vec<Entry> = parse(content)?.entries().cloned().collect();
    entries.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    Ok(entries)
}

impl Entry {
    /// What changes when the password does, and says nothing about it: a digest of the hash with its salt.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hex: String =
            digest(&SHA256, self.hash().as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PROVIDER}:{hex}")
    }

    fn matches(&self, password: &[u8]) -> bool {
        passwords::matches(password, self.hash())
    }

    /// The hash as it stands there.
    #[must_use]
    pub fn hash(&self) -> &str {
        let (Hash::Bcrypt(text) | Hash::Argon2(text)) = &self.hash;
        text
    }
}

impl Htpasswd {
    /// Reads the file for the first time and makes its accounts known.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is refused.
    pub fn open(path: impl Into<PathBuf>, provider: ProviderId, queue: Queue) -> Result<Self, WatchError<FileError>> {
        Ok(Self { provider, file: Watched::open(path, parse)?, queue })
    }

    /// Its row among the providers.
    #[must_use]
    pub fn provider(&self) -> ProviderId {
        self.provider
    }

    /// How often the file has changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.file.refresh();
        self.file.generation()
    }

    /// The line of that name, spelled exactly so.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.file.current().entry(name).cloned()
    }

    /// One line for each cost that the file has, so that a name which nobody has can take as long as one that somebody has.
    #[must_use]
    pub fn samples(&self) -> Vec<Entry> {
        self.file.current().samples().to_vec()
    }

    /// True if the password is the line's.
    ///
    /// # Errors
    /// [`Busy`] if too many hashes wait already.
    pub async fn matches(&self, entry: &Entry, password: &Secret<String>) -> Result<bool, Busy> {
        let (entry, password) = (entry.clone(), Secret::new(password.expose().clone()));
        self.queue.run(move || entry.matches(password.expose().as_bytes())).await
    }

    /// The account of a line whose password was just shown, created at its first sign-in.
    ///
    /// # Errors
    /// The accounts cannot be written.
    pub async fn provision(&self, accounts: &Accounts, entry: &Entry) -> Result<Stored, accounts::Error> {
        let proved = Proved {
            external_id: entry.name.to_string(),
            external_name: entry.name.to_string(),
            handle: entry.name.clone(),
            display_name: String::new(),
            fingerprint: Some(entry.fingerprint()),
        };
        accounts.provision(self.provider, proved).await
    }

    /// Disables the accounts that are gone from the file, lets back those that returned, and ends what a changed password opened.
    ///
    /// # Errors
    /// The accounts cannot be written.
    pub async fn reconcile(&self, accounts: &Accounts) -> Result<(), accounts::Error> {
        let listed = self.file.current();
        let known = |entry: &Entry| Known { external_id: entry.name.to_string(), fingerprint: entry.fingerprint() };
        accounts.reconcile(self.provider, listed.entries().map(known).collect()).await
    }
}

#[cfg(test)]
mod tests {
    use argon2::{
        Argon2,
        password_hash::{PasswordHasher, phc::PasswordHash},
    };

    use super::*;

    fn entry(line: &str) -> Entry {
        parse(line.as_bytes()).unwrap().entries().next().unwrap().clone()
    }

    /// T40: two passwords that differ behind the 72nd byte are two passwords.
    #[test]
    fn t40_bcrypt_never_reads_half_a_password() {
        let longest = "x".repeat(MAX_BCRYPT_BYTES);
        let entry = entry(&format!("alice:{}", bcrypt::hash(&longest, 4).unwrap()));
        assert!(entry.matches(longest.as_bytes()));
        for suffix in ["y", "xxxx"] {
            assert!(!entry.matches(format!("{longest}{suffix}").as_bytes()), "{suffix}");
        }
        assert!(!entry.matches(&longest.as_bytes()[1..]));
    }

    #[test]
    fn the_three_spellings_of_bcrypt_and_argon2_are_read() {
        let bcrypt = bcrypt::hash("secret", 4).unwrap();
        for version in ["$2a$", "$2b$", "$2y$"] {
            let entry = entry(&format!("alice:{}", bcrypt.replacen("$2b$", version, 1)));
            assert!(entry.matches(b"secret") && !entry.matches(b"Secret"), "{version}");
        }
        let cheap = Argon2::new(
            argon2::Algorithm::Argon2i,
            argon2::Version::V0x13,
            argon2::Params::new(64, 1, 1, None).unwrap(),
        );
        let hash: PasswordHash = cheap.hash_password_with_salt(b"secret", b"some salt").unwrap();
        let entry = entry(&format!("bob:{hash}"));
        assert!(entry.matches(b"secret") && !entry.matches(b"Secret"), "{hash}");
    }

    #[test]
    fn a_fingerprint_tells_hashes_apart_and_nothing_else() {
        let one = entry(&format!("alice:{}", bcrypt::hash("secret", 4).unwrap()));
        let two = entry(&format!("alice:{}", bcrypt::hash("secret", 4).unwrap()));
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
        assert_eq!(one.fingerprint().len(), "htpasswd:".len() + 64);
    }
}
