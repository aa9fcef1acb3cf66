//! What the admin API reads: JSON bodies and queries, strictly and within limits.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    listen::body::{NoBody, whole},
    repository::RepositoryName,
    strict_json,
};

use super::error::ApiError;

/// Largest body of an admin request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a body may take to arrive: a connection must not be held by a byte now and then.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A JSON body; none at all is an empty object. Members that stand twice and anything behind the value are refused, and unknown members where the type
/// says so.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = says_json(&request);
        let bytes = whole(request.into_body(), MAX_BODY_BYTES, BODY_TIME).await.map_err(|error| match error {
            NoBody::TooLong { limit } => ApiError::TooLarge { limit },
            NoBody::TooSlow { .. } => ApiError::Invalid(error.to_string()),
        })?;
        let value = match (bytes.as_ref(), is_json) {
            (b"", _) => serde_json::Value::Object(serde_json::Map::new()),
            // A form of another site cannot send this type without asking first.
            (_, false) => return Err(ApiError::MediaType),
            (bytes, true) => strict_json::parse(bytes).map_err(|error| ApiError::Invalid(error.to_string()))?,
        };
        serde_json::from_value(value).map(Self).map_err(|error| ApiError::Invalid(error.to_string()))
    }
}

/// What a route reads that wants to be told nothing: no body, null, or an empty object. What is said to it all the same is refused by name, so that nobody
/// takes it for obeyed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(from = "Option<Empty>")]
pub struct Nothing {}

/// An object without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl From<Option<Empty>> for Nothing {
    fn from(_: Option<Empty>) -> Self {
        Self {}
    }
}

fn says_json(request: &Request) -> bool {
    let field = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    field.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The namespace that the path names as `{namespace}`, for handlers that every namespace is open to.
#[derive(Debug)]
pub struct Namespace(pub RepositoryName);

impl<S: Send + Sync> FromRequestParts<S> for Namespace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let named = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::NotFound)?;
        let named = named.iter().find(|(key, _)| *key == "namespace").and_then(|(_, name)| name.parse().ok());
        let named = named.filter(|name: &RepositoryName| name.namespace() == name.as_str());
        named.map(Self).ok_or_else(|| ApiError::Invalid("that cannot be the name of a namespace".to_owned()))
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn nothing_is_told_in_three_ways_and_anything_else_is_refused_by_name() {
        let read = async |text: &'static str| {
            let request = Request::post("/").header(header::CONTENT_TYPE, "application/json").body(text.into());
            Body::<Nothing>::from_request(request.unwrap(), &()).await
        };
        for nothing in ["", "null", "{}"] {
            read(nothing).await.unwrap();
        }
        let refused = read(r#"{"force": true}"#).await.unwrap_err();
        assert!(matches!(&refused, ApiError::Invalid(why) if why.contains("`force`")), "{refused}");
    }

    #[tokio::test]
    async fn a_body_is_as_deep_as_the_limit_says_and_no_deeper() {
        let read = async |depth: usize| {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let request = Request::post("/").header(header::CONTENT_TYPE, "application/json").body(text.into());
            Body::<Value>::from_request(request.unwrap(), &()).await
        };
        read(strict_json::MAX_DEPTH).await.unwrap();
        let deeper = read(strict_json::MAX_DEPTH + 1).await.unwrap_err();
        assert!(matches!(&deeper, ApiError::Invalid(why) if why.contains("more than 32 levels deep")), "{deeper}");
    }
}
