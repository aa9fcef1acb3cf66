//! Every tag that matches a pattern goes, in many repositories at once: what a closed pull request leaves behind.

use std::{slice, time::Duration};

use serde::Serialize;
use shared::{
    database::{Failure, Operation, Transaction},
    pattern::RepositoryPattern,
    reference::Reference,
    repository::RepositoryName,
    tag::{Tag, TagPattern},
};
use tracing::info;
use utoipa::ToSchema;

use super::{
    Error, Expiry,
    document::{InvalidRules, Wrong},
    everything::{Selection, are_everything},
    ground::PAGE,
    removal::{self, Wanted, take_away},
};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        RepositoryId,
        immutable::{Immutable, Rule},
        manifests::Remembered,
        pace::{Batch, Kind},
        repositories,
        rules::pages::{self, RepositoryFound, TagRange},
    },
};

pub use super::document::{repository_pattern, tag_pattern};

/// How many tags that stayed are named in an answer.
const MOST_NAMED: usize = 1000;

/// Which repositories of a namespace are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repositories {
    /// All of them.
    All,
    /// Those that match.
    Matching(RepositoryPattern),
    /// These.
    Named(Vec<RepositoryName>),
}

impl Repositories {
    fn mean(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::All => true,
            Self::Matching(pattern) => pattern.matches(repository.as_str()),
            Self::Named(names) => names.contains(repository),
        }
    }
}

/// Whether anything goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Delete,
    /// It is only counted what would.
    Report,
}

/// Tags to delete.
#[derive(Clone, Debug)]
pub struct TagsToDelete {
    /// Of which namespace.
    pub namespace: RepositoryName,
    /// Tags that match.
    pub pattern: TagPattern,
    /// In which repositories.
    pub repositories: Repositories,
    /// Whether anything goes.
    pub mode: Mode,
    /// Who is written into histories and events.
    pub actor: String,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TagsDeleted {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// How many tags went, or would go.
    pub deleted: u64,
    /// How many matched and stayed.
    pub left: u64,
    /// The repositories where any matched.
    pub repositories: Vec<DeletedIn>,
}

/// What became of the tags of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeletedIn {
    /// Which.
    pub repository: RepositoryName,
    /// How many went, or would go.
    pub deleted: u64,
    /// Those that stayed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
}

/// A tag that matched and stayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TagLeft)]
pub struct Left {
    /// Which.
    pub tag: Tag,
    /// Why.
    pub reason: String,
}

/// Why a tag stays that has to.
fn immutable_by(rule: &Rule) -> String {
    format!("immutable by rule {rule}")
}

/// Whether the pattern is about every tag of every repository, which has to be confirmed.
#[must_use]
pub fn is_about_everything(namespace: &RepositoryName, tags: &TagPattern, repositories: &Repositories) -> bool {
    let repositories = match repositories {
        Repositories::All => &[],
        Repositories::Matching(pattern) => slice::from_ref(pattern),
        // Whoever names them knows them.
        Repositories::Named(_) => return false,
    };
    are_everything(namespace.as_str(), &[Selection { repositories, tags: slice::from_ref(tags) }])
}

/// How the tags of one repository fared: all of them counted, and as many of those that stayed named as there is room for.
#[derive(Default)]
struct Tally {
    deleted: u64,
    left: u64,
    named: Vec<Left>,
    room: usize,
}

impl Tally {
    fn stays(&mut self, tag: &Tag, reason: impl FnOnce() -> String) {
        self.left += 1;
        if self.named.len() < self.room {
            self.named.push(Left { tag: tag.clone(), reason: reason() });
        }
    }
}

impl Expiry {
    /// Deletes tags. What they pointed at stays for the registry's grace at least.
    ///
    /// # Errors
    /// A repository that is named is not there, or the database failed. What went before that stays gone.
    pub async fn delete_tags(&self, order: &TagsToDelete) -> Result<TagsDeleted, Error> {
        let loaded = self.ground(&order.namespace).await?;
        self.are_there(order).await?;
        let mut answer = TagsDeleted { dry_run: order.mode == Mode::Report, ..TagsDeleted::default() };
        let (mut behind, mut room) = (String::new(), MOST_NAMED);
        loop {
            let page = self.repositories(&loaded, &order.namespace, &behind).await?;
            let Some(last) = page.last() else { break };
            last.name.as_str().clone_into(&mut behind);
            for repository in page.iter().filter(|found| order.repositories.mean(&found.name)) {
                let Tally { deleted, left, named, .. } =
                    self.delete_tags_of(repository, order, (&loaded.immutable, room)).await?;
                answer.deleted += deleted;
                answer.left += left;
                room -= named.len();
                if deleted > 0 || !named.is_empty() {
                    answer.repositories.push(DeletedIn { repository: repository.name.clone(), deleted, left: named });
                }
            }
        }
        let TagsDeleted { deleted, left, .. } = answer;
        info!(namespace = %order.namespace, pattern = %order.pattern, actor = order.actor, deleted, left, "tags by pattern");
        Ok(answer)
    }

