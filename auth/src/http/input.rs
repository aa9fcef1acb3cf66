//! What the admin API reads: JSON bodies and queries, strictly and within limits.

use std::time::Duration;

use axum::{
    body::{self, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::strict_json;
use thiserror::Error;
use tokio::time::timeout;

use super::error::ApiError;

/// Largest body of an admin request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Rows of a page if the client does not say.
pub const DEFAULT_PAGE: u32 = 100;

/// How long a body may take to arrive. None has more than 64 KiB, and before it there are no credentials: a connection must not be
/// held by a byte now and then.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Why a body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoBody {
    /// It has more bytes than allowed, or ended before its announced end.
    #[error("the body is cut, or longer than {limit} bytes")]
    TooLong {
        /// What is allowed.
        limit: usize,
    },
    /// It came too slowly.
    #[error("the body did not arrive within {} s", within.as_secs())]
    TooSlow {
        /// What is allowed.
        within: Duration,
    },
}

/// All of a body, within limits of size and time.
///
/// # Errors
/// [`NoBody`].
pub async fn whole(body: body::Body, limit: usize, within: Duration) -> Result<Bytes, NoBody> {
    match timeout(within, to_bytes(body, limit)).await {
        Ok(read) => read.map_err(|_| NoBody::TooLong { limit }),
        Err(_) => Err(NoBody::TooSlow { within }),
    }
}

/// A JSON body. Unknown members, members that stand twice and anything behind the value are refused.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let media_type =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A form of another site cannot send this type without asking first.
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::MediaType);
        }
        let bytes = whole(request.into_body(), MAX_BODY_BYTES, BODY_TIME).await.map_err(|error| match error {
            NoBody::TooLong { limit } => ApiError::TooLarge { limit },
            NoBody::TooSlow { .. } => ApiError::Invalid(error.to_string()),
        })?;
        let value = strict_json::parse(&bytes).map_err(|error| ApiError::Invalid(error.to_string()))?;
        serde_json::from_value(value).map(Self).map_err(|error| ApiError::Invalid(error.to_string()))
    }
}

/// A query. Unknown parameters are refused where the type says so.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|error| ApiError::Invalid(error.body_text()))
    }
}

/// The parts of a path. What cannot be one of them is found nowhere.
#[derive(Debug)]
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|_| ApiError::NotFound)
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// `next` of the page before.
    pub after: Option<String>,
    limit: Option<u32>,
}

impl Paging {
    /// Where a list takes more than these two.
    #[must_use]
    pub fn new(after: Option<String>, limit: Option<u32>) -> Self {
        Self { after, limit }
    }

    /// Most rows of the page.
    ///
    /// # Errors
    /// None at all, or more than [`crate::accounts::MAX_PAGE`].
    pub fn limit(&self) -> Result<u32, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        if (1..=crate::accounts::MAX_PAGE).contains(&limit) {
            Ok(limit)
        } else {
            Err(ApiError::Invalid(format!("limit is 1 to {}", crate::accounts::MAX_PAGE)))
        }
    }

    /// `after` where rows are named by number.
    ///
    /// # Errors
    /// It is not a number.
    pub fn after_number(&self) -> Result<Option<i64>, ApiError> {
        let number = self.after.as_deref().map(str::parse).transpose();
        number.map_err(|_| ApiError::Invalid("after is the next of an earlier page".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn a_body_that_drips_is_not_waited_for() {
        let drop = Ok::<_, std::io::Error>(Bytes::from_static(b"a"));
        let dripping = body::Body::from_stream(stream::iter([drop]).chain(stream::pending()));
        let within = Duration::from_millis(20);
        assert_eq!(whole(dripping, 10, within).await, Err(NoBody::TooSlow { within }));
        assert_eq!(whole("0123456789".into(), 10, BODY_TIME).await.unwrap(), "0123456789");
        assert_eq!(whole("0123456789+".into(), 10, BODY_TIME).await, Err(NoBody::TooLong { limit: 10 }));
    }
}
