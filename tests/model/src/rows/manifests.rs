//! `content/manifests/put.rs`, `content/manifests/delete.rs` and `metadata/manifests`.

use super::{Manifest, Rows, Set, at};
use crate::{Job, Number, References, Rules, Shape, Variant};

/// Whose promises end when an administrator brings a manifest back.
const NOBODY: Number = Number::MAX;

/// The repository lacks a blob that the manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

impl Rows {
    /// `PutManifest`. `resolved` is what [`Variant::ReferencesById`] found earlier.
    ///
    /// # Errors
    /// A blob is missing or damaged.
    pub fn put(&mut self, rules: &Rules, job: &Job, resolved: Set) -> Result<(), Missing> {
        let shape = rules.shape(job.manifest);
        let holds = |digest: &Number| self.link(job.repository, *digest).is_some() && self.is_live(*digest);
        if job.references == References::Image && !shape.blobs.iter().all(holds) {
            return Err(Missing);
        }
        let by_id = rules.variant == Variant::ReferencesById;
        let named: Vec<Number> = shape.blobs.iter().copied().filter(|digest| !by_id || resolved.has(*digest)).collect();
        self.reference(rules, job.repository, &named, job.holder);
        let mut touched = self.affected(rules, job);
        let row = &mut self.manifests[at(job.repository)][at(job.manifest)];
        let brings = row.is_none();
        match row {
            Some(row) => row.deleted = false,
            None => *row = Some(Manifest { expires: None, deleted: false, resolved }),
        }
        if !(brings && job.tagged) {
            touched.insert(job.manifest);
        }
        if job.tagged {
            self.move_tag(job.repository, Some(job.manifest));
        }
        self.settle(rules, job.repository, touched);
        Ok(())
    }

    /// The first half of `Content::restore_manifest`: `deleted::kept`.
    #[must_use]
    pub fn can_come_back(&self, repository: Number, manifest: Number) -> bool {
        self.manifests[at(repository)][at(manifest)].is_some_and(|row| row.deleted && row.expires != Some(0))
    }

    /// What is rejected in the place of [`Self::restore_manifest`], and that itself.
    pub fn bring_back(&mut self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        let row = &mut self.manifests[at(repository)][at(manifest)];
        match (rules.variant, row) {
            (Variant::UndeleteFromMemory, row) => {
                let brought = Manifest { expires: None, deleted: false, resolved: Set::default() };
                let mut touched = Set::default();
                touched.insert(manifest);
                row.get_or_insert(brought).deleted = false;
                self.reference(rules, repository, rules.shape(manifest).blobs, NOBODY);
                self.settle(rules, repository, touched);
                true
            }
            (Variant::UndeleteIsAMark, Some(row)) => {
                row.deleted = false;
                true
            }
            _ => self.restore_manifest(rules, repository, manifest),
        }
    }

    /// `Content::restore_manifest`; false if it is gone, its window is over, or anything that it names is missing.
    pub fn restore_manifest(&mut self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        let shape = rules.shape(manifest);
        let rows = &self.manifests[at(repository)];
        let comes = |row: &Manifest| !row.deleted || row.expires != Some(0);
        let lives = |child: &Number| rows[at(*child)].as_ref().is_some_and(|row| !row.deleted);
        let holds = |digest: &Number| self.link(repository, *digest).is_some() && self.is_live(*digest);
        let whole = shape.blobs.iter().all(holds) && shape.children.iter().all(lives);
        if !whole || !rows[at(manifest)].as_ref().is_some_and(comes) {
            return false;
        }
        self.reference(rules, repository, shape.blobs, NOBODY);
        let job = Job { holder: NOBODY, repository, manifest, tagged: false, references: References::Image };
        let mut touched = self.affected(rules, &job);
        touched.insert(manifest);
        if let Some(row) = &mut self.manifests[at(repository)][at(manifest)] {
            row.deleted = false;
        }
        self.settle(rules, repository, touched);
        true
    }

    /// Whether a repository holds something, and no upload is open in it.
    #[must_use]
    pub fn is_whole(&self, repository: Number) -> bool {
        let holds = self.links[at(repository)].iter().any(Option::is_some);
        holds && !self.uploads.iter().flatten().any(|upload| upload.repository == repository)
    }

