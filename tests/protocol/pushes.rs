//! Every way to push a blob, each a complete exchange that ends with reading back what `Location` names.

use bytes::Bytes;
use reqwest::Method;
use url::Url;

use super::{
    Suite,
    answer::{Answer, Failure},
    samples::Blob,
};

type Done = Result<(), Failure>;

/// Chunks are no smaller than this, unless the registry asks for more by `OCI-Chunk-Min-Length`.
pub(crate) const CHUNK: usize = 1024;

/// Whether the closing request must be accepted or refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Stored,
    /// The bytes do not have the digest: 400, never anything else.
    BadDigest,
}

/// The ways in which a blob can be pushed in whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `POST ?digest=` with the bytes.
    PostOnly,
    /// `POST`, then `PUT ?digest=` with the bytes.
    PostPut,
    /// `POST`, `PATCH` for each chunk, `PUT ?digest=`.
    Chunked(Chunks),
    /// `POST`, one `PATCH` of unannounced length, `PUT ?digest=`.
    Stream,
}

/// Variations of a chunked push.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// The last chunk travels in the closing PUT.
    pub(crate) last_in_put: bool,
    /// Before each chunk a wrong one is sent, which must be refused with 416 and leave the session as it was.
    pub(crate) out_of_order: bool,
}

impl Way {
    /// The plain ways, taken in turn where only the outcome matters.
    pub(crate) const IN_TURN: [Self; 4] = [
        Self::PostPut,
        Self::PostOnly,
        Self::Stream,
        Self::Chunked(Chunks { last_in_put: false, out_of_order: false }),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PostOnly => "blob-post-only",
            Self::PostPut => "blob-post-put",
            Self::Chunked(_) => "blob-patch-chunked",
            Self::Stream => "blob-patch-stream",
        }
    }
}

impl Suite {
    /// Pushes `blob` into `repository` and reads it back from where the registry says it is.
    pub(crate) async fn push_blob(&self, repository: &str, blob: &Blob, way: Way, expect: Expect) -> Done {
        match way {
            Way::PostOnly => self.post_only(repository, blob, expect).await,
            Way::PostPut => {
                let session = self.open(repository).await?;
                self.close(session, blob, Some(&blob.bytes), None, expect).await
            }
            Way::Chunked(chunks) => self.chunked(repository, blob, chunks, expect).await,
            Way::Stream => {
                let session = self.open(repository).await?;
                let answer = self
                    .client
                    .follow(Method::PATCH, session)
                    .header("content-type", "application/octet-stream")
                    .streamed(&blob.bytes)
                    .send()
                    .await?;
                self.close(answer.status(&[202])?.location()?, blob, None, None, expect).await
            }
        }
    }

    /// Mounts `blob` from `source`, or from wherever the registry finds it.
    pub(crate) async fn mount(&self, source: Option<&str>, blob: &Blob) -> Done {
        let answer = self.try_mount(source, blob).await?;
        self.stored(answer.status(&[201])?, blob).await
    }

    /// Asks for a mount of what the source does not have: the answer is a session, which then takes the bytes.
    pub(crate) async fn mount_missing(&self, blob: &Blob) -> Done {
        let answer = self.try_mount(Some(&self.source), blob).await?;
        self.close(answer.status(&[202])?.location()?, blob, Some(&blob.bytes), None, Expect::Stored).await
    }

    /// Opens a session and gives it up.
    pub(crate) async fn cancel(&self, repository: &str) -> Done {
        let session = self.open(repository).await?;
        self.client.follow(Method::DELETE, session).send().await?.status(&[204])?;
        Ok(())
    }

    async fn try_mount(&self, source: Option<&str>, blob: &Blob) -> Result<Answer, Failure> {
        let mut request = self.uploads(&self.repository).query("mount", &blob.digest);
        if let Some(source) = source {
            request = request.query("from", source);
        }
        request.send().await
    }

    async fn post_only(&self, repository: &str, blob: &Blob, expect: Expect) -> Done {
        let answer = self.uploads(repository).query("digest", &blob.digest).body(&blob.bytes).send().await?;
        self.closed(&answer, blob, expect).await
    }

