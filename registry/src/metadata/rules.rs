//! What lifecycle rules are decided from, and where rules, runs and previews are kept.

pub mod pages;
pub mod previews;
pub mod runs;
pub mod sets;

use shared::{clock::Timestamp, digest::Digest, tag::Tag};

use super::manifests::ManifestId;

/// A tag, with everything that rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFacts {
    /// Its name.
    pub tag: Tag,
    /// How often it has moved: a tag with another version is not the one that was looked at.
    pub version: i64,
    /// What it points at.
    pub digest: Digest,
    /// When it was last pushed.
    pub pushed_at: Timestamp,
    /// When it, or what it points at, was last pulled; None if never.
    pub pulled_at: Option<Timestamp>,
    /// When what it points at was last pushed, under whatever name.
    pub manifest_pushed_at: Timestamp,
    /// What that says of how long it is to live, as it was written.
    pub expires_after: Option<String>,
}

/// A living manifest that nothing holds, with everything that rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseFacts {
    /// Its row.
    pub manifest: ManifestId,
    /// Its digest.
    pub digest: Digest,
    /// When its grace ends, or has ended.
    pub expires_at: Timestamp,
    /// When it was last pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled; None if never.
    pub pulled_at: Option<Timestamp>,
    /// What it says of how long it is to live, as it was written.
    pub expires_after: Option<String>,
}
