//! Answers that tell of something while it happens: a JSON object a line.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, header},
};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;

/// How many events may wait for a slow reader; then whatever tells them waits, too.
const EVENTS: usize = 256;

const TYPE: &str = "application/x-ndjson";

/// An answer that comes line by line.
pub(super) type Lines = ([(HeaderName, &'static str); 1], Body);

/// Where events are told, and where they are heard. Whoever hangs up no longer hears: telling fails then.
pub(super) fn channel<E>() -> (mpsc::Sender<E>, mpsc::Receiver<E>) {
    mpsc::channel(EVENTS)
}

/// An answer of everything that is told until its teller has gone.
pub(super) fn answer<E: Serialize + Send + 'static>(told: mpsc::Receiver<E>) -> Lines {
    let lines = stream::unfold(told, async |mut told| {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(line(&event)), told))
    });
    ([(header::CONTENT_TYPE, TYPE)], Body::from_stream(lines))
}

fn line(event: &impl Serialize) -> Bytes {
    // Every event is made of texts and numbers.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