    /// A name that is misspelt deletes nothing anywhere.
    async fn are_there(&self, order: &TagsToDelete) -> Result<(), Error> {
        let Repositories::Named(names) = &order.repositories else { return Ok(()) };
        for name in names {
            let found = crate::metadata::rules::sets::read_own(&mut self.metadata().read().await?, name).await?;
            found.ok_or_else(|| Error::NoRepository(name.clone()))?;
        }
        Ok(())
    }

    async fn delete_tags_of(
        &self,
        repository: &RepositoryFound,
        order: &TagsToDelete,
        (immutable, room): (&Immutable, usize),
    ) -> Result<Tally, Error> {
        let prefix = literal_prefix(&order.pattern).to_owned();
        let mut tally = Tally { room, ..Tally::default() };
        let mut behind = String::new();
        loop {
            let range = TagRange { prefix: &prefix, behind: &behind, limit: PAGE };
            let page = pages::tags(&mut self.metadata().read().await?, repository.id, &range).await?;
            let Some(last) = page.last() else { return Ok(tally) };
            last.tag.as_str().clone_into(&mut behind);
            let matching = page.into_iter().filter(|tag| order.pattern.matches(&tag.tag));
            let wanted: Vec<Wanted> = matching
                .map(|tag| Wanted {
                    tag: tag.tag,
                    version: tag.version,
                    pushed_at: tag.pushed_at,
                    actor: order.actor.clone(),
                })
                .collect();
            let mut rest = wanted.as_slice();
            while let Some(batch) = removal::next(&mut rest, self.metadata()) {
                self.delete_batch(repository, batch, (order.mode, immutable), &mut tally).await?;
            }
        }
    }

    async fn delete_batch(
        &self,
        repository: &RepositoryFound,
        batch: &[Wanted],
        (mode, immutable): (Mode, &Immutable),
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let rule_for = |tag: &Tag| immutable.rule_for(&repository.name, tag);
        if mode == Mode::Report {
            for Wanted { tag, .. } in batch {
                match rule_for(tag) {
                    Some(rule) => tally.stays(tag, || immutable_by(rule)),
                    None => tally.deleted += 1,
                }
            }
            return Ok(());
        }
        let delete = DeleteTags {
            repository: (repository.id, repository.name.clone()),
            wanted: batch.to_vec(),
            grace: self.0.settings.grace,
            remembered: self.metadata().manifests().clone(),
        };
        let gone = self.metadata().collect(delete).await?;
        reach(Point::TagsDeleted)?;
        tally.deleted += gone.len() as u64;
        for Wanted { tag, .. } in batch.iter().filter(|wanted| !gone.contains(&wanted.tag)) {
            tally.stays(tag, || rule_for(tag).map_or_else(|| "it moved meanwhile".to_owned(), immutable_by));
        }
        Ok(())
    }
}

/// What every matching tag begins with: the index is read from there.
fn literal_prefix(pattern: &TagPattern) -> &str {
    let text = pattern.as_str();
    &text[..text.find(['*', '?']).unwrap_or(text.len())]
}

/// Takes away some tags of one repository.
struct DeleteTags {
    repository: (RepositoryId, RepositoryName),
    wanted: Vec<Wanted>,
    grace: Duration,
    remembered: Remembered,
}

impl Operation for DeleteTags {
    type Output = Vec<Tag>;
    type Refusal = std::convert::Infallible;
    const NAME: &'static str = "delete_tags";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<Tag>, Failure<std::convert::Infallible>> {
        let (id, name) = &self.repository;
        match repositories::lock_with_rules(tx, name).await? {
            Some((found, immutable)) if found.id == *id => {
                Ok(take_away(tx, (*id, name), (&self.wanted, &immutable), self.grace).await?)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn committed(&self, gone: &Vec<Tag>) {
        self.remembered.forget(&self.repository.1, gone.iter().cloned().map(Reference::Tag));
    }
}

impl Batch for DeleteTags {
    const KIND: Kind = Kind::Tags;

    fn size(&self, _: &Vec<Tag>) -> usize {
        self.wanted.len()
    }
}

impl InvalidRules {
    /// Something wrong outside of a set of rules.
    #[must_use]
    pub fn of(place: &str, wrong: impl Into<Wrong>) -> Self {
        Self { place: place.to_owned(), wrong: wrong.into() }
    }
}
