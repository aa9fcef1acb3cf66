//! `metadata/tags.rs` and `content/tags/delete.rs`.

use super::{Rows, Set, at};
use crate::{Number, Rules};

impl Rows {
    /// `tags::step`, unless the tag is there already.
    pub(super) fn move_tag(&mut self, repository: Number, to: Option<Number>) {
        let tag = &mut self.tags[at(repository)];
        if tag.target == to {
            return;
        }
        tag.target = to;
        // Beyond the bound there is no room to write down where it went: such a world is outside of the scenario.
        if let Some(step) = tag.history.get_mut(at(tag.version)) {
            *step = to;
        }
        tag.version += 1;
    }

    /// `DeleteTag`; false if it points at nothing.
    pub fn delete_tag(&mut self, rules: &Rules, repository: Number) -> bool {
        let Some(target) = self.tags[at(repository)].target else { return false };
        self.move_tag(repository, None);
        let mut left = Set::default();
        left.insert(target);
        self.settle(rules, repository, left);
        true
    }
}
