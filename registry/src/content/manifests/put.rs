//! The operation behind a push of a manifest, in the order of locks that everybody keeps: repository, blobs and their links,
//! manifests, tags, usage (design.md section 6).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shared::{
    database::{Failure, Operation, Transaction},
    digest::Digest,
    reference::Reference,
    tag::Tag,
};

use super::{Condition, PutManifest, Remembered, references};
use crate::{
    content::{Content, Error, Force, manifest::Manifest, tags::limits},
    failpoints::{Point, reach},
    metadata::{
        BlobId,
        blobs::HotBlobs,
        events::{self, Event},
        immutable::Written,
        links::{self, Linked},
        manifests::{self, Affected, ManifestId, NewManifest},
        repositories::{self, Repository},
        tags::{self, Move, State, States, Target},
        usage::{self, Brought},
    },
};

/// What a push of a manifest came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Under which digest it is stored.
    pub digest: Digest,
    /// What it is about (`OCI-Subject`).
    pub subject: Option<Digest>,
    /// The tags that now point at it, each once (`OCI-Tag`).
    pub tags: Vec<Tag>,
}

/// What a push's operation came to.
pub(super) enum Pushed {
    /// It is done.
    Stored(Stored),
    /// Nothing is changed yet. The repository has deleted the same bytes as a manifest of another type: purge that, and push again. (A
    /// purge takes locks that come before this operation's.)
    PurgeFirst(ManifestId),
}

/// What for something is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody has it and wants it here.
    Push,
    /// It was here, and is to come back.
    Restore(Force),
}

/// A push that has been read and hashed. Clones share it.
#[derive(Clone)]
pub(super) struct Put(Arc<Parts>);

pub(super) struct Parts {
    pub(super) request: PutManifest,
    pub(super) digest: Digest,
    manifest: Manifest,
    tags: BTreeSet<Tag>,
    remembered: Remembered,
    hot: HotBlobs,
    /// How long it, and what its tags leave, stays at least once no tag points there.
    grace: Duration,
    purpose: Purpose,
}

/// What the operation has locked, as it stood then.
pub(super) struct Locked {
    repository: Repository,
    /// The rules about tags of its namespace.
    immutable: Written,
    links: Vec<Linked>,
    pub(super) manifests: Vec<manifests::Row>,
    pub(super) tags: States,
}

impl std::ops::Deref for Put {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Put {
    pub(super) fn new(
        request: PutManifest,
        digest: Digest,
        manifest: Manifest,
        content: &Content,
        purpose: Purpose,
    ) -> Self {
        let mut tags: BTreeSet<Tag> = request.tags.iter().cloned().collect();
        if let Reference::Tag(tag) = &request.reference {
            tags.insert(tag.clone());
        }
        let (remembered, hot) = (content.metadata.manifests().clone(), content.metadata.blobs().clone());
        Self(Arc::new(Parts { request, digest, manifest, tags, remembered, hot, grace: content.lives.grace, purpose }))
    }

    fn subject(&self) -> Option<&Digest> {
        self.manifest.subject.as_ref().map(|subject| &subject.digest)
    }

    async fn lock(&self, tx: &mut Transaction<'_>) -> Result<Locked, Failure<Error>> {
        let (repository, immutable) = repositories::ensure_with_rules(tx, &self.request.repository).await?;
        tags::take_turn(tx, repository.id, &self.tags).await?;
        let mut named = references::children(&self.manifest);
        named.extend(self.subject());
        manifests::take_turn(tx, repository.id, &self.digest, &named).await?;
        // Read first: the manifests that the tags leave are locked before the tags are.
        let tags = tags::read(tx, repository.id, &self.tags).await?;
        let links = links::lock(tx, repository.id, &references::blobs(&self.manifest)).await?;
        let mut digests = named;
        digests.extend(limits::deciding(&self.request.limits, &self.tags, None));
        digests.push(self.digest);
        let ids = tags.values().filter_map(|state| state.target).map(|target| target.manifest).collect();
        let affected = Affected { digests, ids, family_of: Some(self.digest) };
        let manifests = manifests::lock(tx, repository.id, &affected).await?;
        if !tags::lock_unmoved(tx, repository.id, &self.tags, &tags).await? {
            return Err(Failure::Again);
        }
        Ok(Locked { repository, immutable, links, manifests, tags })
    }

