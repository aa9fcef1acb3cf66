//! `lifecycle/repositories.rs` and `metadata/repositories/deletion.rs`.

use super::{Rows, Tag, at};
use crate::{Number, Rules, Variant};

impl Rows {
    /// The repository that has a name.
    #[must_use]
    pub fn slot(&self, name: Number) -> Number {
        if self.changed { 1 - name } else { name }
    }

    /// Whether there is nothing of a repository, not even its row.
    fn is_free(&self, repository: Number) -> bool {
        self.hidden[at(repository)].is_none() && self.is_empty(repository)
    }

    fn is_empty(&self, repository: Number) -> bool {
        self.links[at(repository)].iter().all(Option::is_none)
            && self.manifests[at(repository)].iter().all(Option::is_none)
            && self.tags[at(repository)] == Tag::default()
            && !self.has_uploads(repository)
    }

    fn has_uploads(&self, repository: Number) -> bool {
        self.uploads.iter().flatten().any(|upload| upload.repository == repository)
    }

    /// `DeleteRepository`; false if there is none, or no room for another of its name.
    pub fn delete_repository(&mut self, rules: &Rules, name: Number) -> bool {
        let slot = self.slot(name);
        let deletes = !self.is_empty(slot) && self.is_free(1 - slot);
        if deletes {
            self.hide(rules, slot);
        }
        deletes
    }

    /// `RestoreRepository`, with force: the one that has the name by now is deleted for it. False if none can come back.
    pub fn restore_repository(&mut self, rules: &Rules, name: Number) -> bool {
        let (living, hidden) = (self.slot(name), 1 - self.slot(name));
        let comes = self.hidden[at(hidden)].is_some_and(|left| left > 0);
        if comes {
            if !self.is_empty(living) {
                self.hide(rules, living);
            } else {
                self.changed = !self.changed;
            }
            self.hidden[at(hidden)] = None;
        }
        comes
    }

    /// `deletion::hide`.
    fn hide(&mut self, rules: &Rules, repository: Number) {
        self.hidden[at(repository)] = Some(rules.lives.window);
        self.changed = !self.changed;
        self.uploads.iter_mut().flatten().filter(|it| it.repository == repository).for_each(|it| it.left = 0);
    }

    /// `PurgeRepository`, and the links that go between its steps: one of them. False if it is not due.
    pub fn purge_repository(&mut self, rules: &Rules, repository: Number, at_once: bool) -> bool {
        let due = self.hidden[at(repository)].is_some_and(|left| at_once || left == 0);
        if due {
            if rules.variant != Variant::PurgeLeavesTheWindow {
                self.hidden[at(repository)] = Some(0);
            }
            self.purge_step(rules, repository);
        }
        due
    }

    fn purge_step(&mut self, rules: &Rules, repository: Number) {
        let link = (0..).zip(&self.links[at(repository)]).find(|(_, link)| link.is_some()).map(|(digest, _)| digest);
        let manifest = self.manifests[at(repository)].iter().position(Option::is_some);
        match (manifest, link) {
            (_, Some(digest)) if rules.variant == Variant::PurgeLinksFirst => {
                self.remove_link(rules, repository, digest);
            }
            _ if self.tags[at(repository)] != Tag::default() => self.tags[at(repository)] = Tag::default(),
            (Some(manifest), _) => self.manifests[at(repository)][manifest] = None,
            (None, Some(digest)) => self.remove_link(rules, repository, digest),
            (None, None) if !self.has_uploads(repository) => self.hidden[at(repository)] = None,
            (None, None) => {}
        }
    }
}
