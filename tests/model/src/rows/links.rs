//! `metadata/links.rs`, `metadata/links/collect.rs`, and the operations of `metadata/blobs.rs`.

use super::{Link, Rows, at};
use crate::{Number, Rules, Variant};

/// What a look at a blob finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is there, and the promise that runs is enough; so long it runs.
    Covered(u8),
    /// It is there, and a promise has to be written.
    ToPromise,
    /// It is not there, or damaged.
    Missing,
}

/// What became of a link that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// It is gone.
    Gone,
    /// A manifest names the blob.
    Needed,
    /// It may not go any more, or is not there.
    Left,
}

impl Rows {
    /// `blobs::find` and `Lease::covers`: what `Content::stat_blob` does for a pusher.
    #[must_use]
    pub fn look(&self, rules: &Rules, repository: Number, digest: Number, holder: Number) -> Look {
        let (Some(link), true) = (self.link(repository, digest), self.is_live(digest)) else { return Look::Missing };
        let promises_nothing = match rules.variant {
            Variant::HeadPromisesNothing => link.expires.is_none(),
            Variant::NoLease => true,
            _ => false,
        };
        if promises_nothing {
            return Look::Covered(rules.lives.promise);
        }
        let also_of = link.holder.is_none_or(|by| by == holder) || rules.variant == Variant::NoHolder;
        if also_of && link.leased >= rules.lives.promise.div_ceil(2) {
            Look::Covered(link.leased)
        } else {
            Look::ToPromise
        }
    }

    /// `PromiseBlob`; false if the blob has gone.
    pub fn promise_blob(&mut self, rules: &Rules, repository: Number, digest: Number, holder: Number) -> bool {
        self.is_live(digest) && self.renew(rules, repository, digest, holder)
    }

    /// `MountBlob`; false if the source does not have it.
    pub fn mount(&mut self, rules: &Rules, into: Number, from: Number, digest: Number, holder: Number) -> bool {
        let there = self.is_live(digest) && self.link(from, digest).is_some();
        if there {
            self.promise(rules, into, digest, holder);
        }
        there
    }

    /// `links::promise`.
    pub(super) fn promise(&mut self, rules: &Rules, repository: Number, digest: Number, holder: Number) {
        if !self.renew(rules, repository, digest, holder) {
            let life = rules.promise();
            let mut link = Link { expires: Some(life), leased: life, holder: Some(holder) };
            link.forget_holder();
            self.links[at(repository)][at(digest)] = Some(link);
        }
    }

    /// `links::renew`.
    fn renew(&mut self, rules: &Rules, repository: Number, digest: Number, holder: Number) -> bool {
        let Some(link) = self.links[at(repository)][at(digest)].as_mut() else { return false };
        let of_another = link.leased > 0 && link.holder != Some(holder);
        link.holder = if of_another && rules.variant != Variant::NoHolder { None } else { Some(holder) };
        link.leased = link.leased.max(rules.promise());
        link.expires = link.expires.map(|left| left.max(rules.promise()));
        link.forget_holder();
        true
    }

    /// `links::reference`: a manifest names these blobs from now on.
    pub(super) fn reference(&mut self, rules: &Rules, repository: Number, blobs: &[Number], holder: Number) {
        for digest in blobs {
            let Some(link) = self.links[at(repository)][at(*digest)].as_mut() else { continue };
            link.expires = None;
            if link.holder == Some(holder) || rules.variant == Variant::NoHolder {
                link.leased = 0;
            }
            link.forget_holder();
        }
    }

    /// `CollectLinks` of what has expired.
    pub fn collect_link(&mut self, rules: &Rules, repository: Number, digest: Number) -> Collected {
        match self.is_collectable(repository, digest) {
            true => self.collect(rules, repository, digest),
            false => Collected::Left,
        }
    }

    /// `CollectLinks` of what nobody was promised.
    pub fn collect_by_hand(&mut self, rules: &Rules, repository: Number, digest: Number) -> Collected {
        match self.is_unpromised(repository, digest) {
            true => self.collect(rules, repository, digest),
            false => Collected::Left,
        }
    }

    fn collect(&mut self, rules: &Rules, repository: Number, digest: Number) -> Collected {
        if self.is_named(rules, repository, digest) {
            if let Some(link) = self.links[at(repository)][at(digest)].as_mut() {
                link.expires = None;
            }
            return Collected::Needed;
        }
        self.remove_link(rules, repository, digest);
        Collected::Gone
    }

    /// What `links::collect::expired` lists.
    #[must_use]
    pub fn is_collectable(&self, repository: Number, digest: Number) -> bool {
        self.link(repository, digest).is_some_and(|link| link.expires == Some(0) && link.leased == 0)
    }

    /// What `links::collect::unpromised` lists.
    #[must_use]
    pub fn is_unpromised(&self, repository: Number, digest: Number) -> bool {
        self.link(repository, digest).is_some_and(|link| link.expires.is_some() && link.leased == 0)
    }

    /// `DeleteBlob`: the link is removed unless a manifest names it.
    pub fn remove_unnamed(&mut self, rules: &Rules, repository: Number, digest: Number) -> bool {
        let removes = self.link(repository, digest).is_some() && !self.is_named(rules, repository, digest);
        if removes {
            self.remove_link(rules, repository, digest);
        }
        removes
    }

    /// `links::remove`.
    pub(super) fn remove_link(&mut self, rules: &Rules, repository: Number, digest: Number) {
        self.links[at(repository)][at(digest)] = None;
        let last = self.links.iter().all(|links| links[at(digest)].is_none());
        if let Some(blob) = self.blobs[at(digest)].take_if(|_| last) {
            self.throw_away(blob.key, rules.lives.trash);
        }
    }

    /// A repository's link to a blob.
    #[must_use]
    pub fn link(&self, repository: Number, digest: Number) -> Option<Link> {
        self.links[at(repository)][at(digest)]
    }

    /// Whether the blob is there and nobody knows it to be damaged.
    #[must_use]
    pub fn is_live(&self, digest: Number) -> bool {
        self.blobs[at(digest)].is_some_and(|blob| !blob.damaged)
    }

    /// Whether a kept manifest of the repository names the blob: a look at `manifest_blob`.
    #[must_use]
    pub fn is_named(&self, rules: &Rules, repository: Number, digest: Number) -> bool {
        (0..).zip(&self.manifests[at(repository)]).any(|(manifest, row)| {
            row.is_some_and(|row| match rules.variant {
                Variant::ReferencesById => row.resolved.has(digest),
                _ => rules.shape(manifest).blobs.contains(&digest),
            })
        })
    }
}