    async fn chunked(&self, repository: &str, blob: &Blob, chunks: Chunks, expect: Expect) -> Done {
        let opened = self.uploads(repository).send().await?;
        let size = chunk_size(opened.status(&[202])?, blob.bytes.len())?;
        let mut session = opened.location()?;
        let mut sent = 0;
        while sent < blob.bytes.len() {
            if chunks.out_of_order {
                session = self.out_of_order(session, blob, sent, size, chunks.last_in_put).await?;
            }
            let chunk = blob.bytes.slice(sent..blob.bytes.len().min(sent + size));
            let range = range_of(sent, &chunk);
            sent += chunk.len();
            if chunks.last_in_put && sent == blob.bytes.len() {
                return self.close(session, blob, Some(&chunk), Some(range), expect).await;
            }
            let request = self.client.follow(Method::PATCH, session).header("content-range", range).body(&chunk);
            session = request.send().await?.status(&[202])?.location()?;
        }
        self.close(session, blob, None, None, expect).await
    }

    /// Sends the wrong chunk, then asks the session where it stands, as a client does that has lost its place.
    async fn out_of_order(
        &self,
        session: Url,
        blob: &Blob,
        sent: usize,
        size: usize,
        put: bool,
    ) -> Result<Url, Failure> {
        let skipped = sent + size;
        let wrong = if skipped < blob.bytes.len() { skipped } else { 0 };
        let chunk = blob.bytes.slice(wrong..blob.bytes.len().min(wrong + size));
        let closes = put && wrong + chunk.len() == blob.bytes.len();
        let mut request = self.client.follow(if closes { Method::PUT } else { Method::PATCH }, session.clone());
        if closes {
            request = request.query("digest", &blob.digest);
        }
        let refused = request.header("content-range", range_of(wrong, &chunk)).body(&chunk).send().await?;
        let session = refused.status(&[416])?.location().unwrap_or(session);

        let status = self.client.follow(Method::GET, session).send().await?;
        let range = status.status(&[204])?.header("range").and_then(|range| range.strip_prefix("0-"));
        let last: Option<usize> = range.and_then(|last| last.parse().ok());
        match last {
            // Before the first byte any number will do: the form cannot say "nothing".
            Some(last) if sent == 0 || last + 1 == sent => status.location(),
            _ => Err(status.instead_of(format_args!("Range: 0-{}", sent.saturating_sub(1)))),
        }
    }

    async fn open(&self, repository: &str) -> Result<Url, Failure> {
        self.uploads(repository).send().await?.status(&[202])?.location()
    }

    /// The closing PUT, with the whole body, the last chunk, or nothing.
    async fn close(
        &self,
        session: Url,
        blob: &Blob,
        body: Option<&Bytes>,
        range: Option<String>,
        expect: Expect,
    ) -> Done {
        let request = self.client.follow(Method::PUT, session).query("digest", &blob.digest);
        let mut request = request.body(body.unwrap_or(&Bytes::new()));
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        self.closed(&request.send().await?, blob, expect).await
    }

    async fn closed(&self, answer: &Answer, blob: &Blob, expect: Expect) -> Done {
        match expect {
            Expect::Stored => self.stored(answer.status(&[201])?, blob).await,
            Expect::BadDigest => answer.status(&[400]).map(|_| ()),
        }
    }

    async fn stored(&self, answer: &Answer, blob: &Blob) -> Done {
        answer.digest_is(&blob.digest)?;
        let read = self.client.follow(Method::GET, answer.location()?).send().await?;
        read.status(&[200])?.digest_is(&blob.digest)?.body_is(&blob.bytes)?;
        Ok(())
    }

    fn uploads(&self, repository: &str) -> super::client::Request<'_> {
        self.client.request(Method::POST, &format!("{repository}/blobs/uploads/"))
    }
}

/// A third of the blob, unless the registry or [`CHUNK`] asks for more.
fn chunk_size(opened: &Answer, length: usize) -> Result<usize, Failure> {
    let least = match opened.header("oci-chunk-min-length") {
        Some(text) => text.parse().map_err(|_| opened.instead_of("a number as OCI-Chunk-Min-Length"))?,
        None => 0,
    };
    Ok((length / 3 + 1).max(least).max(CHUNK).min(length))
}

fn range_of(start: usize, chunk: &Bytes) -> String {
    format!("{start}-{}", start + chunk.len() - 1)
}
