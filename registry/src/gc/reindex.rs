//! Bytes indexed anew, where the facts about them are lost: each file is hashed and gets a blob's row.
//!
//! That is all that bytes can tell. Which manifests and tags there were, and whose the blobs are, stood in the database alone and comes out of a backup.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Serialize;
use shared::{
    clock::Clock,
    database::WriteError,
    digest::{Algorithm, Digest, Hasher},
    repository::RepositoryName,
};

use super::{
    Error,
    quarantine::{self, Hashed},
};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        Metadata,
        reindex::{self as rows, IndexBytes, Indexed},
        trash::Place,
    },
    store::{Listed, Store, StoreError},
};

/// What happens on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A file was looked at.
    Indexed {
        /// Its key.
        key: String,
        /// What it hashes to.
        digest: String,
        /// Its length in bytes.
        size: u64,
        /// What became of it.
        became: Became,
    },
    /// A file cannot be read: it lies where it lay.
    Unreadable {
        /// Its key.
        key: String,
    },
    /// It is done.
    Done(Reindexed),
}

/// What became of a file that no row spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// A blob.
    Blob,
    /// The bytes of a blob that had been damaged.
    Healed,
    /// Nothing: the registry has the same bytes. It was moved to quarantine.
    Surplus,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reindexed {
    /// Files that have become blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were healed.
    pub healed: u64,
    /// Files that were moved to quarantine.
    pub surplus: u64,
    /// Files that could not be read.
    pub unreadable: u64,
}

/// What to do with found bytes.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What digests of bytes are made with that the registry knows by none.
    pub algorithm: Algorithm,
    /// The repository that holds them.
    pub repository: RepositoryName,
    /// For how long.
    pub life: Duration,
}

/// Gives every file that no row speaks of a row. What has one is left alone, so a run that was cut is gone on with by the next.
///
/// # Errors
/// Store or database failed, or the holder's quota is too small. What was indexed stays indexed.
pub async fn reindex(
    metadata: &Metadata,
    store: &dyn Store,
    clock: &Clock,
    holding: &Holding,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Reindexed, Error> {
    let (mut reindexed, mut after) = (Reindexed::default(), None);
    while let Some((found, last)) = quarantine::strays(metadata, store, after.as_ref()).await? {
        for stray in found {
            let Some(digests) = hash(store, &stray).await? else {
                reindexed.unreadable += 1;
                tell(Event::Unreadable { key: stray.key.to_string() });
                continue;
            };
            let (became, digest) = index(metadata, store, holding, (&stray, digests)).await?;
            reach(Point::BytesFound)?;
            if became == Became::Surplus {
                quarantine::put_aside(store, clock.now(), &stray, Hashed::To(digest)).await?;
            }
            reindexed.count(became, stray.size);
            tell(Event::Indexed { key: stray.key.to_string(), digest: digest.to_string(), size: stray.size, became });
        }
        after = Some(last);
    }
    tell(Event::Done(reindexed));
    Ok(reindexed)
}

/// What bytes hash to, by each algorithm: a key does not tell by which one they were pushed.
type Digests = [Digest; 2];

/// What the bytes hash to; None if they cannot be read. Nothing else writes here, so what is not there now was no file.
async fn hash(store: &dyn Store, stray: &Listed) -> Result<Option<Digests>, Error> {
    let hashers = async {
        let reading = store.read(&stray.key, 0..stray.size).await?;
        let hashers = [Algorithm::Sha256, Algorithm::Sha512].map(Hasher::new);
        let hashers = reading.try_fold(hashers, async |mut hashers, piece| {
            hashers.iter_mut().for_each(|hasher| hasher.update(&piece));
            Ok(hashers)
        });
        hashers.await.map_err(|source| StoreError::from_io(&stray.key, source))
    };
    match hashers.await {
        Ok(hashers) => Ok(Some(hashers.map(Hasher::finish))),
        Err(StoreError::Io { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Finds out under which of its digests a stray is needed, and what became of it there. A blob that the registry speaks of comes first: its bytes may be
/// missing. Where there is none, or it has what it needs, the stray may have been pushed by the digest that nobody knows.
async fn index(
    metadata: &Metadata,
    store: &dyn Store,
    holding: &Holding,
    (stray, digests): (&Listed, Digests),
) -> Result<(Became, Digest), Error> {
    let mut known = Vec::new();
    for digest in digests {
        if rows::is_known(&mut metadata.read().await?, &digest).await? {
            known.push(digest);
        }
    }
    for digest in &known {
        let became = index_as(metadata, store, holding, (stray, *digest)).await?;
        if became != Became::Surplus {
            return Ok((became, *digest));
        }
    }
    match digests.into_iter().find(|digest| digest.algorithm() == holding.algorithm && !known.contains(digest)) {
        Some(digest) => Ok((index_as(metadata, store, holding, (stray, digest)).await?, digest)),
        None => Ok((Became::Surplus, known[0])),
    }
}

/// A row that says it has the bytes already is believed when they are where it says.
async fn index_as(
    metadata: &Metadata,
    store: &dyn Store,
    holding: &Holding,
    (stray, digest): (&Listed, Digest),
) -> Result<Became, Error> {
    let mut index = IndexBytes {
        place: Place { key: stray.key.clone(), store: store.name().to_owned() },
        digest,
        size: stray.size,
        repository: holding.repository.clone(),
        life: holding.life,
        missing: None,
        hot: metadata.blobs().clone(),
    };
    loop {
        let known = match metadata.write(index.clone()).await {
            Ok(Indexed::New) => return Ok(Became::Blob),
            Ok(Indexed::Healed) => return Ok(Became::Healed),
            Ok(Indexed::Surplus(known)) => known,
            Err(WriteError::Refused(exceeded)) => return Err(Error::DoesNotFit(exceeded)),
            Err(WriteError::Unavailable(error)) => return Err(error.into()),
        };
        // What lies in another store cannot be looked at from here.
        if known.store != store.name() || store.size(&known.key).await? == Some(stray.size) {
            return Ok(Became::Surplus);
        }
        index.missing = Some(known.key);
    }
}

impl Reindexed {
    fn count(&mut self, became: Became, size: u64) {
        match became {
            Became::Blob => {
                self.blobs += 1;
                self.bytes += size;
            }
            Became::Healed => self.healed += 1,
            Became::Surplus => self.surplus += 1,
        }
    }
}
