//! Media types: any that is syntactically valid is accepted, a few are understood.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;

/// The longest name on either side of the slash, in bytes (RFC 6838 section 4.2).
const MAX_NAME_BYTES: usize = 127;

/// A media type without its parameters, spelled as it came. Two that differ in case only are equal.
#[derive(Clone)]
pub struct MediaType(Arc<str>);

/// What a manifest is, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A config and layers: OCI image manifest or Docker schema 2 manifest.
    Image,
    /// A list of manifests: OCI image index or Docker manifest list.
    Index,
    /// Docker's first schema, which is refused.
    Schema1,
    /// Anything else.
    Other,
}

/// Text that is not `type/subtype` as RFC 6838 section 4.2 spells it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a media type")]
pub struct InvalidMediaType(String);

impl MediaType {
    /// The OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// The OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const SCHEMA1_PREFIX: &'static str = "application/vnd.docker.distribution.manifest.v1+";

    /// `type/subtype`, spelled as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a manifest of this type is.
    #[must_use]
    pub fn shape(&self) -> Shape {
        shape_of(&self.0)
    }
}

/// [`MediaType::shape`] for text that need not be a media type at all.
pub(super) fn shape_of(text: &str) -> Shape {
    let is = |known: &str| text.eq_ignore_ascii_case(known);
    if is(MediaType::OCI_MANIFEST) || is(MediaType::DOCKER_MANIFEST) {
        return Shape::Image;
    }
    if is(MediaType::OCI_INDEX) || is(MediaType::DOCKER_LIST) {
        return Shape::Index;
    }
    let schema1 = MediaType::SCHEMA1_PREFIX.as_bytes();
    match text.as_bytes().get(..schema1.len()) {
        Some(start) if start.eq_ignore_ascii_case(schema1) => Shape::Schema1,
        _ => Shape::Other,
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    /// Reads a `Content-Type` value or a `mediaType` member; parameters are dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let essence = text.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        match essence.split_once('/') {
            Some((kind, subtype)) if is_restricted_name(kind) && is_restricted_name(subtype) => {
                Ok(Self(essence.into()))
            }
            _ => Err(InvalidMediaType(text.chars().take(MAX_NAME_BYTES).collect())),
        }
    }
}

fn is_restricted_name(name: &str) -> bool {
    let punctuation = |byte: u8| b"!#$&-^_.+".contains(&byte);
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation(byte))
}

impl PartialEq for MediaType {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for MediaType {}

impl Hash for MediaType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.bytes().for_each(|byte| byte.to_ascii_lowercase().hash(state));
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaType({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn media_type(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    #[test]
    fn parameters_are_dropped_and_case_does_not_matter() {
        let pushed = media_type("Application/vnd.OCI.image.manifest.v1+json ; charset=utf-8");
        assert_eq!(pushed.as_str(), "Application/vnd.OCI.image.manifest.v1+json");
        assert_eq!(pushed, media_type(MediaType::OCI_MANIFEST));
        assert_eq!(pushed.shape(), Shape::Image);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(name in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}") {
            let read = media_type(&name);
            prop_assert_eq!(read.as_str(), &name);
            prop_assert_eq!(media_type(&read.to_string()), read);
        }

        #[test]
        fn any_text_is_a_media_type_or_none(text in "\\PC{0,20}/?\\PC{0,20}") {
            if let Ok(read) = text.parse::<MediaType>() {
                prop_assert_eq!(media_type(read.as_str()), read);
            }
        }
    }

    #[test]
    fn known_kinds() {
        assert_eq!(media_type(MediaType::DOCKER_MANIFEST).shape(), Shape::Image);
        assert_eq!(media_type(MediaType::OCI_INDEX).shape(), Shape::Index);
        assert_eq!(media_type(MediaType::DOCKER_LIST).shape(), Shape::Index);
        assert_eq!(media_type("application/vnd.docker.distribution.manifest.v1+prettyjws").shape(), Shape::Schema1);
        assert_eq!(media_type("application/vnd.oci.artifact.manifest.v1+json").shape(), Shape::Other);
    }

    #[test]
    fn malformed() {
        let long = format!("a/{}", "b".repeat(MAX_NAME_BYTES + 1));
        for text in ["", "/", "json", "a/", "/b", "a/b/c", "a b/c", "a/b\r\nX: y", "ä/b", "*/*", ";", long.as_str()] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
        assert!(format!("a/{}", "b".repeat(MAX_NAME_BYTES)).parse::<MediaType>().is_ok());
    }
}
