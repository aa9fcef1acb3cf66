//! What a collection by hand tells.

use std::fmt;

use serde::Serialize;
use shared::{clock::Timestamp, digest::Digest, openapi::text, repository::RepositoryName};
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::metadata::survey::{LinkFound, ManifestFound, Surveyed};

/// Something that happened, or would in a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schema(as = CollectionEvent)]
pub enum Event {
    /// A repository is looked at.
    Repository {
        /// Its name.
        name: RepositoryName,
    },
    /// Something stays.
    Kept {
        /// Where. What lies in the trash belongs to none.
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<RepositoryName>,
        /// What it is.
        #[serde(flatten)]
        thing: Thing,
        /// Its length in bytes.
        size: u64,
        /// Why.
        why: Kept,
    },
    /// An upload goes that nobody came back for, or that is in a repository that goes.
    Upload {
        /// Where.
        repository: RepositoryName,
        /// Which.
        upload: String,
        /// How many bytes it has received.
        size: u64,
    },
    /// Bytes go that lie in the trash.
    File {
        /// Under which key.
        key: String,
        /// How many there are.
        size: u64,
    },
    /// A manifest goes.
    Manifest {
        /// Where.
        repository: RepositoryName,
        /// Which.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// The survey is over.
    Marked {
        /// Manifests and blobs that stay; one that several repositories hold counts in each.
        kept: u64,
        /// Blobs that go.
        blobs: u64,
        /// Manifests that go.
        manifests: u64,
    },
    /// A repository loses a blob.
    Link {
        /// Which repository.
        repository: RepositoryName,
        /// Which blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// No repository holds the blob any more: its bytes go.
    Blob {
        /// Which.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// What a repository held before and loses. A blob that others hold too is lost here and stays on disk.
    Swept {
        /// Which repository.
        repository: RepositoryName,
        /// The bytes of its manifests and blobs before.
        bytes: u64,
        /// Those of them that go.
        freed: u64,
    },
    /// The end.
    Done(Totals),
    /// It broke off. What was removed before stays removed; the next run goes on.
    Failed {
        /// Why.
        detail: String,
    },
}

/// What can stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = KeptThing)]
pub enum Thing {
    /// A manifest.
    Manifest {
        /// Which.
        digest: Digest,
    },
    /// A blob.
    Blob {
        /// Which.
        digest: Digest,
    },
    /// An upload that has not come to its end.
    Upload {
        /// Which.
        upload: String,
    },
    /// Bytes in the trash.
    File {
        /// Under which key.
        key: String,
    },
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CollectionTotals)]
pub struct Totals {
    /// Whether nothing was removed: then these are what would be.
    pub dry_run: bool,
    /// Manifests that went.
    pub manifests: u64,
    /// Links that went.
    pub links: u64,
    /// Blobs that no repository holds any more.
    pub blobs: u64,
    /// Files that were deleted, those of unfinished and surplus uploads too.
    pub files: u64,
    /// Their bytes: what the disk has won.
    pub bytes: u64,
}

/// Why something stays. As JSON it is the sentence that it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Tags point at it.
    Tagged {
        /// One of them.
        tag: String,
        /// How many more there are.
        more: usize,
        /// Where.
        repository: RepositoryName,
    },
    /// A kept index lists it.
    Child(Digest),
    /// It is about a kept manifest.
    About(Digest),
    /// It can be undeleted until then.
    Undeletable(Timestamp),
    /// Nothing holds it, and it was pushed, asked for or let go lately.
    Grace(Timestamp),
    /// Nothing holds it; people may pull it by digest.
    Untagged,
    /// A kept manifest names it.
    Named(Digest),
    /// A pusher was told that it is here.
    Promised(Timestamp),
    /// Its client may go on with it until then.
    Unfinished(Timestamp),
    /// Its time is over, and a request writes it.
    Written,
    /// It lies in a store that this registry does not use.
    Elsewhere(String),
}

impl Kept {
    /// Why a manifest stays.
    pub(super) fn manifest(found: &ManifestFound, repository: &Surveyed, now: Timestamp) -> Self {
        if let Some(until) = repository.deleted_until {
            return Self::Undeletable(until);
        }
        match (found.expires_at, found.tags.split_first(), found.parent, found.subject) {
            (Some(until), ..) if found.deleted => Self::Undeletable(until),
            (_, Some((tag, others)), ..) => {
                Self::Tagged { tag: tag.clone(), more: others.len(), repository: repository.name.clone() }
            }
            (_, _, Some(parent), _) => Self::Child(parent),
            (_, _, _, Some(subject)) => Self::About(subject),
            (Some(until), ..) if until >= now => Self::Grace(until),
            _ => Self::Untagged,
        }
    }

    /// Why a blob stays; None if it does not.
    pub(super) fn blob(found: &LinkFound) -> Option<Self> {
        found.named_by.map(Self::Named).or(found.promised.map(Self::Promised))
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tagged { tag, more: 0, repository } => write!(f, "tag {tag} in {repository}"),
            Self::Tagged { tag, more, repository } => write!(f, "tag {tag} in {repository}, and {more} more"),
            Self::Child(parent) => write!(f, "child of {parent}"),
            Self::About(subject) => write!(f, "about {subject}"),
            Self::Undeletable(until) => write!(f, "in its undelete window until {until}"),
            Self::Grace(until) => write!(f, "untagged, in its grace until {until}"),
            Self::Untagged => f.write_str("untagged: it can be pulled by digest until --delete-untagged"),
            Self::Named(manifest) => write!(f, "named by {manifest}"),
            Self::Promised(until) => write!(f, "promised to a push until {until}"),
            Self::Unfinished(until) => write!(f, "unfinished: its client may go on until {until}"),
            Self::Written => f.write_str("its time is over, and a request writes it"),
            Self::Elsewhere(store) => write!(f, "in the store {store}, which this registry does not use"),
        }
    }
}

impl utoipa::PartialSchema for Kept {
    fn schema() -> RefOr<Schema> {
        text("Why something stays, as a sentence", "tag v1 in acme/web, and 2 more")
    }
}

impl ToSchema for Kept {}

impl Serialize for Kept {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
