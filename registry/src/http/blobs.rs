//! Blobs: looked at, read, deleted.

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use shared::{access::Action, digest::Digest, repository::RepositoryName};

use super::{
    answer::Answer,
    conditional::{self, etag},
    error::Error,
    range::Wanted,
    state::Visit,
};
use crate::content::blobs::Blob;

/// A year: what a digest names never changes.
const CACHE_CONTROL: &str = "max-age=31536000";

pub(super) async fn head(visit: &Visit, repository: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Error> {
    let pusher = visit.pusher();
    let blob = visit.content().stat_blob(repository, digest, visit.promise(repository, &pusher)).await?;
    if conditional::is_known(&visit.headers, digest) {
        return Ok(not_modified(digest));
    }
    Ok(described(Answer::with(StatusCode::OK, Body::empty(), blob.size), digest))
}

pub(super) async fn get(visit: &Visit, repository: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Error> {
    let blob = visit.content().open_blob(repository, digest).await?;
    if conditional::is_known(&visit.headers, digest) {
        return Ok(not_modified(digest));
    }
    match wanted(visit, &blob) {
        Wanted::Whole => {
            let reading = visit.content().read_blob(&blob, 0..blob.size).await?;
            Ok(described(Answer::with(StatusCode::OK, Body::new(reading), blob.size), digest))
        }
        Wanted::Part(range) => {
            let (length, shown) =
                (range.end - range.start, format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size));
            let reading = visit.content().read_blob(&blob, range).await?;
            let answer = Answer::with(StatusCode::PARTIAL_CONTENT, Body::new(reading), length);
            Ok(described(answer.header(header::CONTENT_RANGE, &shown), digest))
        }
        Wanted::Unsatisfiable => Err(Error::Range { size: blob.size }),
    }
}

pub(super) async fn delete(
    visit: &Visit,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response<Body>, Error> {
    let limits = visit.limits(repository, &Action::Delete);
    let deleted = visit.content().delete_blob(repository, digest, &limits).await;
    deleted.map_err(|error| visit.refusal(error, Action::Delete, repository, &limits))?;
    Ok(Answer::empty(StatusCode::ACCEPTED).digest(digest).finish())
}

fn wanted(visit: &Visit, blob: &Blob) -> Wanted {
    if !conditional::range_applies(&visit.headers, &blob.digest) {
        return Wanted::Whole;
    }
    let field = visit.headers.get(header::RANGE);
    match field.map(|field| field.to_str()) {
        None => Wanted::Whole,
        Some(Ok(field)) => Wanted::read(Some(field), blob.size),
        Some(Err(_)) => Wanted::Unsatisfiable,
    }
}

fn described(answer: Answer, digest: &Digest) -> Response<Body> {
    answer
        .fixed(header::CONTENT_TYPE, "application/octet-stream")
        .fixed(header::CACHE_CONTROL, CACHE_CONTROL)
        .fixed(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, &etag(digest))
        .digest(digest)
        .finish()
}

fn not_modified(digest: &Digest) -> Response<Body> {
    let answer = Answer::empty(StatusCode::NOT_MODIFIED).fixed(header::CACHE_CONTROL, CACHE_CONTROL);
    answer.header(header::ETAG, &etag(digest)).digest(digest).finish()
}
