//! The path: escapes, then the route, read from its end.

use std::str::FromStr;

use axum::http::Method;
use shared::{digest::Digest, reference::Reference, repository::RepositoryName, tag::Tag};

use super::{Operation, ParseError, query::Query};
use crate::content::uploads::UploadId;

/// The longest path that is looked at, before its escapes are decoded: a name of 255 bytes with every byte
/// escaped, and a sha512 digest, fit with room to spare.
pub const MAX_PATH_BYTES: usize = 4096;

/// How much of a wrong text an error repeats.
const SHOWN_CHARACTERS: usize = 64;

/// Decodes `%xx` once. Clients that escape the slashes of a name (`a%2Fb`) mean the same name.
pub(super) fn decode(path: &str) -> Result<String, ParseError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(ParseError::PathTooLong);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' { escaped(&mut rest).ok_or_else(|| name_error(path))? } else { byte };
        bytes.push(decoded);
    }
    // A control character is never part of a name, and has no business in a log line either.
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(char::is_control) && !text.split('/').any(|part| part == ".." || part == "."))
        .ok_or_else(|| name_error(path))
}

fn escaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(rest.next()?).to_digit(16);
    u8::try_from(digit()? * 16 + digit()?).ok()
}

pub(super) fn name_error(given: &str) -> ParseError {
    ParseError::Name { given: shown(given) }
}

pub(super) fn shown(given: &str) -> String {
    given.chars().take(SHOWN_CHARACTERS).collect()
}

/// Which path it is; the texts in it are read when the method is known to fit.
pub(super) enum Route<'a> {
    Version,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Uploads { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

impl<'a> Route<'a> {
    pub(super) fn read(path: &'a str) -> Result<Self, ParseError> {
        let below = path.strip_prefix("/v2").ok_or(ParseError::NotFound)?;
        match below {
            "" | "/" => return Ok(Self::Version),
            "/_catalog" | "/_catalog/" => return Ok(Self::Catalog),
            _ => {}
        }
        let below = below.strip_prefix('/').ok_or(ParseError::NotFound)?;
        Self::read_named(below).ok_or(ParseError::NotFound)
    }

    /// The end decides: in `a/manifests/tags/list` the repository is `a/manifests`.
    fn read_named(below: &'a str) -> Option<Self> {
        let (head, last) = below.rsplit_once('/')?;
        if last.is_empty() {
            // Only the start of an upload has a trailing slash.
            return Some(Self::Uploads { name: head.strip_suffix("/blobs/uploads")? });
        }
        if let Some(name) = head.strip_suffix("/tags").filter(|_| last == "list") {
            return Some(Self::Tags { name });
        }
        if let Some(name) = head.strip_suffix("/manifests") {
            return Some(Self::Manifest { name, reference: last });
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Some(Self::Referrers { name, digest: last });
        }
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Some(Self::Upload { name, id: last });
        }
        let name = head.strip_suffix("/blobs")?;
        // A reverse proxy that drops the trailing slash must not turn a push into a redirect to GET.
        Some(if last == "uploads" { Self::Uploads { name } } else { Self::Blob { name, digest: last } })
    }

    pub(super) fn operation(&self, method: &Method, query: &Query<'_>) -> Result<Operation, ParseError> {
        let method = Verb::of(method, self.allowed())?;
        match *self {
            Self::Version => Ok(Operation::Version),
            Self::Catalog => Ok(Operation::Catalog { page: query.page()? }),
            Self::Tags { name } => Ok(Operation::ListTags { repository: repository(name)?, page: query.page()? }),
            Self::Manifest { name, reference } => manifest(method, repository(name)?, reference, query),
            Self::Blob { name, digest } => blob(method, repository(name)?, digest),
            Self::Uploads { name } => {
                Ok(Operation::StartUpload { repository: repository(name)?, start: query.start()? })
            }
            Self::Upload { name, id } => upload(method, repository(name)?, id, query),
            Self::Referrers { name, digest } => Ok(Operation::Referrers {
                repository: repository(name)?,
                subject: read_digest(digest)?,
                artifact_type: query.artifact_type()?,
                last: query.one("last")?.map(|text| read_digest(&text)).transpose()?,
            }),
        }
    }

    fn allowed(&self) -> &'static str {
        match self {
            Self::Version | Self::Catalog | Self::Tags { .. } | Self::Referrers { .. } => "GET, HEAD",
            Self::Manifest { .. } => "DELETE, GET, HEAD, PUT",
            Self::Blob { .. } => "DELETE, GET, HEAD",
            Self::Uploads { .. } => "POST",
            Self::Upload { .. } => "DELETE, GET, HEAD, PATCH, PUT",
        }
    }
}

