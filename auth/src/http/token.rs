//! The token endpoint (Distribution token specification, GET; its OAuth 2.0 form, POST; design: "The answer").

mod error;
mod parameters;
#[cfg(test)]
mod tests;

use axum::{
    Json, Router,
    body::Body,
    extract::{RawQuery, State},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use shared::{
    basic::BasicCredentials,
    listen::{Unacceptable, body::whole},
    token_response::TokenResponse,
};

use super::{App, Peer, input::BODY_TIME};
use crate::{
    accounts::names::are_one,
    tokens::{Shown, TokenRequest, Tokens},
};
use error::TokenError;
use parameters::{Grant, Parameters};

/// The longest query of a GET and the longest body of a POST, in bytes. The 8 KiB of scopes that are allowed may come
/// percent-encoded, which makes three bytes of one.
pub const MAX_REQUEST_BYTES: usize = 32 * 1024;

/// `/token`, and `/auth/token`, which is where registries of version 2.8 send clients that find the realm by themselves.
pub(super) const PATHS: [&str; 2] = ["/token", "/auth/token"];

pub(super) fn router() -> Router<App> {
    let endpoint = || get(by_query).post(by_form).fallback(unknown_method);
    PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, endpoint()))
}

/// The answer to a request that no router is shown.
pub(super) fn refusal(reason: Unacceptable) -> Response {
    TokenError::Unacceptable(reason).into_response()
}

async fn by_query(
    State(app): State<App>,
    peer: Peer,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, TokenError> {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    let credentials = basic(&headers)?;
    if let (Some(account), Some(credentials)) = (&parameters.account, &credentials)
        && !are_one(account, &credentials.username)
    {
        return Err(TokenError::Invalid("account= names somebody else than the credentials do".into()));
    }
    let shown = credentials.as_ref().map_or(Shown::Nothing, Shown::Basic);
    issue(&app.tokens, &parameters, shown, parameters.wants_identity_token(), peer).await
}

async fn by_form(State(app): State<App>, peer: Peer, headers: HeaderMap, body: Body) -> Result<Response, TokenError> {
    if !is_form(&headers) {
        return Err(TokenError::Invalid("the body must be application/x-www-form-urlencoded".into()));
    }
    let form = whole(body, MAX_REQUEST_BYTES, BODY_TIME).await;
    let form = form.map_err(|error| TokenError::Invalid(error.to_string()))?;
    let mut parameters = Parameters::parse(&form)?;
    let grant = parameters.grant()?;
    let shown = match &grant {
        Grant::Password(credentials) => Shown::Basic(credentials),
        Grant::IdentityToken(token) => Shown::IdentityToken(token),
    };
    issue(&app.tokens, &parameters, shown, parameters.wants_identity_token(), peer).await
}

async fn unknown_method() -> TokenError {
    TokenError::UnknownMethod
}

async fn issue(
    tokens: &Tokens,
    parameters: &Parameters,
    shown: Shown<'_>,
    keeps: bool,
    peer: Peer,
) -> Result<Response, TokenError> {
    let scopes = parameters.scopes()?;
    let request = TokenRequest {
        service: parameters.service()?,
        scopes: &scopes,
        shown,
        keeper: keeps.then(|| parameters.client()),
        peer,
    };
    let answer: TokenResponse = tokens.issue(&request).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// The credentials of a GET. What is there and is not Basic is refused: taken for nothing, it would make an anonymous token of
/// a mistake. Cookies are never looked at.
fn basic(headers: &HeaderMap) -> Result<Option<BasicCredentials>, TokenError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => {
            let credentials = field.to_str().ok().and_then(BasicCredentials::from_header);
            credentials.map(Some).ok_or(TokenError::NotBasic)
        }
        (Some(_), Some(_)) => Err(TokenError::Invalid("there is more than one Authorization field".into())),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
