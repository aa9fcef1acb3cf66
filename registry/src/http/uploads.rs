//! Uploads: begun, filled, finished, given up; and mounts, which are uploads that need no bytes.

use std::io;

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};
use futures_util::{StreamExt, TryStreamExt};
use shared::{
    digest::{Algorithm, Digest},
    repository::RepositoryName,
};

use super::{
    answer::{Answer, CHUNK_MIN_LENGTH, UPLOAD_UUID},
    error::{Error, received_range},
    operation::{Operation, Start},
    range::ChunkRange,
    state::Visit,
};
use crate::content::{
    self,
    mount::Mounted,
    uploads::{Chunk, UploadId},
};

pub(super) async fn start(
    visit: &Visit,
    repository: RepositoryName,
    start: Start,
    body: Body,
) -> Result<Response<Body>, Error> {
    match start {
        Start::Session { algorithm } => session(visit, repository, algorithm).await,
        Start::Whole { digest } => {
            let chunk = chunk(&visit.headers, body)?;
            visit.content().push_blob(&repository, digest, chunk, &visit.pusher()).await?;
            Ok(created(visit, repository, digest))
        }
        Start::Mount { digest, from } => {
            if mount(visit, &repository, from.as_ref(), &digest).await? == Mounted::Linked {
                return Ok(created(visit, repository, digest));
            }
            session(visit, repository, Some(digest.algorithm())).await
        }
    }
}

/// Without `from`, whatever the caller may read is looked at.
async fn mount(
    visit: &Visit,
    into: &RepositoryName,
    from: Option<&RepositoryName>,
    digest: &Digest,
) -> Result<Mounted, Error> {
    let pusher = visit.pusher();
    if let Some(from) = from {
        return Ok(visit.content().mount(into, from, digest, &pusher).await?);
    }
    match visit.sources().await? {
        Some(readable) => Ok(visit.content().mount_readable(into, digest, &readable, &pusher).await?),
        None => Ok(Mounted::No),
    }
}

async fn session(
    visit: &Visit,
    repository: RepositoryName,
    algorithm: Option<Algorithm>,
) -> Result<Response<Body>, Error> {
    let upload = visit.content().start_upload(&repository, algorithm, &visit.pusher()).await?;
    let answer = progress(visit, StatusCode::ACCEPTED, repository, upload, 0);
    Ok(match visit.content().chunk_min_length() {
        Some(length) => answer.header(CHUNK_MIN_LENGTH, &length.to_string()),
        None => answer,
    }
    .finish())
}

pub(super) async fn status(
    visit: &Visit,
    repository: RepositoryName,
    upload: UploadId,
) -> Result<Response<Body>, Error> {
    let received = visit.content().upload_received(&repository, upload).await?;
    Ok(progress(visit, StatusCode::NO_CONTENT, repository, upload, received).finish())
}

pub(super) async fn append(
    visit: &Visit,
    repository: RepositoryName,
    upload: UploadId,
    body: Body,
) -> Result<Response<Body>, Error> {
    let chunk = chunk(&visit.headers, body)?;
    let received = visit.content().append(&repository, upload, chunk).await;
    let received = received.map_err(|error| out_of_order(visit, &repository, upload, error))?;
    Ok(progress(visit, StatusCode::ACCEPTED, repository, upload, received).finish())
}

pub(super) async fn finish(
    visit: &Visit,
    repository: RepositoryName,
    upload: UploadId,
    digest: Digest,
    body: Body,
) -> Result<Response<Body>, Error> {
    let chunk = chunk(&visit.headers, body)?;
    let finished = visit.content().finish_upload(&repository, upload, digest, chunk, &visit.pusher()).await;
    finished.map_err(|error| out_of_order(visit, &repository, upload, error))?;
    Ok(created(visit, repository, digest))
}

pub(super) async fn cancel(
    visit: &Visit,
    repository: &RepositoryName,
    upload: UploadId,
) -> Result<Response<Body>, Error> {
    visit.content().cancel_upload(repository, upload).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT).header(UPLOAD_UUID, &upload.to_string()).finish())
}

/// The body and what the headers say about it. `Content-Range` and `Content-Length` have to agree, where both are.
fn chunk(headers: &HeaderMap, body: Body) -> Result<Chunk, Error> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let range = headers.get(header::CONTENT_RANGE);
    let range = range.map(|range| range.to_str().ok().and_then(ChunkRange::read).ok_or(Error::ChunkRange));
    let body = body.into_data_stream().map_err(io::Error::other).boxed();
    match (range.transpose()?, length) {
        (Some(range), Some(length)) if range.length != length => {
            Err(Error::ChunkLength { announced: range.length, length })
        }
        (Some(range), _) => Ok(Chunk { start: Some(range.start), length: Some(range.length), body }),
        (None, length) => Ok(Chunk { start: None, length, body }),
    }
}

/// A refused chunk is told where the upload stands, and where to go on.
fn out_of_order(visit: &Visit, repository: &RepositoryName, upload: UploadId, error: content::Error) -> Error {
    match error {
        content::Error::OutOfOrder { received } => {
            let operation = Operation::UploadStatus { repository: repository.clone(), upload };
            Error::OutOfOrder { received, location: visit.location(&operation) }
        }
        error => error.into(),
    }
}

fn progress(visit: &Visit, status: StatusCode, repository: RepositoryName, upload: UploadId, received: u64) -> Answer {
    let location = visit.location(&Operation::UploadStatus { repository, upload });
    Answer::empty(status)
        .header(header::LOCATION, &location)
        .header(header::RANGE, &received_range(received))
        .header(UPLOAD_UUID, &upload.to_string())
}

fn created(visit: &Visit, repository: RepositoryName, digest: Digest) -> Response<Body> {
    let location = visit.location(&Operation::GetBlob { repository, digest });
    Answer::empty(StatusCode::CREATED).header(header::LOCATION, &location).digest(&digest).finish()
}
