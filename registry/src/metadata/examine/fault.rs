//! What can be wrong, each with the invariant that it breaks (design.md section 6), and as a sentence for whoever has to deal with it.
//!
//! Names and digests are text here: what is wrong with a row may be that nothing else can be made of it.

use std::fmt;

use serde::Serialize;
use shared::clock::Timestamp;
use utoipa::ToSchema;

use crate::metadata::{BlobId, NamespaceId, RepositoryId, manifests::ManifestId};

/// What a fault breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
pub enum Invariant {
    /// A live blob has its bytes, of its size, hashing to its digest; a manifest has its payload.
    I1,
    /// No bytes without a row.
    I2,
    /// A manifest's references are recorded, and readable until it is deleted.
    I3,
    /// No link without a blob, no blob without a link.
    I4,
    /// One row for a digest.
    I5,
    /// A storage key is used once.
    I6,
    /// A promise is kept, and none is longer than promises are. What breaks one is a fault of its blob (I1), which tells of it.
    I7,
    /// A tag points at a living manifest; its history has no gap and ends where it points.
    I8,
    /// Nothing is read that the repository does not hold.
    I9,
    /// What a namespace is said to use and to reserve is what it does.
    I10,
    /// What an upload received is stored and hashed.
    I11,
    /// The referrers of a manifest are those that say they are.
    I12,
    /// What nothing holds can expire, and what something holds cannot.
    Expiry,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expiry => f.write_str("expiry"),
            numbered => fmt::Debug::fmt(numbered, f),
        }
    }
}

/// A blob, and who would miss it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfBlob {
    /// Its row.
    pub blob: BlobId,
    /// What its bytes should hash to.
    pub digest: String,
    /// Where they should lie.
    pub key: String,
    /// How many there should be.
    pub size: u64,
    /// Some of those that name it, as `repository:tag` or `repository@digest`.
    pub named_by: Vec<String>,
    /// Until when somebody who pushes was told that it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised_until: Option<Timestamp>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfManifest {
    /// Its row.
    pub manifest: ManifestId,
    /// Its repository's row,
    pub repository_id: RepositoryId,
    /// and name, as far as it has one.
    pub repository: String,
    /// Which it is.
    pub digest: String,
}

/// A tag, or the history of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfTag {
    /// Its repository's row,
    pub repository_id: RepositoryId,
    /// and name, as far as it has one.
    pub repository: String,
    /// Its name.
    pub tag: String,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfLink {
    /// Its repository's row,
    pub repository_id: RepositoryId,
    /// and name, if there is such a repository.
    pub repository: Option<String>,
    /// Its blob's row,
    pub blob: BlobId,
    /// and digest, if there is such a blob.
    pub digest: Option<String>,
}

/// What a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// A config or a layer.
    Blob,
    /// A manifest in an index.
    Child,
}

