//! Secrets that must be read again: sealed under a key of the master key, each for one place.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use shared::random;
use zeroize::Zeroizing;

use super::{MasterKey, Purpose};

/// The text was not sealed under this key for this place, or somebody has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is stored was sealed under another master key, for another place, or was changed")]
pub struct NotSealedHere;

impl MasterKey {
    /// Seals bytes for a place (a table and a row, say): ChaCha20-Poly1305, with a random nonce before it. What is moved to another place
    /// is not opened there.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the message is a key, and far from the algorithm's 256 GiB")]
    pub fn seal(&self, place: &str, bytes: &[u8]) -> Vec<u8> {
        let nonce = random::bytes::<NONCE_LEN>();
        let mut sealed = bytes.to_vec();
        let key = self.sealing_key();
        let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed);
        [&nonce[..], &sealed, tag.expect("a short message").as_ref()].concat()
    }

    /// Opens what was sealed for the place.
    ///
    /// # Errors
    /// `NotSealedHere`
    pub fn open_sealed(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotSealedHere> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(NotSealedHere)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotSealedHere)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let opened = self.sealing_key().open_in_place(nonce, Aad::from(place), &mut bytes);
        let length = opened.map_err(|_| NotSealedHere)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    #[expect(clippy::expect_used, reason = "the algorithm's keys have 32 bytes")]
    fn sealing_key(&self) -> LessSafeKey {
        let key = self.derive(Purpose::Sealing);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.expose()).expect("32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use shared::secret::Secret;

    use super::*;

    #[test]
    fn what_is_sealed_is_opened_in_its_place_and_under_its_key_alone() {
        let key = MasterKey::from_bytes(&Secret::new([7; 32]));
        let sealed = key.seal("signing_key/a", b"private");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_ne!(key.seal("signing_key/a", b"private"), sealed, "a nonce is used once");
        assert_eq!(*key.open_sealed("signing_key/a", &sealed).unwrap(), b"private");
        assert_eq!(key.open_sealed("signing_key/b", &sealed), Err(NotSealedHere));
        let other = MasterKey::from_bytes(&Secret::new([8; 32]));
        assert_eq!(other.open_sealed("signing_key/a", &sealed), Err(NotSealedHere));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open_sealed("signing_key/a", &changed), Err(NotSealedHere), "{at}");
            assert_eq!(key.open_sealed("signing_key/a", &sealed[..at]), Err(NotSealedHere), "{at}");
        }
    }
}
