//! The sweep: what goes, goes; or it is said that it would.

use super::{Event, Mode, Run};
use crate::{
    gc::{Error, Of, repositories::Progress},
    metadata::{
        BlobId, RepositoryId,
        links::collect::{self, Collected, LinkDue},
        manifests::{Due, purge_whole},
        pace::Kind,
        repositories::deletion::RepositoryDue,
        survey::{self, ManifestFound, Surveyed},
    },
};

impl Run<'_> {
    /// Goes through every repository, and empties the trash behind it.
    pub(super) async fn sweep(&mut self) -> Result<(), Error> {
        if self.order.mode == Mode::Collect {
            // Frees space without writing anything first: on a full disk nothing else may be possible.
            match self.empty_trash().await {
                // The end of the run says so, when links have been collected.
                Ok(()) | Err(Error::BackupRuns | Error::Store(_)) => {}
                Err(error) => return Err(error),
            }
            self.collector.in_batches(Of::Events, self.stop).await?;
            self.collector.in_batches(Of::Uploads, self.stop).await?;
        }
        let mut behind = RepositoryId(0);
        loop {
            let page = self.repositories(behind).await?;
            let Some(last) = page.last() else { break };
            behind = last.repository.id;
            for repository in &page {
                self.sweep_repository(repository).await?;
            }
        }
        match self.order.mode {
            Mode::Collect => {
                // Those of repositories that have gone.
                self.collector.in_batches(Of::Uploads, self.stop).await?;
                match self.empty_trash().await {
                    // What the store keeps for a reason of its own is no failure while other bytes go.
                    Err(Error::Store(_)) if self.totals.files > 0 => Ok(()),
                    emptied => emptied,
                }
            }
            Mode::Report => self.weigh_leftovers().await,
        }
    }

    async fn sweep_repository(&mut self, repository: &Surveyed) -> Result<(), Error> {
        let id = repository.repository.id;
        let bytes = survey::held_bytes(&mut self.collector.metadata.read().await?, id).await?;
        let goes = repository.goes(self.taking(), self.collector.clock.now());
        let freed = match (self.order.mode, goes) {
            (Mode::Collect, true) => self.sweep_condemned(repository).await?,
            (Mode::Collect, false) => self.sweep_manifests(repository).await? + self.sweep_links(repository).await?,
            (Mode::Report, _) => self.sweep_manifests(repository).await? + self.report_links(repository).await?,
        };
        self.listener.tell(Event::Swept { repository: repository.name.clone(), bytes, freed }).await
    }

    /// Purges a deleted repository with everything in it, and answers its bytes.
    async fn sweep_condemned(&mut self, repository: &Surveyed) -> Result<u64, Error> {
        let due = if self.taking().deleted { RepositoryDue::AtOnce } else { RepositoryDue::AfterWindow };
        let mut freed = 0;
        loop {
            self.check()?;
            match self.collector.purge_step(repository.repository.id, due).await? {
                Progress::Goes(step) => {
                    self.totals.manifests += step.manifests;
                    freed += step.bytes;
                    for (loose, size, last) in step.links {
                        freed += size;
                        self.tell_gone(repository, (loose.digest, size), last).await?;
                    }
                }
                Progress::Ended { gone } => {
                    self.collector.counts.repositories(usize::from(gone));
                    return Ok(freed);
                }
            }
        }
    }

    /// Purges the manifests that go, and answers their bytes.
    async fn sweep_manifests(&mut self, repository: &Surveyed) -> Result<u64, Error> {
        let (mut behind, mut freed) = (String::new(), 0);
        loop {
            let page = self.manifests(repository, &behind).await?;
            let Some(last) = page.last() else { return Ok(freed) };
            behind = last.digest.to_string();
            for found in page.iter().filter(|found| found.goes) {
                if self.order.mode == Mode::Report || self.purge(found).await? {
                    self.totals.manifests += 1;
                    freed += found.size;
                }
            }
        }
    }

    async fn purge(&self, found: &ManifestFound) -> Result<bool, Error> {
        self.check()?;
        let due = match (found.deleted, self.taking().deleted) {
            (true, true) => Due::AtOnce,
            (true, false) => Due::AfterWindow,
            (false, _) => Due::Untagged,
        };
        let grace = self.collector.settings.grace;
        let purged = purge_whole(&self.collector.metadata, found.id, due, grace).await?.is_some();
        self.collector.counts.removed(Of::Manifests, usize::from(purged));
        Ok(purged)
    }

    async fn sweep_links(&mut self, repository: &Surveyed) -> Result<u64, Error> {
        let (mut behind, mut freed) = (BlobId(0), 0);
        loop {
            self.check()?;
            let (id, now) = (repository.repository.id, self.collector.clock.now());
            let most = self.collector.metadata.paces().batch(Kind::Links);
            let mut reader = self.collector.metadata.read().await?;
            let loose = collect::unpromised(&mut reader, id, behind, now, most).await?;
            drop(reader);
            let Some(last) = loose.last() else { return Ok(freed) };
            behind = last.blob;
            for (loose, collected) in self.collector.collect_loose(loose, LinkDue::Unpromised).await? {
                if let Collected::Gone { size, last } = collected {
                    freed += size;
                    self.collector.counts.removed(Of::Links, 1);
                    self.tell_gone(repository, (loose.digest, size), last).await?;
                }
            }
        }
    }

    async fn report_links(&mut self, repository: &Surveyed) -> Result<u64, Error> {
        let (mut behind, mut freed) = (BlobId(0), 0);
        loop {
            let page = self.links(repository, behind).await?;
            let Some(last) = page.last() else { return Ok(freed) };
            behind = last.blob;
            let last_links = self.last_of(repository, &page).await?;
            for found in page.iter().filter(|found| found.goes()) {
                let last = last_links.contains(&found.blob);
                freed += found.size;
                if last {
                    self.totals.files += 1;
                    self.totals.bytes += found.size;
                }
                self.tell_gone(repository, (found.digest, found.size), last).await?;
            }
        }
    }

    async fn tell_gone(
        &mut self,
        repository: &Surveyed,
        (digest, size): (shared::digest::Digest, u64),
        last: bool,
    ) -> Result<(), Error> {
        self.totals.links += 1;
        let repository = repository.name.clone();
        self.tell_detail(Event::Link { repository, digest, size }).await?;
        if last {
            self.totals.blobs += 1;
            self.tell_detail(Event::Blob { digest, size }).await?;
        }
        Ok(())
    }

    async fn tell_detail(&self, event: Event) -> Result<(), Error> {
        match self.order.detail {
            super::Detail::Everything => self.listener.tell(event).await,
            super::Detail::Totals => Ok(()),
        }
    }

    /// Deletes the bytes in the trash, whatever its age: whoever collects by hand wants the space.
    async fn empty_trash(&mut self) -> Result<(), Error> {
        loop {
            self.check()?;
            let emptied = self.collector.empty_trash_before(self.collector.clock.now()).await?;
            self.collector.counts.removed(Of::Trash, emptied.batch.removed);
            self.totals.files += emptied.batch.removed as u64;
            self.totals.bytes += emptied.bytes;
            if !emptied.batch.more {
                return Ok(());
            }
        }
    }
}
