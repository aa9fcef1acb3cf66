//! Where a page of the catalog begins, as it stands in `last`: a name that the caller has seen, or a sealed place.
//!
//! A page can end among names that its caller must not see. A row's number would say where any hidden repository sorts, to
//! whoever tries numbers; so it is sealed, and what nobody here has sealed is no place.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use shared::{random, secret::Secret};

use crate::content::catalog::Cursor;

/// Marks a place that is not a name; no name begins with it.
const SEALED_MARK: char = '~';

/// What the key is for, so that no other use of the same secret has it.
const LABEL: &[u8] = b"portreeve registry: places in the catalog";

/// Begins with the mark and was not sealed here, or was by a process with another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownPlace;

/// Writes and reads places.
pub(super) struct Places(Option<LessSafeKey>);

impl Places {
    /// With `http.secret`, which replicas share; without one places are good until the process ends.
    pub(super) fn new(secret: Option<&Secret<String>>) -> Self {
        let drawn = random::bytes::<32>();
        let secret = secret.map_or(&drawn[..], |secret| secret.expose().as_bytes());
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let key = derived.expand(&[LABEL], &CHACHA20_POLY1305).map(|key| LessSafeKey::new(UnboundKey::from(key)));
        Self(key.ok())
    }

    /// As it stands in a `Link`. None where a place cannot be sealed: the list ends there rather than tell.
    pub(super) fn write(&self, cursor: &Cursor) -> Option<String> {
        let id = match cursor {
            Cursor::Behind(name) => return Some(name.clone()),
            Cursor::BehindUnseen(id) => id,
        };
        let nonce = random::bytes::<NONCE_LEN>();
        let mut sealed = id.to_be_bytes().to_vec();
        let key = self.0.as_ref()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        Some(format!("{SEALED_MARK}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// What a client gives back. Any other text is a name that may never have been.
    pub(super) fn read(&self, text: &str) -> Result<Cursor, UnknownPlace> {
        match text.strip_prefix(SEALED_MARK) {
            Some(sealed) => self.open(sealed).map(Cursor::BehindUnseen).ok_or(UnknownPlace),
            None => Ok(Cursor::Behind(text.to_owned())),
        }
    }

    fn open(&self, text: &str) -> Option<i64> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let id = self.0.as_ref()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(i64::from_be_bytes(<[u8; 8]>::try_from(&*id).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_secret() -> Places {
        Places::new(Some(&Secret::from("the same everywhere")))
    }

    #[test]
    fn a_sealed_place_comes_back_and_says_nothing() {
        let (one, replica) = (shared_secret(), shared_secret());
        for cursor in [Cursor::Behind(String::new()), Cursor::Behind("acme/web".into()), Cursor::BehindUnseen(17)] {
            let text = one.write(&cursor).unwrap();
            assert_eq!(replica.read(&text), Ok(cursor));
        }
        let texts = [(); 2].map(|()| one.write(&Cursor::BehindUnseen(17)).unwrap());
        assert_ne!(texts[0], texts[1], "not even that two are the same");
        assert!(texts.iter().all(|text| text.len() == texts[0].len() && !text.contains("17")), "{texts:?}");
    }

    #[test]
    fn what_nobody_sealed_here_is_no_place() {
        let places = shared_secret();
        let good = places.write(&Cursor::BehindUnseen(17)).unwrap();
        let last = if good.ends_with('A') { 'Q' } else { 'A' };
        let changed = format!("{}{last}", &good[..good.len() - 1]);
        for text in ["~", "~17", "~99999999", "~!", &good[..good.len() - 2], &changed] {
            assert_eq!(places.read(text), Err(UnknownPlace), "{text}");
        }
        let strangers = [Places::new(Some(&Secret::from("another"))), Places::new(None), Places::new(None)];
        for stranger in strangers {
            assert_eq!(stranger.read(&good), Err(UnknownPlace));
        }
    }
}
