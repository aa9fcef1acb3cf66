//! Whom the registry believes: the certificates of `rootcertbundle` and the keys of `jwks`.
//!
//! A [`Trust`] is one reading of both and never changes. [`TrustStore`] holds the newest and gives each a
//! generation, under which verified tokens are remembered: a changed file forgets them all at once.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use shared::{
    clock::Timestamp,
    key_id,
    watched::{WatchError, Watched},
};
use tokio::sync::Notify;
use tracing::{info, warn};
use x509_parser::pem::Pem;

use super::{
    chain::{self, Certificate, ChainError, TrustedLeaf},
    jwks::{self, JsonWebKey, JwksError},
    key::TokenKey,
};

/// The largest bundle that is read, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 4 << 20;

/// Why a bundle cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It is too large to be one.
    #[error("more than {MAX_BUNDLE_BYTES} bytes")]
    TooLarge,
    /// A block is no PEM.
    #[error("block {number} is not PEM")]
    Pem {
        /// Counted from one.
        number: usize,
    },
    /// A certificate cannot be read.
    #[error("block {number}: {error}")]
    Certificate {
        /// Counted from one.
        number: usize,
        /// What is wrong with it.
        error: ChainError,
    },
    /// There is no certificate in it: an empty file is more likely half-written than meant.
    #[error("holds no certificate")]
    Empty,
}

/// Why there is nobody to believe.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] WatchError<BundleError>),
    /// The key set.
    #[error(transparent)]
    Jwks(#[from] WatchError<JwksError>),
}

/// One reading of bundle and key set.
#[derive(Default)]
pub struct Trust {
    generation: u64,
    bundle: Arc<Bundle>,
    keys: HashMap<String, Vec<TokenKey>>,
}

/// The certificates of a file.
#[derive(Default)]
struct Bundle(Vec<Certificate>);

/// The keys of a document.
struct KeySet(Vec<JsonWebKey>);

/// What an address answered.
struct Fetched {
    document: Box<[u8]>,
    keys: Arc<KeySet>,
}

impl Bundle {
    /// Like the stock registries we take certificates alone and pass over whatever else lies in the file.
    fn read(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge);
        }
        let mut certificates = Vec::new();
        for (at, block) in Pem::iter_from_buffer(text).enumerate() {
            let number = at + 1;
            let block = block.map_err(|_| BundleError::Pem { number })?;
            if block.label == "CERTIFICATE" {
                let certificate = Certificate::read(&block.contents);
                certificates.push(certificate.map_err(|error| BundleError::Certificate { number, error })?);
            }
        }
        if certificates.is_empty() { Err(BundleError::Empty) } else { Ok(Self(certificates)) }
    }
}

impl KeySet {
    fn read(text: &[u8]) -> Result<Self, JwksError> {
        let (keys, skipped) = jwks::read(text)?;
        if skipped > 0 {
            warn!(skipped, "keys of the key set cannot verify tokens and are passed over");
        }
        Ok(Self(keys))
    }
}

impl Trust {
    fn of(generation: u64, bundle: Option<Arc<Bundle>>, sets: &[Arc<KeySet>]) -> Self {
        let mut trust = Self { generation, bundle: bundle.unwrap_or_default(), keys: HashMap::new() };
        for certificate in &Arc::clone(&trust.bundle).0 {
            // An authority may have a key that signs no tokens (P-521, say); its leaves may still.
            if let Ok(key) = TokenKey::from_spki(&certificate.spki) {
                trust.add_key(None, &certificate.spki, &key);
            }
        }
        for key in sets.iter().flat_map(|set| &set.0) {
            trust.add_key(key.id.clone(), &key.spki, &key.key);
        }
        info!(certificates = trust.bundle.0.len(), key_ids = trust.keys.len(), "read whom to believe");
        trust
    }