/// The methods of the protocol.
#[derive(Clone, Copy)]
enum Verb {
    Get,
    Head,
    Put,
    Patch,
    Delete,
    Post,
}

impl Verb {
    fn of(method: &Method, allow: &'static str) -> Result<Self, ParseError> {
        let verb = match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::POST => Self::Post,
            _ => return Err(ParseError::MethodNotAllowed { allow }),
        };
        if allow.split(", ").any(|allowed| allowed == method.as_str()) {
            Ok(verb)
        } else {
            Err(ParseError::MethodNotAllowed { allow })
        }
    }
}

fn manifest(
    method: Verb,
    repository: RepositoryName,
    reference: &str,
    query: &Query<'_>,
) -> Result<Operation, ParseError> {
    let reference = read_reference(reference)?;
    Ok(match method {
        Verb::Put => {
            let tags = query.tags()?;
            if matches!(reference, Reference::Tag(_)) && !tags.is_empty() {
                return Err(ParseError::TagTwice);
            }
            Operation::PutManifest { repository, reference, tags }
        }
        Verb::Delete => Operation::DeleteManifest { repository, reference },
        Verb::Head => Operation::HeadManifest { repository, reference },
        Verb::Get | Verb::Patch | Verb::Post => Operation::GetManifest { repository, reference },
    })
}

fn blob(method: Verb, repository: RepositoryName, digest: &str) -> Result<Operation, ParseError> {
    let digest = read_digest(digest)?;
    Ok(match method {
        Verb::Delete => Operation::DeleteBlob { repository, digest },
        Verb::Head => Operation::HeadBlob { repository, digest },
        Verb::Get | Verb::Put | Verb::Patch | Verb::Post => Operation::GetBlob { repository, digest },
    })
}

fn upload(method: Verb, repository: RepositoryName, id: &str, query: &Query<'_>) -> Result<Operation, ParseError> {
    let upload = UploadId::from_str(id).map_err(|_| ParseError::Upload { given: shown(id) })?;
    Ok(match method {
        Verb::Put => Operation::FinishUpload {
            repository,
            upload,
            digest: query.digest("digest")?.ok_or(ParseError::DigestMissing)?,
        },
        Verb::Patch => Operation::AppendUpload { repository, upload },
        Verb::Delete => Operation::CancelUpload { repository, upload },
        Verb::Get | Verb::Head | Verb::Post => Operation::UploadStatus { repository, upload },
    })
}

pub(super) fn repository(name: &str) -> Result<RepositoryName, ParseError> {
    name.parse().map_err(|_| name_error(name))
}

pub(super) fn read_digest(text: &str) -> Result<Digest, ParseError> {
    text.parse().map_err(|_| ParseError::Digest { given: shown(text) })
}

pub(super) fn read_tag(text: &str) -> Result<Tag, ParseError> {
    text.parse().map_err(|_| ParseError::Tag { given: shown(text) })
}

/// A tag has no colon, a digest has one.
fn read_reference(text: &str) -> Result<Reference, ParseError> {
    if text.contains(':') { read_digest(text).map(Reference::Digest) } else { read_tag(text).map(Reference::Tag) }
}
