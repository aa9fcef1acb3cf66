//! What becomes of a tag: one pure function of rules, facts and the time.
//!
//! Rules are a set. A tag that one of them keeps is kept, whatever else is said about it; of the others goes what one of them lets go. [`Ranks`] is what
//! has to be known of all tags of a repository before one of them can be judged: who is among the newest. It is bounded by the rules, not by the tags, so a
//! repository of any size is judged a page at a time: once to rank, if a rule asks for the newest, and once to decide.

mod annotation;
mod ranks;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use shared::{clock::Timestamp, repository::RepositoryName};

use super::{
    Rules,
    rule::{Does, Expire, ExpireUntagged, Keep, Rule},
};
use crate::metadata::rules::{LooseFacts, TagFacts};
pub use annotation::{ANNOTATION, InvalidLife, life};
pub use ranks::Ranks;
pub use verdict::{Fate, Keeps, LetsGo, Verdict};

/// The rules that are about one repository: those of its namespace and its own, in an order of their own.
#[derive(Clone, Debug)]
pub struct Effective<'r> {
    keeping: Vec<(&'r Rule, &'r Keep)>,
    expiring: Vec<(&'r Rule, &'r Expire)>,
    untagged: Vec<(&'r Rule, ExpireUntagged)>,
    annotated: Vec<&'r Rule>,
}

impl<'r> Effective<'r> {
    /// The rules of some sets that are about this repository.
    pub fn of(sets: impl IntoIterator<Item = &'r Rules>, repository: &RepositoryName) -> Self {
        let mut rules: Vec<&Rule> =
            sets.into_iter().flat_map(Rules::rules).filter(|r| r.applies_to(repository)).collect();
        // In whichever order they were written: where two rules say the same of a tag, the same one is named.
        rules.sort_unstable_by(|one, other| (&one.name, &one.about).cmp(&(&other.name, &other.about)));
        let mut effective =
            Self { keeping: Vec::new(), expiring: Vec::new(), untagged: Vec::new(), annotated: Vec::new() };
        for rule in rules {
            match &rule.does {
                Does::Keep(keep) => effective.keeping.push((rule, keep)),
                Does::Expire(expire) => effective.expiring.push((rule, expire)),
                Does::ExpireUntagged(untagged) => effective.untagged.push((rule, *untagged)),
                Does::ExpireAnnotated => effective.annotated.push(rule),
            }
        }
        effective
    }

    /// Whether any tag could go.
    pub fn expire_tags(&self) -> bool {
        !self.expiring.is_empty() || !self.annotated.is_empty()
    }

    /// Whether any untagged manifest could go.
    pub fn expire_untagged(&self) -> bool {
        !self.untagged.is_empty() || !self.annotated.is_empty()
    }

    /// An empty ranking for these rules.
    pub fn ranks(&self) -> Ranks {
        Ranks::new(self.keeping.iter().map(|(_, keep)| *keep))
    }

    /// Takes a tag into the ranking.
    pub fn rank(&self, ranks: &mut Ranks, tag: &TagFacts) {
        for (index, (_, keep)) in self.keeping.iter().enumerate() {
            if keep.newest.is_some() && keep.selects(&tag.tag) {
                ranks.look(index, keep, tag);
            }
        }
    }

    /// What becomes of a tag, once all tags of the repository are ranked.
    pub fn decide(&self, ranks: &Ranks, tag: &TagFacts, now: Timestamp) -> Verdict<'r> {
        let kept = self.keeping.iter().enumerate().find_map(|(index, (rule, keep))| {
            let selected = keep.selects(&tag.tag);
            selected.then(|| ranks.keeps(index, keep, tag)).flatten().map(|why| (*rule, why))
        });
        let (ends, ignored) = self.annotated_end(tag.expires_after.as_deref(), tag.manifest_pushed_at);
        let pulled_at = tag.pulled_at.map_or(tag.pushed_at, |at| at.max(tag.pushed_at));
        let expiring = self.expiring.iter().filter(|(_, expire)| expire.selects(&tag.tag)).map(|(rule, expire)| {
            let pushed = expire.not_pushed_for.map(|age| age.after(tag.pushed_at));
            let pulled = expire.not_pulled_for.map(|age| age.after(pulled_at));
            let pull_decides = pulled > pushed;
            let why = if pull_decides {
                LetsGo::Unpulled { since: pulled_at }
            } else {
                LetsGo::Unpushed { since: tag.pushed_at }
            };
            (pushed.max(pulled).unwrap_or(now), *rule, why)
        });
        let first = earliest(expiring.chain(ends));
        Verdict { fate: Fate::of(kept, first, now), ignored }
    }

    /// What becomes of a manifest that nothing holds, under a registry that keeps such ones for `grace` at least.
    pub fn decide_untagged(&self, manifest: &LooseFacts, grace: Duration, now: Timestamp) -> Verdict<'r> {
        let let_go_at = manifest.expires_at - grace;
        let (ends, ignored) = self.annotated_end(manifest.expires_after.as_deref(), manifest.pushed_at);
        let untagged = self.untagged.iter().map(|(rule, untagged)| {
            let used_at = manifest.pulled_at.map_or(let_go_at, |at| at.max(let_go_at));
            let pulled = untagged.not_pulled_for.map(|age| age.after(used_at));
            let end = pulled.max(Some(untagged.after.after(let_go_at)));
            (end.unwrap_or(now), *rule, LetsGo::Untagged { since: let_go_at })
        });
        // Never inside the registry's own grace: somebody may be about to push what will hold it.
        let first = earliest(untagged.chain(ends)).map(|(at, rule, why)| (at.max(manifest.expires_at), rule, why));
        Verdict { fate: Fate::of(None, first, now), ignored }
    }

    /// When an annotation lets go what carries it, if a rule heeds annotations; and the annotation, if that is unreadable.
    fn annotated_end(&self, text: Option<&str>, pushed_at: Timestamp) -> (Option<End<'r>>, Option<String>) {
        let (Some(rule), Some(text)) = (self.annotated.first(), text) else { return (None, None) };
        match life(text) {
            Ok(age) => (Some((age.after(pushed_at), *rule, LetsGo::Annotated { life: age, since: pushed_at })), None),
            Err(_) => (None, Some(text.to_owned())),
        }
    }
}

/// When something goes, by which rule, and why.
type End<'r> = (Timestamp, &'r Rule, LetsGo);

/// The end that comes first; of those that come together, the one whose rule comes first.
fn earliest<'r>(ends: impl Iterator<Item = End<'r>>) -> Option<End<'r>> {
    ends.min_by(|(at, ..), (other, ..)| at.cmp(other))
}

/// What becomes of all tags of a repository.
pub fn evaluate<'r>(rules: &Effective<'r>, tags: &[TagFacts], now: Timestamp) -> Vec<Verdict<'r>> {
    let mut ranks = rules.ranks();
    tags.iter().for_each(|tag| rules.rank(&mut ranks, tag));
    tags.iter().map(|tag| rules.decide(&ranks, tag, now)).collect()
}
