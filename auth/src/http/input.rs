//! What the admin API reads: JSON bodies and queries, strictly and within limits.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    listen::body::{NoBody, whole},
    strict_json,
};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::error::ApiError;
pub use crate::accounts::MAX_PAGE;
use crate::accounts::{
    Accounts,
    versions::{Seen, Thing},
};

/// Largest body of an admin request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Rows of a page if the client does not say.
pub const DEFAULT_PAGE: u32 = 100;

/// How long a body may take to arrive. None has more than 64 KiB, and before it there are no credentials: a connection must not be
/// held by a byte now and then.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// A JSON body. Unknown members, members that stand twice and anything behind the value are refused.
#[derive(Debug)]
pub struct Body<T, const LIMIT: usize = MAX_BODY_BYTES>(pub T);

impl<T: DeserializeOwned, S: Sync, const LIMIT: usize> FromRequest<S> for Body<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_of_type(&request, "application/json") {
            return Err(ApiError::MediaType);
        }
        let bytes = whole_body(request, LIMIT).await?;
        let value = strict_json::parse(&bytes).map_err(|error| ApiError::Invalid(error.to_string()))?;
        serde_json::from_value(value).map(Self).map_err(|error| ApiError::Invalid(error.to_string()))
    }
}

/// No body, or one that says nothing: null, or an empty object. What is said to a route that reads nothing is refused by name, like what a body does not know: nobody is to take it
/// for obeyed.
#[derive(Debug)]
pub struct Nothing;

/// An object without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl<S: Sync> FromRequest<S> for Nothing {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_of_type(&request, "application/json");
        match whole_body(request, MAX_BODY_BYTES).await?.as_ref() {
            b"" => Ok(Self),
            _ if !is_json => Err(ApiError::MediaType),
            bytes => {
                let value = strict_json::parse(bytes).map_err(|error| ApiError::Invalid(error.to_string()))?;
                let read: Result<Option<Empty>, _> = serde_json::from_value(value);
                read.map(|_| Self).map_err(|error| ApiError::Invalid(error.to_string()))
            }
        }
    }
}

/// A form, as OAuth 2.0 sends them. Unknown members and members that stand twice are refused.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_of_type(&request, "application/x-www-form-urlencoded") {
            return Err(ApiError::Form);
        }
        let bytes = whole_body(request, MAX_BODY_BYTES).await?;
        let mut members = serde_json::Map::new();
        for (name, value) in form_urlencoded::parse(&bytes) {
            if members.insert(name.clone().into_owned(), value.into_owned().into()).is_some() {
                return Err(ApiError::Invalid(format!("{name:?} stands twice")));
            }
        }
        serde_json::from_value(members.into()).map(Self).map_err(|error| ApiError::Invalid(error.to_string()))
    }
}

// A form of another site cannot send JSON without asking first, and one that it can send changes nothing here.
fn is_of_type(request: &Request, wanted: &str) -> bool {
    let media_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}

async fn whole_body(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    whole(request.into_body(), limit, BODY_TIME).await.map_err(|error| match error {
        NoBody::TooLong { limit } => ApiError::TooLarge { limit },
        NoBody::TooSlow { .. } => ApiError::Invalid(error.to_string()),
    })
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

/// `If-Match`: what the caller has seen of what is to change. Without it the change is made to whatever is there by now.
///
/// Tags are compared as RFC 9110 compares them strongly: a weak one matches nothing, and neither does what is none.
#[derive(Clone, Debug)]
pub struct IfMatch(pub Option<Seen>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let fields: Vec<_> = parts.headers.get_all(header::IF_MATCH).into_iter().collect();
        if fields.is_empty() {
            return Ok(Self(None));
        }
        let tags = fields.into_iter().filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
        let tags: Vec<&str> = tags.map(str::trim).collect();
        if tags == ["*"] {
            return Ok(Self(Some(Seen::Something)));
        }
        let quoted = |tag: &&str| tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).map(str::to_owned);
        Ok(Self(Some(Seen::OneOf(tags.iter().filter_map(quoted).collect()))))
    }
}

impl IfMatch {
    /// The accounts, for a change that is made to the thing as the caller has seen it.
    pub fn on(self, accounts: &Accounts, thing: Thing) -> Accounts {
        accounts.only_if(thing, self.0)
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
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
    /// None at all, or more than [`MAX_PAGE`].
    pub fn limit(&self) -> Result<u32, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        if (1..=MAX_PAGE).contains(&limit) {
            Ok(limit)
        } else {
            Err(ApiError::Invalid(format!("limit is 1 to {MAX_PAGE}")))
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
    async fn what_is_said_to_who_reads_nothing_is_refused_by_name() {
        let read = async |text: &'static str, media_type: &str| {
            let request = Request::post("/").header(header::CONTENT_TYPE, media_type).body(text.into()).unwrap();
            Nothing::from_request(request, &()).await
        };
        for nothing in ["", "null", "{}", " { } "] {
            read(nothing, "application/json").await.unwrap();
        }
        read("", "text/plain").await.unwrap();
        assert!(matches!(read("a=b", "application/x-www-form-urlencoded").await, Err(ApiError::MediaType)));
        let refused = read(r#"{"reason": "because"}"#, "application/json").await.unwrap_err();
        assert!(refused.to_string().contains("unknown field `reason`"), "{refused}");
        for wrong in ["7", "{", "{} {}"] {
            assert!(matches!(read(wrong, "application/json").await, Err(ApiError::Invalid(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_body_is_as_deep_as_the_limit_says_and_no_deeper() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        read(nested(strict_json::MAX_DEPTH)).await.unwrap();
        let deeper = read(nested(strict_json::MAX_DEPTH + 1)).await.unwrap_err();
        assert!(matches!(&deeper, ApiError::Invalid(why) if why.contains("more than 32 levels deep")), "{deeper}");
    }
}
