//! The root of all that this server keeps secret: one file of 32 random bytes beside the database, never in it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use ring::{hkdf, hmac};
use shared::{random, secret::Secret};
use thiserror::Error;

use crate::key_files;

const LENGTH: usize = 32;
/// The file's name under the keys' directory.
const CURRENT: &str = "master";
/// The name of the one before, while what hangs on it is being replaced.
const PREVIOUS: &str = "master.previous";

/// The file of a master key cannot be had.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// It cannot be read or made.
    #[error("the master key {path}: {error}")]
    File {
        /// Where it lies.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It is not 32 bytes long. Nothing is guessed, because what was stored under the real one would be lost.
    #[error("the master key {path} has {found} bytes instead of {LENGTH}: restore it from a backup")]
    Length {
        /// Where it lies.
        path: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
}

/// What a key made from the master key is for. Keys for different purposes say nothing about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The key of stored verifiers.
    Pepper,
    /// The key under which right passwords are remembered for a while, in memory only.
    RememberedPasswords,
    /// The key that seals what is stored and must be read again.
    Sealing,
    /// The key of cookies.
    Cookies,
    /// The key under which names that nobody has stand in the audit.
    UnknownNames,
    /// The seed of the key that signs checkpoints of the audit.
    Checkpoints,
    /// What names the master key without giving it away.
    Id,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Pepper => b"portreeve/pepper/1",
            Self::RememberedPasswords => b"portreeve/remembered-passwords/1",
            Self::Sealing => b"portreeve/sealing/1",
            Self::Cookies => b"portreeve/cookies/1",
            Self::UnknownNames => b"portreeve/unknown-names/1",
            Self::Checkpoints => b"portreeve/audit-checkpoints/1",
            Self::Id => b"portreeve/master-id/1",
        }
    }
}

/// One master key.
#[derive(Clone)]
pub struct MasterKey {
    root: hkdf::Prk,
    pepper: hmac::Key,
    id: String,
}

impl MasterKey {
    /// The key that these random bytes are.
    #[must_use]
    pub fn from_bytes(bytes: &Secret<[u8; LENGTH]>) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portreeve master key").extract(bytes.expose());
        let pepper = hmac::Key::new(hmac::HMAC_SHA256, derive(&root, Purpose::Pepper).expose());
        let id = derive(&root, Purpose::Id).expose()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { root, pepper, id }
    }

    /// Names the key in rows that hang on it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for a purpose, by HKDF-SHA-256 under the purpose's label.
    #[must_use]
    pub fn derive(&self, purpose: Purpose) -> Secret<[u8; LENGTH]> {
        derive(&self.root, purpose)
    }

    /// What is stored of a secret that has 128 random bits or more: its HMAC-SHA-256, in hexadecimal.
    #[must_use]
    pub fn verifier(&self, secret: &str) -> String {
        hmac::sign(&self.pepper, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether the stored verifier is that of the secret; the comparison takes the same time wherever they differ.
    #[must_use]
    pub fn proves(&self, secret: &str, verifier: &str) -> bool {
        from_hex(verifier).is_some_and(|tag| hmac::verify(&self.pepper, secret.as_bytes(), &tag).is_ok())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

#[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes, and 32 are asked for")]
fn derive(root: &hkdf::Prk, purpose: Purpose) -> Secret<[u8; LENGTH]> {
    let mut key = [0; LENGTH];
    let info = [purpose.label()];
    root.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).expect("32 bytes");
    Secret::new(key)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && digits.remainder().is_empty()).then(|| {
        let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        digits.map(|pair| (value(pair[0]) << 4) | value(pair[1])).collect()
    })
}

/// The master keys that live: the current one, and the one before while rows still hang on it.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Option<MasterKey>,
}

impl MasterKeys {
    /// Reads the keys under the directory, and makes the current one if there is none: 32 random bytes, mode 0600.
    ///
    /// Of two processes that start at once, one makes it and the other reads it.
    ///
    /// # Errors
    /// A file cannot be read or made, or is damaged.
    pub fn open(directory: &Path) -> Result<Self, MasterKeyError> {
        let path = directory.join(CURRENT);
        let made = key_files::make_once(&path, &random::bytes::<LENGTH>());
        made.map_err(|error| MasterKeyError::File { path: path.clone(), error })?;
        let current = read(&path)?;
        let previous = directory.join(PREVIOUS);
        let previous = if previous.exists() { Some(read(&previous)?) } else { None };
        Ok(Self { current, previous })
    }

