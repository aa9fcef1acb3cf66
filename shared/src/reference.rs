//! What names a manifest within a repository: a tag or a digest.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    digest::{Digest, DigestError},
    tag::{Tag, TagError},
    text::serde_as_text,
};

/// A tag or a digest (OCI distribution specification, `<reference>`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By name; what it stands for may change.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

/// Why a text is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Without a colon it can only be a tag, and is none.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// With a colon it can only be a digest, and is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

serde_as_text!(Reference);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{digest::tests::digests, tag};

    #[test]
    fn the_colon_decides_what_a_reference_is() {
        assert_eq!("sha256:abc".parse::<Reference>(), Err(ReferenceError::Digest(DigestError::Malformed)));
        assert_eq!("md5:abc".parse::<Reference>(), Err(ReferenceError::Digest(DigestError::UnsupportedAlgorithm)));
        assert_eq!("-latest".parse::<Reference>(), Err(ReferenceError::Tag(TagError)));
        assert_eq!("".parse::<Reference>(), Err(ReferenceError::Tag(TagError)));
        assert_eq!("latest".parse(), Ok(Reference::Tag("latest".parse().unwrap())));
    }

    fn references() -> impl Strategy<Value = Reference> {
        let tags = tag::tests::GRAMMAR.prop_map(|text| Reference::Tag(text.parse().unwrap()));
        prop_oneof![tags, digests().prop_map(Reference::Digest)]
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(reference in references()) {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            let json = serde_json::to_string(&reference).unwrap();
            prop_assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
        }
    }
}
