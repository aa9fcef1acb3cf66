//! What a refusal looks like on the wire: the one place that gives situations their status and code.
//!
//! Codes and their usual messages are those of distribution.md section 2.2, which clients and scripts know. What the
//! registry itself did wrong is logged once, here, under a number that is all the client learns.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use serde_json::{Value, json};
use shared::{
    access as granted, digest::Digest, listen::Unacceptable, random, reference::Reference, repository::RepositoryName,
    shortfall::Sentence, telemetry::RequestId,
};
use tracing::{error, info};

use super::{
    code::Code,
    operation::{Operation, ParseError},
};
use crate::content;

/// How long a client should wait before it asks again, in seconds, when something is down.
const RETRY_AFTER: &str = "5";

/// Why a request is not answered as it wishes.
#[derive(Debug)]
pub(super) enum Error {
    /// The request is no operation.
    Parse(ParseError),
    /// The listener shows it to nobody.
    Unacceptable(Unacceptable),
    /// Several `Authorization` fields, or one that is no text.
    Credentials,
    /// No credentials, or none that suffice.
    Unauthorized { challenge: Option<String>, sentence: Option<Sentence>, required: Vec<granted::Access> },
    /// Somebody who has to be asked does not answer.
    Unavailable { reason: String },
    /// Somebody tries too much at once; what exactly, and when another try is worth it, is in the answer.
    TooMany { message: &'static str, retry_after: Duration },
    /// Limits to tags forbid it.
    Denied(Denied),
    /// `DELETE` does nothing here (`storage.delete.enabled`).
    DeletesDisabled,
    /// Nothing changes here (`storage.maintenance.readonly`).
    ReadOnly,
    /// `n` is above what a page may have.
    PageTooLarge { asked: u64, most: u64 },
    /// `last` is no name, and no place that a page of ours ended at.
    Place,
    /// `Content-Range` cannot be read.
    ChunkRange,
    /// `Content-Range` and `Content-Length` contradict each other.
    ChunkLength { announced: u64, length: u64 },
    /// The chunk does not begin where the upload stands. Where that is, and how to go on, is in the answer.
    OutOfOrder { received: u64, location: String },
    /// The body of a manifest is larger than the limit.
    ManifestTooLarge { limit: u64 },
    /// `Content-Type` is no media type.
    MediaType,
    /// `If-Match` and its kin cannot be read.
    Condition,
    /// The client has gone before its body was complete.
    BodyCut,
    /// A range that holds nothing of the blob.
    Range { size: u64 },
    /// Content refused, or could not do it.
    Content(content::Error),
    /// A health check fails.
    Unhealthy,
    /// A handler panicked.
    Panicked,
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<content::Error> for Error {
    fn from(error: content::Error) -> Self {
        Self::Content(error)
    }
}

/// An answer in the making.
struct Answer {
    status: StatusCode,
    errors: Vec<Value>,
    headers: Vec<(HeaderName, String)>,
}

impl Answer {
    fn new(code: Code, message: &str, detail: impl Into<Value>) -> Self {
        Self { status: code.status(), errors: vec![entry(code, message, detail.into())], headers: Vec::new() }
    }

    fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response<Body> {
        let body = format!("{}\n", json!({ "errors": self.errors }));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            // Values are made of parsed parts; one that cannot stand in a header is left out rather than cut.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(name, value);
            }
        }
        response
    }
}

fn entry(code: Code, message: &str, detail: Value) -> Value {
    match detail {
        Value::Null => json!({"code": code.text(), "message": message}),
        detail => json!({"code": code.text(), "message": message, "detail": detail}),
    }
}

impl Error {
    /// The answer, for the HEAD of a resource as well: hyper leaves its body out.
    pub(super) fn into_response(self, id: Option<&RequestId>) -> Response<Body> {
        self.answer(id).into_response()
    }

