//! Mounts: a blob of one repository becomes one of another without its bytes moving (OCI distribution specification, "Mounting a blob").

use shared::{database::WriteError, digest::Digest, readable::Readable, repository::RepositoryName};

use super::{Content, Error, Pusher};
use crate::{
    failpoints::{Point, reach},
    metadata::blobs::{self, MountBlob, NotMounted},
};

/// How many links a mount without `from` looks at.
pub const MAX_LINKS_LOOKED_AT: i64 = 200;

/// How a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// The blob is linked, and promised to the pusher.
    Linked,
    /// The source does not have it: the client has to upload it.
    No,
}

impl Content {
    /// Links a blob of `from`, which the pusher may read, into `into`.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]: nothing else would bring the blob there either.
    pub async fn mount(
        &self,
        into: &RepositoryName,
        from: &RepositoryName,
        digest: &Digest,
        pusher: &Pusher,
    ) -> Result<Mounted, Error> {
        let (into, from, holder) = (into.clone(), from.clone(), pusher.holder.clone());
        match self.metadata.write(MountBlob { into, from, digest: *digest, holder }).await {
            Ok(()) => {
                reach(Point::BlobMounted)?;
                Ok(Mounted::Linked)
            }
            Err(WriteError::Refused(NotMounted::NotHeld)) => Ok(Mounted::No),
            Err(WriteError::Refused(NotMounted::Exceeded(exceeded))) => Err(exceeded.into()),
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }

    /// Links a blob into `into` from `into` itself, or from any repository that the pusher may read.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]: nothing else would bring the blob there either.
    pub async fn mount_readable(
        &self,
        into: &RepositoryName,
        digest: &Digest,
        readable: &Readable,
        pusher: &Pusher,
    ) -> Result<Mounted, Error> {
        if self.look_up(into, digest).await?.is_some() {
            return self.mount(into, into, digest, pusher).await;
        }
        let holders = blobs::holders(&mut self.metadata.read().await?, digest, MAX_LINKS_LOOKED_AT).await?;
        for holder in holders.iter().filter(|holder| readable.permits(holder)) {
            let Ok(from) = holder.parse() else { continue };
            if self.mount(into, &from, digest, pusher).await? == Mounted::Linked {
                return Ok(Mounted::Linked);
            }
        }
        Ok(Mounted::No)
    }
}

#[cfg(test)]
mod tests;
