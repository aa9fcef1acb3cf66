//! What is done about a fault. Nothing is deleted that cannot be explained: stray bytes are put aside, what cannot expire is looked at again, what is counted
//! wrong is counted again, and what is lost is named.

use shared::{
    database::WriteError,
    digest::{Algorithm, Hasher},
};

use super::{Doctor, Error, Fault, Outcome, Rate, rate::Pace};
use crate::{
    failpoints::{Point, reach},
    gc::quarantine::{self, Hashed},
    metadata::{
        blobs::MarkDamaged,
        examine::{
            fault::{KeyOf, OfBlob},
            uploads,
        },
        repair::{Mend, Repair},
        uploads::{EndUpload, Ended, NotYours, UploadId},
    },
    store::{Listed, StorageKey, StoreError},
};

/// What only a client has.
const PUSH_IT: &str = "push it again: that heals it";

const LOOK_AT_THE_DISK: &str =
    "that is the disk's and not the blob's: look whether it is mounted, and whether it can be read";

const SOMEBODY_WRITES: &str = "somebody writes it now";

impl Doctor {
    /// Does what can be done about a fault.
    pub(super) async fn repair(&self, fault: &Fault, actor: &str) -> Result<Outcome, Error> {
        match fault {
            Fault::BytesMissing(of)
            | Fault::BytesWrongSize { of, .. }
            | Fault::BytesDiffer { of, .. }
            | Fault::BytesUnreadable { of, .. } => {
                if !self.is_damage(fault).await? {
                    return Ok(left(LOOK_AT_THE_DISK));
                }
                self.mark_damaged(of).await?;
                Ok(left(PUSH_IT))
            }
            Fault::StrayBytes { key, .. } => self.put_aside(fault, key, actor).await,
            Fault::BlobWithoutLink(of) => self.release(fault, of, actor).await,
            Fault::UploadShort { id, writer, .. } | Fault::UploadHashWrong { id, writer, .. } => {
                self.end_upload(fault, UploadId::stored(*id), *writer, actor).await
            }
            Fault::KeyTwice { key, is: KeyOf::Blob, and: KeyOf::Upload } => self.drop_upload(fault, key, actor).await,
            Fault::RememberedWrongly { .. } => self.forget(fault, actor).await,
            other => match mend(other) {
                Ok(mend) => self.mend(fault, mend, actor).await,
                Err(reason) => Ok(left(reason)),
            },
        }
    }

    async fn mend(&self, fault: &Fault, mend: Mend, actor: &str) -> Result<Outcome, Error> {
        let repair = Repair {
            mend,
            fault: fault.name(),
            subject: fault.subject(),
            actor: actor.to_owned(),
            grace: self.reading.grace,
            blobs: self.metadata.blobs().clone(),
            remembered: self.metadata.manifests().clone(),
        };
        let done = self.metadata.write(repair).await?;
        reach(Point::FaultRepaired)?;
        Ok(match done {
            Some(done) => Outcome::Repaired { repaired: done.to_owned() },
            None => left(reason(fault)),
        })
    }

    pub(super) async fn mark_damaged(&self, of: &OfBlob) -> Result<(), Error> {
        let key = StorageKey::stored(&of.key);
        Ok(self.metadata.write(MarkDamaged { blob: of.blob, key, hot: self.metadata.blobs().clone() }).await?)
    }

    /// Moves bytes that no row knows to the quarantine.
    async fn put_aside(&self, fault: &Fault, key: &str, actor: &str) -> Result<Outcome, Error> {
        if self.quarantine(key).await? {
            self.mend(fault, Mend::Elsewhere("moved to quarantine"), actor).await
        } else {
            Ok(left("it has gone meanwhile"))
        }
    }

    /// Puts bytes aside, with what they hash to; false if there are none.
    async fn quarantine(&self, key: &str) -> Result<bool, Error> {
        let key = StorageKey::stored(key);
        let Some(size) = self.store.size(&key).await? else { return Ok(false) };
        let mut pace = Pace::new(Rate::ALL);
        let hashed = match self.hash(key.as_str(), size, Hasher::new(Algorithm::Sha256), &mut pace).await {
            Ok((digest, _)) => Hashed::To(digest),
            // That it is there can be written down all the same.
            Err(StoreError::Io { .. }) => Hashed::Unreadable,
            Err(error) => return Err(error.into()),
        };
        Ok(quarantine::put_aside(&*self.store, self.clock.now(), &Listed { key, size }, hashed).await?)
    }