    fn answer(self, id: Option<&RequestId>) -> Answer {
        match self {
            Self::Parse(error) => parse(&error),
            Self::Unacceptable(reason) => unacceptable(reason),
            Self::Credentials => {
                Answer::new(Code::Unauthorized, "there must be one Authorization header at most", Value::Null)
                    .status(StatusCode::BAD_REQUEST)
            }
            Self::Unauthorized { challenge, sentence, required } => {
                unauthorized(challenge, sentence.as_ref(), &required)
            }
            Self::Unavailable { reason } => unavailable(&reason, id),
            Self::TooMany { message, retry_after } => too_many(message, retry_after),
            Self::Denied(denied) => denied.answer(),
            Self::DeletesDisabled => unsupported("deleting is turned off on this registry"),
            Self::ReadOnly => unsupported("this registry is read-only"),
            Self::PageTooLarge { asked, most } => {
                let detail = json!({ "n": asked, "maximum": most });
                Answer::new(Code::PaginationNumberInvalid, "invalid number of results requested", detail)
            }
            Self::Place => {
                let message = "the place to go on from is unknown; list from the beginning";
                Answer::new(Code::PaginationNumberInvalid, message, Value::Null)
            }
            Self::ChunkRange => Answer::new(Code::RangeInvalid, "the Content-Range cannot be read", Value::Null)
                .status(StatusCode::BAD_REQUEST),
            Self::ChunkLength { announced, length } => size_invalid(announced, length),
            Self::OutOfOrder { received, location } => {
                Answer::new(Code::RangeInvalid, "invalid content range", json!({ "received": received }))
                    .header(header::LOCATION, location)
                    .header(header::RANGE, received_range(received))
            }
            Self::ManifestTooLarge { limit } => {
                let message = format!("a manifest has at most {limit} bytes here");
                Answer::new(Code::SizeInvalid, &message, Value::Null).status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::MediaType => Answer::new(Code::ManifestInvalid, "the Content-Type is no media type", Value::Null),
            Self::Condition => {
                Answer::new(Code::ManifestInvalid, "the condition on the tag cannot be read", Value::Null)
            }
            Self::BodyCut => Answer::new(Code::SizeInvalid, "the body ended early", Value::Null),
            Self::Range { size } => {
                Answer::new(Code::RangeInvalid, "the range holds nothing of this blob", Value::Null)
                    .header(header::CONTENT_RANGE, format!("bytes */{size}"))
            }
            Self::Content(error) => from_content(error, id),
            // The words of the stock registries. It was logged when the check began to fail.
            Self::Unhealthy => {
                let detail = "health check failed: please see /debug/health";
                Answer::new(Code::Unavailable, "service unavailable", detail).header(header::RETRY_AFTER, RETRY_AFTER)
            }
            Self::Panicked => internal("a handler panicked", id),
        }
    }
}

fn unacceptable(reason: Unacceptable) -> Answer {
    Answer::new(Code::Unsupported, &reason.to_string(), Value::Null).status(reason.status())
}

fn too_many(message: &str, retry_after: Duration) -> Answer {
    let seconds = retry_after.as_secs().max(1);
    Answer::new(Code::TooManyRequests, &format!("{message}; try again in {seconds} s"), Value::Null)
        .header(header::RETRY_AFTER, seconds.to_string())
}

/// What limits to tags forbid, with what makes a sentence of it.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) caller: String,
    pub(super) action: granted::Action,
    pub(super) patterns: String,
    pub(super) repository: RepositoryName,
    /// The rule behind the limit, where the token says it.
    pub(super) rule: Option<Sentence>,
    pub(super) reason: String,
}

impl Denied {
    /// The sentence that Docker, skopeo, crane and regctl print as it stands.
    fn answer(&self) -> Answer {
        let Self { caller, action, patterns, repository, rule, reason } = self;
        let rule = match rule {
            Some(rule) => rule.to_string(),
            // An empty or unreadable list of patterns matches nothing.
            None if patterns.is_empty() => format!("{caller} may {action} no tags in {repository}"),
            None => format!("{caller} may {action} only tags matching {patterns} in {repository}"),
        };
        let message = format!("{rule}; {reason}");
        info!(%repository, reason = message, "refused");
        Answer::new(Code::Denied, &message, Value::Null)
    }
}

