//! Uploads: how bytes come in (OCI distribution specification, "Pushing blobs"; design.md section 5, "Uploads").

use std::{fmt, io, str::FromStr, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

/// How long an upload waits for its next request.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a body may send nothing before it counts as cut.
pub const BODY_IDLE: Duration = Duration::from_secs(120);

/// The largest blob, in bytes: 1 TiB.
pub const MAX_BLOB_BYTES: u64 = 1 << 40;

/// The name of an upload: random, so that it is neither guessed nor ever given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(i64);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of an upload; for a client that is the same as an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload is named by 16 lower-case hexadecimal digits")]
pub struct InvalidUploadId;

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let shaped = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        shaped.then(|| i64::from_str_radix(text, 16).ok().map(Self)).flatten().ok_or(InvalidUploadId)
    }
}

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
