//! The survey: what goes, and of everything else why it stays. It reads and changes nothing.

use super::{Event, Kept, Run, Thing};
use crate::{
    gc::Error,
    metadata::{
        BlobId, RepositoryId,
        survey::{self, LinkFound, ManifestFound, Surveyed},
    },
};

/// How many manifests, or links, are looked at in one query.
pub(super) const PAGE: i64 = 500;

/// What a survey has counted.
#[derive(Default)]
struct Counted {
    kept: u64,
    blobs: u64,
    manifests: u64,
}

impl Run<'_> {
    /// Looks at every repository.
    pub(super) async fn survey(&mut self) -> Result<(), Error> {
        let (mut behind, mut counted) = (RepositoryId(0), Counted::default());
        loop {
            let page = self.repositories(behind).await?;
            let Some(last) = page.last() else { break };
            behind = last.repository.id;
            for repository in &page {
                self.survey_repository(repository, &mut counted).await?;
            }
        }
        self.survey_leftovers().await?;
        let Counted { kept, blobs, manifests } = counted;
        self.listener.tell(Event::Marked { kept, blobs, manifests }).await
    }

    async fn survey_repository(&self, repository: &Surveyed, counted: &mut Counted) -> Result<(), Error> {
        self.listener.tell(Event::Repository { name: repository.name.clone() }).await?;
        let mut behind = String::new();
        loop {
            let page = self.manifests(repository, &behind).await?;
            let Some(last) = page.last() else { break };
            behind = last.digest.to_string();
            for found in &page {
                self.tell_manifest(repository, found, counted).await?;
            }
        }
        let mut behind = BlobId(0);
        loop {
            let page = self.links(repository, behind).await?;
            let Some(last) = page.last() else { break };
            behind = last.blob;
            counted.blobs += self.last_of(repository, &page).await?.len() as u64;
            for found in &page {
                self.tell_link(repository, found, counted).await?;
            }
        }
        Ok(())
    }

    async fn tell_manifest(
        &self,
        repository: &Surveyed,
        found: &ManifestFound,
        counted: &mut Counted,
    ) -> Result<(), Error> {
        let (name, digest, size) = (repository.name.clone(), found.digest, found.size);
        if found.goes {
            counted.manifests += 1;
            return self.listener.tell(Event::Manifest { repository: name, digest, size }).await;
        }
        counted.kept += 1;
        let why = Kept::manifest(found, repository, self.collector.clock.now());
        self.listener.tell(Event::Kept { repository: Some(name), thing: Thing::Manifest { digest }, size, why }).await
    }

    async fn tell_link(&self, repository: &Surveyed, found: &LinkFound, counted: &mut Counted) -> Result<(), Error> {
        // What goes is told when it goes.
        let Some(why) = Kept::blob(found) else { return Ok(()) };
        counted.kept += 1;
        let (repository, thing) = (Some(repository.name.clone()), Thing::Blob { digest: found.digest });
        self.listener.tell(Event::Kept { repository, thing, size: found.size, why }).await
    }

    pub(super) async fn manifests(&self, repository: &Surveyed, behind: &str) -> Result<Vec<ManifestFound>, Error> {
        self.check()?;
        let (id, now) = (repository.repository.id, self.collector.clock.now());
        let mut reader = self.collector.metadata.read().await?;
        Ok(survey::manifests(&mut reader, id, self.taking(), (behind, PAGE), now).await?)
    }

    pub(super) async fn links(&self, repository: &Surveyed, behind: BlobId) -> Result<Vec<LinkFound>, Error> {
        self.check()?;
        let (id, now) = (repository.repository.id, self.collector.clock.now());
        let mut reader = self.collector.metadata.read().await?;
        Ok(survey::links(&mut reader, id, self.taking(), (behind, PAGE), now).await?)
    }

    /// The blobs of a page that are gone once this repository has lost its links.
    pub(super) async fn last_of(&self, repository: &Surveyed, page: &[LinkFound]) -> Result<Vec<BlobId>, Error> {
        let going: Vec<BlobId> = page.iter().filter(|found| found.goes()).map(|found| found.blob).collect();
        if going.is_empty() {
            return Ok(going);
        }
        let (id, now) = (repository.repository.id, self.collector.clock.now());
        let mut reader = self.collector.metadata.read().await?;
        Ok(survey::last_links(&mut reader, id, self.taking(), &going, now).await?)
    }
}
