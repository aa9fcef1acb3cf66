//! The codes of error envelopes, distribution.md section 2.2: a closed list that clients know by heart.
//! Here stand those that this registry has a use for.

use axum::http::StatusCode;

/// One code of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Unknown,
    Unsupported,
    Unauthorized,
    Denied,
    Unavailable,
    DigestInvalid,
    SizeInvalid,
    RangeInvalid,
    NameInvalid,
    TagInvalid,
    NameUnknown,
    ManifestUnknown,
    ManifestInvalid,
    ManifestBlobUnknown,
    BlobUnknown,
    BlobUploadUnknown,
    PaginationNumberInvalid,
    TooManyRequests,
}

impl Code {
    /// As it is spelled in the envelope.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unavailable => "UNAVAILABLE",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::NameInvalid => "NAME_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }

    /// The status it usually goes with.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NameUnknown | Self::ManifestUnknown | Self::BlobUnknown | Self::BlobUploadUnknown => {
                StatusCode::NOT_FOUND
            }
            Self::DigestInvalid
            | Self::SizeInvalid
            | Self::NameInvalid
            | Self::TagInvalid
            | Self::ManifestInvalid
            | Self::ManifestBlobUnknown
            | Self::PaginationNumberInvalid => StatusCode::BAD_REQUEST,
        }
    }
}
