//! Errors of `/api/v1/registry`, as problem+json (RFC 9457). This is the one place where what went wrong there becomes a status.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use shared::{database::DatabaseError, digest::Digest, listen::Unacceptable};
use thiserror::Error;
use tracing::error;

use crate::{
    content::{self, undelete::NotRestorable},
    lifecycle::{immutable::InvalidRules, repositories},
};

/// After how long another try is worth it when something is down.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why the admin API did not do what was asked.
#[derive(Debug, Error)]
pub enum ApiError {
    /// Nobody who may use this API asked.
    #[error("show a registry token, or a credential with an API level: Authorization: Bearer …")]
    Unauthenticated,
    /// This registry asks for no tokens, so there is nobody to recognise.
    #[error("without token access this is answered on the data directory's socket only")]
    SocketOnly,
    /// It is about files of the server's machine.
    #[error("this is answered on the data directory's socket only, to root and the server's own user")]
    LocalOnly,
    /// Only system administrators may.
    #[error("only a system administrator may do this, with a credential whose API level is write")]
    SystemOnly,
    /// The path does not know this method.
    #[error("this path does not answer this method; Allow names those that it answers")]
    UnknownMethod,
    /// Nobody is shown this request.
    #[error("{0}")]
    Unacceptable(Unacceptable),
    /// There is no such thing, or it is not the caller's to know.
    #[error("there is no such thing here, or it is not yours to see")]
    NotFound,
    /// What the caller may see is not there, and this says what.
    #[error("{0}")]
    Missing(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What is asked for cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// The body is larger than any request's.
    #[error("a request has at most {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// The body is not JSON.
    #[error("the body must be application/json")]
    MediaType,
    /// Too many secrets were tried: nobody has looked at this one.
    #[error("too many secrets were tried; try again in {} s", retry_after.as_secs().max(1))]
    Throttled {
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// Whoever would know who asks does not answer.
    #[error("who you are cannot be found out at the moment")]
    NobodyToAsk {
        /// What stands in the log.
        reason: String,
    },
    /// The database did not answer.
    #[error("the registry's database cannot be reached at the moment")]
    Unavailable(#[source] DatabaseError),
    /// The database, or the disk under it or the store, has no room for what was to be written.
    #[error("the registry has no space left")]
    Full {
        /// What stands in the log.
        reason: String,
    },
    /// Something else failed that the caller cannot help.
    #[error("the registry failed; its log says why")]
    Failed {
        /// What stands in the log.
        reason: String,
    },
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        if error.is_out_of_space() { Self::Full { reason: error.to_string() } } else { Self::Unavailable(error) }
    }
}

impl From<content::Error> for ApiError {
    /// What these routes ask of content fails for few reasons; what they cannot bring about is for the log.
    fn from(error: content::Error) -> Self {
        use content::Error as E;
        match error {
            E::ManifestUnknown { .. } | E::RepositoryUnknown { .. } => Self::NotFound,
            E::NotRestorable(NotRestorable::Deletion { .. } | NotRestorable::NowhereElse { .. }) => {
                Self::Invalid(error.to_string())
            }
            E::NotRestorable(gone) => Self::Missing(gone.to_string()),
            E::ManifestReferencesMissing { missing } => Self::Conflict(lacking(&missing)),
            E::TagMoved { .. } => Self::Conflict(format!("{error}; say force to take it from there")),
            E::Immutable(_) | E::QuotaExceeded(_) | E::DescriptorSize { .. } | E::Busy => {
                Self::Conflict(error.to_string())
            }
            E::Unavailable(error) => error.into(),
            full if full.is_out_of_space() => Self::Full { reason: full.to_string() },
            other => Self::Failed { reason: other.to_string() },
        }
    }
}

impl From<repositories::Error> for ApiError {
    fn from(error: repositories::Error) -> Self {
        use repositories::Error as E;
        match error {
            E::Unknown(_) | E::NotRestorable(_) => Self::Missing(error.to_string()),
            E::Occupied(_) | E::Immutable(_) | E::QuotaExceeded(_) => Self::Conflict(error.to_string()),
            E::Unavailable(error) => error.into(),
        }
    }
}

/// What has to come back first.
fn lacking(missing: &[Digest]) -> String {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    format!("it names what the repository does not hold any more: {}; restore or push that first", missing.join(", "))
}

impl From<InvalidRules> for ApiError {
    fn from(error: InvalidRules) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::SocketOnly | Self::LocalOnly | Self::SystemOnly => StatusCode::FORBIDDEN,
            Self::Unacceptable(reason) => reason.status(),
            Self::UnknownMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NobodyToAsk { .. } | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When another try is worth it, where time helps.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => Some(*retry_after),
            Self::NobodyToAsk { .. } | Self::Unavailable(_) => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// What stays in the log and is no client's business.
    fn log(&self) {
        match self {
            Self::NobodyToAsk { reason } | Self::Full { reason } | Self::Failed { reason } => {
                error!(reason, "a request to the admin API failed");
            }
            Self::Unavailable(error) => {
                error!(error = error as &dyn std::error::Error, "a request to the admin API failed");
            }
            _ => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (status, retry_after) = (self.status(), self.retry_after());
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(pause) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        response
    }
}
