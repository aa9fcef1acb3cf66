//! The operation behind DELETE of a manifest by its digest.

use std::time::Duration;

use shared::{
    database::{Failure, Operation, Transaction},
    digest::Digest,
    reference::Reference,
    repository::RepositoryName,
    tag::Tag,
};

use super::{Condition, Remembered};
use crate::{
    content::{Error, TagLimits, tags::limits},
    failpoints::{Point, reach},
    metadata::{
        RepositoryId,
        events::{self, Event},
        immutable::Written,
        manifests::{self, Affected, Deletion, LockedToPurge, ManifestId, Rest},
        repositories,
        tags::{self, Move},
    },
};

/// A manifest to delete, with the tags that point at it.
#[derive(Clone, Debug)]
pub struct DeleteManifest {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub digest: Digest,
    /// What the caller takes it for: a digest points at itself.
    pub condition: Option<Condition>,
    /// Which tags the caller may touch.
    pub limits: TagLimits,
    /// Who is written into histories and events.
    pub actor: String,
    /// How long the manifest can come back; zero purges it at once.
    pub undelete_window: Duration,
}

/// What a deletion took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The tags that pointed at the manifest.
    pub tags: Vec<Tag>,
}

pub(super) struct Delete {
    pub(super) request: DeleteManifest,
    pub(super) remembered: Remembered,
    /// How long children that the manifest lets go stay at least.
    pub(super) grace: Duration,
}

/// The locked manifest, and how it will go.
enum Locked {
    Hide(ManifestId),
    Purge(ManifestId, Box<LockedToPurge>),
}

impl Delete {
    /// Locks the manifest, and what a purge changes too where it comes at once: links come before manifests in everybody's order.
    async fn lock(&self, tx: &mut Transaction<'_>, repository: RepositoryId) -> Result<Locked, Failure<Error>> {
        let unknown = || Error::ManifestUnknown { reference: Reference::Digest(self.request.digest) };
        if self.request.undelete_window.is_zero() {
            let found = manifests::id(tx, repository, &self.request.digest).await?;
            let id = found.ok_or_else(|| Failure::Refused(unknown()))?;
            let locked = manifests::lock_to_purge(tx, id, manifests::STEP).await?.filter(|locked| !locked.deleted);
            return locked.map(|locked| Locked::Purge(id, Box::new(locked))).ok_or_else(|| Failure::Refused(unknown()));
        }
        let affected = Affected { digests: vec![self.request.digest], ..Affected::default() };
        let rows = manifests::lock(tx, repository, &affected).await?;
        let living = rows.into_iter().find(|row| !row.deleted);
        living.map(|row| Locked::Hide(row.id)).ok_or_else(|| Failure::Refused(unknown()))
    }
}

impl Operation for Delete {
    /// What it took away, and the manifest if not all of it is purged.
    type Output = (Deleted, Option<ManifestId>);
    type Refusal = Error;
    const NAME: &'static str = "delete_manifest";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, Failure<Error>> {
        let DeleteManifest { repository: name, digest, condition, limits, actor, .. } = &self.request;
        let Some((repository, immutable)) = repositories::lock_with_rules(tx, name).await? else {
            return Err(Failure::Refused(Error::ManifestUnknown { reference: Reference::Digest(*digest) }));
        };
        let locked = self.lock(tx, repository.id).await?;
        let (Locked::Hide(id) | Locked::Purge(id, _)) = locked;
        let carried = tags::lock_of(tx, id).await?;
        let parent = manifests::parent(tx, repository.id, digest).await?;
        limits::check_deletion(limits, *digest, &carried, parent)?;
        if condition.as_ref().is_some_and(|condition| !condition.holds(Some(digest))) {
            return Err(Failure::Refused(Error::ConditionFailed { current: Some(*digest) }));
        }
        check_immutable(tx, name, &immutable, id).await?;
        for (tag, version) in &carried {
            tags::step(tx, repository.id, &Move { tag, from: *version, to: None, actor }).await?;
        }
        reach(Point::ManifestUntagged)?;
        let tags: Vec<Tag> = carried.into_iter().map(|(tag, _)| tag).collect();
        let rest = match &locked {
            Locked::Purge(_, locked) => manifests::purge(tx, locked, self.grace).await?,
            Locked::Hide(id) => {
                let until = tx.now() + self.request.undelete_window;
                manifests::delete(tx, *id, &Deletion { until, actor, tags: &tags }).await?;
                Rest::Nothing
            }
        };
        reach(Point::ManifestHidden)?;
        events::record(tx, &Event::ManifestDeleted { repository: name, digest, tags: &tags, actor }).await?;
        Ok((Deleted { tags }, (rest == Rest::More).then_some(id)))
    }

    fn committed(&self, (deleted, _): &Self::Output) {
        let tags = deleted.tags.iter().cloned().map(Reference::Tag);
        self.remembered.forget(&self.request.repository, tags.chain([Reference::Digest(self.request.digest)]));
    }
}

/// What a tag shows that has to stay is not deleted from under it: its manifest is not, and no child of its index.
async fn check_immutable(
    tx: &mut Transaction<'_>,
    repository: &RepositoryName,
    immutable: &Written,
    manifest: ManifestId,
) -> Result<(), Failure<Error>> {
    if immutable.is_empty() {
        return Ok(());
    }
    let showing = tags::showing(tx, manifest).await?;
    match immutable.first_held(repository, showing.iter().map(|(tag, at)| (tag, *at)))? {
        Some(held) => Err(Failure::Refused(Error::Immutable(Box::new(held)))),
        None => Ok(()),
    }
}
