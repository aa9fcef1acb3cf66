//! Answers that tell of something while it happens: a JSON object a line.

use std::{convert::Infallible, marker::PhantomData};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;

/// How many events may wait for a slow reader; then whatever tells them waits, too.
const EVENTS: usize = 256;

pub(super) const TYPE: &str = "application/x-ndjson";

/// An answer that comes line by line, each of them an `E`.
pub(super) struct Lines<E> {
    body: Body,
    of: PhantomData<fn() -> E>,
}

impl<E> IntoResponse for Lines<E> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, TYPE)], self.body).into_response()
    }
}

/// Where events are told, and where they are heard. Whoever hangs up no longer hears: telling fails then.
pub(super) fn channel<E>() -> (mpsc::Sender<E>, mpsc::Receiver<E>) {
    mpsc::channel(EVENTS)
}

/// An answer of everything that is told until its teller has gone.
pub(super) fn answer<E: Serialize + Send + 'static>(told: mpsc::Receiver<E>) -> Lines<E> {
    let lines = stream::unfold(told, async |mut told| {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(line(&event)), told))
    });
    Lines { body: Body::from_stream(lines), of: PhantomData }
}

fn line(event: &impl Serialize) -> Bytes {
    // Every event is made of texts and numbers.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
