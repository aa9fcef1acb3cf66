//! Collecting by hand: what was deleted is freed at once, and what is being pushed is not (design.md section 6, "By hand").
//!
//! First a survey says what goes, and of everything else why it stays. Then it goes, repository by repository: deleted manifests, untagged ones where
//! that was asked for, links that no manifest names and nobody was promised, and with the last link of a blob its bytes. Nothing stands still for it: every
//! removal locks and looks again, so what changed since the survey stays. A run that is cut short loses nothing; the next one goes on.

mod event;
mod leftovers;
mod survey;
mod sweep;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::event::{Event, Kept, Thing, Totals};
use super::{Collector, Error};
use crate::metadata::{
    RepositoryId,
    survey::{self as rows, Surveyed, Taking},
};

/// How many repositories are looked up at a time.
const REPOSITORIES: i64 = 500;

/// What a person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whether anything is removed.
    pub mode: Mode,
    /// Deleted manifests that could still be undeleted.
    pub deleted: Deleted,
    /// Living manifests that nothing holds and whose grace has passed.
    pub untagged: Untagged,
    /// What is told of the way.
    pub detail: Detail,
}

/// Whether anything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Collect,
    /// It is only said what would be.
    Report,
}

/// What happens to deleted manifests inside their undelete window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// They go.
    Purged,
    /// They stay.
    Kept,
}

/// What happens to living manifests that nothing holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untagged {
    /// They go, if their grace has passed.
    Purged,
    /// They stay.
    Kept,
}

/// What is told of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything that goes, and everything that stays with the reason.
    Everything,
    /// What each repository lost.
    Totals,
}

/// Whoever listens to a run. When nobody does any more, the run ends between two steps.
#[derive(Clone, Debug)]
struct Listener(mpsc::Sender<Event>);

impl Listener {
    async fn tell(&self, event: Event) -> Result<(), Error> {
        self.0.send(event).await.map_err(|_| Error::Stopped)
    }
}

impl Collector {
    /// Collects as ordered and tells `listener` what happens; the last event of a run that came to its end is [`Event::Done`].
    ///
    /// # Errors
    /// Database or store failed, nobody listens any more, or `stop` was cancelled. What was removed before that stays removed.
    pub async fn collect_by_hand(
        &self,
        order: Order,
        listener: mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Totals, Error> {
        let mut run = Run { collector: self, order, listener: Listener(listener), stop, totals: Totals::default() };
        if order.detail == Detail::Everything {
            run.survey().await?;
        }
        run.sweep().await?;
        run.totals.dry_run = order.mode == Mode::Report;
        run.listener.tell(Event::Done(run.totals)).await?;
        Ok(run.totals)
    }
}

/// One collection on its way.
struct Run<'c> {
    collector: &'c Collector,
    order: Order,
    listener: Listener,
    stop: &'c CancellationToken,
    totals: Totals,
}

impl Run<'_> {
    fn taking(&self) -> Taking {
        Taking { deleted: self.order.deleted == Deleted::Purged, untagged: self.order.untagged == Untagged::Purged }
    }

    /// The repositories behind `behind`, a page; none at the end.
    async fn repositories(&self, behind: RepositoryId) -> Result<Vec<Surveyed>, Error> {
        self.check()?;
        Ok(rows::repositories(&mut self.collector.metadata.read().await?, behind, REPOSITORIES).await?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() { Err(Error::Stopped) } else { Ok(()) }
    }
}
