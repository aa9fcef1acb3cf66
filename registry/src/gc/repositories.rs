//! Deleted repositories that nobody wants back.

use tokio_util::sync::CancellationToken;

use super::{Collector, Error};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        RepositoryId,
        links::collect::{self, Collected, LinkDue, Loose},
        pace::Kind,
        repositories::deletion::{PurgeRepository, RepositoryDue, Step, purgeable},
    },
};

/// How many repositories one batch looks at.
const BATCH: usize = 20;

/// How many steps that remove something a sweep takes, of about 20 ms each: those who wait for another kind of garbage have their turn, and the next sweep
/// goes on.
const STEPS: usize = 50;

/// What one step of a purge came to.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is more to do.
    Goes(Freed),
    /// It is over: whether nothing is left of the repository. An upload that a request is still writing keeps the row until the next time.
    Ended { gone: bool },
}

/// What a step has removed.
#[derive(Debug, Default)]
pub(super) struct Freed {
    /// How many manifests,
    pub(super) manifests: u64,
    /// and their bytes.
    pub(super) bytes: u64,
    /// Links, each with the blob's size and whether it was the last one.
    pub(super) links: Vec<(Loose, u64, bool)>,
}

impl Collector {
    /// Purges deleted repositories whose undelete window has passed: how many are gone, and whether it was cut short, by `stop` or because one of them is
    /// large.
    pub(super) async fn purge_repositories(&self, stop: &CancellationToken) -> Result<(usize, bool), Error> {
        let (now, mut behind, mut gone, mut steps) = (self.clock.now(), None, 0, STEPS);
        loop {
            let due = purgeable(&mut self.metadata.read().await?, now, behind, BATCH as i64).await?;
            for (_, repository) in &due {
                let Some(whole) = self.purge_repository(*repository, &mut steps, stop).await? else {
                    return Ok((gone, true));
                };
                gone += usize::from(whole);
                self.counts.repositories(usize::from(whole));
            }
            if due.len() < BATCH {
                return Ok((gone, false));
            }
            // One that others hold stays in the queue, and must not keep those behind it.
            behind = due.last().copied();
        }
    }

    /// Purges a repository as far as it goes: whether nothing is left of it. `None` where that was cut short.
    async fn purge_repository(
        &self,
        repository: RepositoryId,
        steps: &mut usize,
        stop: &CancellationToken,
    ) -> Result<Option<bool>, Error> {
        while !stop.is_cancelled() && *steps > 0 {
            match self.purge_step(repository, RepositoryDue::AfterWindow).await? {
                // A look at what others hold takes no step from those behind it.
                Progress::Ended { gone: false } => return Ok(Some(false)),
                Progress::Ended { gone: true } => {
                    *steps -= 1;
                    return Ok(Some(true));
                }
                Progress::Goes(_) => {
                    *steps -= 1;
                }
            }
        }
        Ok(None)
    }

    /// One step: some tags, histories, references, manifests or links, at last the row.
    pub(super) async fn purge_step(&self, repository: RepositoryId, due: RepositoryDue) -> Result<Progress, Error> {
        let batch = self.metadata.paces().batch(Kind::Repositories);
        let step = self.metadata.collect(PurgeRepository { repository, due, batch }).await?;
        reach(Point::RepositoryPurged)?;
        match step {
            Step::Removed { rows: _, manifests, bytes } => {
                self.counts.removed(super::Of::Manifests, usize::try_from(manifests).unwrap_or(usize::MAX));
                Ok(Progress::Goes(Freed { manifests, bytes, ..Freed::default() }))
            }
            Step::Emptied => match self.drop_links(repository).await? {
                links if links.is_empty() => Ok(Progress::Ended { gone: false }),
                links => Ok(Progress::Goes(Freed { links, ..Freed::default() })),
            },
            Step::Left => Ok(Progress::Ended { gone: false }),
            Step::Gone => Ok(Progress::Ended { gone: true }),
        }
    }

    /// Removes links of a repository that is being purged, whatever was promised: no name leads to it.
    async fn drop_links(&self, repository: RepositoryId) -> Result<Vec<(Loose, u64, bool)>, Error> {
        let most = self.metadata.paces().batch(Kind::Links);
        let links = collect::of_repository(&mut self.metadata.read().await?, repository, most).await?;
        let collected = self.collect_loose(links, LinkDue::Condemned).await?;
        let gone = collected.into_iter().filter_map(|(loose, collected)| match collected {
            Collected::Gone { size, last } => Some((loose, size, last)),
            Collected::Needed | Collected::Left => None,
        });
        let gone: Vec<_> = gone.collect();
        self.counts.removed(super::Of::Links, gone.len());
        Ok(gone)
    }
}
