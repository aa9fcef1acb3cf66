//! What a request to `/v2/` asks for.
//!
//! Repository names contain slashes, so a table of routes cannot tell `/v2/a/manifests/b/tags/list` from
//! `/v2/a/manifests/b`. One parser reads the path from its end, and everything behind it sees only an
//! [`Operation`]: a name is a name, a digest a digest. The access that an operation requires stands beside
//! it in [`Operation::required_access`], so no route can be added without saying who may use it.

mod access;
mod path;
mod query;
#[cfg(test)]
mod tests;

use std::fmt;

use axum::http::Method;
use shared::{
    digest::{Algorithm, Digest},
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use crate::content::uploads::UploadId;

pub use self::{path::MAX_PATH_BYTES, query::MAX_TAGS_PER_PUSH};

/// One request of the OCI distribution specification, checked as far as its text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET /v2/`: does the server speak this protocol, and are the credentials good?
    Version,
    /// `GET /v2/_catalog`.
    Catalog {
        /// Which part of the list.
        page: PageQuery,
    },
    /// `GET /v2/<name>/tags/list`.
    ListTags {
        /// Whose tags.
        repository: RepositoryName,
        /// Which part of the list.
        page: PageQuery,
    },
    /// `HEAD /v2/<name>/manifests/<reference>`.
    HeadManifest {
        /// Where it is looked for.
        repository: RepositoryName,
        /// A tag or a digest.
        reference: Reference,
    },
    /// `GET /v2/<name>/manifests/<reference>`.
    GetManifest {
        /// Where it is looked for.
        repository: RepositoryName,
        /// A tag or a digest.
        reference: Reference,
    },
    /// `PUT /v2/<name>/manifests/<reference>`.
    PutManifest {
        /// Where it goes.
        repository: RepositoryName,
        /// A tag, or the digest that the body must have.
        reference: Reference,
        /// The tags of `?tag=`, only beside a digest.
        tags: Vec<Tag>,
    },
    /// `DELETE /v2/<name>/manifests/<reference>`: a tag alone, or a manifest with its tags.
    DeleteManifest {
        /// Where it lies.
        repository: RepositoryName,
        /// A tag or a digest.
        reference: Reference,
    },
    /// `HEAD /v2/<name>/blobs/<digest>`.
    HeadBlob {
        /// Where it is looked for.
        repository: RepositoryName,
        /// Which one.
        digest: Digest,
    },
    /// `GET /v2/<name>/blobs/<digest>`.
    GetBlob {
        /// Where it is looked for.
        repository: RepositoryName,
        /// Which one.
        digest: Digest,
    },
    /// `DELETE /v2/<name>/blobs/<digest>`.
    DeleteBlob {
        /// Where it lies.
        repository: RepositoryName,
        /// Which one.
        digest: Digest,
    },
    /// `POST /v2/<name>/blobs/uploads/`.
    StartUpload {
        /// Where the blob goes.
        repository: RepositoryName,
        /// A session, the whole blob at once, or a mount.
        start: Start,
    },
    /// `GET /v2/<name>/blobs/uploads/<id>`.
    UploadStatus {
        /// Where the upload was started.
        repository: RepositoryName,
        /// Which upload.
        upload: UploadId,
    },
    /// `PATCH /v2/<name>/blobs/uploads/<id>`.
    AppendUpload {
        /// Where the upload was started.
        repository: RepositoryName,
        /// Which upload.
        upload: UploadId,
    },
    /// `PUT /v2/<name>/blobs/uploads/<id>?digest=<digest>`.
    FinishUpload {
        /// Where the upload was started.
        repository: RepositoryName,
        /// Which upload.
        upload: UploadId,
        /// What the bytes must hash to.
        digest: Digest,
    },
    /// `DELETE /v2/<name>/blobs/uploads/<id>`.
    CancelUpload {
        /// Where the upload was started.
        repository: RepositoryName,
        /// Which upload.
        upload: UploadId,
    },
    /// `GET /v2/<name>/referrers/<digest>`.
    Referrers {
        /// Where they lie.
        repository: RepositoryName,
        /// What they refer to; it need not exist.
        subject: Digest,
        /// Only referrers of this artifact type.
        artifact_type: Option<String>,
        /// Only referrers behind this one: our own cursor.
        last: Option<Digest>,
    },
}

/// How an upload begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A session that PATCH and PUT will fill.
    Session {
        /// What `digest-algorithm` announces; without it sha256 is computed while streaming.
        algorithm: Option<Algorithm>,
    },
    /// The body of the POST is the whole blob.
    Whole {
        /// What the body must hash to.
        digest: Digest,
    },
    /// The blob is linked from another repository, if there is one that has it.
    Mount {
        /// Which blob.
        digest: Digest,
        /// From where; without it the registry looks where the caller may read.
        from: Option<RepositoryName>,
    },
}

/// The part of a list that a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// At most this many entries; the settings bound it.
    pub limit: Option<u64>,
    /// Only entries behind this one, which need not exist.
    pub last: Option<String>,
}