    /// The manifests that a push locks: those that it names, itself, what its tag leaves, and its family.
    fn affected(&self, rules: &Rules, job: &Job) -> Set {
        let shape = rules.shape(job.manifest);
        let mut affected = Set::default();
        for (manifest, row) in (0..).zip(&self.manifests[at(job.repository)]) {
            let Some(row) = row else { continue };
            let theirs = rules.shape(manifest);
            let child = shape.children.contains(&manifest) && rules.variant != Variant::ChildrenKeepTheirExpiry;
            let named = child || shape.subject == Some(manifest);
            let left = job.tagged && self.tags[at(job.repository)].target == Some(manifest);
            let waits = theirs.subject == Some(job.manifest) && row.expires.is_some();
            if named || manifest == job.manifest || left || theirs.children.contains(&job.manifest) || waits {
                affected.insert(manifest);
            }
        }
        affected
    }

    /// `manifests::settle`: manifests get the expiry that follows from what holds them.
    pub(super) fn settle(&mut self, rules: &Rules, repository: Number, manifests: Set) {
        let mut held = Set::default();
        manifests.iter().filter(|manifest| self.is_held(rules, repository, *manifest)).for_each(|it| held.insert(it));
        for manifest in manifests.iter() {
            let Some(row) = &mut self.manifests[at(repository)][at(manifest)] else { continue };
            if !row.deleted {
                row.expires = if held.has(manifest) { None } else { Some(rules.lives.grace) };
            }
        }
    }

    /// Whether a tag, a kept index or a kept subject holds a manifest.
    #[must_use]
    pub fn is_held(&self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        let rows = &self.manifests[at(repository)];
        let listed = |(index, row): (Number, &Option<Manifest>)| {
            row.is_some() && rules.shape(index).children.contains(&manifest)
        };
        self.tags[at(repository)].target == Some(manifest)
            || (0..).zip(rows).any(listed)
            || rules.shape(manifest).subject.is_some_and(|subject| rows[at(subject)].is_some())
    }

    /// `DeleteManifest`; false if there is no living one.
    pub fn delete_manifest(&mut self, rules: &Rules, repository: Number, manifest: Number, window: u8) -> bool {
        let Some(row) = self.manifests[at(repository)][at(manifest)].as_mut().filter(|row| !row.deleted) else {
            return false;
        };
        row.deleted = window > 0;
        row.expires = Some(window);
        if self.tags[at(repository)].target == Some(manifest) {
            self.move_tag(repository, None);
        }
        if window == 0 {
            self.purge_row(rules, repository, manifest);
        }
        true
    }

    /// `Purge` with `Due::AfterWindow`.
    pub fn purge(&mut self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        let due = |row: &Manifest| row.deleted && row.expires == Some(0);
        self.purge_if(rules, repository, manifest, due)
    }

    /// `Purge` with `Due::AtOnce`.
    pub fn purge_at_once(&mut self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        self.purge_if(rules, repository, manifest, |row| row.deleted)
    }

    fn purge_if(
        &mut self,
        rules: &Rules,
        repository: Number,
        manifest: Number,
        due: impl Fn(&Manifest) -> bool,
    ) -> bool {
        let due = self.manifests[at(repository)][at(manifest)].as_ref().is_some_and(due);
        if due {
            self.purge_row(rules, repository, manifest);
        }
        due
    }

    /// `manifests::purge`.
    fn purge_row(&mut self, rules: &Rules, repository: Number, manifest: Number) {
        let Shape { blobs, children, .. } = rules.shape(manifest);
        for digest in *blobs {
            if let Some(link) = &mut self.links[at(repository)][at(*digest)] {
                link.expires = Some(match rules.variant {
                    Variant::NoHold => link.expires.unwrap_or(0),
                    _ => rules.lives.promise,
                });
            }
        }
        self.manifests[at(repository)][at(manifest)] = None;
        let mut family = Set::default();
        children.iter().for_each(|child| family.insert(*child));
        for (about, row) in (0..).zip(&self.manifests[at(repository)]) {
            if row.is_some() && rules.shape(about).subject == Some(manifest) {
                family.insert(about);
            }
        }
        self.settle(rules, repository, family);
    }

    /// `manifests::find` and `manifests::renew`: what `Content::manifest` does for a pusher who asks by digest. How long the answer holds, or none.
    pub fn look_at_manifest(&mut self, rules: &Rules, repository: Number, manifest: Number) -> Option<u8> {
        let row = self.manifests[at(repository)][at(manifest)].as_mut().filter(|row| !row.deleted)?;
        if let Some(left) = &mut row.expires
            && *left < rules.lives.grace.div_ceil(2)
        {
            *left = rules.lives.grace;
        }
        Some(row.expires.unwrap_or(rules.lives.grace))
    }

    /// `Purge` with `Due::Untagged`.
    pub fn expire_manifest(&mut self, rules: &Rules, repository: Number, manifest: Number) -> bool {
        let due = |row: &Manifest| !row.deleted && row.expires == Some(0);
        self.purge_if(rules, repository, manifest, due)
    }
}