    /// A condition is about all that the request names: every tag, or the manifest itself where there is none.
    fn check_condition(&self, locked: &Locked) -> Result<(), Error> {
        let Some(condition) = &self.request.condition else { return Ok(()) };
        let mut named: Vec<Option<Digest>> =
            locked.tags.values().map(|state| state.target.map(|target| target.digest)).collect();
        if named.is_empty() {
            let living = locked.manifests.iter().find(|row| row.digest == self.digest && !row.deleted);
            named.push(living.map(|row| row.digest));
        }
        match named.into_iter().find(|current| !condition.holds(current.as_ref())) {
            Some(current) => Err(Error::ConditionFailed { current }),
            None => Ok(()),
        }
    }

    /// Tags that have to stay do not come along: then none does. One that points here already stays where it is.
    fn check_immutable(&self, locked: &Locked) -> Result<(), Failure<Error>> {
        let pointing = locked.tags.iter().filter_map(|(tag, state)| Some((tag, state.target?.digest)));
        let leaving = pointing.filter(|(_, at)| *at != self.digest);
        match locked.immutable.first_held(&self.request.repository, leaving)? {
            Some(held) => Err(Failure::Refused(Error::Immutable(Box::new(held)))),
            None => Ok(()),
        }
    }

    /// The same bytes under another type. While others pull them, pushing them again must not change what they are; deleted, they are in
    /// the way.
    fn in_the_way(&self, locked: &Locked) -> Result<Option<ManifestId>, Error> {
        let media_type = self.manifest.media_type.as_str();
        let other =
            |row: &&manifests::Row| row.digest == self.digest && !row.media_type.eq_ignore_ascii_case(media_type);
        match locked.manifests.iter().find(other) {
            Some(row) if !row.deleted => Err(Error::ManifestHeldAs { media_type: row.media_type.clone() }),
            other => Ok(other.map(|row| row.id)),
        }
    }

    /// Writes the manifest unless the repository holds it, and says which row it is and whether readers did not see it before.
    async fn store(&self, tx: &mut Transaction<'_>, locked: &Locked) -> Result<(ManifestId, bool), Failure<Error>> {
        let Some(held) = locked.manifests.iter().find(|row| row.digest == self.digest) else {
            return Ok((self.insert(tx, locked).await?, true));
        };
        if held.deleted {
            manifests::revive(tx, held.id).await?;
            if held.stripped {
                let (blobs, children) = (references::blobs(&self.manifest), references::children(&self.manifest));
                manifests::name(tx, locked.repository.id, held.id, &self.new_manifest(&blobs, &children)).await?;
            }
            reach(Point::ManifestRevived)?;
        } else {
            manifests::touch(tx, held.id).await?;
        }
        Ok((held.id, held.deleted))
    }

    async fn insert(&self, tx: &mut Transaction<'_>, locked: &Locked) -> Result<ManifestId, Failure<Error>> {
        let (blobs, children) = (references::blobs(&self.manifest), references::children(&self.manifest));
        Ok(manifests::insert(tx, locked.repository.id, &self.new_manifest(&blobs, &children)).await?)
    }

