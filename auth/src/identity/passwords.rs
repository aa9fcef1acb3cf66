//! Passwords of local accounts: argon2id, hashed and compared on a bounded queue.

mod argon;

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version, password_hash::phc::PasswordHash};
use shared::{logins::MAX_BCRYPT_COST, random, secret::Secret};
use thiserror::Error;

use super::queue::{Busy, Queue};

/// Memory of one hash, in KiB (OWASP's first recommendation for argon2id).
pub const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
pub const PASSES: u32 = 2;
/// Fewest characters of a password that is set here.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// Longest password, in bytes: what argon2 reads must be bounded.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Most bytes of a password that bcrypt reads; what is longer is refused rather than cut.
pub const MAX_BCRYPT_BYTES: usize = 72;
/// Most memory, in KiB, that an argon2 hash from elsewhere may ask for.
pub const MAX_FOREIGN_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes that an argon2 hash from elsewhere may ask for.
pub const MAX_FOREIGN_PASSES: u32 = 32;

/// A password that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnfitPassword {
    /// Too short.
    #[error("a password has at least {MIN_PASSWORD_CHARS} characters")]
    Short,
    /// Too long.
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    Long,
    /// Some programs stop reading there.
    #[error("a password has no NUL characters")]
    Nul,
}

/// Checks a password that somebody wants to set.
///
/// # Errors
/// [`UnfitPassword`].
pub fn check_new(password: &str) -> Result<(), UnfitPassword> {
    if password.chars().nth(MIN_PASSWORD_CHARS - 1).is_none() {
        return Err(UnfitPassword::Short);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(UnfitPassword::Long);
    }
    if password.contains('\0') {
        return Err(UnfitPassword::Nul);
    }
    Ok(())
}

/// A password for somebody to start with: 120 random bits, without letters that look alike.
#[must_use]
pub fn random_password() -> Secret<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = random::bytes::<24>();
    Secret::new(letters.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

/// Hashes and compares passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    queue: Queue,
    /// A hash of nothing anybody knows: comparing with it takes as long as comparing with an account's.
    dummy: Arc<str>,
}

impl Passwords {
    /// Starts with a queue of its own.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self { queue, dummy: hash(&random::bytes::<32>()).into() }
    }

    /// The queue that hashing waits in, whoever the hash belongs to.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The string to store for a password.
    ///
    /// # Errors
    /// [`Busy`] if too many hashes wait already.
    pub async fn hash(&self, password: &Secret<String>) -> Result<String, Busy> {
        let password = Secret::new(password.expose().clone());
        self.queue.run(move || hash(password.expose().as_bytes())).await
    }

    /// True if the password is the one that was hashed.
    ///
    /// # Errors
    /// [`Busy`] if too many hashes wait already.
    pub async fn matches(&self, password: &Secret<String>, stored: &str) -> Result<bool, Busy> {
        let (password, stored) = (Secret::new(password.expose().clone()), stored.to_owned());
        self.queue.run(move || matches(password.expose().as_bytes(), &stored)).await
    }

    /// Takes as long as [`Self::matches`] and says no: for names that nobody has.
    ///
    /// # Errors
    /// [`Busy`] if too many hashes wait already.
    pub async fn refuse(&self, password: &Secret<String>) -> Result<(), Busy> {
        let dummy = self.dummy.clone();
        self.matches(password, &dummy).await.map(drop)
    }
}

