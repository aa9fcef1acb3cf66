//! Bodies as they arrive, gathered into batches that are worth a write.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{BODY_IDLE, Body};
use crate::content::budget::{Budget, Room};

/// From this size on a batch is written, in bytes.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// How long a batch waits to grow.
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// How many pieces a batch has at most: a client that sends its bytes one by one shall not fill memory with their bookkeeping.
const BATCH_PIECES: usize = 1024;

/// Bytes to be written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Bytes>,
    pub(super) length: usize,
    /// Why no batch follows; `None` if one may.
    pub(super) end: Option<End>,
    // Given back when the batch is dropped, after its write.
    pub(super) room: Room,
}

impl Batch {
    fn ending(end: End) -> Self {
        Self { end: Some(end), ..Self::default() }
    }

    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        self.pieces.push(piece);
    }

    /// Takes `surplus` bytes off its end.
    pub(super) fn shorten(&mut self, surplus: u64) {
        let mut keep = self.length.saturating_sub(usize::try_from(surplus).unwrap_or(usize::MAX));
        self.length = keep;
        for piece in &mut self.pieces {
            piece.truncate(keep);
            keep -= piece.len();
        }
    }

    fn is_full(&self) -> bool {
        self.length >= BATCH_BYTES || self.pieces.len() >= BATCH_PIECES
    }
}

/// Why a body gives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was read to its end.
    Complete,
    /// The client went away, or sent nothing for too long.
    Cut,
    /// A newer request wants the upload.
    Overtaken,
}

/// A body on its way into batches.
pub(super) struct Gather {
    body: Body,
    budget: Budget,
    overtaken: CancellationToken,
    idle: Duration,
}

enum Next {
    Piece(Bytes),
    End(End),
    /// Nothing until the given moment.
    Late,
}

impl Gather {
    pub(super) fn new(body: Body, budget: Budget, overtaken: CancellationToken) -> Self {
        Self { body, budget, overtaken, idle: BODY_IDLE }
    }

    /// The next batch: what came within [`BATCH_WAIT`] of its first piece, or [`BATCH_BYTES`].
    pub(super) async fn next(&mut self) -> Batch {
        // What is read is in memory: without room for it the client is made to wait instead.
        tokio::select! {
            biased;
            () = self.overtaken.cancelled() => return Batch::ending(End::Overtaken),
            () = self.budget.wait_for_some() => {}
        }
        let first = match self.piece_before(Instant::now() + self.idle).await {
            Next::Piece(piece) => piece,
            Next::End(end) => return Batch::ending(end),
            Next::Late => return Batch::ending(End::Cut),
        };
        let mut batch = Batch { room: self.budget.wait_for(first.len()).await, ..Batch::default() };
        batch.push(first);
        let deadline = Instant::now() + BATCH_WAIT;
        while !batch.is_full() {
            match self.piece_before(deadline).await {
                Next::Piece(piece) => {
                    let room = self.budget.try_take(piece.len());
                    batch.push(piece);
                    match room {
                        Some(room) => batch.room.merge(room),
                        // The piece is in memory already; writing at once is the fastest way to make room.
                        None => break,
                    }
                }
                Next::End(end) => {
                    batch.end = Some(end);
                    break;
                }
                Next::Late => break,
            }
        }
        batch
    }

