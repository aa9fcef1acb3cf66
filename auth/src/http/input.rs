//! What the admin API reads: JSON bodies and queries, strictly and within limits.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    listen::body::{NoBody, whole},
    strict_json,
};

use super::error::ApiError;

/// Largest body of an admin request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Rows of a page if the client does not say.
pub const DEFAULT_PAGE: u32 = 100;

/// How long a body may take to arrive. None has more than 64 KiB, and before it there are no credentials: a connection must not be
/// held by a byte now and then.
pub const BODY_TIME: Duration = Duration::from_secs(30);

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
    use serde_json::Value;

    use super::*;

    async fn read(text: String) -> Result<Body<Value>, ApiError> {
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json").body(text.into()).unwrap();
        Body::from_request(request, &()).await
    }

    #[tokio::test]
    async fn a_body_has_as_many_bytes_as_the_limit_says_and_no_more() {
        // Blanks behind the value are part of the body and of nothing else.
        let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
        assert_eq!(read(padded(MAX_BODY_BYTES)).await.unwrap().0, serde_json::json!({}));
        let larger = read(padded(MAX_BODY_BYTES + 1)).await.unwrap_err();
        assert!(matches!(larger, ApiError::TooLarge { limit: 65_536 }), "{larger}");
    }

    #[tokio::test]
    async fn a_body_is_as_deep_as_the_limit_says_and_no_deeper() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        read(nested(strict_json::MAX_DEPTH)).await.unwrap();
        let deeper = read(nested(strict_json::MAX_DEPTH + 1)).await.unwrap_err();
        assert!(matches!(&deeper, ApiError::Invalid(why) if why.contains("more than 32 levels deep")), "{deeper}");
    }
}
