//! Manifests as they are served, kept in memory: what a pull reads most.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;
use shared::{database::Dialect, digest::Digest, reference::Reference, repository::RepositoryName};

use crate::metadata::hot::Hot;

/// How much memory manifests read before may take, in bytes. An image's manifest has one to three thousand.
const HOT_BYTES: u64 = 8 * 1024 * 1024;

/// What an entry weighs beside its payload, in bytes.
const ENTRY_BYTES: usize = 512;

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What the payload hashes to.
    pub digest: Digest,
    /// The media type it was pushed under.
    pub media_type: String,
    /// The bytes as pushed.
    pub payload: Bytes,
}

/// What this process remembers of manifests. Clones share it.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The only writer there is remembers whole answers.
    pub(crate) answers: Hot<(RepositoryName, Reference), Arc<Served>>,
    /// Where others write too, bytes alone are remembered, which no write makes wrong: whether a manifest is there, and for whom, is
    /// asked every time.
    pub(crate) bytes: Option<Cache<Digest, Bytes>>,
}

impl Remembered {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let weight = |payload: &Bytes| u32::try_from(payload.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        let bytes = || Cache::builder().max_capacity(HOT_BYTES).weigher(move |_, payload| weight(payload)).build();
        Self {
            answers: Hot::new(dialect, HOT_BYTES, move |_: &_, served: &Arc<Served>| weight(&served.payload)),
            bytes: (dialect == Dialect::Postgres).then(bytes),
        }
    }

    /// Forgets what tags and digests of a repository stand for.
    pub(crate) fn forget(&self, repository: &RepositoryName, references: impl IntoIterator<Item = Reference>) {
        for reference in references {
            self.answers.forget(&(repository.clone(), reference));
        }
    }
}
