//! One request's work on one upload: it opens the bytes, adds to them, records how far they have come, and may finish them.
//!
//! It runs in a task of its own, to its own end: the handler that waits for it may be dropped with its client at any moment.

use std::time::Duration;

use shared::{
    database::WriteError,
    digest::{Digest, Hasher},
};
use tracing::debug;

use super::{
    super::{Content, Error},
    Chunk, MAX_BLOB_BYTES, UploadId, boot,
    gather::{Batch, End, Gather},
};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        uploads::{
            EndUpload, Ended, FinishUpload, Known, Looked, NotFinished, NotYours, SaveUpload, Taken, writers::Turn,
        },
        usage::{Ahead, Allowance, NotReserved, Reserve},
    },
    store::{Found, OpenUpload, StoreError},
};

/// After how many bytes a long request records how far it has come, so that a crash does not lose all of it.
const RECORD_EVERY: u64 = 64 * 1024 * 1024;

/// An upload's life is renewed once this part of it has passed: one tenth.
const RENEW_AFTER: u32 = 10;

/// How often finish looks at a blob that changes under its eyes.
const MAX_LOOKS: u32 = 5;

/// An upload that this request has taken.
pub(super) struct Session {
    pub(super) content: Content,
    pub(super) id: UploadId,
    pub(super) taken: Taken,
    pub(super) found: Found,
    // Declared last, dropped last: whoever waits for the turn finds the bytes closed.
    pub(super) turn: Turn,
}

/// An upload whose bytes are open.
struct Writing {
    bytes: Box<dyn OpenUpload>,
    hasher: Hasher,
    received: u64,
    recorded: u64,
    allowance: Allowance,
}

/// What follows when it is recorded how far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// More of the same request.
    GoesOn,
    /// Another request, or none: nothing stays reserved beyond what has arrived.
    Rests,
}

impl Session {
    /// Adds a chunk; answers how many bytes there are now.
    pub(super) async fn append(self, chunk: Chunk) -> Result<u64, Error> {
        let mut writing = self.open().await?;
        self.receive(&mut writing, chunk).await?;
        self.record(&mut writing, Then::Rests).await?;
        Ok(writing.received)
    }

    /// Adds a chunk and makes everything a blob of the repository.
    pub(super) async fn finish(self, digest: Digest, chunk: Chunk, holder: String) -> Result<(), Error> {
        let mut writing = self.open().await?;
        self.receive(&mut writing, chunk).await?;
        self.verify(&mut writing, digest).await?;
        if let Err(error) = writing.bytes.finish(writing.received).await {
            // After a failed sync nobody knows what reached the disk: these bytes cannot be trusted again.
            self.end().await?;
            return Err(if is_loss(&error) { Error::UploadUnknown } else { error.into() });
        }
        let size = writing.received;
        drop(writing);
        self.turn_into_blob(digest, size, holder).await
    }

