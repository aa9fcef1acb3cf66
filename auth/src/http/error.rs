//! Errors of `/api/v1`, as problem+json (RFC 9457). This is the one place where what went wrong becomes a status.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use shared::{database::DatabaseError, listen::Unacceptable, telemetry::RequestId};
use thiserror::Error;
use tracing::error;

use crate::{
    accounts::{self, Refusal, names::NameError, networks::NetworkError},
    identity::{NotAdded, NotIdentified, passwords::UnfitPassword, queue::Busy},
    permissions::NotGiven,
    signing::SigningError,
};

/// Why the admin API did not do what was asked.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Nobody who may use this API asked.
    #[error("show a bearer credential with an API level: Authorization: Bearer prt_pat_…")]
    Unauthenticated,
    /// Somebody asked what they may read, without a token of ours that lives.
    #[error("show the token that the registry was shown: Authorization: Bearer …")]
    NoToken,
    /// Somebody asked for the revocation feed who is no registry.
    #[error("show the credential of a registry: Authorization: Bearer prt_svc_…")]
    NoServiceCredential,
    /// Somebody asked, with a credential that does not reach so far.
    #[error("this credential has no API level that allows it")]
    Level,
    /// The path does not know this method.
    #[error("this path does not answer this method; Allow names those that it answers")]
    UnknownMethod,
    /// Only system administrators may.
    #[error("only a system administrator may do this")]
    SystemOnly,
    /// Nobody is shown this request.
    #[error("{0}")]
    Unacceptable(Unacceptable),
    /// There is no such thing, or it is not the caller's to know.
    #[error("there is no such thing here, or it is not yours to see")]
    NotFound,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The body is larger than any request's.
    #[error("a request has at most {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// The body is not JSON.
    #[error("the body must be application/json")]
    MediaType,
    /// The body is no form.
    #[error("the body must be application/x-www-form-urlencoded")]
    Form,
    /// The rule may not be written by this caller.
    #[error(transparent)]
    NotGiven(#[from] NotGiven),
    /// The accounts refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Identification failed.
    #[error(transparent)]
    NotIdentified(#[from] NotIdentified),
    /// The hash queue is full.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The database did not answer.
    #[error("the accounts cannot be reached at the moment")]
    Unavailable(#[source] DatabaseError),
    /// A signing key was not made, or what is stored cannot sign.
    #[error("the signing keys could not be turned; look for this request in the server's log")]
    NoKey(#[source] SigningError),
}

impl From<accounts::Error> for ApiError {
    fn from(error: accounts::Error) -> Self {
        match error {
            accounts::Error::Refused(refusal) => Self::Refused(refusal),
            accounts::Error::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<NotAdded> for ApiError {
    fn from(error: NotAdded) -> Self {
        match error {
            NotAdded::Unfit(_) | NotAdded::Unusable(_) => Self::Invalid(error.to_string()),
            NotAdded::Accounts(error) => error.into(),
        }
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<NetworkError> for ApiError {
    fn from(error: NetworkError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<UnfitPassword> for ApiError {
    fn from(error: UnfitPassword) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::NoToken | Self::NoServiceCredential => StatusCode::UNAUTHORIZED,
            Self::Level | Self::SystemOnly | Self::NotGiven(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unacceptable(reason) => reason.status(),
            Self::UnknownMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Refused(refusal) => refused(refusal),
            Self::NotIdentified(error) => not_identified(error),
            Self::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::NoKey(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which another try is worth it.
    fn retry_after(&self) -> Option<u64> {
        let wait = match self {
            Self::Busy(_) | Self::NotIdentified(NotIdentified::Busy(_)) => Busy::RETRY_AFTER,
            Self::NotIdentified(NotIdentified::Throttled { retry_after }) => *retry_after,
            Self::Unavailable(_) | Self::NotIdentified(NotIdentified::Unavailable(_) | NotIdentified::NotAsked(_)) => {
                std::time::Duration::from_secs(5)
            }
            _ => return None,
        };
        Some(wait.as_secs().max(1))
    }
}

fn refused(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::SetupUnfit(_) => StatusCode::BAD_REQUEST,
        Refusal::NameTaken(_)
        | Refusal::NamespaceTaken(_)
        | Refusal::TeamTaken(_)
        | Refusal::ServiceTaken(_)
        | Refusal::ProviderTaken(_)
        | Refusal::ProviderOfSettings(_)
        | Refusal::ProviderAdded(_)
        | Refusal::TooManyDirectories { .. }
        | Refusal::TooManyKeys { .. }
        | Refusal::SecretRevoked
        | Refusal::TooManyTokens { .. }
        | Refusal::LastAdministrator
        | Refusal::KeysChanged
        | Refusal::RobotInAdminTeam
        | Refusal::AlreadyStarted
        | Refusal::SetupChanged
        | Refusal::SetupUnsayable(_)
        | Refusal::ForeignPassword(_) => StatusCode::CONFLICT,
        Refusal::PrincipalUnknown
        | Refusal::NamespaceUnknown
        | Refusal::CredentialUnknown
        | Refusal::TeamUnknown
        | Refusal::MappingUnknown
        | Refusal::GrantUnknown
        | Refusal::ServiceUnknown
        | Refusal::ProviderUnknown
        | Refusal::KeyUnknown => StatusCode::NOT_FOUND,
        Refusal::Changed => StatusCode::PRECONDITION_FAILED,
    }
}

fn not_identified(error: &NotIdentified) -> StatusCode {
    match error {
        NotIdentified::Wrong | NotIdentified::Void(_) => StatusCode::UNAUTHORIZED,
        NotIdentified::Throttled { .. } | NotIdentified::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        NotIdentified::NotAsked(error) if error.fault.is_of_the_settings() => StatusCode::INTERNAL_SERVER_ERROR,
        NotIdentified::Unavailable(_) | NotIdentified::NotAsked(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            error!(error = %chain(&self), "a request to the admin API failed");
        }
        // What the client has no business knowing stays in the log.
        let detail = match &self {
            Self::NotIdentified(NotIdentified::Unavailable(_)) => {
                "the accounts cannot be reached at the moment".to_owned()
            }
            Self::NotIdentified(NotIdentified::NotAsked(_)) => "the directory cannot be asked at the moment".to_owned(),
            error => error.to_string(),
        };
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let Some(id) = RequestId::current().filter(|_| status.is_server_error()) {
            body["request"] = id.as_str().into();
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