#[expect(
    clippy::expect_used,
    reason = "constant parameters, a salt of constant length and a bounded password are accepted by argon2"
)]
fn hash(password: &[u8]) -> String {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("argon2 accepts these parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = random::bytes::<16>();
    argon::hash(&argon2, Algorithm::Argon2id, password, &salt).expect("argon2 accepts this salt").to_string()
}

/// True if the password is the one that was hashed, by argon2 or by bcrypt. The outputs are compared in constant time.
pub(super) fn matches(password: &[u8], stored: &str) -> bool {
    if is_bcrypt(stored) {
        // What is too long takes as long as a wrong password, and is one: bcrypt would not read its end.
        let read = &password[..password.len().min(MAX_BCRYPT_BYTES)];
        return bcrypt::verify(read, stored).unwrap_or(false) && password.len() <= MAX_BCRYPT_BYTES;
    }
    PasswordHash::new(stored).is_ok_and(|hash| argon::verify(&hash, password))
}

/// How a hash begins that was made here.
pub(super) const OURS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// True if the text is a hash as they are made here.
pub(super) fn is_ours(stored: &str) -> bool {
    stored.starts_with(OURS)
}

/// True if the text is a password's hash, made here or elsewhere, and no provider's fingerprint of one that is kept there.
pub(super) fn is_hash(stored: &str) -> bool {
    is_bcrypt(stored) || stored.starts_with("$argon2")
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

/// True if the text is a hash that can be a local account's: bcrypt or argon2, and no dearer than this server grants.
#[must_use]
pub fn is_storable(stored: &str) -> bool {
    let affordable = |parts: bcrypt::HashParts| parts.get_cost() <= MAX_BCRYPT_COST;
    if is_bcrypt(stored) { stored.parse().is_ok_and(affordable) } else { is_affordable(stored) }
}

/// True if the text is an argon2 hash that costs no more than this server grants.
pub(super) fn is_affordable(stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return false };
    let known = ["argon2id", "argon2i", "argon2d"].contains(&hash.algorithm.as_str());
    known
        && hash.hash.is_some()
        && Params::try_from(&hash)
            .is_ok_and(|params| params.m_cost() <= MAX_FOREIGN_MEMORY_KIB && params.t_cost() <= MAX_FOREIGN_PASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::new(Queue::new(1, 4));
        let stored = passwords.hash(&"correct horse".into()).await.unwrap();
        assert!(is_ours(&stored), "{stored}");
        assert!(passwords.matches(&"correct horse".into(), &stored).await.unwrap());
        assert!(!passwords.matches(&"correct horsf".into(), &stored).await.unwrap());
        assert_ne!(passwords.hash(&"correct horse".into()).await.unwrap(), stored, "each has a salt of its own");
        assert!(!passwords.matches(&"x".into(), "not a hash").await.unwrap());
    }

    #[test]
    fn others_hashes_are_understood_and_ours_by_others() {
        use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
        let params = Params::new(64, 3, 2, Some(24)).unwrap();
        for (algorithm, version) in [("argon2id", 0x13), ("argon2i", 0x13), ("argon2d", 0x10)] {
            let theirs = Argon2::default()
                .hash_password_customized(
                    b"password",
                    b"a salt of theirs",
                    Some(algorithm),
                    Some(version),
                    params.clone(),
                )
                .unwrap()
                .to_string();
            assert!(matches(b"password", &theirs), "{theirs}");
            assert!(!matches(b"passwore", &theirs), "{theirs}");
        }
        let ours = hash(b"password");
        assert_eq!(Argon2::default().verify_password(b"password", ours.as_str()), Ok(()));
    }

    #[test]
    fn a_dummy_costs_what_an_account_costs() {
        let dummy = Passwords::new(Queue::new(1, 1)).dummy;
        let (dummy, account) = (PasswordHash::new(&dummy).unwrap(), PasswordHash::new(&hash(b"password")).unwrap());
        assert_eq!(dummy.params, account.params);
        assert_eq!(dummy.algorithm, account.algorithm);
    }

    #[test]
    fn new_passwords_are_bounded() {
        assert_eq!(check_new("1234567"), Err(UnfitPassword::Short));
        assert_eq!(check_new("12345678"), Ok(()));
        assert_eq!(check_new("éééééééé"), Ok(()));
        assert_eq!(check_new(&"x".repeat(MAX_PASSWORD_BYTES)), Ok(()));
        assert_eq!(check_new(&"x".repeat(MAX_PASSWORD_BYTES + 1)), Err(UnfitPassword::Long));
        assert_eq!(check_new("12345678\0"), Err(UnfitPassword::Nul));
    }

    #[test]
    fn a_hash_from_elsewhere_is_affordable_or_refused() {
        let stored = hash(b"password");
        assert!(is_affordable(&stored));
        assert!(is_affordable(&stored.replace("argon2id", "argon2i")));
        let costs = |memory: u32, passes: u32| {
            is_affordable(&stored.replace("m=19456,t=2,p=1", &format!("m={memory},t={passes},p=1")))
        };
        assert!(costs(MAX_FOREIGN_MEMORY_KIB, MAX_FOREIGN_PASSES));
        assert!(!costs(MAX_FOREIGN_MEMORY_KIB + 1, 2) && !costs(MEMORY_KIB, MAX_FOREIGN_PASSES + 1));
        assert!(!is_affordable("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"));
        assert!(!is_affordable("$scrypt$ln=16,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"));
    }
}
