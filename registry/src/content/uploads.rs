//! Uploads: how bytes come in (OCI distribution specification, "Pushing blobs"; design.md section 5, "Uploads").

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use shared::{
    database::WriteError,
    digest::{Algorithm, Digest},
    repository::RepositoryName,
};

use self::session::Session;
use super::{Content, Error, Promise, Pusher};
use crate::{
    failpoints::{Point, reach},
    metadata::uploads::{self, EndUpload, Ended, NotStarted, NotYours, StartUpload, Started, Taken, writers::Turn},
    store::{Found, StorageKey},
};

pub(crate) mod boot;
mod gather;
mod session;
#[cfg(test)]
mod tests;

pub use crate::metadata::uploads::{InvalidUploadId, UploadId};

/// How long an upload waits for its next request, unless [`Lives`](super::Lives) say otherwise.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many uploads one holder (see [`Pusher`]) may have open at a time, over all repositories. A push runs a handful at once; the rest is
/// room for many jobs under one name, and for what cut ones leave behind until it expires.
pub const MAX_OPEN_UPLOADS: u32 = 20_000;

/// How long a body may send nothing before it counts as cut.
pub const BODY_IDLE: Duration = Duration::from_secs(120);

/// The largest blob, in bytes: 1 TiB.
pub const MAX_BLOB_BYTES: u64 = 1 << 40;

/// The bytes of a request as they arrive. An error means that the client has gone or spoke nonsense; what came before counts.
pub type Body = BoxStream<'static, io::Result<Bytes>>;

/// The bytes that one request adds to an upload.
pub struct Chunk {
    /// Where they begin, if the client says so (`Content-Range`): refused unless the upload stands exactly there.
    pub start: Option<u64>,
    /// How many there will be, if the client says so (`Content-Range`, `Content-Length`): more or fewer is [`Error::SizeInvalid`].
    pub length: Option<u64>,
    /// The bytes.
    pub body: Body,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("start", &self.start).field("length", &self.length).finish_non_exhaustive()
    }
}

impl Chunk {
    /// No bytes: a closing request without a body.
    pub fn empty() -> Self {
        Self { start: None, length: None, body: stream::empty().boxed() }
    }
}

