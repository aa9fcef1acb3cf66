//! What becomes of the part of a body that nobody read, because the request was refused at its head.
//!
//! On HTTP/1 the rest stands between this request and the next one on the connection. hyper closes the connection then,
//! without a word in an answer that may be on its way already, and a client that kept the connection finds its next
//! request unanswered. So a short rest is read and dropped, and with a long one the answer says `Connection: close`.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    http::{HeaderValue, header::CONNECTION},
    response::Response,
};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// A rest up to this is read for the connection's sake, as Go's servers do.
const SHORT: u64 = 256 << 10;

/// For how long the rest of a client that dawdles is waited for, before the answer goes out.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a body is while its request is answered.
#[derive(Default)]
enum Whereabouts {
    /// With the handler, or with a task that outlives it.
    #[default]
    Lent,
    /// Read to its end.
    Read,
    /// Dropped before its end.
    Returned(Incoming),
}

/// A body, lent to a handler.
pub(super) struct Lent {
    body: Option<Incoming>,
    whereabouts: Arc<Mutex<Whereabouts>>,
}

/// What remembers a lent body.
pub(super) struct Loan {
    whereabouts: Arc<Mutex<Whereabouts>>,
    /// The client waits for word before it sends the body. Reading would tell it to.
    waits: bool,
}

/// Lends `body`; `waits` is true if the client said `Expect: 100-continue`.
pub(super) fn lend(body: Incoming, waits: bool) -> (Lent, Loan) {
    let whereabouts = Arc::<Mutex<Whereabouts>>::default();
    (Lent { body: Some(body), whereabouts: Arc::clone(&whereabouts) }, Loan { whereabouts, waits })
}

impl Loan {
    /// Makes an answer fit for what is left of the body.
    pub(super) async fn settle(self, answer: &mut Response) {
        let whereabouts = mem::take(&mut *self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner));
        let clear = match whereabouts {
            Whereabouts::Read => true,
            Whereabouts::Returned(body) => !self.waits && matches!(timeout(PATIENCE, drain(body)).await, Ok(true)),
            Whereabouts::Lent => false,
        };
        if !clear {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads a short rest to its end; false if it is not short, or broken.
async fn drain(mut body: Incoming) -> bool {
    let mut left = SHORT;
    if body.size_hint().lower() > left {
        return false;
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        // Nothing is left behind a failure either: the connection is broken, and hyper knows.
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        let whereabouts = rest.map_or(Whereabouts::Read, Whereabouts::Returned);
        *self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner) = whereabouts;
    }
}
