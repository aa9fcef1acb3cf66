//! Right passwords, remembered for half a minute, so that a burst of CI jobs does not pay for argon2 each time.
//!
//! What is remembered is an HMAC over provider, account, credential and password under a key that dies with the process. The
//! credential's id is in it: a changed password is another credential, and the old one is then not found. Whether account and
//! credential still count is read anew at every request.

use std::time::Duration;

use moka::sync::Cache;
use ring::hmac;
use shared::{
    clock::{Clock, Timestamp},
    secret::Secret,
};

use crate::accounts::{CredentialId, PrincipalId};

/// How long a right password is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Most passwords remembered.
const MAX_REMEMBERED: u64 = 10_000;

/// Right passwords of the last half minute.
pub struct Remembered {
    key: hmac::Key,
    clock: Clock,
    until: Cache<[u8; 32], Timestamp>,
}

/// What a password was right for.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// Who compared it.
    pub provider: &'a str,
    /// Whose it is.
    pub account: PrincipalId,
    /// The stored password, which names its version.
    pub credential: CredentialId,
}

impl Remembered {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(key: hmac::Key, clock: Clock) -> Self {
        Self {
            key,
            clock,
            until: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED_FOR * 2).build(),
        }
    }

    /// True if this password was right for that less than [`REMEMBERED_FOR`] ago.
    #[must_use]
    pub fn knows(&self, proof: &Proof<'_>, password: &Secret<String>) -> bool {
        self.until.get(&self.digest(proof, password)).is_some_and(|until| self.clock.now() < until)
    }

    /// Remembers a password that was right.
    pub fn insert(&self, proof: &Proof<'_>, password: &Secret<String>) {
        self.until.insert(self.digest(proof, password), self.clock.now() + REMEMBERED_FOR);
    }

    fn digest(&self, proof: &Proof<'_>, password: &Secret<String>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // Lengths go first, so that no two lists of fields are one text.
        let account = proof.account.0.to_be_bytes();
        let credential = proof.credential.0.to_be_bytes();
        for field in [proof.provider.as_bytes(), &account, &credential, password.expose().as_bytes()] {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_remembered_for_what_it_was_right_for_and_for_so_long() {
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        let remembered = Remembered::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), clock.clone());
        let proof = Proof { provider: "local", account: PrincipalId(1), credential: CredentialId(2) };
        remembered.insert(&proof, &"password".into());
        assert!(remembered.knows(&proof, &"password".into()));
        assert!(!remembered.knows(&proof, &"passwore".into()));
        for other in [
            Proof { provider: "htpasswd", ..proof },
            Proof { account: PrincipalId(2), ..proof },
            Proof { credential: CredentialId(3), ..proof },
        ] {
            assert!(!remembered.knows(&other, &"password".into()), "{other:?}");
        }
        clock.advance(REMEMBERED_FOR - Duration::from_secs(1));
        assert!(remembered.knows(&proof, &"password".into()));
        clock.advance(Duration::from_secs(1));
        assert!(!remembered.knows(&proof, &"password".into()));
    }
}