/// Why a request is not an operation. `http/error.rs` turns it into an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No path of the protocol.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path exists, the method does not.
    #[error("this path answers {allow} only")]
    MethodNotAllowed {
        /// The methods that would be answered, as `Allow` lists them.
        allow: &'static str,
    },
    /// The path is longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    PathTooLong,
    /// The text before the route is no repository name.
    #[error("{given:?} is not a repository name")]
    Name {
        /// What stands there, shortened.
        given: String,
    },
    /// A digest of the path or the query cannot be read.
    #[error("{given:?} is not a digest this registry knows")]
    Digest {
        /// What stands there, shortened.
        given: String,
    },
    /// `?digest=` is required and missing.
    #[error("the digest parameter is missing")]
    DigestMissing,
    /// A tag of the path or the query cannot be read.
    #[error("{given:?} is not a tag")]
    Tag {
        /// What stands there, shortened.
        given: String,
    },
    /// `?tag=` beside a tag in the path: which of them would be meant?
    #[error("the tag parameter goes with a manifest that is pushed by digest")]
    TagTwice,
    /// More tags than one push may set.
    #[error("a manifest can be pushed with {MAX_TAGS_PER_PUSH} tags at most")]
    TooManyTags,
    /// The text is no upload of ours.
    #[error("{given:?} is not an upload")]
    Upload {
        /// What stands there, shortened.
        given: String,
    },
    /// `n` is no count.
    #[error("{given:?} is not a number of entries")]
    PageSize {
        /// What stands there, shortened.
        given: String,
    },
    /// A parameter that has one value was given twice.
    #[error("the parameter {name} was given twice")]
    Repeated {
        /// Its name.
        name: &'static str,
    },
}

impl Operation {
    /// Reads method, raw path (with its escapes, behind the configured prefix) and query.
    ///
    /// # Errors
    /// [`ParseError`] says what is wrong; nothing that arrives can panic here.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ParseError> {
        let path = path::decode(path)?;
        let route = path::Route::read(&path)?;
        route.operation(method, &query::Query::read(query.unwrap_or_default()))
    }

    /// The method that [`Operation::parse`] would need for this.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::HeadManifest { .. } | Self::HeadBlob { .. } => Method::HEAD,
            Self::PutManifest { .. } | Self::FinishUpload { .. } => Method::PUT,
            Self::StartUpload { .. } => Method::POST,
            Self::AppendUpload { .. } => Method::PATCH,
            Self::DeleteManifest { .. } | Self::DeleteBlob { .. } | Self::CancelUpload { .. } => Method::DELETE,
            Self::Version
            | Self::Catalog { .. }
            | Self::ListTags { .. }
            | Self::GetManifest { .. }
            | Self::GetBlob { .. }
            | Self::UploadStatus { .. }
            | Self::Referrers { .. } => Method::GET,
        }
    }

    /// The repository that the operation works in; none for `/v2/` and the catalog.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Version | Self::Catalog { .. } => None,
            Self::ListTags { repository, .. }
            | Self::HeadManifest { repository, .. }
            | Self::GetManifest { repository, .. }
            | Self::PutManifest { repository, .. }
            | Self::DeleteManifest { repository, .. }
            | Self::HeadBlob { repository, .. }
            | Self::GetBlob { repository, .. }
            | Self::DeleteBlob { repository, .. }
            | Self::StartUpload { repository, .. }
            | Self::UploadStatus { repository, .. }
            | Self::AppendUpload { repository, .. }
            | Self::FinishUpload { repository, .. }
            | Self::CancelUpload { repository, .. }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }

    /// Whether a read-only registry refuses it.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.method(), Method::GET | Method::HEAD)
    }
}

/// Path and query, as a client would send them: the one place that spells our URLs, Location and Link included.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("/v2/"),
            Self::Catalog { page } => write!(f, "/v2/_catalog{page}"),
            Self::ListTags { repository, page } => write!(f, "/v2/{repository}/tags/list{page}"),
            Self::HeadManifest { repository, reference }
            | Self::GetManifest { repository, reference }
            | Self::DeleteManifest { repository, reference } => write!(f, "/v2/{repository}/manifests/{reference}"),
            Self::PutManifest { repository, reference, tags } => {
                write!(f, "/v2/{repository}/manifests/{reference}")?;
                tags.iter().enumerate().try_for_each(|(at, tag)| {
                    let separator = if at == 0 { '?' } else { '&' };
                    write!(f, "{separator}tag={tag}")
                })
            }
            Self::HeadBlob { repository, digest }
            | Self::GetBlob { repository, digest }
            | Self::DeleteBlob { repository, digest } => write!(f, "/v2/{repository}/blobs/{digest}"),
            Self::StartUpload { repository, start } => write!(f, "/v2/{repository}/blobs/uploads/{start}"),
            Self::FinishUpload { repository, upload, digest } => {
                write!(f, "/v2/{repository}/blobs/uploads/{upload}?digest={digest}")
            }
            Self::UploadStatus { repository, upload }
            | Self::AppendUpload { repository, upload }
            | Self::CancelUpload { repository, upload } => write!(f, "/v2/{repository}/blobs/uploads/{upload}"),
            Self::Referrers { repository, subject, artifact_type, last } => {
                write!(f, "/v2/{repository}/referrers/{subject}")?;
                let last = last.as_ref().map(ToString::to_string);
                query::write(f, &[("artifactType", artifact_type.as_deref()), ("last", last.as_deref())])
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { algorithm: None } => Ok(()),
            Self::Session { algorithm: Some(algorithm) } => write!(f, "?digest-algorithm={algorithm}"),
            Self::Whole { digest } => write!(f, "?digest={digest}"),
            Self::Mount { digest, from: None } => write!(f, "?mount={digest}"),
            Self::Mount { digest, from: Some(from) } => write!(f, "?mount={digest}&from={from}"),
        }
    }
}

/// `?last=…&n=…`, in the order in which Distribution's Link header has them.
impl fmt::Display for PageQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.map(|limit| limit.to_string());
        query::write(f, &[("last", self.last.as_deref()), ("n", limit.as_deref())])
    }
}
