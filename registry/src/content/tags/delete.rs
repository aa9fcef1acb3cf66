//! The operation behind DELETE of a tag.

use std::{collections::BTreeSet, time::Duration};

use shared::{
    database::{Failure, Operation, Transaction},
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use super::limits;
use crate::{
    content::{Error, Force, TagLimits, manifests::Condition},
    failpoints::{Point, reach},
    metadata::{
        events::{self, Event},
        manifests::{self, Affected, Remembered},
        repositories,
        tags::{self, Move},
    },
};

/// A tag to delete.
#[derive(Clone, Debug)]
pub struct DeleteTag {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub tag: Tag,
    /// Where it has to point.
    pub condition: Option<Condition>,
    /// Which tags the caller may touch.
    pub limits: TagLimits,
    /// Who is written into histories and events.
    pub actor: String,
}

pub(super) struct Delete {
    pub(super) request: DeleteTag,
    pub(super) force: Force,
    pub(super) remembered: Remembered,
    /// How long the manifest stays at least if this was its last tag.
    pub(super) grace: Duration,
}

impl Operation for Delete {
    type Output = ();
    type Refusal = Error;
    const NAME: &'static str = "delete_tag";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Error>> {
        let DeleteTag { repository: name, tag, condition, limits, actor } = &self.request;
        let unknown = || Failure::Refused(Error::ManifestUnknown { reference: Reference::Tag(tag.clone()) });
        let (repository, immutable) = repositories::lock_with_rules(tx, name).await?.ok_or_else(unknown)?;
        let wanted = BTreeSet::from([tag.clone()]);
        tags::take_turn(tx, repository.id, &wanted).await?;
        let before = tags::read(tx, repository.id, &wanted).await?;
        let state = before.get(tag).copied().unwrap_or_default();
        let target = state.target.ok_or_else(unknown)?;
        let affected =
            Affected { digests: limits::deciding(limits, &wanted, None), ids: vec![target.manifest], family_of: None };
        let locked = manifests::lock(tx, repository.id, &affected).await?;
        if !tags::lock_unmoved(tx, repository.id, &wanted, &before).await? {
            return Err(Failure::Again);
        }
        limits::check(tx, limits, &wanted, None, &locked).await?;
        if condition.as_ref().is_some_and(|condition| !condition.holds(Some(&target.digest))) {
            return Err(Failure::Refused(Error::ConditionFailed { current: Some(target.digest) }));
        }
        let held = immutable.first_held(name, [(tag, target.digest)])?.filter(|_| self.force == Force::No);
        if let Some(held) = held {
            return Err(Failure::Refused(Error::Immutable(Box::new(held))));
        }
        tags::step(tx, repository.id, &Move { tag, from: state.version, to: None, actor }).await?;
        reach(Point::TagCleared)?;
        let until = tx.now() + self.grace;
        manifests::settle(tx, &[target.manifest], until).await?;
        events::record(tx, &Event::TagDeleted { repository: name, tag, digest: &target.digest, actor }).await?;
        Ok(())
    }

    fn committed(&self, (): &()) {
        self.remembered.forget(&self.request.repository, [Reference::Tag(self.request.tag.clone())]);
    }
}
