//! The operations of a run: each deletes a little, and writes down how far the run has come with it. Both happen, or neither.

use std::time::Duration;

use shared::{
    database::{Failure, Operation, Transaction},
    digest::Digest,
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use super::removal::{Wanted, take_away};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        RepositoryId,
        events::{self, Event},
        manifests::{self, Affected, Deletion, Remembered},
        pace::{Batch, Kind},
        repositories,
        rules::{
            LooseFacts,
            runs::{self, Held, Interrupted, Progress},
        },
    },
};

/// A run in an operation of its own: who holds it, by which rules it goes, and where it stands when this is done.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) held: Held,
    pub(super) version: i64,
    pub(super) progress: Progress,
}

/// Takes away some tags of one repository.
pub(super) struct ExpireTags {
    pub(super) step: Step,
    /// The one that was looked at: its name may be another's by now.
    pub(super) id: RepositoryId,
    pub(super) repository: RepositoryName,
    pub(super) wanted: Vec<Wanted>,
    pub(super) grace: Duration,
    pub(super) remembered: Remembered,
}

/// What became of it.
pub(super) struct Expired {
    pub(super) tags: Vec<Tag>,
    pub(super) progress: Progress,
}

impl Operation for ExpireTags {
    type Output = Expired;
    type Refusal = Interrupted;
    const NAME: &'static str = "expire_tags";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Expired, Failure<Interrupted>> {
        let Step { held, version, progress } = &self.step;
        runs::hold(tx, held, *version).await?;
        let tags = match repositories::lock_with_rules(tx, &self.repository).await? {
            Some((found, immutable)) if found.id == self.id => {
                let of = (found.id, &self.repository);
                take_away(tx, of, (&self.wanted, &immutable), self.grace).await?
            }
            _ => Vec::new(),
        };
        let mut progress = progress.clone();
        progress.expired += tags.len() as u64;
        progress.moved += (self.wanted.len() - tags.len()) as u64;
        runs::advance(tx, held, &progress).await?;
        reach(Point::RunAdvanced)?;
        Ok(Expired { tags, progress })
    }

    fn committed(&self, expired: &Expired) {
        self.remembered.forget(&self.repository, expired.tags.iter().cloned().map(Reference::Tag));
    }
}

impl Batch for ExpireTags {
    const KIND: Kind = Kind::Tags;

    fn size(&self, _: &Expired) -> usize {
        self.wanted.len()
    }
}

/// Deletes one manifest that nothing holds, as a person would: it can come back as long as the undelete window is open.
pub(super) struct ExpireLoose {
    pub(super) step: Step,
    pub(super) id: RepositoryId,
    pub(super) repository: RepositoryName,
    pub(super) manifest: LooseFacts,
    pub(super) actor: String,
    pub(super) undelete: Duration,
    pub(super) grace: Duration,
    pub(super) remembered: Remembered,
}

impl Operation for ExpireLoose {
    /// Where the run stands, and whether the manifest went.
    type Output = (Progress, bool);
    type Refusal = Interrupted;
    const NAME: &'static str = "expire_untagged";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(Progress, bool), Failure<Interrupted>> {
        let Step { held, version, progress } = &self.step;
        runs::hold(tx, held, *version).await?;
        let gone = match repositories::lock(tx, &self.repository).await? {
            Some(found) if found.id == self.id => self.delete(tx, found.id).await?,
            _ => false,
        };
        let mut progress = progress.clone();
        progress.manifests += u64::from(gone);
        runs::advance(tx, held, &progress).await?;
        Ok((progress, gone))
    }

    fn committed(&self, (_, gone): &(Progress, bool)) {
        if *gone {
            self.remembered.forget(&self.repository, [Reference::Digest(self.manifest.digest)]);
        }
    }
}

/// Of what one manifest names it takes as much as any [`manifests::STEP`].
impl Batch for ExpireLoose {
    const KIND: Kind = Kind::References;

    fn size(&self, _: &(Progress, bool)) -> usize {
        0
    }
}

impl ExpireLoose {
    async fn delete(&self, tx: &mut Transaction<'_>, repository: RepositoryId) -> Result<bool, sqlx::Error> {
        let LooseFacts { manifest, digest, expires_at, .. } = &self.manifest;
        let purging = if self.undelete.is_zero() {
            let Some(locked) = manifests::lock_to_purge(tx, *manifest, manifests::STEP).await? else {
                return Ok(false);
            };
            Some(locked)
        } else {
            let affected = Affected { ids: vec![*manifest], ..Affected::default() };
            manifests::lock(tx, repository, &affected).await?;
            None
        };
        // Whoever gave it a tag, or asked for it in order to push, has moved the end of its grace, or there is none any more.
        if manifests::grace_end(tx, *manifest).await? != Some(*expires_at) {
            return Ok(false);
        }
        match purging {
            // What is too large for one step is due from now on, and the collector goes on.
            Some(locked) => drop(manifests::purge(tx, &locked, self.grace).await?),
            None => {
                let deletion = Deletion { until: tx.now() + self.undelete, actor: &self.actor, tags: &[] };
                manifests::delete(tx, *manifest, &deletion).await?;
            }
        }
        reach(Point::LooseHidden)?;
        self.record(tx, digest).await?;
        Ok(true)
    }

    async fn record(&self, tx: &mut Transaction<'_>, digest: &Digest) -> Result<(), sqlx::Error> {
        let event = Event::ManifestDeleted { repository: &self.repository, digest, tags: &[], actor: &self.actor };
        events::record(tx, &event).await
    }
}
