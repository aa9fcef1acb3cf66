//! Manifests: looked at, pulled, pushed, deleted. What was pushed is served byte for byte, whatever `Accept` says.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use shared::{access::Action, reference::Reference, repository::RepositoryName, tag::Tag};
use tokio::time::timeout;

use super::{
    answer::{Answer, SUBJECT, TAG},
    conditional::{self, bare, etag},
    error::Error,
    operation::Operation,
    state::Visit,
};
use crate::content::{
    Promise,
    budget::{Budget, Room},
    manifests::{Condition, DeleteManifest, PutManifest, Served},
    tags::DeleteTag,
};

pub(super) async fn head(
    visit: &Visit,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Error> {
    let served = find(visit, repository, reference).await?;
    Ok(answer(visit, &served, Body::empty()))
}

pub(super) async fn get(
    visit: &Visit,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, Error> {
    let served = find(visit, repository, reference).await?;
    let answer = answer(visit, &served, Body::from(served.payload.clone()));
    if answer.status() == StatusCode::OK {
        visit.content().pulled(repository, reference, served.digest);
    }
    Ok(answer)
}

/// A pusher who asks by digest is told that the manifest stays; a look at a tag promises nothing.
async fn find(
    visit: &Visit,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<std::sync::Arc<Served>, Error> {
    if let Reference::Tag(_) = reference {
        return Ok(visit.content().manifest(repository, reference, Promise::Nothing).await?);
    }
    let pusher = visit.pusher();
    Ok(visit.content().manifest(repository, reference, visit.promise(repository, &pusher)).await?)
}

fn answer(visit: &Visit, served: &Served, body: Body) -> Response<Body> {
    let known = conditional::is_known(&visit.headers, &served.digest);
    let answer = if known {
        Answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let answer = Answer::with(StatusCode::OK, body, served.payload.len() as u64);
        answer.header(header::CONTENT_TYPE, &served.media_type)
    };
    answer.header(header::ETAG, &etag(&served.digest)).digest(&served.digest).finish()
}

pub(super) async fn put(
    visit: &Visit,
    repository: RepositoryName,
    reference: Reference,
    tags: Vec<Tag>,
    body: Body,
) -> Result<Response<Body>, Error> {
    let content_type = visit.headers.get(header::CONTENT_TYPE);
    let media_type = content_type
        .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(Error::MediaType))
        .transpose()?;
    let condition = condition(&visit.headers)?;
    let (limit, budget) = (visit.rules().manifest_limit, &visit.content().budget);
    let (payload, _room) = collect(body, &visit.headers, limit, budget, &PATIENCE).await?;
    let limits = visit.limits(&repository, &Action::Push);
    let put = PutManifest {
        repository: repository.clone(),
        reference: reference.clone(),
        tags,
        media_type,
        payload,
        limits: limits.clone(),
        pusher: visit.pusher(),
        references: visit.rules().references,
        condition,
    };
    let stored = visit.content().put_manifest(put).await;
    let stored = stored.map_err(|error| visit.refusal(error, Action::Push, &repository, &limits))?;
    let digest = stored.digest;
    let location = Operation::GetManifest { repository, reference: Reference::Digest(digest) };
    let mut answer =
        Answer::empty(StatusCode::CREATED).digest(&digest).header(header::LOCATION, &visit.location(&location));
    if let Some(subject) = &stored.subject {
        answer = answer.header(SUBJECT, &subject.to_string());
    }
    // The tag of the path needs no confirmation; those of the query are confirmed one by one.
    let confirmed = stored.tags.iter().filter(|_| matches!(reference, Reference::Digest(_)));
    Ok(confirmed.fold(answer, |answer, tag| answer.header(TAG, tag.as_str())).finish())
}

/// `If-Match` and `If-None-Match: *`, about every tag that the request moves or removes, or about the manifest where it names none.
fn condition(headers: &HeaderMap) -> Result<Option<Condition>, Error> {
    let matching: Vec<_> = conditional::fields(headers, &header::IF_MATCH).collect();
    let absent: Vec<_> = conditional::fields(headers, &header::IF_NONE_MATCH).collect();
    match (matching.as_slice(), absent.as_slice()) {
        ([], []) => Ok(None),
        (["*"], []) => Ok(Some(Condition::Exists)),
        ([], ["*"]) => Ok(Some(Condition::Absent)),
        (tags, []) => {
            let digests = tags.iter().map(|tag| bare(tag).parse().map_err(|_| Error::Condition));
            Ok(Some(Condition::PointsAt(digests.collect::<Result<_, _>>()?)))
        }
        _ => Err(Error::Condition),
    }
}

/// What the sender of a manifest may take of time.
struct Patience {
    /// For the body in all: while it comes it holds memory that others wait for.
    body: Duration,
    /// For memory to be there; then the sender is told to come back.
    room: Duration,
}

const PATIENCE: Patience = Patience { body: Duration::from_secs(30), room: Duration::from_secs(10) };

/// When to come back.
const CROWDED_PAUSE: Duration = Duration::from_secs(1);

/// The whole body and the room that it takes, which is to be held for as long as the body is needed. One that does not say how long
/// it is may become as long as any.
async fn collect(
    body: Body,
    headers: &HeaderMap,
    limit: u64,
    budget: &Budget,
    patience: &Patience,
) -> Result<(Bytes, Room), Error> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let most = announced.unwrap_or(limit);
    if most > limit {
        return Err(Error::ManifestTooLarge { limit });
    }
    let room = budget.wait_for_manifest(usize::try_from(most).unwrap_or(usize::MAX));
    let crowded = |_| Error::TooMany { message: "too many manifests are being pushed", retry_after: CROWDED_PAUSE };
    let room = timeout(patience.room, room).await.map_err(crowded)?;
    let payload = timeout(patience.body, read(body, announced, limit)).await.map_err(|_| Error::BodyCut)??;
    Ok((payload, room))
}

async fn read(body: Body, announced: Option<u64>, limit: u64) -> Result<Bytes, Error> {
    let mut pieces = body.into_data_stream();
    // At once where the size is known: memory that grows by copying is there twice.
    let mut payload = BytesMut::with_capacity(announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Error::BodyCut)?;
        if (payload.len() + piece.len()) as u64 > announced.unwrap_or(limit) {
            return Err(Error::ManifestTooLarge { limit });
        }
        payload.extend_from_slice(&piece);
    }
    Ok(payload.freeze())
}

pub(super) async fn delete(
    visit: &Visit,
    repository: RepositoryName,
    reference: Reference,
) -> Result<Response<Body>, Error> {
    let limits = visit.limits(&repository, &Action::Delete);
    let actor = visit.pusher().actor;
    let condition = condition(&visit.headers)?;
    let deleted = match reference {
        Reference::Tag(tag) => {
            let delete = DeleteTag { repository: repository.clone(), tag, condition, limits: limits.clone(), actor };
            visit.content().delete_tag(delete).await
        }
        Reference::Digest(digest) => {
            let delete = DeleteManifest {
                repository: repository.clone(),
                digest,
                condition,
                limits: limits.clone(),
                actor,
                undelete_window: visit.rules().lives.undelete,
            };
            visit.content().delete_manifest(delete).await.map(|_| ())
        }
    };
    deleted.map_err(|error| visit.refusal(error, Action::Delete, &repository, &limits))?;
    Ok(Answer::empty(StatusCode::ACCEPTED).finish())
}