    /// Whether there are any to read.
    #[must_use]
    pub fn are_in(directory: &Path) -> bool {
        [CURRENT, PREVIOUS].iter().any(|name| directory.join(name).exists())
    }

    /// Keys for tests and for whoever keeps the bytes elsewhere.
    #[must_use]
    pub const fn of(current: MasterKey, previous: Option<MasterKey>) -> Self {
        Self { current, previous }
    }

    /// The key that new rows hang on.
    #[must_use]
    pub const fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The key of this id, if it lives.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&MasterKey> {
        self.iter().find(|key| key.id == id)
    }

    /// The living keys, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        [&self.current].into_iter().chain(&self.previous)
    }

    /// Whether the stored verifier is that of the secret, under any living key.
    #[must_use]
    pub fn prove(&self, secret: &str, verifier: &str) -> bool {
        self.iter().any(|key| key.proves(secret, verifier))
    }
}

fn read(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let bytes = fs::read(path).map_err(|error| MasterKeyError::File { path: path.to_owned(), error })?;
    let found = bytes.len();
    let bytes = <[u8; LENGTH]>::try_from(bytes).map_err(|_| MasterKeyError::Length { path: path.to_owned(), found })?;
    key_files::warn_if_open(path);
    Ok(MasterKey::from_bytes(&Secret::new(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_kept_private_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let first = MasterKeys::open(&keys).unwrap();
        let second = MasterKeys::open(&keys).unwrap();
        assert_eq!(first.current().id(), second.current().id());
        let metadata = fs::metadata(keys.join("master")).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn many_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let open = || MasterKeys::open(directory.path()).unwrap().current().id().to_owned();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("master"), [1; 31]).unwrap();
        assert!(matches!(MasterKeys::open(directory.path()), Err(MasterKeyError::Length { found: 31, .. })));
        assert_eq!(fs::read(directory.path().join("master")).unwrap(), [1; 31]);
    }

    #[test]
    fn two_keys_may_live_while_rotating() {
        let directory = tempfile::tempdir().unwrap();
        let old = MasterKeys::open(directory.path()).unwrap();
        let stored = old.current().verifier("a secret");
        fs::rename(directory.path().join(CURRENT), directory.path().join(PREVIOUS)).unwrap();
        let both = MasterKeys::open(directory.path()).unwrap();
        assert_ne!(both.current().id(), old.current().id());
        assert!(both.prove("a secret", &stored) && both.named(old.current().id()).is_some());
        fs::remove_file(directory.path().join(PREVIOUS)).unwrap();
        let new = MasterKeys::open(directory.path()).unwrap();
        assert!(!new.prove("a secret", &stored) && new.named(old.current().id()).is_none());
    }

    #[test]
    fn a_verifier_proves_its_secret_and_no_other() {
        let key = MasterKey::from_bytes(&Secret::new([7; 32]));
        let verifier = key.verifier("prt_pat_x");
        assert_eq!(verifier.len(), 64);
        assert!(key.proves("prt_pat_x", &verifier));
        assert!(!key.proves("prt_pat_y", &verifier));
        for damaged in ["", "zz", &verifier[1..], &verifier.to_uppercase(), &format!("{verifier}00")] {
            assert!(!key.proves("prt_pat_x", damaged), "{damaged}");
        }
        assert!(!MasterKey::from_bytes(&Secret::new([8; 32])).proves("prt_pat_x", &verifier));
    }

    #[test]
    fn keys_for_different_purposes_differ_and_the_master_key_is_not_printed() {
        let key = MasterKey::from_bytes(&Secret::new([7; 32]));
        let purposes = [Purpose::Pepper, Purpose::RememberedPasswords, Purpose::Sealing, Purpose::Cookies, Purpose::Id];
        let derived: std::collections::HashSet<[u8; 32]> =
            purposes.iter().map(|one| *key.derive(*one).expose()).collect();
        assert_eq!(derived.len(), purposes.len());
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
    }
}