/// A reference of a manifest, by the manifest and the digest that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OfReference {
    /// Who names it.
    #[serde(flatten)]
    pub of: OfManifest,
    /// What is named,
    pub named: String,
    /// and as what.
    pub reference: Reference,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A live blob has no bytes.
    BytesMissing(OfBlob),
    /// A live blob's bytes are too few or too many.
    BytesWrongSize {
        /// Which.
        #[serde(flatten)]
        of: OfBlob,
        /// How many there are.
        found: u64,
    },
    /// A live blob's bytes are others than were pushed.
    BytesDiffer {
        /// Which.
        #[serde(flatten)]
        of: OfBlob,
        /// What they hash to.
        found: String,
    },
    /// The bytes cannot be read to their end.
    BytesUnreadable {
        /// Which.
        #[serde(flatten)]
        of: OfBlob,
        /// Why.
        reason: String,
    },
    /// A blob that is known to be damaged, and that nobody has pushed again.
    Damaged(OfBlob),
    /// A blob that was said to be damaged, and whose bytes are right: the disk is back, or somebody brought them.
    SoundAgain(OfBlob),
    /// A manifest has no payload.
    PayloadMissing(OfManifest),
    /// A manifest's payload is another than was pushed.
    PayloadDiffers {
        /// Which.
        #[serde(flatten)]
        of: OfManifest,
        /// What is there: digest and length.
        found: String,
    },
    /// Bytes that no row knows.
    StrayBytes {
        /// Where they lie.
        key: String,
        /// How many there are.
        size: u64,
    },
    /// A living manifest needs a blob that its repository does not hold.
    ReferenceMissing(OfReference),
    /// A manifest names something, and no row says so: nothing would keep it.
    ReferenceUnrecorded(OfReference),
    /// A row says that a manifest names something, and it does not.
    ReferenceUnfounded(OfReference),
    /// A row says what a manifest names that is not there, or is in another repository.
    ReferenceOrphaned {
        /// The repository whose row it is.
        repository_id: RepositoryId,
        /// The manifest.
        manifest: ManifestId,
        /// What is named,
        named: String,
        /// and as what.
        reference: Reference,
    },
    /// A link to a blob that is not there.
    LinkWithoutBlob(OfLink),
    /// A blob that no repository holds.
    BlobWithoutLink(OfBlob),
    /// Two rows for one digest.
    DigestTwice(OfBlob),
    /// A digest that is none.
    DigestInvalid(OfBlob),
    /// A key that two rows have.
    KeyTwice {
        /// Which.
        key: String,
        /// What one of the rows is about,
        is: KeyOf,
        /// and the other.
        and: KeyOf,
    },
    /// A promise, or an expiry, further ahead than any is given.
    PromiseTooLong(OfLink),
    /// A tag points at what is not there, or deleted.
    TagWithoutManifest(OfTag),
    /// A tag's history has a gap, or does not end where the tag points.
    HistoryBroken {
        /// Whose.
        #[serde(flatten)]
        of: OfTag,
        /// What is wrong with it.
        reason: String,
    },
    /// A history without its tag.
    HistoryWithoutTag(OfTag),
    /// A tag points at a manifest of another repository.
    TagElsewhere(OfTag),
    /// A link of a repository that is not there.
    LinkWithoutRepository(OfLink),
    /// Memory answers what the tables do not say.
    RememberedWrongly {
        /// In which repository.
        repository: String,
        /// For which tag or digest.
        reference: String,
    },
    /// A namespace's use is counted wrong.
    UsageWrong {
        /// Its row.
        namespace_id: NamespaceId,
        /// Its name.
        namespace: String,
        /// Bytes that are said to be used; None if nothing is said.
        used: Option<i64>,
        /// Bytes that are used.
        counted: i64,
        /// Bytes that are said to be reserved.
        reserved: Option<i64>,
        /// Bytes that uploads have reserved.
        counted_reserved: i64,
    },
    /// How many repositories of a namespace link a blob is counted wrong.
    SharesWrong {
        /// Its row.
        namespace_id: NamespaceId,
        /// Which blob.
        blob: BlobId,
        /// How many are said to.
        links: i64,
        /// How many do.
        counted: i64,
    },
    /// An upload has fewer bytes than it received.
    UploadShort {
        /// Its row,
        #[serde(skip)]
        id: i64,
        /// and who wrote it last.
        #[serde(skip)]
        writer: i64,
        /// Which.
        upload: String,
        /// Where.
        repository: String,
        /// How many it received.
        received: u64,
        /// How many there are.
        found: u64,
    },
    /// The state of an upload's hash is not behind the bytes that it received.
    UploadHashWrong {
        /// Its row,
        #[serde(skip)]
        id: i64,
        /// and who wrote it last.
        #[serde(skip)]
        writer: i64,
        /// Which.
        upload: String,
        /// Where.
        repository: String,
        /// How many it received.
        received: u64,
        /// What is wrong with the state.
        reason: String,
    },
    /// What a manifest is about, or its type, is recorded wrong.
    SubjectWrong {
        /// Which.
        #[serde(flatten)]
        of: OfManifest,
        /// What is recorded: subject, artifact type and annotations.
        recorded: [Option<String>; 3],
        /// What the payload says.
        named: [Option<String>; 3],
    },
    /// An answer about referrers is not what payloads and lists say.
    ReferrersWrong {
        /// In which repository.
        repository: String,
        /// About what.
        about: String,
        /// Which referrer.
        referrer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A link that nothing needs, and that cannot expire.
    LinkStuck(OfLink),
    /// A manifest that can expire although something holds it, or cannot although nothing does.
    ManifestExpiry {
        /// Which.
        #[serde(flatten)]
        of: OfManifest,
        /// Whether something holds it.
        held: bool,
    },
    /// A deleted manifest that is never purged.
    DeletedForEver(OfManifest),
}

/// Whose a storage key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOf {
    /// A blob's.
    Blob,
    /// An upload's.
    Upload,
    /// The trash's.
    Trash,
}

