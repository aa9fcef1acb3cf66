//! Which key signs tokens, kept up while the server runs: keys lie sealed in the database, take turns on schedule or by command, and
//! every process over it signs with the one that is active.
//!
//! A token carries its certificate, so registries notice nothing. A key that the operator brings (`token.key`) is not ours to keep: its
//! certificates are renewed in a file, and it takes no turns.

mod probe;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::clock::{Clock, Timestamp};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    accounts::{
        self, Accounts, Refusal,
        signing::{Ending, KeyState, StoredKey, Turn},
        versions::{Seen, Thing},
    },
    audit::Actor,
    issuer::{Issuer, KeySet, MAX_LIFE, NotSigned, PublicKey, SigningKey, UnusableKey},
    pki::{LEAF_ROTATION, Leaf, PkiError, TokenAuthority},
    secrets::MasterKeys,
};

/// How long a key that signs no more stays published: the longest token, the leeway of whoever verifies, and clocks that differ.
pub const RETIRING: Duration = Duration::from_secs(MAX_LIFE.as_secs() + 60 + 60);
/// How often two processes that turn keys at once look again.
const TRIES: usize = 5;

/// Keys could not be had or turned.
#[derive(Debug, Error)]
pub enum SigningError {
    /// A key or a certificate was not made, or a file is damaged.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The accounts refused, or did not answer.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
    /// What is stored cannot sign.
    #[error("the signing key {kid}: {reason}")]
    Unusable {
        /// Which.
        kid: String,
        /// Why not.
        reason: UnusableKey,
    },
    /// A token was not signed.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// The key is the operator's.
    #[error("the key that signs is the file that token.key names: it is replaced there, and auth started again")]
    Brought,
}

/// Keeps the keys. Cheap to clone.
#[derive(Clone)]
pub struct Signing(Arc<Parts>);

struct Parts {
    accounts: Accounts,
    authority: TokenAuthority,
    master: MasterKeys,
    issuer: Issuer,
    clock: Clock,
    /// What the issuer signs with: key ids with their states, so that it is given new keys only where something changed.
    in_use: Mutex<Vec<(String, KeyState, Timestamp)>>,
}

impl Signing {
    /// Finds the keys, takes over the file that earlier releases kept, or makes the first ones.
    ///
    /// # Errors
    /// [`SigningError`]
    pub async fn open(
        name: &str,
        accounts: Accounts,
        authority: TokenAuthority,
        master: MasterKeys,
        clock: Clock,
    ) -> Result<Self, SigningError> {
        let now = clock.now();
        if authority.is_brought() {
            let issuer = Issuer::new(name, authority.keys(now)?);
            let in_use = Mutex::default();
            return Ok(Self(Arc::new(Parts { accounts, authority, master, issuer, clock, in_use })));
        }
        let first = authority.make(now)?;
        let keys = KeySet::new(signing_key(&first)?, Vec::new());
        let issuer = Issuer::new(name, keys);
        let signing = Self(Arc::new(Parts { accounts, authority, master, issuer, clock, in_use: Mutex::default() }));
        signing.tend().await?;
        // Sealed in the database by now; a plain copy beside it is one too many.
        if let Err(error) = signing.0.authority.remove_leaf_files() {
            warn!(%error, "the signing key's old file was not removed");
        }
        Ok(signing)
    }