/// `Range` of an upload: the bytes that it has. For none the specification has no spelling of its own.
pub(super) fn received_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn parse(error: &ParseError) -> Answer {
    let message = error.to_string();
    let with = |code| Answer::new(code, &message, Value::Null);
    match error {
        ParseError::NotFound => with(Code::NameUnknown),
        ParseError::MethodNotAllowed { allow } => with(Code::Unsupported).header(header::ALLOW, *allow),
        ParseError::PathTooLong => with(Code::NameInvalid).status(StatusCode::URI_TOO_LONG),
        ParseError::Name { .. } => with(Code::NameInvalid),
        ParseError::Digest { .. } | ParseError::DigestMissing => with(Code::DigestInvalid),
        ParseError::Tag { .. } | ParseError::TagTwice => with(Code::TagInvalid),
        ParseError::TooManyTags => with(Code::TagInvalid).status(StatusCode::URI_TOO_LONG),
        // For a client that is the same as an upload that has ended.
        ParseError::Upload { .. } => Answer::new(Code::BlobUploadUnknown, UPLOAD_UNKNOWN, Value::Null),
        ParseError::PageSize { given } => {
            Answer::new(Code::PaginationNumberInvalid, "invalid number of results requested", json!({ "n": given }))
        }
        ParseError::Repeated { .. } => with(Code::Unsupported).status(StatusCode::BAD_REQUEST),
    }
}

const UPLOAD_UNKNOWN: &str = "blob upload unknown to registry";

/// The detail has the stock registry's shape: one element for each action. The sentence stands in the challenge too: Docker prints that
/// one, and crane this.
fn unauthorized(challenge: Option<String>, sentence: Option<&Sentence>, required: &[granted::Access]) -> Answer {
    let element = |access: &granted::Access, action: &granted::Action| {
        json!({"Type": access.resource.kind.to_string(), "Class": "", "Name": access.resource.name.as_str(),
               "Action": action.to_string()})
    };
    let detail: Vec<_> =
        required.iter().flat_map(|access| access.actions.iter().map(move |action| element(access, action))).collect();
    let detail = if detail.is_empty() { Value::Null } else { Value::Array(detail) };
    let message = sentence.map_or("authentication required", Sentence::as_str);
    let answer = Answer::new(Code::Unauthorized, message, detail);
    match challenge {
        Some(challenge) => answer.header(header::WWW_AUTHENTICATE, challenge),
        None => answer,
    }
}

fn unsupported(message: &str) -> Answer {
    Answer::new(Code::Unsupported, message, Value::Null)
}

fn size_invalid(announced: u64, arrived: u64) -> Answer {
    let message = format!("{announced} bytes were announced and {arrived} arrived");
    Answer::new(Code::SizeInvalid, &message, Value::Null)
}

fn digest_detail(digest: &Digest) -> Value {
    Value::String(digest.to_string())
}