    /// Ends the upload; its bytes go to the trash.
    pub(super) async fn end(&self) -> Result<(), Error> {
        let end = EndUpload { id: self.id, ended: Ended::ByWriter(self.taken.writer) };
        match self.content.metadata.write(end).await {
            // Somebody else has it, or has ended it: nothing left to do here.
            Ok(()) | Err(WriteError::Refused(NotYours)) => Ok(()),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// Goes on where the last writer left the bytes.
    async fn open(&self) -> Result<Writing, Error> {
        let Taken { key, received, algorithm, allowance, .. } = &self.taken;
        let mut bytes = self.content.store.upload(key, self.found);
        let hasher = if *received == 0 { Hasher::new(*algorithm) } else { self.hashed_so_far(&mut *bytes).await? };
        Ok(Writing { bytes, hasher, received: *received, recorded: *received, allowance: *allowance })
    }

    async fn hashed_so_far(&self, bytes: &mut dyn OpenUpload) -> Result<Hasher, Error> {
        let Taken { received, algorithm, boot, hash_state, .. } = &self.taken;
        if *boot != boot::id() {
            // Nothing was synced: what the last boot hashed need not be what lies there now.
            return self.unless_lost(bytes.hash(*algorithm, *received).await).await;
        }
        let state = hash_state.as_deref().and_then(|state| Hasher::resume(state).ok());
        match state {
            Some(hasher) if hasher.length() == *received && hasher.algorithm() == *algorithm => Ok(hasher),
            _ => Err(self.cannot_go_on("the state of its hash cannot be read").await),
        }
    }

    /// What a step answered. An upload whose bytes are gone, or fewer than were recorded, has ended with it.
    async fn unless_lost<T>(&self, step: Result<T, StoreError>) -> Result<T, Error> {
        match step {
            Err(error) if is_loss(&error) => Err(self.cannot_go_on("bytes are missing").await),
            step => Ok(step?),
        }
    }

    async fn cannot_go_on(&self, reason: &'static str) -> Error {
        debug!(upload = %self.id, reason, "an upload cannot go on");
        self.end().await.err().unwrap_or(Error::UploadUnknown)
    }

    /// Reads the chunk's body to its end and writes it. What was written before an error is recorded.
    async fn receive(&self, writing: &mut Writing, chunk: Chunk) -> Result<(), Error> {
        match self.write_all(writing, chunk).await {
            Ok(()) => Ok(()),
            // Of an upload that has ended there is nothing to record.
            Err(error @ (Error::BlobTooLarge { .. } | Error::QuotaExceeded(_) | Error::UploadUnknown)) => Err(error),
            Err(error) => {
                self.record(writing, Then::Rests).await?;
                Err(error)
            }
        }
    }

    async fn write_all(&self, writing: &mut Writing, chunk: Chunk) -> Result<(), Error> {
        let mut gather = Gather::new(chunk.body, self.content.budget.clone(), self.turn.ended().clone());
        let start = writing.received;
        if let Some(announced) = chunk.length {
            let total = start.saturating_add(announced).min(MAX_BLOB_BYTES);
            self.reserve(writing, total, Ahead::Nothing).await?;
        }
        loop {
            let mut batch = gather.next().await;
            let arrived = writing.received - start + batch.length as u64;
            let surplus = chunk.length.map_or(0, |announced| arrived.saturating_sub(announced));
            if surplus > 0 {
                batch.shorten(surplus);
            }
            if writing.received + batch.length as u64 > MAX_BLOB_BYTES {
                self.end().await?;
                return Err(Error::BlobTooLarge { limit: MAX_BLOB_BYTES });
            }
            let end = batch.end;
            let ahead = if end.is_none() { Ahead::AStep } else { Ahead::Nothing };
            self.reserve(writing, writing.received + batch.length as u64, ahead).await?;
            self.unless_lost(writing.write(batch).await).await?;
            if let Some(announced) = chunk.length.filter(|_| surplus > 0) {
                return Err(Error::SizeInvalid { announced, arrived });
            }
            match (end, chunk.length) {
                (None, _) => {}
                (Some(End::Complete), Some(announced)) if arrived < announced => {
                    return Err(Error::SizeInvalid { announced, arrived });
                }
                (Some(End::Complete), _) => return Ok(()),
                (Some(End::Cut), _) => return Err(Error::BodyCut { received: writing.received }),
                (Some(End::Overtaken), _) => return Err(Error::OutOfOrder { received: writing.received }),
            }
            if writing.received - writing.recorded >= RECORD_EVERY {
                self.record(writing, Then::GoesOn).await?;
            }
        }
    }

    /// Makes sure that the namespace has room for the upload to grow to `total` bytes. One that it has no room for has ended: whoever was refused
    /// seldom comes back, and what it had reserved would keep others out.
    async fn reserve(&self, writing: &mut Writing, total: u64, ahead: Ahead) -> Result<(), Error> {
        if writing.allowance.covers(total) {
            return Ok(());
        }
        let reserve = Reserve { id: self.id, writer: self.taken.writer, total, ahead };
        match self.content.metadata.write(reserve).await {
            Ok(allowance) => {
                writing.allowance = allowance;
                Ok(())
            }
            Err(WriteError::Refused(NotReserved::Exceeded(exceeded))) => {
                self.end().await?;
                Err(exceeded.into())
            }
            Err(WriteError::Refused(NotReserved::NotYours(NotYours))) => Err(self.lost().await),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// Saves how far the upload has come, if it is still this request's.
    async fn record(&self, writing: &mut Writing, then: Then) -> Result<(), Error> {
        let keep_reserved = match (writing.allowance, then) {
            (Allowance::UpTo(_), Then::Rests) => Some(writing.received),
            (Allowance::Unlimited, _) | (_, Then::GoesOn) => None,
        };
        let save = SaveUpload {
            id: self.id,
            writer: self.taken.writer,
            received: writing.received,
            hash_state: writing.hasher.save(),
            boot: boot::id().to_owned(),
            life: self.new_life(),
            keep_reserved,
        };
        match self.content.metadata.write(save).await {
            Ok(()) => {
                writing.recorded = writing.received;
                Ok(reach(Point::ProgressSaved)?)
            }
            Err(WriteError::Refused(NotYours)) => Err(self.lost().await),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// How long the upload may wait from now on, where it has used up a good part of what it was told before: to say so each time would move its
    /// place in an index at every chunk.
    fn new_life(&self) -> Option<Duration> {
        let life = self.content.lives.upload;
        let left = self.taken.expires_at.since(self.content.clock.now());
        (left < life - life / RENEW_AFTER).then_some(life)
    }

    /// Compares the bytes with what the client says they are. An upload of something else has ended.
    async fn verify(&self, writing: &mut Writing, expected: Digest) -> Result<(), Error> {
        let computed = if expected.algorithm() == writing.hasher.algorithm() {
            writing.hasher.clone().finish()
        } else {
            // Only now is it known which hash was wanted.
            self.unless_lost(writing.bytes.hash(expected.algorithm(), writing.received).await).await?.finish()
        };
        if computed == expected {
            return Ok(reach(Point::BytesVerified)?);
        }
        self.end().await?;
        Err(Error::DigestMismatch { expected, computed })
    }

    async fn turn_into_blob(&self, digest: Digest, size: u64, holder: String) -> Result<(), Error> {
        let mut looked = None;
        for _ in 0..MAX_LOOKS {
            let finish = FinishUpload {
                id: self.id,
                writer: self.taken.writer,
                repository: self.taken.repository,
                digest,
                size,
                holder: holder.clone(),
                looked: looked.take(),
                hot: self.content.metadata.blobs().clone(),
            };
            match self.content.metadata.write(finish).await {
                Ok(finished) => {
                    reach(Point::BlobPushed)?;
                    debug!(%digest, size, ?finished, "blob pushed");
                    return Ok(());
                }
                Err(WriteError::Refused(NotFinished::LookFirst(known))) => looked = Some(self.look(known).await?),
                Err(WriteError::Refused(NotFinished::NotYours)) => return Err(self.lost().await),
                Err(WriteError::Refused(NotFinished::Exceeded(exceeded))) => {
                    self.end().await?;
                    return Err(exceeded.into());
                }
                Err(WriteError::Unavailable(error)) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// Whether the bytes that the registry has under the digest are there, and as many as there should be.
    async fn look(&self, known: Known) -> Result<Looked, Error> {
        let sound = self.content.store.size(&known.key).await? == Some(known.size);
        reach(Point::BytesLookedAt)?;
        Ok(Looked { blob: known.blob, key: known.key, sound })
    }

    /// What to answer now that the upload is somebody else's, or nobody's. One that expired under its writer, with its repository, ends here: nobody can
    /// take it any more, and its bytes need not wait for a sweep.
    async fn lost(&self) -> Error {
        match self.content.recorded(self.id).await {
            Ok(received) => Error::OutOfOrder { received },
            Err(Error::UploadUnknown) => self.end().await.err().unwrap_or(Error::UploadUnknown),
            Err(error) => error,
        }
    }
}

impl Writing {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        if batch.length == 0 {
            return Ok(());
        }
        let (length, room) = (batch.length as u64, batch.room);
        // On failure the state before this batch is the one that is true.
        self.hasher = self.bytes.write(self.received, batch.pieces, self.hasher.clone()).await?;
        self.received += length;
        drop(room);
        Ok(())
    }
}

/// Whether bytes that were recorded are not there any more. After any other failure the upload may go on later.
fn is_loss(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound(_) | StoreError::TooShort { .. })
}
