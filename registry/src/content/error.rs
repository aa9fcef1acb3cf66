//! The one error of this boundary: it names the situation and carries what an answer needs; `http` gives it status and code.

use shared::{
    database::{DatabaseError, WriteError},
    digest::Digest,
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use super::{manifest::ManifestInvalid, tags::Denial, undelete::NotRestorable};
use crate::{
    failpoints::Failed,
    metadata::{immutable::Held, quotas::Exceeded},
    store::StoreError,
};

/// Why content did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Blobs.
    /// The repository does not hold this blob, or its bytes are known to be damaged: to push it again is right in both cases.
    #[error("the repository does not hold blob {digest}")]
    BlobUnknown {
        /// Which.
        digest: Digest,
    },
    /// A blob cannot be deleted while a living manifest of the repository names it.
    #[error("the blob is named by manifest {manifest}")]
    BlobInUse {
        /// One of the manifests that name it.
        manifest: Digest,
    },
    /// The row promises bytes that are not there. The blob is marked damaged, so that the next push of it heals.
    #[error("the bytes of blob {digest} are damaged")]
    BlobDamaged {
        /// Which.
        digest: Digest,
        /// What the store said.
        #[source]
        source: StoreError,
    },

    // Uploads.
    /// No such upload in this repository: never started, finished, cancelled or expired.
    #[error("no such upload in this repository")]
    UploadUnknown,
    /// The pusher has as many open uploads as anybody may.
    #[error("there are {limit} open uploads under this name, the most there may be; finish or cancel some")]
    TooManyUploads {
        /// How many.
        limit: u32,
    },
    /// The namespace may not have what this would bring. An upload has ended: what it had reserved is free again.
    #[error(transparent)]
    QuotaExceeded(#[from] Exceeded),
    /// The chunk does not begin where the upload stands, or a newer request has taken the upload. The upload goes on.
    #[error("the upload has received {received} bytes; the next chunk has to start there")]
    OutOfOrder {
        /// Bytes received and recorded so far.
        received: u64,
    },
    /// The body does not have the length that its `Content-Range` or `Content-Length` announced. What arrived is recorded.
    #[error("{announced} bytes were announced and {arrived} arrived")]
    SizeInvalid {
        /// Bytes announced.
        announced: u64,
        /// Bytes that came.
        arrived: u64,
    },
    /// The client went away, or sent nothing for [`BODY_IDLE`](super::uploads::BODY_IDLE). What arrived is recorded.
    #[error("the body ended early, {received} bytes of the upload are recorded")]
    BodyCut {
        /// Bytes received and recorded so far.
        received: u64,
    },
    /// The upload grew over [`MAX_BLOB_BYTES`](super::uploads::MAX_BLOB_BYTES) and has ended.
    #[error("a blob has at most {limit} bytes")]
    BlobTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes do not hash to the digest that the client named. The upload has ended.
    #[error("the content hashes to {computed}, not to {expected}")]
    DigestMismatch {
        /// What the client named.
        expected: Digest,
        /// What the bytes hash to.
        computed: Digest,
    },

    // Manifests and tags.
    /// No such repository.
    #[error("no such repository: {repository}")]
    RepositoryUnknown {
        /// Which.
        repository: RepositoryName,
    },
    /// The repository holds no living manifest of this tag or digest.
    #[error("no such manifest: {reference}")]
    ManifestUnknown {
        /// What was asked for.
        reference: Reference,
    },
    /// The payload is no manifest that can be stored.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestInvalid),
    /// The manifest gives a blob or child another size than it has, so no client would accept what it pulls.
    #[error("{digest} is said to have {stated} bytes and has {held}")]
    DescriptorSize {
        /// Which.
        digest: Digest,
        /// What the manifest says.
        stated: u64,
        /// What the repository holds.
        held: u64,
    },
    /// The repository holds the same bytes as a manifest of another type, under which others pull them.
    #[error("the repository holds this manifest as {media_type}")]
    ManifestHeldAs {
        /// The type it has.
        media_type: String,
    },
    /// The repository lacks what the manifest cannot be used without.
    #[error("the repository does not hold {} of what the manifest names", missing.len())]
    ManifestReferencesMissing {
        /// Everything that is missing.
        missing: Vec<Digest>,
    },
    /// The tag does not stand where the request's condition wants it.
    #[error("the tag does not meet the request's condition")]
    ConditionFailed {
        /// Where it stands.
        current: Option<Digest>,
    },
    /// The caller's limits to tags do not allow this.
    #[error("outside the tags that the caller may touch: {0}")]
    Denied(Denial),

    /// The tag, or one that shows the manifest, has to stay where it is.
    #[error(transparent)]
    Immutable(Box<Held>),

    /// A tag points elsewhere by now, so that to restore it would take it from there.
    #[error("the tag {tag} points at {at} by now")]
    TagMoved {
        /// Which.
        tag: Tag,
        /// Where it points.
        at: Digest,
    },
    /// What is to come back is gone for good, or never was.
    #[error("{0}")]
    NotRestorable(#[from] NotRestorable),

    // What could not be asked.
    /// Others kept changing what this needed: to ask again soon is right.
    #[error("others keep changing what this request needs")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database failed.
    #[error(transparent)]
    Unavailable(#[from] DatabaseError),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::Unavailable(failed.into())
    }
}

impl From<WriteError<Self>> for Error {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Refused(refusal) => refusal,
            WriteError::Unavailable(error) => error.into(),
        }
    }
}

impl Error {
    /// Whether there is no space left for what was pushed.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::NoSpace(_)),
            Self::Unavailable(error) => error.is_out_of_space(),
            _ => false,
        }
    }
}