impl Fault {
    /// What it breaks.
    #[must_use]
    pub const fn invariant(&self) -> Invariant {
        match self {
            Self::BytesMissing(_)
            | Self::BytesWrongSize { .. }
            | Self::BytesDiffer { .. }
            | Self::BytesUnreadable { .. }
            | Self::Damaged(_)
            | Self::SoundAgain(_)
            | Self::PayloadMissing(_)
            | Self::PayloadDiffers { .. } => Invariant::I1,
            Self::StrayBytes { .. } => Invariant::I2,
            Self::ReferenceMissing(_)
            | Self::ReferenceUnrecorded(_)
            | Self::ReferenceUnfounded(_)
            | Self::ReferenceOrphaned { .. } => Invariant::I3,
            Self::LinkWithoutBlob(_) | Self::BlobWithoutLink(_) => Invariant::I4,
            Self::DigestTwice(_) | Self::DigestInvalid(_) => Invariant::I5,
            Self::KeyTwice { .. } => Invariant::I6,
            Self::PromiseTooLong(_) => Invariant::I7,
            Self::TagWithoutManifest(_) | Self::HistoryBroken { .. } | Self::HistoryWithoutTag(_) => Invariant::I8,
            Self::TagElsewhere(_) | Self::LinkWithoutRepository(_) | Self::RememberedWrongly { .. } => Invariant::I9,
            Self::UsageWrong { .. } | Self::SharesWrong { .. } => Invariant::I10,
            Self::UploadShort { .. } | Self::UploadHashWrong { .. } => Invariant::I11,
            Self::SubjectWrong { .. } | Self::ReferrersWrong { .. } => Invariant::I12,
            Self::LinkStuck(_) | Self::ManifestExpiry { .. } | Self::DeletedForEver(_) => Invariant::Expiry,
        }
    }

    /// What it is about. Two looks at one fault give the same, although numbers in it may have moved on.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::BytesMissing(of)
            | Self::BytesWrongSize { of, .. }
            | Self::BytesDiffer { of, .. }
            | Self::BytesUnreadable { of, .. }
            | Self::Damaged(of)
            | Self::SoundAgain(of)
            | Self::BlobWithoutLink(of)
            | Self::DigestTwice(of)
            | Self::DigestInvalid(of) => format!("blob {} {} under {}", of.blob.0, of.digest, of.key),
            Self::PayloadMissing(of)
            | Self::PayloadDiffers { of, .. }
            | Self::SubjectWrong { of, .. }
            | Self::ManifestExpiry { of, .. }
            | Self::DeletedForEver(of) => of.to_string(),
            Self::StrayBytes { key, .. } | Self::KeyTwice { key, .. } => format!("key {key}"),
            Self::ReferenceMissing(of) | Self::ReferenceUnrecorded(of) | Self::ReferenceUnfounded(of) => {
                format!("{} of {}", of.named, of.of)
            }
            Self::ReferenceOrphaned { repository_id, manifest, named, .. } => {
                format!("{named} of manifest {} in repository {}", manifest.0, repository_id.0)
            }
            Self::LinkWithoutBlob(of)
            | Self::PromiseTooLong(of)
            | Self::LinkWithoutRepository(of)
            | Self::LinkStuck(of) => of.to_string(),
            Self::TagWithoutManifest(of)
            | Self::HistoryBroken { of, .. }
            | Self::HistoryWithoutTag(of)
            | Self::TagElsewhere(of) => format!("tag {}:{}", of.repository, of.tag),
            Self::RememberedWrongly { repository, reference } => format!("{reference} in {repository}"),
            Self::ReferrersWrong { repository, about, referrer, .. } => {
                format!("{referrer} among the referrers of {about} in {repository}")
            }
            Self::UsageWrong { namespace, .. } => format!("namespace {namespace}"),
            Self::SharesWrong { namespace_id, blob, .. } => {
                format!("blob {} in namespace {}", blob.0, namespace_id.0)
            }
            Self::UploadShort { upload, repository, .. } | Self::UploadHashWrong { upload, repository, .. } => {
                format!("upload {upload} in {repository}")
            }
        }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        // The tag under which it is serialized: one list of names, not two.
        let value = serde_json::to_value(self).unwrap_or_default();
        value["fault"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether both are the same fault of the same thing.
    #[must_use]
    pub fn is_again(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.subject() == other.subject()
    }
}

impl fmt::Display for OfManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "manifest {}@{}", self.repository, self.digest)
    }
}