impl Content {
    /// Begins an upload, hashed with `algorithm` as it comes if the client says which it will want, else with SHA-256.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`]; [`Error::QuotaExceeded`] if the namespace has no room at all.
    pub async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
        pusher: &Pusher,
    ) -> Result<UploadId, Error> {
        let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
        Ok(self.begin(repository, algorithm, Writes::Later, pusher).await?.0)
    }

    /// How many bytes a chunk that is not the last should have at least, where the store works in parts; `None` where any will do.
    pub fn chunk_min_length(&self) -> Option<u64> {
        self.store.part_size()
    }

    /// How many bytes an upload has received and recorded.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub async fn upload_received(&self, repository: &RepositoryName, id: UploadId) -> Result<u64, Error> {
        let now = self.clock.now();
        let received = uploads::received(&mut self.metadata.read().await?, repository, id, now).await?;
        received.ok_or(Error::UploadUnknown)
    }

    /// Adds a chunk to an upload and answers how many bytes it has received in all.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`]; [`Error::OutOfOrder`], [`Error::SizeInvalid`] and [`Error::BodyCut`], after which the upload goes on;
    /// [`Error::BlobTooLarge`] and [`Error::QuotaExceeded`], after which it does not.
    pub async fn append(&self, repository: &RepositoryName, id: UploadId, chunk: Chunk) -> Result<u64, Error> {
        let session = self.take(repository, id, chunk.start).await?;
        in_own_task(session.append(chunk)).await
    }

    /// Adds a last chunk to an upload, which may be empty, and makes it a blob of the repository, promised to the pusher.
    ///
    /// A client whose answer was lost asks again: an upload that is gone is finished if the repository holds the digest.
    ///
    /// # Errors
    /// As [`Content::append`]; [`Error::DigestMismatch`], after which the upload has ended.
    pub async fn finish_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        digest: Digest,
        chunk: Chunk,
        pusher: &Pusher,
    ) -> Result<(), Error> {
        let finished = async {
            let session = self.take(repository, id, chunk.start).await?;
            in_own_task(session.finish(digest, chunk, pusher.holder.clone())).await
        };
        match finished.await {
            Err(Error::UploadUnknown) => match self.stat_blob(repository, &digest, Promise::To(pusher)).await {
                Err(Error::BlobUnknown { .. }) => Err(Error::UploadUnknown),
                held => held.map(drop),
            },
            finished => finished,
        }
    }

    /// Pushes a blob with one request.
    ///
    /// # Errors
    /// As [`Content::finish_upload`]; nothing of it stays after any of them.
    pub async fn push_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        chunk: Chunk,
        pusher: &Pusher,
    ) -> Result<(), Error> {
        let (content, repository, pusher) = (self.clone(), repository.clone(), pusher.clone());
        // The upload too is begun where no client can cut it short: nobody knows its id, so nobody could go on with it or end it, and what it
        // has reserved of a quota would stay reserved until it expires.
        in_own_task(async move {
            let writes = Writes::Now { length: chunk.length };
            let (id, taken) = content.begin(&repository, digest.algorithm(), writes, &pusher).await?;
            let pushed = content.push_into(id, taken, digest, chunk, pusher.holder).await;
            if pushed.is_err() {
                content.end_upload(id, Ended::ByWriter(1)).await?;
            }
            pushed
        })
        .await
    }

    async fn push_into(
        &self,
        id: UploadId,
        taken: Taken,
        digest: Digest,
        chunk: Chunk,
        holder: String,
    ) -> Result<(), Error> {
        let turn = self.enter(id).await?;
        let session = Session { content: self.clone(), id, taken, found: Found::Nothing, turn };
        session.finish(digest, chunk, holder).await
    }

    /// Ends an upload at its client's wish.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`].
    pub async fn cancel_upload(&self, repository: &RepositoryName, id: UploadId) -> Result<(), Error> {
        // Its bytes may go any time from now on: nobody may still be writing them.
        let _turn = self.enter(id).await?;
        match self.end_upload(id, Ended::ByClient(repository.clone())).await? {
            true => Ok(reach(Point::UploadCancelled)?),
            false => Err(Error::UploadUnknown),
        }
    }

    /// Ends an upload, whose bytes go to the trash; false if there was nothing to end.
    pub(crate) async fn end_upload(&self, id: UploadId, ended: Ended) -> Result<bool, Error> {
        match self.metadata.write(EndUpload { id, ended }).await {
            Ok(()) => Ok(true),
            Err(WriteError::Refused(NotYours)) => Ok(false),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    async fn begin(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        writes: Writes,
        pusher: &Pusher,
    ) -> Result<(UploadId, Taken), Error> {
        let (id, key, boot) = (UploadId::fresh(), StorageKey::fresh(), boot::id().to_owned());
        let (writer, length) = match writes {
            Writes::Later => (0, None),
            Writes::Now { length } => (1, length),
        };
        let start = StartUpload {
            id,
            repository: repository.clone(),
            store: self.store.name(),
            key: key.clone(),
            algorithm,
            boot: boot.clone(),
            writer,
            life: self.lives.upload,
            holder: pusher.holder.clone(),
            most: MAX_OPEN_UPLOADS,
            length: length.map(|length| length.min(MAX_BLOB_BYTES)),
        };
        let expires_at = self.clock.now() + self.lives.upload;
        let Started { repository, allowance } = self.metadata.write(start).await.map_err(|error| match error {
            WriteError::Refused(NotStarted::TooMany) => Error::TooManyUploads { limit: MAX_OPEN_UPLOADS },
            WriteError::Refused(NotStarted::Exceeded(exceeded)) => exceeded.into(),
            WriteError::Unavailable(error) => error.into(),
        })?;
        reach(Point::UploadStarted)?;
        Ok((
            id,
            Taken { writer, repository, key, received: 0, algorithm, hash_state: None, boot, allowance, expires_at },
        ))
    }

    /// How many bytes are recorded, whatever repository the upload belongs to.
    async fn recorded(&self, id: UploadId) -> Result<u64, Error> {
        let recorded = uploads::recorded(&mut self.metadata.read().await?, id, self.clock.now()).await?;
        recorded.ok_or(Error::UploadUnknown)
    }

    /// Ends earlier requests of this process on the upload and waits until they are done. Ids are random: whoever knows one was told it.
    async fn enter(&self, id: UploadId) -> Result<Turn, Error> {
        match self.metadata.writers().enter(id).await {
            Some(turn) => Ok(turn),
            None => Err(Error::OutOfOrder { received: self.recorded(id).await? }),
        }
    }

    /// Makes this request the one that writes the upload, if what it brings begins where the upload stands.
    async fn take(&self, repository: &RepositoryName, id: UploadId, start: Option<u64>) -> Result<Session, Error> {
        let turn = self.enter(id).await?;
        let taken = match uploads::take(&self.metadata, &turn, id, repository, self.clock.now()).await {
            Ok(taken) => taken,
            Err(WriteError::Refused(NotYours)) => return Err(Error::UploadUnknown),
            Err(WriteError::Unavailable(error)) => return Err(error.into()),
        };
        reach(Point::UploadTaken)?;
        let found = if taken.received == 0 { Found::Unknown } else { Found::Bytes };
        match start {
            Some(start) if start != taken.received => Err(Error::OutOfOrder { received: taken.received }),
            _ => Ok(Session { content: self.clone(), id, taken, found, turn }),
        }
    }
}

/// When an upload gets its first bytes.
#[derive(Clone, Copy, Debug)]
enum Writes {
    /// With another request.
    Later,
    /// With this one.
    Now {
        /// How many bytes it brings, if the client says so.
        length: Option<u64>,
    },
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// Runs a step to its own end, whatever becomes of the handler that waits for it.
async fn in_own_task<T: Send + 'static>(
    step: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(step).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // A task is cancelled only while the runtime shuts down, and then nobody waits for this any more.
        Err(_) => std::future::pending().await,
    }
}
