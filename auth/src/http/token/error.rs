//! The errors of the token endpoint, in both forms at once: docker prints our sentence only from the registry's form, OAuth 2.0
//! clients read their own.

use std::{error::Error, time::Duration};

use axum::{
    Json,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use shared::{listen::Unacceptable, telemetry::RequestId};
use tracing::error;

use crate::{identity::NotIdentified, identity::queue::Busy, tokens::NotIssued};

/// How long a client should wait while something that is asked does not answer.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);
/// The realm names what the credentials are for, not where.
const BASIC: &str = "Basic realm=\"portreeve\", charset=\"UTF-8\"";

/// Why a request to the token server was not answered as wished.
#[derive(Debug)]
pub(super) enum TokenError {
    /// The request cannot be understood; why, in a sentence.
    Invalid(String),
    /// A grant type that is not offered.
    UnsupportedGrant,
    /// Nobody is shown this request.
    Unacceptable(Unacceptable),
    /// A method that the endpoint does not have.
    UnknownMethod,
    /// The `Authorization` field is not Basic.
    NotBasic,
    /// The credentials prove nothing. It is not said why.
    Refused(String),
    /// Too many tries.
    TooMany {
        /// What is said.
        message: String,
        /// When it is worth another one.
        retry_after: Duration,
    },
    /// Something that must be asked does not answer. It has been logged.
    Unavailable,
    /// Something that must be asked cannot be asked like this. It has been logged.
    Unusable,
}

impl TokenError {
    /// Logs what did not answer; the client learns only that something did not.
    fn unavailable(error: &(dyn Error + 'static)) -> Self {
        error!(error, "a token request could not be answered");
        Self::Unavailable
    }
}

impl From<NotIssued> for TokenError {
    fn from(error: NotIssued) -> Self {
        match error {
            NotIssued::UnknownService(_) => Self::Invalid(error.to_string()),
            NotIssued::NotIdentified(error) => error.into(),
            NotIssued::Unavailable(error) => Self::unavailable(&error),
            NotIssued::NotSigned(error) => Self::unavailable(&error),
        }
    }
}

impl From<NotIdentified> for TokenError {
    fn from(error: NotIdentified) -> Self {
        match error {
            NotIdentified::Wrong | NotIdentified::Void(_) => Self::Refused(error.to_string()),
            NotIdentified::Throttled { retry_after } => Self::TooMany { message: error.to_string(), retry_after },
            NotIdentified::Busy(_) => Self::TooMany { message: error.to_string(), retry_after: Busy::RETRY_AFTER },
            NotIdentified::Unavailable(error) => Self::unavailable(&error),
            NotIdentified::NotAsked(error) if error.fault.is_of_the_settings() => {
                error!(%error, "a token request could not be answered before somebody changes the settings");
                Self::Unusable
            }
            NotIdentified::NotAsked(error) => Self::unavailable(&error),
        }
    }
}

/// What an error is in each of the forms.
struct Form {
    status: StatusCode,
    /// In the registry's form.
    code: &'static str,
    /// In that of OAuth 2.0 (RFC 6749, section 5.2; 401 instead of its 400, as the token specification has it).
    error: &'static str,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl TokenError {
    fn form(self) -> Form {
        let form =
            |status, code, error, message: &str| Form { status, code, error, message: message.into(), header: None };
        let basic = Some((WWW_AUTHENTICATE, HeaderValue::from_static(BASIC)));
        let retry = |after: Duration| Some((RETRY_AFTER, HeaderValue::from(after.as_secs().max(1))));
        match self {
            Self::Invalid(message) => form(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "invalid_request", &message),
            Self::Unacceptable(reason) => form(reason.status(), "UNSUPPORTED", "invalid_request", &reason.to_string()),
            Self::UnsupportedGrant => form(
                StatusCode::BAD_REQUEST,
                "UNSUPPORTED",
                "unsupported_grant_type",
                "grant_type= is password or refresh_token",
            ),
            Self::UnknownMethod => form(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                "invalid_request",
                "tokens are asked for with GET or POST",
            ),
            Self::NotBasic => Form {
                header: basic,
                ..form(
                    StatusCode::UNAUTHORIZED,
                    "UNAUTHORIZED",
                    "invalid_client",
                    "credentials are shown in the form of HTTP's Basic scheme",
                )
            },
            Self::Refused(message) => {
                Form { header: basic, ..form(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid_grant", &message) }
            }
            Self::TooMany { message, retry_after } => Form {
                header: retry(retry_after),
                ..form(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "temporarily_unavailable", &message)
            },
            Self::Unusable => form(
                StatusCode::INTERNAL_SERVER_ERROR,
                "UNKNOWN",
                "server_error",
                &numbered(
                    "the directory that knows this account is not set up rightly; its administrator finds why in the log",
                ),
            ),
            Self::Unavailable => Form {
                header: retry(UNAVAILABLE_RETRY),
                ..form(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "temporarily_unavailable", &unavailable())
            },
        }
    }
}

fn unavailable() -> String {
    numbered("the token server cannot answer at the moment; try again")
}

/// Docker prints the sentence and nothing else, so the number to look for in the log stands in it.
fn numbered(sentence: &str) -> String {
    RequestId::current().map_or_else(|| sentence.to_owned(), |id| format!("{sentence} (request {id})"))
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let Form { status, code, error, message, header } = self.form();
        let body = json!({
            "errors": [{ "code": code, "message": message }],
            "error": error,
            "error_description": message,
        });
        let mut response = (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