    async fn piece_before(&mut self, deadline: Instant) -> Next {
        loop {
            let piece = tokio::select! {
                biased;
                () = self.overtaken.cancelled() => return Next::End(End::Overtaken),
                piece = timeout_at(deadline, self.body.next()) => piece,
            };
            return match piece {
                Ok(Some(Ok(piece))) if piece.is_empty() => continue,
                Ok(Some(Ok(piece))) => Next::Piece(piece),
                Ok(Some(Err(_))) => Next::End(End::Cut),
                Ok(None) => Next::End(End::Complete),
                Err(_) => Next::Late,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::content::budget::BODY_BUDGET;

    fn gather(pieces: Vec<io::Result<Bytes>>) -> Gather {
        Gather::new(stream::iter(pieces).boxed(), Budget::default(), CancellationToken::new())
    }

    fn piece(length: usize) -> io::Result<Bytes> {
        Ok(Bytes::from(vec![1; length]))
    }

    #[tokio::test]
    async fn pieces_gather_up_to_a_batch() {
        let mut gather = gather(vec![piece(300_000), piece(0), piece(300_000), piece(5)]);
        let batch = gather.next().await;
        assert_eq!((batch.length, batch.pieces.len(), batch.end), (600_000, 2, None));
        let batch = gather.next().await;
        assert_eq!((batch.length, batch.end), (5, Some(End::Complete)));
    }

    #[tokio::test]
    async fn many_tiny_pieces_make_a_batch_too() {
        let mut gather = gather((0..3000).map(|_| piece(1)).collect());
        assert_eq!(gather.next().await.pieces.len(), BATCH_PIECES);
    }

    #[tokio::test]
    async fn what_came_before_a_cut_counts() {
        let mut gather = gather(vec![piece(7), Err(io::ErrorKind::ConnectionReset.into()), piece(9)]);
        let batch = gather.next().await;
        assert_eq!((batch.length, batch.end), (7, Some(End::Cut)));
    }

    #[tokio::test]
    async fn a_slow_body_is_written_as_it_comes_and_a_silent_one_is_cut() {
        let body = stream::iter([piece(3)]).chain(stream::pending()).boxed();
        let mut gather = Gather::new(body, Budget::default(), CancellationToken::new());
        gather.idle = Duration::from_millis(20);
        let began = Instant::now();
        let batch = gather.next().await;
        assert_eq!((batch.length, batch.end), (3, None));
        assert!(began.elapsed() >= BATCH_WAIT);
        let batch = gather.next().await;
        assert_eq!((batch.length, batch.end), (0, Some(End::Cut)));
        assert!(began.elapsed() >= BATCH_WAIT + gather.idle);
    }

    #[tokio::test]
    async fn a_newer_request_ends_it_at_once() {
        let overtaken = CancellationToken::new();
        overtaken.cancel();
        let mut gather = Gather::new(stream::pending().boxed(), Budget::default(), overtaken);
        assert_eq!(gather.next().await.end, Some(End::Overtaken));
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let budget = Budget::default();
        let room = budget.wait_for(BODY_BUDGET - PIECE).await;
        let pieces = vec![piece(PIECE - 10), piece(20), piece(10)];
        let mut gather = Gather::new(stream::iter(pieces).boxed(), budget.clone(), CancellationToken::new());
        let batch = gather.next().await;
        assert_eq!(batch.length, PIECE + 10, "without room for more it is written at once");
        let mut waiting = Box::pin(gather.next());
        assert!(futures_util::poll!(&mut waiting).is_pending(), "and the next one waits");
        drop(batch);
        assert_eq!(waiting.await.length, 10);
        drop(room);
        assert_eq!(budget.left(), BODY_BUDGET);
    }

    /// What one piece may have.
    const PIECE: usize = 64 * 1024;

    #[tokio::test]
    async fn nothing_is_read_without_room_for_it() {
        let budget = Budget::default();
        let room = budget.wait_for(BODY_BUDGET - PIECE + 1).await;
        let (read, overtaken) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let body = stream::once({
            let read = Arc::clone(&read);
            async move {
                read.store(true, Ordering::SeqCst);
                piece(1)
            }
        });
        let mut gather = Gather::new(body.boxed(), budget.clone(), overtaken.clone());
        assert!(gather.next().now_or_never().is_none());
        assert!(!read.load(Ordering::SeqCst), "the client keeps it");
        drop(room);
        assert_eq!(gather.next().await.length, 1);
        let _room = budget.wait_for(BODY_BUDGET).await;
        overtaken.cancel();
        assert_eq!(gather.next().await.end, Some(End::Overtaken), "who waits for room hears of a newer request");
    }
}
