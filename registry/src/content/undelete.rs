//! What was deleted comes back: a manifest within its undelete window, a tag to something that it pointed at.
//!
//! To restore is to push what is still there: the same operation, with its locks and its checks. So nothing comes back that a push would not be
//! allowed to bring, and what is missing is named. (design.md section 6, "Deleting a manifest")

#[cfg(test)]
mod tests;

use bytes::Bytes;
use shared::{digest::Digest, reference::Reference, repository::RepositoryName, tag::Tag};

use super::{
    Content, Error, Force, Pusher, TagLimits,
    manifests::{PutManifest, References},
};
use crate::metadata::{
    deleted::{self, Kept},
    tags::history::{self, Step},
};

/// How far back the step before the last move is looked for. A tag that was only deleted and pushed again so often has no other.
const LOOK_BACK: i64 = 100;

/// A deleted manifest to bring back. One that lives is left as it is, but for its tags.
#[derive(Clone, Debug)]
pub struct RestoreManifest {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub digest: Digest,
    /// What comes back with it.
    pub tags: Carried,
    /// Who wants it, and how much.
    pub by: Restorer,
}

/// What comes back with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The manifest alone.
    Nothing,
    /// The tags that it carried when it was deleted.
    Tags,
}

/// A tag to point again at what it pointed at.
#[derive(Clone, Debug)]
pub struct RestoreTag {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub tag: Tag,
    /// The step of its history that it returns to; without one, the newest that is not where it stands.
    pub version: Option<i64>,
    /// Who wants it, and how much.
    pub by: Restorer,
}

/// Whoever restores.
#[derive(Clone, Debug)]
pub struct Restorer {
    /// Who is written into histories and events.
    pub actor: String,
    /// Whether tags are taken from where they point by now, and an index may come back without children that are gone.
    pub force: Force,
    /// What a push must find in its repository; without force, nothing that the manifest names may be missing.
    pub references: References,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The manifest.
    pub digest: Digest,
    /// The tags that point at it now.
    pub tags: Vec<Tag>,
}

/// What cannot come back, because it is not there any more or never was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestorable {
    /// The manifest is purged, or its window is over.
    #[error("{repository} has no manifest {digest}, and no deleted one that can come back")]
    Manifest {
        /// Where.
        repository: RepositoryName,
        /// Which.
        digest: Digest,
    },
    /// Nobody ever pushed the tag.
    #[error("{repository} never had a tag {tag}")]
    Tag {
        /// Where.
        repository: RepositoryName,
        /// Which.
        tag: Tag,
    },
    /// The tag's history does not have the step.
    #[error("the tag {tag} has no version {version}")]
    Version {
        /// Which tag.
        tag: Tag,
        /// Which step.
        version: i64,
    },
    /// The step deleted the tag.
    #[error("version {version} of the tag {tag} is its deletion: name one before it")]
    Deletion {
        /// Which tag.
        tag: Tag,
        /// Which step.
        version: i64,
    },
    /// The tag was never anywhere else, as far as one looks back.
    #[error("the tag {tag} points where it always did")]
    NowhereElse {
        /// Which tag.
        tag: Tag,
    },
}

impl Content {
    /// Brings a deleted manifest back.
    ///
    /// # Errors
    /// It is gone, what it names is missing, or a tag that should come with it points elsewhere by now.
    pub async fn restore_manifest(&self, restore: RestoreManifest) -> Result<Restored, Error> {
        let RestoreManifest { repository, digest, tags, by } = restore;
        let kept = self.kept(&repository, digest).await?;
        let tags = if tags == Carried::Tags { kept.carried.clone() } else { Vec::new() };
        self.restore(repository, digest, kept, tags, by).await
    }

    /// Lets a tag point again at what it pointed at, and brings that back if it was deleted.
    ///
    /// # Errors
    /// The tag has no such step, what it pointed at is gone, or it points elsewhere by now.
    pub async fn restore_tag(&self, restore: RestoreTag) -> Result<Restored, Error> {
        let RestoreTag { repository, tag, version, by } = restore;
        let digest = match version {
            Some(version) => self.at_version(&repository, &tag, version).await?,
            None => self.before_last_move(&repository, &tag).await?,
        };
        let kept = self.kept(&repository, digest).await?;
        self.restore(repository, digest, kept, vec![tag], by).await
    }

    async fn kept(&self, repository: &RepositoryName, digest: Digest) -> Result<Kept, Error> {
        let kept = deleted::kept(&mut self.metadata.read().await?, repository, &digest, self.clock.now()).await?;
        Ok(kept.ok_or_else(|| NotRestorable::Manifest { repository: repository.clone(), digest })?)
    }

    async fn at_version(&self, repository: &RepositoryName, tag: &Tag, version: i64) -> Result<Digest, Error> {
        let steps = self.steps(repository, tag, version.saturating_add(1), 1).await?;
        let step = steps.into_iter().find(|step| step.version == version);
        let step = step.ok_or_else(|| NotRestorable::Version { tag: tag.clone(), version })?;
        Ok(step.digest.ok_or_else(|| NotRestorable::Deletion { tag: tag.clone(), version })?)
    }

    async fn before_last_move(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let steps = self.steps(repository, tag, i64::MAX, LOOK_BACK).await?;
        let unknown = || NotRestorable::Tag { repository: repository.clone(), tag: tag.clone() };
        let current = steps.first().ok_or_else(unknown)?.digest;
        let before = steps.into_iter().filter_map(|step| step.digest).find(|digest| Some(*digest) != current);
        Ok(before.ok_or_else(|| NotRestorable::NowhereElse { tag: tag.clone() })?)
    }

    async fn steps(&self, repository: &RepositoryName, tag: &Tag, before: i64, limit: i64) -> Result<Vec<Step>, Error> {
        let now = self.clock.now();
        Ok(history::steps(&mut self.metadata.read().await?, (repository, tag), before, limit, now).await?)
    }

    async fn restore(
        &self,
        repository: RepositoryName,
        digest: Digest,
        kept: Kept,
        tags: Vec<Tag>,
        by: Restorer,
    ) -> Result<Restored, Error> {
        let unreadable = |error| sqlx::Error::Decode(Box::new(error));
        let media_type = kept.media_type.parse().map_err(unreadable).map_err(shared::database::DatabaseError::from)?;
        let references = if by.force == Force::Yes { by.references } else { References::Strict };
        // Nobody was promised anything in this name, so no promise ends with it.
        let pusher = Pusher { holder: String::new(), actor: by.actor };
        let put = PutManifest {
            repository,
            reference: Reference::Digest(digest),
            tags,
            media_type: Some(media_type),
            payload: Bytes::from(kept.payload),
            limits: TagLimits::Everything,
            pusher,
            references,
            condition: None,
        };
        let stored = self.put_again(digest, put, by.force).await?;
        Ok(Restored { digest, tags: stored.tags })
    }
}
