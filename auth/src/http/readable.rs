//! `GET /api/v1/readable`: what the bearer of a registry token may read.

use axum::{
    Json, Router,
    extract::State,
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CACHE_CONTROL},
    },
    response::{IntoResponse, Response},
    routing::get,
};

use super::{App, admin::unknown_method, error::ApiError};
use crate::tokens::NotTold;

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/api/v1/readable", get(readable)).method_not_allowed_fallback(unknown_method)
}

/// The token itself says who asks; a registry adds nothing to it, so it learns no more than the bearer could.
async fn readable(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let token = bearer(&headers).ok_or(ApiError::NoToken)?;
    let readable = app.tokens.readable_by_token(token).await.map_err(|error| match error {
        NotTold::NotOurs(_) => ApiError::NoToken,
        NotTold::Unavailable(error) => error.into(),
    })?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(readable)).into_response())
}

/// The one bearer token of a request; several `Authorization` fields are as good as none.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
