//! The tables and the store, and what each operation does to them. Times are how many ticks are left; what is over has none.

pub mod links;
pub mod manifests;
pub mod repositories;
pub mod tags;
pub mod uploads;

use crate::{DIGESTS, KEYS, MANIFESTS, Number, REPOSITORIES, UPLOADS, VERSIONS};

/// A set of small numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    /// Whether `number` is in it.
    #[must_use]
    pub const fn has(self, number: Number) -> bool {
        self.0 & (1 << number) != 0
    }

    /// Puts `number` in.
    pub const fn insert(&mut self, number: Number) {
        self.0 |= 1 << number;
    }

    /// Takes `number` out.
    pub const fn remove(&mut self, number: Number) {
        self.0 &= !(1 << number);
    }

    /// What is in it.
    pub fn iter(self) -> impl Iterator<Item = Number> {
        (0..8).filter(move |number| self.has(*number))
    }
}

/// A row of `blob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blob {
    /// `storage_key`.
    pub key: Number,
    /// `state`.
    pub damaged: bool,
}

/// A row of `link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// `expires_at`.
    pub expires: Option<u8>,
    /// `leased_until`.
    pub leased: u8,
    /// `leased_by`, while the promise runs: whose it was means nothing afterwards.
    pub holder: Option<Number>,
}

/// A row of `manifest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Manifest {
    /// `expires_at`.
    pub expires: Option<u8>,
    /// Whether `deleted_at` is set.
    pub deleted: bool,
    /// The blobs whose ids are filled in, under [`Variant::ReferencesById`](crate::Variant::ReferencesById) alone.
    pub resolved: Set,
}

/// A row of `tag`, with those of `tag_history`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// `manifest_id`.
    pub target: Option<Number>,
    /// `version`, where the scenario keeps histories.
    pub version: u8,
    /// Where it pointed at each version.
    pub history: [Option<Number>; VERSIONS],
}

/// A row of `upload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Upload {
    /// `repository_id`.
    pub repository: Number,
    /// `storage_key`.
    pub key: Number,
    /// Until `expires_at`.
    pub left: u8,
}

/// What the tables say and the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    /// `blob`, by digest.
    pub blobs: [Option<Blob>; DIGESTS],
    /// `link`, by repository and digest.
    pub links: [[Option<Link>; DIGESTS]; REPOSITORIES],
    /// `manifest`, by repository and digest.
    pub manifests: [[Option<Manifest>; MANIFESTS]; REPOSITORIES],
    /// The one tag of each repository.
    pub tags: [Tag; REPOSITORIES],
    /// `upload`.
    pub uploads: [Option<Upload>; UPLOADS],
    /// `trash`, by key: how long it still waits.
    pub trash: [Option<u8>; KEYS],
    /// The keys under which bytes lie.
    pub bytes: Set,
    /// Repositories that are deleted: how long each can still come back.
    pub hidden: [Option<u8>; REPOSITORIES],
    /// Whether the repositories have changed places: a name leads to the one that is not hidden.
    pub changed: bool,
}

/// A number as an index.
pub(crate) const fn at(number: Number) -> usize {
    number as usize
}

impl Rows {
    /// A tick passes.
    pub fn tick(&mut self) {
        let step = |left: &mut u8| *left = left.saturating_sub(1);
        for link in self.links.iter_mut().flatten().flatten() {
            link.expires.iter_mut().for_each(step);
            step(&mut link.leased);
            link.forget_holder();
        }
        self.manifests.iter_mut().flatten().flatten().for_each(|row| row.expires.iter_mut().for_each(step));
        self.uploads.iter_mut().flatten().for_each(|upload| step(&mut upload.left));
        self.trash.iter_mut().flatten().for_each(step);
        self.hidden.iter_mut().flatten().for_each(step);
    }

    /// Which keys have a row.
    #[must_use]
    pub fn keys(&self) -> Set {
        let mut keys = Set::default();
        self.blobs.iter().flatten().for_each(|blob| keys.insert(blob.key));
        self.uploads.iter().flatten().for_each(|upload| keys.insert(upload.key));
        (0..).zip(&self.trash).filter(|(_, row)| row.is_some()).for_each(|(key, _)| keys.insert(key));
        keys
    }

    /// `trash::throw_away`.
    pub(crate) fn throw_away(&mut self, key: Number, wait: u8) {
        self.trash[at(key)] = Some(wait);
    }

    /// `ForgetTrash`.
    pub fn forget_trash(&mut self, key: Number) {
        self.trash[at(key)] = None;
    }

    /// `MarkDamaged`, by a reader that found no bytes.
    pub fn mark_damaged(&mut self, digest: Number, key: Number) {
        if let Some(blob) = self.blobs[at(digest)].as_mut().filter(|blob| blob.key == key) {
            blob.damaged = true;
        }
    }
}

impl Tag {
    /// Leaves only where it points.
    pub(crate) fn forget_history(&mut self) {
        *self = Self { target: self.target, ..Self::default() };
    }
}

impl Link {
    /// Whose promise it was means nothing once it is over: two rows that differ in nothing else behave alike.
    pub(crate) const fn forget_holder(&mut self) {
        if self.leased == 0 {
            self.holder = None;
        }
    }
}