    /// Under every id that issuers are known to write for it.
    fn add_key(&mut self, id: Option<String>, spki: &[u8], key: &TokenKey) {
        let mut ids: Vec<String> = key_id::accepted(spki).iter().map(ToString::to_string).collect();
        ids.extend(id);
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.keys.entry(id).or_default().push(key.clone());
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn keys(&self, id: &str) -> &[TokenKey] {
        self.keys.get(id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn chain(&self, chain: &[Vec<u8>], now: Timestamp) -> Result<TrustedLeaf, ChainError> {
        chain::verify(chain, &self.bundle.0, now)
    }

    /// Whether a certificate whose key a `kid` could pick is outside its dates.
    fn is_out_of_date(&self, now: Timestamp) -> bool {
        self.bundle.0.iter().any(|certificate| certificate.validity.check(now).is_err())
    }
}

/// The newest [`Trust`].
pub struct TrustStore {
    bundle: Option<Watched<Bundle, BundleError>>,
    jwks: Option<Watched<KeySet, JwksError>>,
    /// What an address answered last, and how often that has changed.
    fetched: ArcSwapOption<Fetched>,
    fetches: AtomicU64,
    /// Told when a token names a key that nobody here knows.
    missed: Notify,
    current: ArcSwap<Trust>,
    /// One merge at a time, so that an older one cannot replace a newer one.
    merging: Mutex<()>,
}

impl TrustStore {
    /// Reads the files. A key set behind an address comes with [`TrustStore::take_fetched`]: the server that has it
    /// may start later than we do.
    ///
    /// # Errors
    /// [`TrustError`] if a file cannot be used.
    pub fn open(bundle: Option<&Path>, jwks: Option<&Path>, now: Timestamp) -> Result<Self, TrustError> {
        let store = Self {
            bundle: bundle.map(|path| Watched::open(path, Bundle::read)).transpose()?,
            jwks: jwks.map(|path| Watched::open(path, KeySet::read)).transpose()?,
            fetched: ArcSwapOption::empty(),
            fetches: AtomicU64::new(0),
            missed: Notify::new(),
            current: ArcSwap::default(),
            merging: Mutex::new(()),
        };
        store.merge();
        if store.current().is_out_of_date(now) {
            warn!("a certificate of the bundle is out of date; tokens that name its key by kid are accepted still");
        }
        Ok(store)
    }

    /// The newest, no older than a second or so.
    #[must_use]
    pub fn current(&self) -> Arc<Trust> {
        // Looking is what notices changes; only then the generations are worth comparing.
        let _ = (self.bundle.as_ref().map(Watched::current), self.jwks.as_ref().map(Watched::current));
        let trust = self.current.load_full();
        if trust.generation == self.generation() {
            return trust;
        }
        self.merge();
        self.current.load_full()
    }

    /// Takes a key set that an address answered. The same again changes nothing: what was verified stays remembered.
    ///
    /// # Errors
    /// [`JwksError`], with nothing changed.
    pub fn take_fetched(&self, document: &[u8]) -> Result<(), JwksError> {
        if self.fetched.load().as_ref().is_some_and(|fetched| *fetched.document == *document) {
            return Ok(());
        }
        let keys = Arc::new(KeySet::read(document)?);
        self.fetched.store(Some(Arc::new(Fetched { document: document.into(), keys })));
        self.fetches.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Says that a token named a key that is unknown here: its issuer may have a new one.
    pub(super) fn note_miss(&self) {
        self.missed.notify_one();
    }

    /// Waits until a token names an unknown key; at once if one did since the last wait.
    pub(super) async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Looks at the files now.
    #[cfg(test)]
    pub(super) fn refresh(&self) {
        self.bundle.iter().for_each(Watched::refresh);
        self.jwks.iter().for_each(Watched::refresh);
    }

    /// Counts every change of every part, so it never has one value twice. It begins at one: the empty trust, which
    /// is never asked, has zero.
    fn generation(&self) -> u64 {
        let files = [self.bundle.as_ref().map(Watched::generation), self.jwks.as_ref().map(Watched::generation)];
        1 + files.into_iter().flatten().sum::<u64>() + self.fetches.load(Ordering::Acquire)
    }

    fn fetched_keys(&self) -> Option<Arc<KeySet>> {
        self.fetched.load().as_ref().map(|fetched| Arc::clone(&fetched.keys))
    }

    fn merge(&self) {
        let _one_at_a_time = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        // The generation is read first: what is newer than it is merged again by the next one who looks.
        let generation = self.generation();
        if self.current.load().generation == generation {
            return;
        }
        let sets: Vec<_> = self.jwks.as_ref().map(Watched::current).into_iter().chain(self.fetched_keys()).collect();
        let trust = Trust::of(generation, self.bundle.as_ref().map(Watched::current), &sets);
        self.current.store(Arc::new(trust));
    }
}
