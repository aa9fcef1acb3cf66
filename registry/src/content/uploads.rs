//! Uploads: how bytes come in (OCI distribution specification, "Pushing blobs"; design.md section 5, "Uploads").

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

pub use crate::metadata::uploads::{InvalidUploadId, UploadId};

/// How long an upload waits for its next request.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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
    /// How many there will be, if the client says so (`Content-Range`, `Content-Length`): more or fewer is [`Error::SizeInvalid`](super::Error::SizeInvalid).
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
