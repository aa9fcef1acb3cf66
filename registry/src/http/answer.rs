//! Answers, put together from parsed parts.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use shared::digest::Digest;

/// An answer in the making.
pub(super) struct Answer(Response<Body>);

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

impl Answer {
    /// Nothing but a status; its length is zero unless the status forbids saying so.
    pub(super) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let answer = Self(response);
        let has_length = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
        if has_length { answer.length(0) } else { answer }
    }

    /// A body of known length. For HEAD the length is told and the body left out.
    pub(super) fn with(status: StatusCode, body: Body, length: u64) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Self(response).length(length)
    }

    /// A JSON document.
    pub(super) fn json(document: String, media_type: &'static str) -> Self {
        let length = document.len() as u64;
        let answer = Self::with(StatusCode::OK, Body::from(document), length);
        answer.fixed(header::CONTENT_TYPE, media_type)
    }

    fn length(mut self, length: u64) -> Self {
        self.0.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        self
    }

    pub(super) fn fixed(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }

    /// A header more. Values are made of parsed parts; one that cannot stand in a header is left out rather than cut.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().append(name, value);
        }
        self
    }

    pub(super) fn digest(self, digest: &Digest) -> Self {
        self.header(CONTENT_DIGEST, &digest.to_string())
    }

    pub(super) fn finish(self) -> Response<Body> {
        self.0
    }
}
