//! Mending what the doctor finds: one operation for each fault, which locks in everybody's order, looks again, and changes only what is still wrong.
//!
//! Nothing is deleted that could not be explained: rows go that speak of nothing, bytes go to no trash. Every mend leaves an event that says what was done.

mod counts;
mod links;
mod manifests;
mod tags;
mod verified;

use std::{convert::Infallible, time::Duration};

use shared::{
    database::{Failure, Operation, Transaction},
    on,
};

pub use self::verified::MarkVerified;
use self::{counts::recount, tags::mend_tag};
use super::{
    BlobId, NamespaceId, RepositoryId,
    blobs::HotBlobs,
    events::{self, Event},
    examine::fault::Reference,
    manifests::{ManifestId, Remembered},
};
use crate::{
    failpoints::{Point, reach},
    store::StorageKey,
};

/// What is to be mended.
#[derive(Clone, Debug)]
pub enum Mend {
    /// A link to no blob, or of no repository, goes.
    DropLink(RepositoryId, BlobId),
    /// A link that cannot expire, or not in time, can again: the collector looks at it.
    Requeue(RepositoryId, BlobId),
    /// The row of a blob that no repository holds goes. Its bytes are the caller's.
    ReleaseBlob(BlobId, StorageKey),
    /// A blob that no repository holds is linked where this manifest needs it.
    AdoptBlob(ManifestId, String),
    /// A key that is a blob's or an upload's leaves the trash.
    KeepKey(StorageKey),
    /// An upload that has a blob's key goes; its bytes are the blob's.
    DropUpload(StorageKey),
    /// A reference gets its row.
    Record(ManifestId, String, Reference),
    /// The row of a reference goes that its manifest does not make.
    Unrecord(RepositoryId, ManifestId, String, Reference),
    /// Subject, type and annotations of a manifest become those of its payload.
    Describe(ManifestId, [Option<String>; 3]),
    /// A manifest gets the expiry that follows from what holds it; a deleted one gets one.
    Settle(ManifestId),
    /// A tag points at what lives in its repository, or at nothing, and its history says so without a gap.
    Tag(RepositoryId, String),
    /// How many repositories of a namespace link a blob.
    Share(NamespaceId, BlobId),
    /// What a namespace uses and reserves.
    Usage(NamespaceId),
    /// Nothing in the tables: something was done elsewhere.
    Elsewhere(&'static str),
}

/// Mends one fault.
#[derive(Clone, Debug)]
pub struct Repair {
    /// What is to be done.
    pub mend: Mend,
    /// The fault's name,
    pub fault: String,
    /// and what it is about.
    pub subject: String,
    /// Who asked for it.
    pub actor: String,
    /// How long a manifest stays that nothing holds any more.
    pub grace: Duration,
    /// Where answers about blobs may be kept,
    pub blobs: HotBlobs,
    /// and about manifests.
    pub remembered: Remembered,
}

impl Operation for Repair {
    /// What was done; None if nothing was to be done any more, or nothing can be.
    type Output = Option<&'static str>;
    type Refusal = Infallible;
    const NAME: &'static str = "repair";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, Failure<Infallible>> {
        let done = self.mend(tx).await?;
        reach(Point::FaultMended)?;
        if let Some(done) = done {
            let Self { fault, subject, actor, .. } = self;
            events::record(tx, &Event::Repaired { fault, subject, done, actor }).await?;
            reach(Point::FaultTold)?;
        }
        Ok(done)
    }

    fn committed(&self, done: &Self::Output) {
        if done.is_some() {
            // Once in the life of a disk: what was remembered may have been read from what was wrong.
            self.blobs.forget_all();
            self.remembered.answers.forget_all();
        }
    }
}

impl Repair {
    async fn mend(&self, tx: &mut Transaction<'_>) -> Result<Option<&'static str>, Failure<Infallible>> {
        let until = tx.now() + self.grace;
        match &self.mend {
            Mend::DropLink(repository, blob) => Ok(links::drop_link(tx, *repository, *blob).await?),
            Mend::Requeue(repository, blob) => Ok(links::requeue(tx, *repository, *blob).await?),
            Mend::ReleaseBlob(blob, key) => Ok(links::release(tx, *blob, key).await?),
            Mend::AdoptBlob(manifest, digest) => Ok(links::adopt(tx, *manifest, digest).await?),
            Mend::KeepKey(key) => Ok(keep_key(tx, key).await?),
            Mend::DropUpload(key) => Ok(drop_upload(tx, key).await?),
            Mend::Record(manifest, named, reference) => {
                Ok(manifests::record(tx, *manifest, named, *reference, until).await?)
            }
            Mend::Unrecord(repository, manifest, named, reference) => {
                Ok(manifests::unrecord(tx, *repository, *manifest, (named, *reference), until).await?)
            }
            Mend::Describe(manifest, says) => Ok(manifests::describe(tx, *manifest, says, until).await?),
            Mend::Settle(manifest) => Ok(manifests::settle(tx, *manifest, until).await?),
            Mend::Tag(repository, name) => mend_tag(tx, *repository, name, until).await,
            Mend::Share(namespace, blob) => Ok(counts::share(tx, *namespace, *blob).await?),
            Mend::Usage(namespace) => Ok(recount(tx, *namespace).await?),
            Mend::Elsewhere(done) => Ok(Some(*done)),
        }
    }
}

/// Takes a key out of the trash that a blob or an upload has.
async fn keep_key(tx: &mut Transaction<'_>, key: &StorageKey) -> Result<Option<&'static str>, sqlx::Error> {
    let delete = "DELETE FROM trash WHERE storage_key = $1 AND (EXISTS (SELECT 1 FROM blob b WHERE b.storage_key = $1) \
                  OR EXISTS (SELECT 1 FROM upload u WHERE u.storage_key = $1))";
    let gone = on!(tx, c => sqlx::query(delete).bind(key.as_str()).execute(c).await.map(|done| done.rows_affected()))?;
    Ok((gone > 0).then_some("taken out of the trash"))
}

async fn drop_upload(tx: &mut Transaction<'_>, key: &StorageKey) -> Result<Option<&'static str>, sqlx::Error> {
    let delete = "DELETE FROM upload WHERE storage_key = $1 AND EXISTS (SELECT 1 FROM blob b WHERE b.storage_key = $1)";
    let gone = on!(tx, c => sqlx::query(delete).bind(key.as_str()).execute(c).await.map(|done| done.rows_affected()))?;
    Ok((gone > 0).then_some("the upload ended; the bytes are the blob's"))
}