impl fmt::Display for OfLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("link of ")?;
        match &self.repository {
            Some(name) => f.write_str(name)?,
            None => write!(f, "repository {}", self.repository_id.0)?,
        }
        match &self.digest {
            Some(digest) => write!(f, " to {digest}"),
            None => write!(f, " to blob {}", self.blob.0),
        }
    }
}

/// What it is about, then what is wrong with it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.subject())?;
        match self {
            Self::BytesMissing(of) => write!(f, "its bytes are gone{}", Needed(of)),
            Self::BytesWrongSize { of, found } => write!(f, "{found} bytes, {} were pushed{}", of.size, Needed(of)),
            Self::BytesDiffer { of, found } => write!(f, "its bytes hash to {found}{}", Needed(of)),
            Self::BytesUnreadable { of, reason } => write!(f, "its bytes cannot be read: {reason}{}", Needed(of)),
            Self::Damaged(of) => write!(f, "known to be damaged, and not pushed again{}", Needed(of)),
            Self::SoundAgain(_) => f.write_str("it was said to be damaged, and its bytes are right"),
            Self::PayloadMissing(_) => f.write_str("it has no payload"),
            Self::PayloadDiffers { found, .. } => write!(f, "its payload is another: {found}"),
            Self::StrayBytes { size, .. } => write!(f, "{size} bytes that no row knows"),
            Self::ReferenceMissing(_) => f.write_str("the repository does not hold it"),
            Self::ReferenceUnrecorded(_) => f.write_str("named, and no row says so"),
            Self::ReferenceUnfounded(_) => f.write_str("a row says that it is named, and it is not"),
            Self::ReferenceOrphaned { .. } => f.write_str("there is no such manifest"),
            Self::LinkWithoutBlob(_) => f.write_str("there is no such blob"),
            Self::BlobWithoutLink(of) => write!(f, "no repository holds its {} bytes", of.size),
            Self::DigestTwice(_) => f.write_str("another row has this digest"),
            Self::DigestInvalid(_) => f.write_str("this is no digest"),
            Self::KeyTwice { is, and, .. } => write!(f, "the key of {is} and of {and}"),
            Self::PromiseTooLong(_) => f.write_str("promised for longer than anything is"),
            Self::TagWithoutManifest(_) => f.write_str("it points at nothing that lives"),
            Self::HistoryBroken { reason, .. } | Self::ReferrersWrong { reason, .. } => f.write_str(reason),
            Self::HistoryWithoutTag(_) => f.write_str("there is a history and no tag"),
            Self::TagElsewhere(_) => f.write_str("it points into another repository"),
            Self::LinkWithoutRepository(_) => f.write_str("there is no such repository"),
            Self::RememberedWrongly { .. } => f.write_str("memory answers what is not so"),
            Self::UsageWrong { used, counted, reserved, counted_reserved, .. } => {
                let said = |said: &Option<i64>| said.map_or_else(|| "nothing".to_owned(), |bytes| bytes.to_string());
                write!(f, "said to use {} bytes and to reserve {}", said(used), said(reserved))?;
                write!(f, "; it uses {counted} and reserves {counted_reserved}")
            }
            Self::SharesWrong { links, counted, .. } => {
                write!(f, "said to be linked by {links} repositories, linked by {counted}")
            }
            Self::UploadShort { received, found, .. } => write!(f, "received {received} bytes, and has {found}"),
            Self::UploadHashWrong { received, reason, .. } => write!(f, "received {received} bytes, and {reason}"),
            Self::SubjectWrong { .. } => f.write_str("what it is about is recorded wrong"),
            Self::LinkStuck(_) => f.write_str("nothing needs it, and it cannot expire"),
            Self::ManifestExpiry { held: true, .. } => f.write_str("something holds it, and it can expire"),
            Self::ManifestExpiry { held: false, .. } => f.write_str("nothing holds it, and it cannot expire"),
            Self::DeletedForEver(_) => f.write_str("deleted, and never purged"),
        }
    }
}

/// Who would miss a blob.
struct Needed<'b>(&'b OfBlob);

impl fmt::Display for Needed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OfBlob { named_by, promised_until, .. } = self.0;
        if !named_by.is_empty() {
            write!(f, "; named by {}", named_by.join(", "))?;
        }
        promised_until.map_or(Ok(()), |until| write!(f, "; promised to a push until {until}"))
    }
}

impl fmt::Display for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blob => "a blob",
            Self::Upload => "an upload",
            Self::Trash => "trash",
        })
    }
}
