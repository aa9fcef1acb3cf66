//! Clients that read an answer too slowly, or not at all: what they hold open ends.
//!
//! An answer that fits into the kernel's buffers is none of this module's matter. What does not fit holds a file, a buffer and a place
//! among the connections for as long as its reader likes, so the reader owes some progress: [`Progress::least`] bytes in every
//! [`Progress::within`]. On HTTP/1, and for everything on HTTP/2 that waits for the socket, the connection counts ([`Paced`]). On HTTP/2
//! a stream can also wait alone, for a window that its client never opens, while the connection does well: there the answer's body
//! counts ([`Watched`]).

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
    time::{Instant, Sleep, sleep, sleep_until},
};

/// What a client that reads an answer owes while the answer waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that it takes at least,
    pub least: usize,
    /// in every span of this length.
    pub within: Duration,
}

impl Default for Progress {
    /// The kernel tells of room only when a third of its buffer is free, which can be more than a megabyte: the span is long enough for
    /// a reader of 12 KiB a second to free that much.
    fn default() -> Self {
        Self { least: 64 << 10, within: Duration::from_secs(120) }
    }
}

/// A connection whose peer has to take what is written.
pub(super) struct Paced<S> {
    stream: S,
    progress: Progress,
    /// Bytes taken since the present span began.
    taken: usize,
    /// When the present span ends. There is none while nothing waits.
    due: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, progress: Progress) -> Self {
        Self { stream, progress, taken: 0, due: None }
    }

    /// What became of a write: bytes that were taken, or nothing yet, which is an error when it has been nothing for too long.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.taken = self.taken.saturating_add(bytes);
            if self.taken >= self.progress.least {
                self.due = None;
            }
        }
        if written.is_ready() {
            return written;
        }
        let within = self.progress.within;
        let due = self.due.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(sleep(within))
        });
        ready!(due.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read what it asked for")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            // Everything has gone out; what waits next begins a span of its own.
            self.due = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The body of an answer on one stream of HTTP/2. When its client takes too little of it, the body is dropped, with the file it reads
/// and the memory it holds, and the stream ends in an error. Other streams of the connection are not disturbed.
pub(super) struct Watched {
    shared: Arc<Mutex<Shared>>,
    watch: AbortHandle,
}

struct Shared {
    /// `None` once it was given up.
    body: Option<Body>,
    /// Bytes taken since the watch last looked.
    taken: usize,
    /// Whether the body itself is what is waited for.
    own_fault: bool,
}

impl Watched {
    pub(super) fn new(body: Body, progress: Progress) -> Self {
        let shared = Arc::new(Mutex::new(Shared { body: Some(body), taken: 0, own_fault: false }));
        let watch = tokio::spawn(watch(Arc::clone(&shared), progress)).abort_handle();
        Self { shared, watch }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(shared: Arc<Mutex<Shared>>, progress: Progress) {
    let mut due = Instant::now();
    loop {
        due += progress.within;
        sleep_until(due).await;
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.taken < progress.least && !shared.own_fault {
            tracing::debug!("an answer is given up: its client does not read it");
            shared.body = None;
            return;
        }
        shared.taken = 0;
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut shared = self.lock();
        let Some(body) = shared.body.as_mut() else {
            let reason = io::Error::new(io::ErrorKind::TimedOut, "the client did not read the answer");
            return Poll::Ready(Some(Err(axum::Error::new(reason))));
        };
        let frame = Pin::new(body).poll_frame(context);
        shared.own_fault = frame.is_pending();
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            shared.taken = shared.taken.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.as_ref().is_some_and(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.as_ref().map_or_else(SizeHint::default, hyper::body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Writes `total` bytes to a reader that takes `step` of them every few milliseconds.
    async fn written(total: usize, step: usize, progress: Progress) -> io::Result<()> {
        async fn read(mut reader: DuplexStream, step: usize) {
            let mut buffer = vec![0; step];
            while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                sleep(Duration::from_millis(5)).await;
            }
        }
        let (writer, reader) = duplex(1024);
        let reading = tokio::spawn(read(reader, step));
        let mut writer = Paced::new(writer, progress);
        let written = async {
            writer.write_all(&vec![0; total]).await?;
            writer.flush().await
        };
        let written = written.await;
        drop(writer);
        reading.abort();
        written
    }

    #[tokio::test]
    async fn some_progress_is_not_enough() {
        let progress = Progress { least: 1 << 20, within: Duration::from_millis(300) };
        let error = written(4 << 20, 16, progress).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn enough_progress_goes_on_for_any_number_of_spans() {
        let progress = Progress { least: 1024, within: Duration::from_millis(400) };
        let begun = Instant::now();
        written(200 << 10, 1024, progress).await.unwrap();
        assert!(begun.elapsed() > progress.within * 2, "{:?}", begun.elapsed());
    }
}
