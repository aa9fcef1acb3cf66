//! Bytes that are no blob's: what lies in the trash, and uploads that have not come to their end. A survey says of each whether it goes, or why not.

use super::{Event, Kept, Mode, Run, Thing, survey::PAGE};
use crate::{
    gc::Error,
    metadata::{
        survey::{self, UploadFound},
        uploads::UploadId,
    },
    store::StorageKey,
};

impl Run<'_> {
    /// Tells of every upload and of everything in the trash.
    pub(super) async fn survey_leftovers(&self) -> Result<(), Error> {
        let mut behind = None;
        while let Some((page, last)) = self.uploads(behind).await? {
            behind = Some(last);
            for found in page {
                self.tell_upload(found).await?;
            }
        }
        let mut behind = String::new();
        while let Some((page, last)) = self.trash(&behind).await? {
            behind = last;
            for (key, store) in page {
                self.tell_trash(key, store).await?;
            }
        }
        Ok(())
    }

    async fn tell_upload(&self, found: UploadFound) -> Result<(), Error> {
        let why = self.keeps(&found);
        let UploadFound { id, repository, received: size, .. } = found;
        let upload = id.to_string();
        self.listener
            .tell(match why {
                Some(why) => Event::Kept { repository: Some(repository), thing: Thing::Upload { upload }, size, why },
                None => Event::Upload { repository, upload, size },
            })
            .await
    }

    async fn tell_trash(&self, key: StorageKey, store: String) -> Result<(), Error> {
        let own = store == self.collector.store.name();
        // What lies elsewhere cannot be weighed from here.
        let size = if own { self.collector.store.size(&key).await?.unwrap_or(0) } else { 0 };
        let key = key.to_string();
        self.listener
            .tell(if own {
                Event::File { key, size }
            } else {
                Event::Kept { repository: None, thing: Thing::File { key }, size, why: Kept::Elsewhere(store) }
            })
            .await
    }

    /// Why an upload stays; None if it goes.
    fn keeps(&self, found: &UploadFound) -> Option<Kept> {
        let (now, taking) = (self.collector.clock.now(), self.taking());
        if found.expires_at > now && !found.is_condemned(taking, now) {
            return Some(Kept::Unfinished(found.expires_at));
        }
        // A request that began in time may take longer than the upload's life.
        self.collector.metadata.writers().is_busy(found.id).then_some(Kept::Written)
    }

    /// What is in the trash and what uploads would bring there counts for a report too.
    pub(super) async fn weigh_leftovers(&mut self) -> Result<(), Error> {
        debug_assert_eq!(self.order.mode, Mode::Report, "whoever collects weighs what goes");
        let mut behind = None;
        while let Some((page, last)) = self.uploads(behind).await? {
            behind = Some(last);
            for found in page {
                if self.keeps(&found).is_none() {
                    self.weigh(&found.key).await?;
                }
            }
        }
        let mut behind = String::new();
        while let Some((page, last)) = self.trash(&behind).await? {
            behind = last;
            for (key, _) in page.iter().filter(|(_, store)| store == self.collector.store.name()) {
                self.weigh(key).await?;
            }
        }
        Ok(())
    }

    async fn weigh(&mut self, key: &StorageKey) -> Result<(), Error> {
        self.totals.files += 1;
        self.totals.bytes += self.collector.store.size(key).await?.unwrap_or(0);
        Ok(())
    }

    /// A page of uploads, and the last of them; None at the end.
    async fn uploads(&self, behind: Option<UploadId>) -> Result<Option<(Vec<UploadFound>, UploadId)>, Error> {
        self.check()?;
        let page = survey::uploads(&mut self.collector.metadata.read().await?, behind, PAGE).await?;
        let last = page.last().map(|found| found.id);
        Ok(last.map(|last| (page, last)))
    }

    /// A page of the trash, and its last key; None at the end.
    async fn trash(&self, behind: &str) -> Result<Option<(Vec<(StorageKey, String)>, String)>, Error> {
        self.check()?;
        let page = survey::trash(&mut self.collector.metadata.read().await?, behind, PAGE).await?;
        let last = page.last().map(|(key, _)| key.to_string());
        Ok(last.map(|last| (page, last)))
    }
}
