//! A push of what is still there: it brings back, and brings nothing new.

use shared::{database::Failure, digest::Digest};

use super::{
    PutManifest, Stored,
    put::{Locked, Purpose, Pushed, Put},
};
use crate::{
    content::{Content, Error, Force, manifest::Manifest, undelete::NotRestorable},
    failpoints::{Point, reach},
    metadata::tags::State,
};

impl Content {
    /// Pushes a manifest that the repository still has, deleted or not: all of it or nothing.
    ///
    /// # Errors
    /// As a push; or it is gone by now, or one of the tags points elsewhere.
    pub(in crate::content) async fn put_again(
        &self,
        digest: Digest,
        put: PutManifest,
        force: Force,
    ) -> Result<Stored, Error> {
        let manifest = Manifest::parse(put.media_type.as_ref(), &put.payload)?;
        match self.metadata.write(Put::new(put, digest, manifest, self, Purpose::Restore(force))).await? {
            Pushed::Stored(stored) => {
                reach(Point::ManifestRestored)?;
                Ok(stored)
            }
            // The row has the type that was just read from it; another one came in between.
            Pushed::PurgeFirst(_) => Err(Error::Busy),
        }
    }
}

impl Put {
    /// What is purged does not come back, and without force no tag leaves where it points by now.
    pub(super) fn check_restore(&self, locked: &Locked, force: Force) -> Result<(), Failure<Error>> {
        if locked.manifests.iter().all(|row| row.digest != self.digest) {
            let gone = NotRestorable::Manifest { repository: self.request.repository.clone(), digest: self.digest };
            return Err(Failure::Refused(gone.into()));
        }
        let mut pointing = locked.tags.iter().filter_map(|(tag, State { target, .. })| Some((tag, (*target)?.digest)));
        match pointing.find(|(_, at)| *at != self.digest).filter(|_| force == Force::No) {
            Some((tag, at)) => Err(Failure::Refused(Error::TagMoved { tag: tag.clone(), at })),
            None => Ok(()),
        }
    }
}