fn from_content(error: content::Error, id: Option<&RequestId>) -> Answer {
    use content::Error as E;
    let (message, out_of_space) = (error.to_string(), error.is_out_of_space());
    match error {
        E::BlobUnknown { digest } => Answer::new(Code::BlobUnknown, "blob unknown to registry", digest_detail(&digest)),
        E::BlobInUse { manifest } => {
            unsupported(&format!("the blob is in use: manifest {manifest} names it; delete that first"))
        }
        E::BlobDamaged { digest, source } => internal(&format!("the bytes of {digest} are damaged: {source}"), id),
        E::UploadUnknown => Answer::new(Code::BlobUploadUnknown, UPLOAD_UNKNOWN, Value::Null),
        // Handlers of uploads turn it into `Error::OutOfOrder`, which knows where to go on.
        E::OutOfOrder { received } => {
            Answer::new(Code::RangeInvalid, "invalid content range", json!({ "received": received }))
                .header(header::RANGE, received_range(received))
        }
        E::SizeInvalid { announced, arrived } => size_invalid(announced, arrived),
        E::BodyCut { .. } => Answer::new(Code::SizeInvalid, &message, Value::Null),
        E::BlobTooLarge { .. } => {
            Answer::new(Code::SizeInvalid, &message, Value::Null).status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        E::DigestMismatch { expected, .. } => Answer::new(Code::DigestInvalid, &message, digest_detail(&expected)),
        E::RepositoryUnknown { repository } => {
            let detail = json!({ "name": repository.as_str() });
            Answer::new(Code::NameUnknown, "repository name not known to registry", detail)
        }
        E::ManifestUnknown { reference } => Answer::new(Code::ManifestUnknown, "manifest unknown", unknown(&reference)),
        E::ManifestInvalid(_) | E::DescriptorSize { .. } | E::ManifestHeldAs { .. } => {
            Answer::new(Code::ManifestInvalid, &message, Value::Null)
        }
        E::ManifestReferencesMissing { missing } => missing_references(&missing),
        E::ConditionFailed { current } => {
            let detail = current.as_ref().map_or(Value::Null, digest_detail);
            Answer::new(Code::ManifestInvalid, &message, detail).status(StatusCode::PRECONDITION_FAILED)
        }
        // The admin API alone restores.
        E::TagMoved { .. } | E::NotRestorable(_) => internal(&message, id),
        E::TooManyUploads { limit } => {
            let answer = Answer::new(Code::TooManyRequests, &message, json!({ "limit": limit }));
            answer.header(header::RETRY_AFTER, RETRY_AFTER)
        }
        E::Busy => Answer::new(Code::Unavailable, &message, Value::Null).header(header::RETRY_AFTER, RETRY_AFTER),
        // The sentence that Docker, skopeo, crane and regctl print as it stands.
        E::Immutable(held) => {
            info!(repository = %held.repository, reason = message, "refused");
            Answer::new(Code::Denied, &message, Value::Null)
        }
        E::QuotaExceeded(exceeded) => {
            info!(reason = message, "refused");
            Answer::new(Code::Denied, &message, json!(exceeded))
        }
        // Handlers know the caller's name and turn it into `Error::Denied`.
        E::Denied(_) => Answer::new(Code::Denied, &message, Value::Null),
        E::Store(_) | E::Unavailable(_) if out_of_space => {
            let id = log(&message, id);
            Answer::new(Code::Unknown, "the registry has no space left", json!({ "id": id }))
                .status(StatusCode::INSUFFICIENT_STORAGE)
        }
        E::Store(error) => internal(&error.to_string(), id),
        E::Unavailable(error) => unavailable(&error.to_string(), id),
    }
}

fn unknown(reference: &Reference) -> Value {
    match reference {
        Reference::Tag(tag) => Value::String(format!("unknown tag={tag}")),
        Reference::Digest(digest) => Value::String(format!("unknown revision={digest}")),
    }
}

/// One entry for each, as the stock registry has it: clients count them.
fn missing_references(missing: &[Digest]) -> Answer {
    let one = |digest| entry(Code::ManifestBlobUnknown, "blob unknown to registry", digest_detail(digest));
    Answer {
        status: Code::ManifestBlobUnknown.status(),
        errors: missing.iter().map(one).collect(),
        headers: Vec::new(),
    }
}

fn unavailable(reason: &str, id: Option<&RequestId>) -> Answer {
    let id = log(reason, id);
    Answer::new(Code::Unavailable, "service unavailable", json!({ "id": id })).header(header::RETRY_AFTER, RETRY_AFTER)
}

fn internal(reason: &str, id: Option<&RequestId>) -> Answer {
    let id = log(reason, id);
    Answer::new(Code::Unknown, "unknown error", json!({ "id": id }))
}

/// Writes down what happened under the request's id, and gives the client the id alone.
fn log(reason: &str, id: Option<&RequestId>) -> String {
    let drawn = || random::bytes::<8>().map(|byte| format!("{byte:02x}")).concat();
    let id = id.map_or_else(drawn, ToString::to_string);
    error!(id, reason, "a request could not be answered");
    id
}

/// Why somebody is refused: for the log, where the client learns nothing but that it is. Queries are never written: a
/// mount's names another repository.
pub(super) fn log_refusal(reason: &str, operation: &Operation) {
    let target = operation.to_string();
    let path = target.split('?').next().unwrap_or_default();
    info!(reason, method = %operation.method(), path, "refused");
}
