//! Manifests: pushed, pulled and deleted (OCI distribution specification, "Pushing manifests", "Pulling manifests", "Content management").
//!
//! A push is one write operation: it locks what the manifest names, refuses or stores, moves the tags, and nothing of it is seen
//! before all of it is. What a push promises and until when things stay is design.md section 6.

mod delete;
mod put;
mod references;
mod restore;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{
    database::{DatabaseError, Dialect, Durability, Failure, Operation, Transaction},
    digest::{Algorithm, Digest},
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use super::{
    Content, Error, Promise, Pusher, TagLimits,
    manifest::{Manifest, MediaType},
};
use crate::{
    failpoints::{Point, reach},
    metadata::manifests::{self, Found, ManifestId, Remembered},
};

pub use crate::metadata::manifests::Served;
pub use delete::{DeleteManifest, Deleted};
pub use put::Stored;

/// How often a push purges what was deleted while it went on.
const MAX_PURGES: u32 = 5;

/// A manifest to store.
#[derive(Clone, Debug)]
pub struct PutManifest {
    /// Where.
    pub repository: RepositoryName,
    /// The tag to move, or the digest that the payload must have.
    pub reference: Reference,
    /// Tags to move besides (`?tag=`).
    pub tags: Vec<Tag>,
    /// What the request says it is; without that the payload's `mediaType` decides.
    pub media_type: Option<MediaType>,
    /// The bytes, kept as they are.
    pub payload: Bytes,
    /// Which tags the pusher may touch.
    pub limits: TagLimits,
    /// Who pushes.
    pub pusher: Pusher,
    /// What the repository must hold of that which the manifest names.
    pub references: References,
    /// What must be true of every tag before any moves; of the manifest itself where none is named.
    pub condition: Option<Condition>,
}

/// What a repository must hold before it accepts a manifest that names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// The config and layers of an image; an index may name children that are absent.
    #[default]
    Image,
    /// The children of an index too.
    Strict,
    /// Nothing.
    Lenient,
}

/// A condition on what a push or a deletion names (RFC 9110 sections 13.1.1 and 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It must point at one of these (`If-Match` with entity tags).
    PointsAt(Vec<Digest>),
    /// It must point at something (`If-Match: *`).
    Exists,
    /// It must point at nothing (`If-None-Match: *`).
    Absent,
}

impl Content {
    /// Stores a manifest and moves tags to it: all of it or nothing.
    ///
    /// # Errors
    /// The payload is no manifest or does not have the digest named, the repository lacks what it names, a tag is out of bounds, or
    /// the condition does not hold.
    pub async fn put_manifest(&self, put: PutManifest) -> Result<Stored, Error> {
        let algorithm = match &put.reference {
            Reference::Tag(_) => Algorithm::Sha256,
            Reference::Digest(expected) => expected.algorithm(),
        };
        let computed = Digest::of(algorithm, &put.payload);
        match put.reference {
            Reference::Digest(expected) if expected != computed => {
                return Err(Error::DigestMismatch { expected, computed });
            }
            _ => {}
        }
        let manifest = Manifest::parse(put.media_type.as_ref(), &put.payload)?;
        // Payloads are rows. Those of an embedded database share the disk with the bytes, and what deletions need of it.
        if self.metadata.dialect() == Dialect::Sqlite {
            self.store.room(put.payload.len() as u64).await?;
        }
        let push = put::Put::new(put, computed, manifest, self, put::Purpose::Push);
        for _ in 0..MAX_PURGES {
            match self.metadata.write(push.clone()).await? {
                put::Pushed::Stored(stored) => {
                    reach(Point::ManifestPushed)?;
                    return Ok(stored);
                }
                put::Pushed::PurgeFirst(deleted) => self.purge(vec![deleted]).await?,
            }
        }
        Err(Error::Busy)
    }

    /// A living manifest, as pushed. To a pusher who asks by digest it is a promise too: it stays for a while even if nothing holds
    /// it.
    ///
    /// # Errors
    /// The repository holds no such manifest.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        promise: Promise<'_>,
    ) -> Result<Arc<Served>, Error> {
        let served = match (promise, reference) {
            (Promise::To(_), Reference::Digest(_)) => self.promise_manifest(repository, reference).await?,
            _ => {
                let key = (repository.clone(), reference.clone());
                let read = async |_: &_| self.read_manifest(repository, reference).await.map(served);
                self.metadata.manifests().answers.get_or_read(key, read).await?
            }
        };
        served.ok_or_else(|| Error::ManifestUnknown { reference: reference.clone() })
    }

    /// Deletes a manifest and the tags that point at it. What it names stays until it is purged.
    ///
    /// # Errors
    /// The repository holds no such manifest, or the caller may not touch it.
    pub async fn delete_manifest(&self, delete: DeleteManifest) -> Result<Deleted, Error> {
        let remembered = self.metadata.manifests().clone();
        let (deleted, rest) =
            self.metadata.write(delete::Delete { request: delete, remembered, grace: self.lives.grace }).await?;
        reach(Point::ManifestDeleted)?;
        self.purge(rest.into_iter().collect()).await?;
        Ok(deleted)
    }

    async fn read_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<(Found, Bytes)>, Error> {
        let mut reader = self.metadata.read().await?;
        let Some(found) = manifests::find(&mut reader, repository, reference).await? else { return Ok(None) };
        let remembered = self.metadata.manifests();
        if let Some(payload) = remembered.bytes.as_ref().and_then(|bytes| bytes.get(&found.digest)) {
            return Ok(Some((found, payload)));
        }
        let payload = manifests::find_payload(&mut reader, found.id).await?.map(Bytes::from);
        if let (Some(bytes), Some(payload)) = (&remembered.bytes, &payload) {
            bytes.insert(found.digest, payload.clone());
        }
        Ok(payload.map(|payload| (found, payload)))
    }

    async fn promise_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Arc<Served>>, Error> {
        let Some((found, payload)) = self.read_manifest(repository, reference).await? else { return Ok(None) };
        let grace = self.lives.grace;
        let soon = self.clock.now() + grace / 2;
        if found.expires_at.is_some_and(|at| at < soon) {
            // Between the look and this write the manifest may have been deleted: then the promise is not given.
            let renewed =
                self.metadata.write(Renew { manifest: found.id, grace }).await.map_err(DatabaseError::from)?;
            if !renewed {
                return Ok(None);
            }
        }
        Ok(served(Some((found, payload))))
    }
}

fn served(read: Option<(Found, Bytes)>) -> Option<Arc<Served>> {
    let (found, payload) = read?;
    Some(Arc::new(Served { digest: found.digest, media_type: found.media_type, payload }))
}

/// Puts the end of an untagged manifest's grace ahead.
struct Renew {
    manifest: ManifestId,
    grace: Duration,
}

impl Operation for Renew {
    /// Whether the manifest is there.
    type Output = bool;
    type Refusal = Infallible;
    const NAME: &'static str = "renew_manifest";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Failure<Infallible>> {
        let until = tx.now() + self.grace;
        Ok(manifests::renew(tx, self.manifest, until).await?)
    }
}