    /// The row of a blob that no repository holds goes first: its bytes are strays then, whatever happens.
    async fn release(&self, fault: &Fault, of: &OfBlob, actor: &str) -> Result<Outcome, Error> {
        let outcome = self.mend(fault, Mend::ReleaseBlob(of.blob, StorageKey::stored(&of.key)), actor).await?;
        if matches!(outcome, Outcome::Repaired { .. }) {
            self.quarantine(&of.key).await?;
        }
        Ok(outcome)
    }

    /// Ends an upload whose bytes are lost. Its turn keeps everybody else from it: nobody's bytes go to the trash while they are being written.
    async fn end_upload(&self, fault: &Fault, id: UploadId, writer: i64, actor: &str) -> Result<Outcome, Error> {
        let Some(_turn) = self.metadata.writers().try_enter(id) else { return Ok(left(SOMEBODY_WRITES)) };
        // Somebody may have been there since it was looked at.
        if !self.upload_is_lost(id).await? {
            return Ok(left("it has changed meanwhile"));
        }
        match self.metadata.write(EndUpload { id, ended: Ended::ByWriter(writer) }).await {
            Ok(()) => self.mend(fault, Mend::Elsewhere("the upload ended; its bytes are in the trash"), actor).await,
            Err(WriteError::Refused(NotYours)) => Ok(left("somebody has taken it meanwhile")),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// Ends an upload that has a blob's key, unless somebody writes it.
    async fn drop_upload(&self, fault: &Fault, key: &str, actor: &str) -> Result<Outcome, Error> {
        let key = StorageKey::stored(key);
        let upload = uploads::of_key(&mut self.metadata.read().await?, &key).await?;
        let turn = upload.map(|id| self.metadata.writers().try_enter(id));
        if let Some(None) = turn {
            return Ok(left(SOMEBODY_WRITES));
        }
        self.mend(fault, Mend::DropUpload(key), actor).await
    }

    async fn forget(&self, fault: &Fault, actor: &str) -> Result<Outcome, Error> {
        self.mend(fault, Mend::Elsewhere("forgotten"), actor).await
    }
}

fn left(reason: &str) -> Outcome {
    Outcome::Left { left: reason.to_owned() }
}

/// What mends a fault in the tables, or why nothing does.
fn mend(fault: &Fault) -> Result<Mend, &'static str> {
    Ok(match fault {
        Fault::ReferenceMissing(of) => Mend::AdoptBlob(of.of.manifest, of.named.clone()),
        Fault::ReferenceUnrecorded(of) => Mend::Record(of.of.manifest, of.named.clone(), of.reference),
        Fault::ReferenceUnfounded(of) => {
            Mend::Unrecord(of.of.repository_id, of.of.manifest, of.named.clone(), of.reference)
        }
        Fault::ReferenceOrphaned { repository_id, manifest, named, reference } => {
            Mend::Unrecord(*repository_id, *manifest, named.clone(), *reference)
        }
        Fault::LinkWithoutBlob(of) | Fault::LinkWithoutRepository(of) => Mend::DropLink(of.repository_id, of.blob),
        Fault::PromiseTooLong(of) | Fault::LinkStuck(of) => Mend::Requeue(of.repository_id, of.blob),
        Fault::KeyTwice { key, .. } => Mend::KeepKey(StorageKey::stored(key)),
        Fault::TagWithoutManifest(of)
        | Fault::HistoryBroken { of, .. }
        | Fault::HistoryWithoutTag(of)
        | Fault::TagElsewhere(of) => Mend::Tag(of.repository_id, of.tag.clone()),
        Fault::UsageWrong { namespace_id, .. } => Mend::Usage(*namespace_id),
        Fault::SharesWrong { namespace_id, blob, .. } => Mend::Share(*namespace_id, *blob),
        Fault::SubjectWrong { of, named, .. } => Mend::Describe(of.manifest, named.clone()),
        Fault::ManifestExpiry { of, .. } | Fault::DeletedForEver(of) => Mend::Settle(of.manifest),
        other => return Err(reason(other)),
    })
}

/// What a person can do where the doctor cannot.
const fn reason(fault: &Fault) -> &'static str {
    match fault {
        Fault::Damaged(_) | Fault::ReferenceMissing(_) => PUSH_IT,
        Fault::PayloadMissing(_) | Fault::PayloadDiffers { .. } => {
            "delete it by its digest, collect garbage by hand, and push it again"
        }
        Fault::ReferrersWrong { .. } => {
            "it follows when what manifests record is put right; what is left then is a fault of this program: report it"
        }
        Fault::DigestTwice(_) | Fault::DigestInvalid(_) => {
            "no program wrote this row: restore the database from a backup"
        }
        _ => "it has changed meanwhile, or cannot be told from what is right",
    }
}
