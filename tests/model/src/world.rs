//! Who is in the middle of something: what is true of a moment beside the rows.

use crate::{
    CLIENTS, COLLECTORS, DIGESTS, KEYS, Number, Rows, Scenario, Variant,
    rows::{Set, at, uploads::Looked},
};

/// Where a pusher stands with the blob that it brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It has not looked yet.
    #[default]
    Begins,
    /// Its HEAD found the blob and has to write a promise.
    Found,
    /// Its HEAD, or its mount, was told that the blob is not there.
    Absent,
    /// Its upload has a row.
    Started(Number),
    /// Its bytes are in the store, whole, verified and synced.
    Written(Number),
    /// Finish was told to look at the bytes under this key.
    Told(Number, Number),
    /// It has looked.
    Looked(Number, Looked),
    /// It has brought every blob, and found the manifests that are there.
    Ready,
    /// It has looked up the ids of blobs, under [`Variant::ReferencesById`] alone.
    Resolved(Set),
}

/// A pusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// Which of its jobs it is at.
    pub job: u8,
    /// Which of the manifest's blobs it brings.
    pub blob: u8,
    /// How far it is with that one.
    pub stage: Stage,
    /// How long what it was told about a blob of its manifest still holds.
    pub promised: [u8; DIGESTS],
    /// How long what it was told about a child of its manifest still holds, child by child.
    pub promised_children: [u8; 2],
}

/// A collector, as far as it does something that takes more than one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Collector {
    /// Nothing.
    #[default]
    Idle,
    /// It has read that a key lies in the trash, and asks the store to delete it.
    Deletes(Number),
    /// The bytes are gone, their row is still there.
    Deleted(Number),
    /// Under [`Variant::BytesFirst`] alone: it found that the link of this repository to this digest can go, and with it the bytes under the key.
    Reviewed(Number, Number, Number),
    /// Under [`Variant::BytesFirst`] alone: it deleted the bytes of that link's blob.
    BytesGone(Number, Number),
}

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// What the tables say and the store holds.
    pub rows: Rows,
    /// The pushers.
    pub clients: [Client; CLIENTS],
    /// The collectors.
    pub collectors: [Collector; COLLECTORS],
    /// Keys whose deletion somebody asked for who has crashed since: the store may still carry it out.
    pub late: Set,
    /// The manifest of a repository, by its name, that an administrator has read and is about to bring back.
    pub undeleting: Option<(Number, Number)>,
    /// How often a repository was deleted, where steps are fine: a push that loses its repository each time would go on for ever.
    pub deletions: u8,
    /// Keys whose bytes the disk has lost.
    pub lost: Set,
    /// Whether the disk has done so.
    pub disk_failed: bool,
    /// What happened in one step and cannot be seen in rows.
    pub broken: Broken,
}

/// Promises that a step broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken {
    /// A manifest was refused for want of a blob that was promised to its pusher.
    pub push: bool,
    /// A link was collected that a kept manifest names.
    pub reference: bool,
    /// A manifest expired that something held.
    pub hold: bool,
    /// A push of a digest ended well and left it without bytes.
    pub healing: bool,
    /// An upload met bytes under its key.
    pub key: bool,
}

impl World {
    /// Keys that somebody or something still speaks of.
    pub(crate) fn known_keys(&self) -> Set {
        let mut keys = self.rows.keys();
        self.rows.bytes.iter().chain(self.late.iter()).for_each(|key| keys.insert(key));
        for client in &self.clients {
            match client.stage {
                Stage::Told(_, key) | Stage::Looked(_, Looked { key, .. }) => keys.insert(key),
                _ => {}
            }
        }
        for collector in &self.collectors {
            match collector {
                Collector::Deletes(key) | Collector::Deleted(key) | Collector::Reviewed(.., key) => keys.insert(*key),
                Collector::Idle | Collector::BytesGone(..) => {}
            }
        }
        keys
    }

    /// A key for an upload of `digest`: one that nobody speaks of any more, which nobody can tell from one that never was. None where the scenario has no
    /// room.
    pub(crate) fn draw_key(&self, scenario: &Scenario, digest: Number) -> Option<Number> {
        if scenario.rules.variant == Variant::ReusedKeys {
            return Some(digest);
        }
        let known = self.known_keys();
        (0..).take(KEYS).find(|key| !known.has(*key))
    }

    /// Whether a pusher works on the upload: a collector of the same process leaves it.
    pub(crate) fn is_busy(&self, upload: Number) -> bool {
        self.clients.iter().any(|client| client.upload() == Some(upload))
    }

    /// Whether the bytes of a blob are there, or would be if the disk had not lost them.
    #[must_use]
    pub fn has_bytes(&self, digest: Number) -> bool {
        self.rows.blobs[at(digest)].is_some_and(|blob| self.rows.bytes.has(blob.key) || self.lost.has(blob.key))
    }
}

impl Client {
    /// The upload that it works on.
    #[must_use]
    pub const fn upload(&self) -> Option<Number> {
        match self.stage {
            Stage::Started(upload) | Stage::Written(upload) | Stage::Told(upload, _) | Stage::Looked(upload, _) => {
                Some(upload)
            }
            _ => None,
        }
    }
}