    /// Who signs.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// What registries are to trust, in PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.0.authority.bundle()
    }

    /// Turns keys that are due, ends those whose last token has ended, and signs with what is active now.
    ///
    /// # Errors
    /// [`SigningError`]; what signed before still signs.
    pub async fn tend(&self) -> Result<(), SigningError> {
        let (parts, now) = (&*self.0, self.0.clock.now());
        if parts.authority.is_brought() {
            parts.issuer.rotate(parts.authority.keys(now)?);
            return Ok(());
        }
        for _ in 0..TRIES {
            let keys = parts.accounts.signing_keys(false).await?;
            let active = keys.iter().find(|key| key.state == KeyState::Active);
            if active.is_some_and(|key| parts.is_in_time(key, now)) {
                if keys.iter().any(|key| key.retired_at.is_some_and(|retired| retired + RETIRING < now)) {
                    parts.accounts.end_retired_keys(now - RETIRING).await?;
                }
                return parts.sign_with(&keys);
            }
            match parts.turn(&parts.accounts, Actor::system(), &keys, Ending::Retire, now).await {
                // Another process was faster, and what it did is looked at.
                Ok(()) | Err(SigningError::Accounts(accounts::Error::Refused(Refusal::KeysChanged))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(accounts::Error::from(Refusal::KeysChanged).into())
    }

    /// Has the next key sign from now on.
    ///
    /// # Errors
    /// [`SigningError`]; [`Refusal::KeysChanged`] if somebody else has just turned them.
    pub async fn rotate(&self, actor: Actor) -> Result<(), SigningError> {
        let keys = self.ours().await?;
        self.turn(&self.0.accounts, actor, &keys, Ending::Retire).await
    }

    /// Refuses what a key has signed, at every registry that hears of it. If it signs now, the next one does from now on.
    ///
    /// # Errors
    /// [`SigningError`]; [`Refusal::KeysChanged`] if somebody else has just turned them, [`Refusal::Changed`] if it is not as it was seen: it is not
    /// revoked then.
    pub async fn revoke(&self, actor: Actor, kid: &str, seen: Option<Seen>) -> Result<(), SigningError> {
        let keys = self.ours().await?;
        let accounts = self.0.accounts.only_if(Thing::SigningKey(kid.to_owned()), seen);
        if keys.iter().any(|key| key.kid == kid && key.state == KeyState::Active) {
            return self.turn(&accounts, actor, &keys, Ending::Revoke).await;
        }
        accounts.revoke_key(&actor, kid).await?;
        self.tend().await
    }

    async fn ours(&self) -> Result<Vec<StoredKey>, SigningError> {
        if self.0.authority.is_brought() {
            return Err(SigningError::Brought);
        }
        Ok(self.0.accounts.signing_keys(false).await?)
    }

    /// Turns the keys as they were looked at, or not at all.
    async fn turn(
        &self,
        accounts: &Accounts,
        actor: Actor,
        keys: &[StoredKey],
        ending: Ending,
    ) -> Result<(), SigningError> {
        self.0.turn(accounts, actor, keys, ending, self.0.clock.now()).await?;
        self.tend().await
    }

    /// Every key, those that are gone too.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn list(&self) -> Result<Vec<StoredKey>, accounts::Error> {
        self.0.accounts.signing_keys(true).await
    }
}

impl Parts {
    /// Whether a key may go on signing: its week is not over, this authority signed it, and the clock was not set back before it.
    fn is_in_time(&self, key: &StoredKey, now: Timestamp) -> bool {
        let began = key.active_at.unwrap_or(key.created_at);
        now < began + LEAF_ROTATION && self.authority.vouches_for(&key.certificate, now) && self.opened(key).is_some()
    }

    /// The private half; None if its master key is gone.
    fn opened(&self, key: &StoredKey) -> Option<Leaf> {
        let pkcs8 = self.master.named(&key.master_id)?.open_sealed(&place(&key.kid), &key.sealed).ok()?;
        Some(Leaf { pkcs8, certificate: key.certificate.clone() })
    }

    async fn turn(
        &self,
        accounts: &Accounts,
        actor: Actor,
        keys: &[StoredKey],
        ending: Ending,
        now: Timestamp,
    ) -> Result<(), SigningError> {
        let of = |state| keys.iter().find(move |key| key.state == state);
        let before = of(KeyState::Active).map(|key| key.kid.clone());
        let coming = match of(KeyState::Next).and_then(|key| self.opened(key)) {
            // It has been published for a week. Its certificate begins anew.
            Some(next) => self.authority.certify(&next.pkcs8, now)?,
            None => match self.authority.adopt(now)?.filter(|_| keys.is_empty()) {
                Some(adopted) => adopted,
                None => self.authority.make(now)?,
            },
        };
        let mut active = self.stored(&coming, KeyState::Active, now)?;
        active.active_at = Some(self.authority.began(&coming.certificate).unwrap_or(now));
        let next = self.stored(&self.authority.make(now)?, KeyState::Next, now)?;
        let kid = active.kid.clone();
        accounts.turn_keys(Turn { actor, before, ending, active, next }).await?;
        info!(kid, "another key signs tokens");
        Ok(())
    }

    fn stored(&self, leaf: &Leaf, state: KeyState, now: Timestamp) -> Result<StoredKey, SigningError> {
        let public = PublicKey::of_certificate(&leaf.certificate).map_err(|reason| unusable("new", reason))?;
        let (kid, master) = (public.id().as_str().to_owned(), self.master.current());
        Ok(StoredKey {
            algorithm: public.algorithm().as_str().to_owned(),
            state,
            sealed: master.seal(&place(&kid), &leaf.pkcs8),
            certificate: leaf.certificate.clone(),
            master_id: master.id().to_owned(),
            not_after: self.authority.ends(&leaf.certificate).unwrap_or(now),
            created_at: now,
            active_at: None,
            retired_at: None,
            kid,
        })
    }

    fn sign_with(&self, keys: &[StoredKey]) -> Result<(), SigningError> {
        let known: Vec<_> = keys.iter().map(|key| (key.kid.clone(), key.state, key.not_after)).collect();
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if *in_use == known {
            return Ok(());
        }
        let active = keys.iter().find(|key| key.state == KeyState::Active).and_then(|key| self.opened(key));
        let active = active.ok_or_else(|| unusable("active", UnusableKey::Certificate))?;
        let others = keys.iter().filter(|key| key.state != KeyState::Active);
        let published = others.filter_map(|key| PublicKey::of_certificate(&key.certificate).ok()).collect();
        self.issuer.rotate(KeySet::new(signing_key(&active)?, published));
        *in_use = known;
        Ok(())
    }
}

fn place(kid: &str) -> String {
    format!("signing_key/{kid}")
}

fn signing_key(leaf: &Leaf) -> Result<SigningKey, SigningError> {
    SigningKey::new(&leaf.pkcs8, std::slice::from_ref(&leaf.certificate)).map_err(|reason| unusable("active", reason))
}

fn unusable(kid: &str, reason: UnusableKey) -> SigningError {
    SigningError::Unusable { kid: kid.to_owned(), reason }
}

#[cfg(test)]
mod tests;
