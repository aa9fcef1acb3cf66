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

use super::{Error, quarantine};
use crate::{
    metadata::{
        Metadata,
        quotas::Exceeded,
        reindex::{IndexBytes, Indexed},
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
}

/// What to do with found bytes.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The repository that holds them.
    pub repository: RepositoryName,
    /// For how long.
    pub life: Duration,
}

/// Gives every file that no row speaks of a row. What has one is left alone, so a run that was cut is gone on with by the next.
///
/// # Errors
/// Store or database failed. What was indexed stays indexed.
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
            let digest = hash(store, &stray).await?;
            let place = Place { key: stray.key.clone(), store: store.name().to_owned() };
            let index = IndexBytes {
                place,
                digest,
                size: stray.size,
                repository: holding.repository.clone(),
                until: clock.now() + holding.life,
                hot: metadata.blobs().clone(),
            };
            let became = match metadata.write(index).await.map_err(refused)? {
                Indexed::New => Became::Blob,
                Indexed::Healed => Became::Healed,
                Indexed::Surplus => {
                    let line = format!("{} {} {} {digest}", clock.now(), stray.key, stray.size);
                    store.set_aside(&stray.key, &line).await?;
                    Became::Surplus
                }
            };
            reindexed.count(became, stray.size);
            tell(Event::Indexed { key: stray.key.to_string(), digest: digest.to_string(), size: stray.size, became });
        }
        after = Some(last);
    }
    tell(Event::Done(reindexed));
    Ok(reindexed)
}

fn refused(error: WriteError<Exceeded>) -> Error {
    match error {
        WriteError::Refused(exceeded) => Error::DoesNotFit(exceeded),
        WriteError::Unavailable(error) => Error::Unavailable(error),
    }
}

async fn hash(store: &dyn Store, listed: &Listed) -> Result<Digest, StoreError> {
    let reading = store.read(&listed.key, 0..listed.size).await?;
    let hasher = reading.try_fold(Hasher::new(Algorithm::Sha256), async |mut hasher, piece| {
        hasher.update(&piece);
        Ok(hasher)
    });
    hasher.await.map(Hasher::finish).map_err(|source| StoreError::from_io(&listed.key, source))
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