    fn new_manifest<'a>(&'a self, blobs: &'a [Digest], children: &'a [Digest]) -> NewManifest<'a> {
        NewManifest {
            digest: &self.digest,
            media_type: self.manifest.media_type.as_str(),
            artifact_type: self.manifest.artifact_type.as_deref(),
            subject: self.subject(),
            annotations: self.manifest.annotations.as_deref(),
            expires_after: self.manifest.expires_after.as_deref(),
            payload: &self.request.payload,
            blobs,
            children,
        }
    }

    /// Moves the tags that do not point at the manifest yet, and says which they were.
    async fn move_tags<'a>(
        &self,
        tx: &mut Transaction<'_>,
        locked: &'a Locked,
        to: Target,
    ) -> Result<Vec<&'a Tag>, Failure<Error>> {
        let mut moved = Vec::new();
        for (tag, State { version, target, .. }) in &locked.tags {
            if *target != Some(to) {
                let step = Move { tag, from: *version, to: Some(to), actor: &self.request.pusher.actor };
                tags::step(tx, locked.repository.id, &step).await?;
                moved.push(tag);
            } else {
                tags::touch(tx, locked.repository.id, tag).await?;
            }
        }
        Ok(moved)
    }

    /// What may be held now that was not, or the other way round: children, referrers and indexes, what has lost a tag to the manifest, and
    /// itself unless it is new and tagged, as it is in most pushes: such a row is written without an expiry.
    fn touched(&self, locked: &Locked, id: ManifestId) -> Vec<ManifestId> {
        let settled = locked.brings(id) && !self.tags.is_empty();
        let itself = (!settled).then_some(id);
        locked.manifests.iter().map(|row| row.id).chain(itself).collect()
    }

    /// What the namespace has more of, where its quota may bound that.
    fn brought(&self, locked: &Locked, manifest: ManifestId, appeared: bool) -> Brought {
        let payload = if locked.brings(manifest) { self.request.payload.len() as u64 } else { 0 };
        let tags = locked.tags.values().filter(|state| state.target.is_none()).count() as u64;
        Brought { repository: locked.repository.id, manifest, payload, appeared, tags }
    }

    fn event<'a>(&'a self, tags: &'a [&'a Tag]) -> Event<'a> {
        let (repository, digest) = (&self.request.repository, &self.digest);
        let (media_type, size, subject) =
            (self.manifest.media_type.as_str(), self.request.payload.len(), self.subject());
        let actor = &self.request.pusher.actor;
        match self.purpose {
            Purpose::Push => Event::ManifestPushed { repository, digest, media_type, size, subject, tags, actor },
            Purpose::Restore(_) => {
                Event::ManifestRestored { repository, digest, media_type, size, subject, tags, actor }
            }
        }
    }
}

impl Operation for Put {
    type Output = Pushed;
    type Refusal = Error;
    const NAME: &'static str = "put_manifest";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Pushed, Failure<Error>> {
        let locked = self.lock(tx).await?;
        reach(Point::ManifestLocked)?;
        limits::check(tx, &self.request.limits, &self.tags, self.subject(), &locked.manifests).await?;
        self.check_condition(&locked).map_err(Failure::Refused)?;
        match self.purpose {
            Purpose::Push => self.check_immutable(&locked)?,
            Purpose::Restore(force) => self.check_restore(&locked, force)?,
        }
        references::check(&self.manifest, self.request.references, &locked.links, &locked.manifests)
            .map_err(Failure::Refused)?;
        if let Some(deleted) = self.in_the_way(&locked).map_err(Failure::Refused)? {
            return Ok(Pushed::PurgeFirst(deleted));
        }
        let blobs: Vec<BlobId> = locked.links.iter().map(|link| link.blob).collect();
        links::reference(tx, locked.repository.id, &blobs, &self.request.pusher.holder).await?;
        reach(Point::LinksReferenced)?;
        let (id, new) = self.store(tx, &locked).await?;
        reach(Point::ManifestStored)?;
        let moved = self.move_tags(tx, &locked, Target { manifest: id, digest: self.digest }).await?;
        reach(Point::TagsMoved)?;
        let until = tx.now() + self.grace;
        manifests::settle(tx, &self.touched(&locked, id), until).await?;
        if new || !moved.is_empty() {
            events::record(tx, &self.event(&moved)).await?;
        }
        // Last of all locks: every push of the namespace meets at this row.
        usage::manifest_added(tx, locked.repository.namespace, &self.brought(&locked, id, new)).await?;
        reach(Point::ManifestCounted)?;
        let tags = self.tags.iter().cloned().collect();
        Ok(Pushed::Stored(Stored { digest: self.digest, subject: self.subject().copied(), tags }))
    }

    fn committed(&self, pushed: &Pushed) {
        let Pushed::Stored(stored) = pushed else { return };
        let tags = stored.tags.iter().cloned().map(Reference::Tag);
        self.remembered.forget(&self.request.repository, tags.chain([Reference::Digest(stored.digest)]));
        // The pusher's promises about them have ended: the next look must make new ones.
        for blob in references::blobs(&self.manifest) {
            self.hot.forget(&(self.request.repository.clone(), blob));
        }
    }
}

impl Locked {
    /// Whether the manifest's row was not among those that were there.
    fn brings(&self, id: ManifestId) -> bool {
        self.manifests.iter().all(|row| row.id != id)
    }
}

impl Condition {
    /// Whether it holds where the tag points at `current`.
    pub(in crate::content) fn holds(&self, current: Option<&Digest>) -> bool {
        match self {
            Self::PointsAt(digests) => current.is_some_and(|digest| digests.contains(digest)),
            Self::Exists => current.is_some(),
            Self::Absent => current.is_none(),
        }
    }
}
