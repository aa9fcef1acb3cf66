//! Where bytes lie: a store keeps them under keys that are used once and never change what they hold.
//!
//! The store knows nothing of digests, repositories or who may read. A late, repeated or lost call can therefore only hit its own generation of bytes:
//! every key is drawn at random for one upload, and has a row (upload, blob or trash) before it has bytes.

use std::{
    fmt, io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http_body::{Frame, SizeHint};
use shared::digest::{Algorithm, Hasher};
use url::Url;

pub mod filesystem;

#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
pub(crate) mod faulty;

/// The name of one generation of bytes: `blobs/<2 hex>/<128 random bits>` where we drew it, opaque where it was imported.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey(Arc<str>);

impl StorageKey {
    /// A key that nobody has used and nobody will draw again.
    pub fn fresh() -> Self {
        let name = shared::random::bytes::<16>().map(|byte| format!("{byte:02x}")).concat();
        Self(format!("blobs/{}/{name}", &name[..2]).into())
    }

    /// A key as a row holds it.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The key's text, as rows hold it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As [`StorageKey::stored`].
impl From<String> for StorageKey {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No bytes lie under this key.
    #[error("no bytes lie under {0}")]
    NotFound(StorageKey),
    /// The key has bytes already: somebody else has used it.
    #[error("bytes already lie under {0}")]
    AlreadyExists(StorageKey),
    /// Fewer bytes lie there than were recorded.
    #[error("{key} holds {found} bytes, {expected} were recorded")]
    TooShort {
        /// Whose bytes.
        key: StorageKey,
        /// How many were recorded.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The disk, or a quota on it, is full.
    #[error("no space left for {0}")]
    NoSpace(StorageKey),
    /// Anything else the operating system or the network answered.
    #[error("the store failed at {key}")]
    Io {
        /// Whose bytes.
        key: StorageKey,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// What an error of the operating system means for the bytes under `key`.
    pub fn from_io(key: &StorageKey, source: io::Error) -> Self {
        let key = key.clone();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(key),
            io::ErrorKind::AlreadyExists => Self::AlreadyExists(key),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace(key)
            }
            _ => Self::Io { key, source },
        }
    }
}

/// Whether any bytes at all are to be seen. A disk that is not mounted shows none: what is missing then is no word about a blob.
///
/// # Errors
/// The store cannot be listed.
pub(crate) async fn is_there(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(!store.list(None, 1).await?.is_empty())
}

/// Bytes that a listing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where they lie.
    pub key: StorageKey,
    /// How many there are.
    pub size: u64,
}

/// A place for bytes. The contract is written down as tests in `store/contract.rs`, which every store passes.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// What rows call this store.
    fn name(&self) -> &'static str;

    /// The size in bytes that every part of an upload but its last must have; `None` where pieces of any size may be written.
    fn part_size(&self) -> Option<u64>;

    /// Whether there is room for so many bytes more, and for what deletions need; [`StoreError::NoSpace`] if not. Asked before they go into a database that
    /// lies beside the store.
    fn room(&self, bytes: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The bytes of an upload. Its first step opens them, and answers why that failed if it did: what blocks is then one job and not two.
    fn upload(&self, key: &StorageKey, found: Found) -> Box<dyn OpenUpload>;

    /// Stores bytes that are already in memory, durably, under a key that has none.
    fn put<'a>(&'a self, key: &'a StorageKey, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Streams the bytes of `range`; [`StoreError::TooShort`] if they do not reach its end.
    fn read<'a>(&'a self, key: &'a StorageKey, range: Range<u64>) -> BoxFuture<'a, Result<Reading, StoreError>>;

    /// How many bytes lie under `key`, or `None` if there are none.
    fn size<'a>(&'a self, key: &'a StorageKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>>;

    /// Deletes what lies under the keys. What is already gone is a success; at the first failure the rest may remain.
    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Moves what lies under a key out of the way, durably: no key leads to it and no listing finds it, but a person does, and `line` in a list beside it.
    /// Nothing is written over. False if nothing lies there.
    fn set_aside<'a>(&'a self, key: &'a StorageKey, line: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// At most `limit` of our own keys behind `after`, in bytewise order.
    fn list<'a>(
        &'a self,
        after: Option<&'a StorageKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>>;

    /// An address where a client may fetch the bytes itself for `life`; `None` where the registry has to serve them.
    fn redirect<'a>(&'a self, key: &'a StorageKey, life: Duration) -> BoxFuture<'a, Result<Option<Url>, StoreError>>;
}

/// What an upload finds under its key when its first step opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the step makes the bytes. [`StoreError::AlreadyExists`] if there are some: a key is used once.
    Nothing,
    /// What an earlier request left; [`StoreError::NotFound`] if there is nothing.
    Bytes,
    /// Either: an earlier request may have made them, or may never have come to it.
    Unknown,
}

/// The bytes of one upload. Dropping it closes them and leaves them as they are: they can be opened again, or go to the trash.
///
/// More bytes than were recorded is what a crash leaves behind; they are written over, or cut off by `finish`.
pub trait OpenUpload: Send {
    /// Writes `pieces` one behind the other from `offset` on, then hashes them: where writing blocks, one job does both while the bytes are in the
    /// processor's cache. On failure nothing is known about the bytes behind `offset`; [`StoreError::TooShort`] if there are fewer before it.
    fn write(&mut self, offset: u64, pieces: Vec<Bytes>, hasher: Hasher) -> BoxFuture<'_, Result<Hasher, StoreError>>;

    /// Hashes the first `length` bytes as they lie there now; [`StoreError::TooShort`] if there are fewer.
    fn hash(&mut self, algorithm: Algorithm, length: u64) -> BoxFuture<'_, Result<Hasher, StoreError>>;

    /// Makes exactly the first `length` bytes durable, and their name too; [`StoreError::TooShort`] if there are fewer.
    fn finish(&mut self, length: u64) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The bytes of a range on their way out: a stream, and a response body that knows its length.
pub struct Reading {
    remaining: u64,
    chunks: BoxStream<'static, io::Result<Bytes>>,
}

impl Reading {
    /// `length` bytes that `chunks` yields.
    pub fn new(length: u64, chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { remaining: length, chunks: chunks.boxed() }
    }

    /// Nothing to read.
    pub fn empty() -> Self {
        Self::new(0, stream::empty())
    }

    /// How many bytes are still to come.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Stream for Reading {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let chunk = std::task::ready!(self.chunks.as_mut().poll_next(context));
        if let Some(Ok(bytes)) = &chunk {
            self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(chunk)
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_next(context).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
