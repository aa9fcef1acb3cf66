//! The bytes of a backup.

use super::{Blobs, Error, Event, Making};
use crate::{
    metadata::{
        BlobId,
        backup::{self as rows, Stored},
        keys, trash,
    },
    store::filesystem::transfer::{self, Brought, Transfer},
};

/// How many blobs are brought between two syncs of the filesystem.
const BATCH: i64 = 256;

impl Making<'_> {
    /// Brings the bytes of every blob that the facts speak of.
    pub(super) async fn bring_blobs(&self) -> Result<Blobs, Error> {
        let (mut brought, mut behind) = (Blobs::default(), BlobId(0));
        loop {
            let page = rows::blobs_behind(&mut self.reader().await?, self.backups.store, behind, BATCH).await?;
            let Some(last) = page.last() else { break };
            behind = last.id;
            for missing in self.bring(page, &mut brought).await? {
                let (digest, size) = (missing.digest.to_string(), missing.size);
                self.tell(Event::Missing { digest, size }).await?;
            }
            self.tell(Event::Brought(brought)).await?;
        }
        if self.backups.database.is_none() {
            self.bring_trash(&mut brought).await?;
        }
        Ok(brought)
    }

    /// Brings a page of blobs, and answers those whose bytes are not there.
    async fn bring(&self, page: Vec<Stored>, brought: &mut Blobs) -> Result<Vec<Stored>, Error> {
        let mut transfer = Transfer::new(self.target.data(), self.target.root());
        let done = self.on_disk(move || {
            let done = page.into_iter().map(|blob| Ok((transfer.bring(&blob.key, blob.size)?, blob)));
            let done = done.collect::<std::io::Result<Vec<_>>>()?;
            transfer.settle().map(|()| done)
        });
        let mut missing = Vec::new();
        for (how, blob) in done.await? {
            brought.count(how, blob.size);
            if how == Brought::Missing {
                missing.push(blob);
            }
        }
        Ok(missing)
    }

    /// The dump that these bytes belong to was made before: what it speaks of may be in the trash by now, where nobody deletes it at the moment.
    async fn bring_trash(&self, brought: &mut Blobs) -> Result<(), Error> {
        let mut behind = String::new();
        loop {
            let keys = trash::all(&mut self.reader().await?, self.backups.store, &behind, BATCH).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            last.as_str().clone_into(&mut behind);
            let mut transfer = Transfer::new(self.target.data(), self.target.root());
            let data = self.target.data().to_owned();
            let done = self.on_disk(move || {
                let sized = keys.iter().filter_map(|key| Some((key, transfer::length(&data, key)?)));
                let done = sized.map(|(key, size)| Ok((transfer.bring(key, size)?, size)));
                let done = done.collect::<std::io::Result<Vec<_>>>()?;
                transfer.settle().map(|()| done)
            });
            // What is there was most likely brought a moment ago, as a blob, and has gone into the trash since: it is not counted twice.
            let new = done.await?.into_iter().filter(|(how, _)| *how != Brought::Already);
            new.for_each(|(how, size)| brought.count(how, size));
        }
    }

    /// Removes bytes that an earlier backup needed and this one does not; answers how many files that were.
    pub(super) async fn remove_unneeded(&self) -> Result<u64, Error> {
        let (mut after, mut removed) = (String::new(), 0);
        loop {
            let (root, behind) = (self.target.root().to_owned(), after.clone());
            let page = self.on_disk(move || transfer::page(&root, &behind)).await?;
            let Some(last) = page.last() else { return Ok(removed) };
            last.as_str().clone_into(&mut after);
            let unneeded = keys::unknown(&mut self.reader().await?, &page).await?;
            let root = self.target.root().to_owned();
            removed += unneeded.len() as u64;
            self.on_disk(move || transfer::remove(&root, &unneeded)).await?;
        }
    }
}

impl Blobs {
    pub(in crate::gc) fn count(&mut self, how: Brought, size: u64) {
        let counter = match how {
            Brought::Already => &mut self.already,
            Brought::Linked => &mut self.linked,
            Brought::Copied => &mut self.copied,
            Brought::Missing => &mut self.missing,
        };
        *counter += 1;
        if how != Brought::Missing {
            self.files += 1;
            self.bytes += size;
        }
    }
}
