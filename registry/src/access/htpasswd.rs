//! Access by a password file, as `htpasswd -B` writes it.
//!
//! Only bcrypt is accepted, as at the stock registries. The file is read again when it changes. Checking a
//! password is meant to be slow, so it happens off the runtime's threads, a few at a time, and a right password is
//! remembered for a moment: docker sends it with every request of a push.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use moka::sync::Cache;
use ring::hmac;
use shared::{
    basic::BasicCredentials,
    random,
    watched::{WatchError, Watched},
};
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Caller, Identity, Presented, Refusal};

/// The largest password file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// What bcrypt looks at of a password, in bytes. A longer one would match whatever begins like it.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// For how long a right password is not hashed again.
const MEMORY: Duration = Duration::from_secs(30);

/// How many right passwords are remembered.
const MEMORY_ENTRIES: u64 = 1024;

/// How many passwords are hashed at once.
const HASHING: usize = 2;

/// Why a password file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HtpasswdError {
    /// It is too large.
    #[error("more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It is no text.
    #[error("not UTF-8")]
    NotText,
    /// A line is not `name:hash`.
    #[error("line {line}: not of the form name:hash")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// A hash is of another kind.
    #[error("line {line}: only bcrypt hashes ($2a$, $2b$, $2y$) are accepted; `htpasswd -B` makes them")]
    Hash {
        /// Counted from one.
        line: usize,
    },
}

/// A realm whose users stand in a file.
pub struct Htpasswd {
    realm: String,
    users: Watched<Users, HtpasswdError>,
    key: hmac::Key,
    right: Cache<[u8; 32], Arc<str>>,
    hashing: Arc<Semaphore>,
}

struct Users {
    hashes: HashMap<String, Arc<str>>,
    /// Hashed for names that do not exist, so that they take as long as those that do.
    decoy: Arc<str>,
}

impl Htpasswd {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read; or [`HtpasswdError`] with its line.
    pub fn open(realm: String, path: &Path) -> Result<Self, WatchError<HtpasswdError>> {
        let users = Watched::open(path, Users::read)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>());
        let right = Cache::builder().max_capacity(MEMORY_ENTRIES).time_to_live(MEMORY).build();
        Ok(Self { realm, users, key, right, hashing: Arc::new(Semaphore::new(HASHING)) })
    }

    /// Looks at the file now.
    #[cfg(test)]
    pub(super) fn refresh(&self) {
        self.users.refresh();
    }

    pub(super) fn challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.realm.replace(['"', '\\'], ""))
    }

    pub(super) async fn authorize(&self, presented: Presented<'_>) -> Result<Caller, Refusal> {
        let Presented::Basic(credentials) = presented else { return Err(Refusal::nothing_presented()) };
        let users = self.users.current();
        let hash = users.hashes.get(&credentials.username);
        let memory_key = self.memory_key(&credentials, hash.unwrap_or(&users.decoy));
        if let Some(name) = self.right.get(&memory_key) {
            return Ok(Caller(Identity::User(name)));
        }
        let known = hash.is_some();
        let hash = Arc::clone(hash.unwrap_or(&users.decoy));
        let username = credentials.username.clone();
        if self.matches(credentials, hash).await? && known {
            let name: Arc<str> = username.into();
            self.right.insert(memory_key, Arc::clone(&name));
            return Ok(Caller(Identity::User(name)));
        }
        // Unknown names are not repeated: people paste passwords here.
        let reason = if known { format!("wrong password for {username}") } else { "unknown user".to_owned() };
        Err(Refusal::Unauthorized { error: None, reason })
    }

    async fn matches(&self, credentials: BasicCredentials, hash: Arc<str>) -> Result<bool, Refusal> {
        let unavailable = || Refusal::Unavailable { reason: "no password can be hashed".to_owned() };
        let permit = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| unavailable())?;
        let check = move || {
            let password = credentials.password.expose();
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(permit);
            // The hash is computed first: the length of a wrong password is nobody's business.
            right && password.len() <= MAX_PASSWORD_BYTES
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| unavailable())
    }

    /// The hash is part of it: a changed line forgets the old password at once.
    fn memory_key(&self, credentials: &BasicCredentials, hash: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&credentials.username, credentials.password.expose(), hash] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

impl Users {
    fn read(text: &[u8]) -> Result<Self, HtpasswdError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(HtpasswdError::TooLarge);
        }
        let text = std::str::from_utf8(text).map_err(|_| HtpasswdError::NotText)?;
        let mut hashes = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let (text, line) = (line.trim(), at + 1);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, hash) =
                text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or(HtpasswdError::Line { line })?;
            if !is_bcrypt(hash) {
                return Err(HtpasswdError::Hash { line });
            }
            hashes.insert(name.to_owned(), Arc::from(hash));
        }
        if hashes.is_empty() {
            warn!("the password file has no user: nobody can log in");
        }
        let decoy = hashes.values().next().map_or_else(|| Arc::from(DECOY), Arc::clone);
        Ok(Self { hashes, decoy })
    }
}

/// Cost 10, of a password that nobody knows.
const DECOY: &str = "$2b$10$abcdefghijklmnopqrstuuHdKQ1lxCQwLXFqgWqbfJZ0rfQAlvyXa";

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) && hash.parse::<bcrypt::HashParts>().is_ok()
}
