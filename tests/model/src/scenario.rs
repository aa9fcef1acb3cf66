//! What bounds a walk: who is there, what they push, how long things last, and which protocol they follow.

use crate::{Number, REPOSITORIES};

/// The protocol, or one of those that were rejected because of what they lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What the SQL says.
    AsWritten,
    /// Rejected: the collector deletes bytes before it deletes their rows.
    BytesFirst,
    /// Rejected: bytes lie under a key made of their digest, so that two uploads of one digest share it.
    ReusedKeys,
    /// Rejected: a link whose last reference goes may be collected at once.
    NoHold,
    /// Rejected: a manifest names its blobs by the ids that it finds, and an upload fills in what was missing where it finds that.
    ReferencesById,
    /// Rejected: nobody is promised anything.
    NoLease,
    /// Rejected: a promise belongs to nobody, so every manifest ends it.
    NoHolder,
    /// Rejected: a look at a blob that a manifest names promises nothing, because it is safe anyway.
    HeadPromisesNothing,
    /// Rejected: an index takes its children as they are, and leaves them the end they have.
    ChildrenKeepTheirExpiry,
    /// Rejected: an undelete writes down what it has read, without another look at what is still there.
    UndeleteFromMemory,
    /// Rejected: an undelete only takes the mark of the deletion away.
    UndeleteIsAMark,
    /// Rejected: a repository whose purge by hand has begun can come back while its window is open.
    PurgeLeavesTheWindow,
    /// Rejected: the purge of a repository removes links first, because bytes are what is wanted.
    PurgeLinksFirst,
}

/// How long things last, in ticks. A tick is any span of time in which nothing else runs out.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// A promise, and a link behind its last reference.
    pub promise: u8,
    /// A manifest that nothing holds.
    pub grace: u8,
    /// How long a deleted manifest can come back; 0 purges it at once.
    pub window: u8,
    /// How long bytes lie in the trash.
    pub trash: u8,
    /// How long an upload waits.
    pub upload: u8,
}

/// Everything that lasts lasts until the next tick, and nothing waits: the most that a collector can dare.
pub const SHORTEST: Lives = Lives { promise: 1, grace: 1, window: 0, trash: 0, upload: 1 };

/// What a manifest names.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blobs.
    pub blobs: &'static [Number],
    /// Manifests that it lists.
    pub children: &'static [Number],
    /// The manifest that it is about.
    pub subject: Option<Number>,
}

/// What a manifest may name that the repository does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// Children.
    Image,
    /// Anything.
    Lenient,
}

/// One push, from the first look at a blob to the answer for the manifest.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Whose promises they are.
    pub holder: Number,
    /// Where to.
    pub repository: Number,
    /// What.
    pub manifest: Number,
    /// Whether the tag moves to it.
    pub tagged: bool,
    /// What may be missing.
    pub references: References,
}

/// What somebody may do beside pushing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Delete manifests.
    DeleteManifests,
    /// Bring manifests and repositories back, each in one step. A search takes them apart: see [`Power::Undelete`] and [`Power::DeleteRepositories`].
    Restore,
    /// Bring manifests back in two steps: they are read, and something may happen before they are written.
    Undelete,
    /// Delete repositories and bring them back. There is one name then, and two repositories can have had it.
    DeleteRepositories,
    /// Delete the tag.
    DeleteTags,
    /// Delete blobs.
    DeleteBlobs,
    /// Collect by hand.
    CollectByHand,
    /// Purge manifests that nothing held for their grace.
    ExpireManifests,
    /// Look at a blob and write the promise in one step. A search needs no such step: it takes one behind the other anyway.
    LookAndPromise,
    /// Ask for manifests by digest before pushing what lists them.
    LookAtManifests,
    /// Push blobs only, by mounting, uploading and giving up at any moment.
    GiveUp,
    /// Cancel uploads.
    Cancel,
    /// Lose bytes to the disk, once.
    LoseBytes,
}

/// The part of a scenario that operations depend on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which protocol.
    pub variant: Variant,
    /// How long things last.
    pub lives: Lives,
    /// What the manifests name.
    pub shapes: &'static [Shape],
}

impl Rules {
    /// What a manifest names.
    #[must_use]
    pub const fn shape(&self, manifest: Number) -> &'static Shape {
        &self.shapes[manifest as usize]
    }

    /// How long a promise is given.
    #[must_use]
    pub fn promise(&self) -> u8 {
        if self.variant == Variant::NoLease { 0 } else { self.lives.promise }
    }
}

/// How finely the steps of uploads and of the trash are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Every operation and every call of the store.
    Fine,
    /// An upload from its start to its end is one step, and so is what becomes of a key in the trash.
    Coarse,
}

/// A bounded world.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// What operations do.
    pub rules: Rules,
    /// How many repositories there are.
    pub repositories: usize,
    /// How many digests there are.
    pub digests: usize,
    /// What each pusher pushes, one after the other.
    pub clients: &'static [&'static [Job]],
    /// How many collectors there are.
    pub collectors: usize,
    /// How finely steps are told apart.
    pub grain: Grain,
    /// What else can happen.
    pub powers: &'static [Power],
    /// Whether histories of tags are kept, which bounds how often they move.
    pub histories: bool,
}

impl Scenario {
    /// The same under another protocol.
    #[must_use]
    pub const fn under(mut self, variant: Variant) -> Self {
        self.rules.variant = variant;
        self
    }

    /// How many repositories can be there at once, those included that nobody sees.
    #[must_use]
    pub fn slots(&self) -> usize {
        if self.allows(Power::DeleteRepositories) { REPOSITORIES } else { self.repositories }
    }

    /// Whether somebody may do this.
    #[must_use]
    pub fn allows(&self, power: Power) -> bool {
        self.powers.contains(&power)
    }
}
