//! One run: check by check, page by page, with a rest behind each, from where the last one of its kind was ended.

use std::time::{Duration, Instant};

use shared::clock::Timestamp;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Begin, Check, Depth, Doctor, Error, Event, Fault, Finding, Mode, Order, Outcome, Totals,
    check::{Looked, Visit},
};
use crate::metadata::examine::{
    Position,
    progress::{self, Progress, SaveProgress},
};

/// How often a run tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How often it writes that down.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// For how long a run may be left alone: what it looked at longer ago is nobody's word about today.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Doctor {
    /// Looks at everything as ordered and tells `listener` what it finds; the last event of a run that came to its end is [`Event::Done`].
    ///
    /// # Errors
    /// Database or store failed, another run is under way, nobody listens any more, or `stop` was cancelled. The next run of the same kind goes on there.
    pub async fn examine(
        &self,
        order: Order,
        listener: mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Totals, Error> {
        let _alone = self.at_work.try_lock().map_err(|_| Error::AtWork)?;
        let mut run = Run::begin(self, order, listener, stop).await?;
        let ended = run.all().await;
        // What was told is not told again, however it ended.
        let saved = run.save(ended.is_ok().then(|| self.clock.now())).await;
        ended?;
        saved?;
        self.seen.finished(run.visit.depth, self.clock.now(), run.totals);
        run.tell(Event::Done(run.totals)).await?;
        Ok(run.totals)
    }
}

impl Order {
    /// Under which name its progress is kept: what one kind of run has passed, another has not.
    fn kind(&self) -> String {
        let depth = match self.depth {
            Depth::Sizes => "sizes",
            Depth::Deep => "deep",
        };
        let mode = match self.mode {
            Mode::Report => "",
            Mode::Repair => "+repair",
        };
        format!("{depth}{mode}")
    }
}

struct Run<'d> {
    doctor: &'d Doctor,
    order: Order,
    listener: mpsc::Sender<Event>,
    stop: &'d CancellationToken,
    visit: Visit,
    totals: Totals,
    check: Check,
    after: Position,
    told: Instant,
    saved: Instant,
}

impl<'d> Run<'d> {
    async fn begin(
        doctor: &'d Doctor,
        order: Order,
        listener: mpsc::Sender<Event>,
        stop: &'d CancellationToken,
    ) -> Result<Self, Error> {
        let earlier = match order.begin {
            Begin::WhereEnded => doctor.ended(&order.kind()).await?,
            Begin::Anew | Begin::Aside => None,
        };
        let resumed = earlier.is_some();
        let now = doctor.clock.now();
        let (check, earlier) = earlier.unwrap_or_else(|| (Check::ALL[0], nothing_yet(now)));
        let Progress { begun, position, looked, findings, repaired, .. } = earlier;
        let totals = Totals { depth: order.depth, looked, findings, repaired, resumed };
        let (visit, moment) = (Visit { depth: order.depth, begun, rate: order.rate }, Instant::now());
        Ok(Self { doctor, order, listener, stop, visit, totals, check, after: position, told: moment, saved: moment })
    }

    async fn all(&mut self) -> Result<(), Error> {
        let checks = Check::of(self.visit.depth);
        let first = checks.iter().position(|check| *check == self.check).unwrap_or_default();
        for check in &checks[first..] {
            if *check != self.check {
                (self.check, self.after) = (*check, Position::default());
            }
            self.make().await?;
        }
        Ok(())
    }

    /// Makes one check to its end.
    async fn make(&mut self) -> Result<(), Error> {
        let before = self.totals;
        loop {
            let begun = Instant::now();
            let Looked { faults, upto, rows, bytes, rested } = self.look().await?;
            self.found(faults).await?;
            self.totals.looked += rows;
            let Some(upto) = upto else { break };
            self.after = upto;
            let worked = begun.elapsed().saturating_sub(rested);
            self.tell_progress(before.looked).await?;
            self.rest(self.visit.rate.rest(worked, bytes)).await?;
        }
        let (looked, findings) = (self.totals.looked - before.looked, self.totals.findings - before.findings);
        self.tell(Event::Checked { check: self.check, looked, findings }).await
    }

    /// Looks at the next page, unless the run is to end: one that reads many bytes takes its time.
    async fn look(&self) -> Result<Looked, Error> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Stopped),
            () = self.listener.closed() => Err(Error::Stopped),
            looked = self.doctor.look(self.check, &self.after, self.visit) => looked,
        }
    }

    /// Deals with the faults of a page and tells them. They count when all of them are told: else the next run comes to this page again.
    async fn found(&mut self, faults: Vec<Fault>) -> Result<(), Error> {
        let (mut findings, mut repaired) = (0, 0);
        for fault in faults {
            let outcome = self.deal_with(&fault).await?;
            findings += 1;
            repaired += u64::from(matches!(outcome, Outcome::Repaired { .. }));
            self.tell(Event::Finding(Box::new(Finding::new(fault, outcome)))).await?;
        }
        self.totals.findings += findings;
        self.totals.repaired += repaired;
        Ok(())
    }

    async fn deal_with(&self, fault: &Fault) -> Result<Outcome, Error> {
        match (fault, self.order.mode) {
            // The look itself has written down what it saw.
            (Fault::SoundAgain(_), _) => Ok(Outcome::Repaired { repaired: "readable again".to_owned() }),
            (_, Mode::Report) => Ok(Outcome::Told {}),
            (_, Mode::Repair) => self.doctor.repair(fault, &self.order.actor).await,
        }
    }

    async fn tell_progress(&mut self, before: u64) -> Result<(), Error> {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.tell(Event::Progress { check: self.check, looked: self.totals.looked - before }).await?;
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.saved = Instant::now();
            self.save(None).await?;
        }
        Ok(())
    }

    /// Leaves the machine to others, unless the run is to end.
    async fn rest(&self, rest: Duration) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Stopped),
            () = self.listener.closed() => Err(Error::Stopped),
            () = sleep(rest) => Ok(()),
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Error> {
        self.listener.send(event).await.map_err(|_| Error::Stopped)
    }

    /// Writes down how far the run has come.
    async fn save(&self, finished: Option<Timestamp>) -> Result<(), Error> {
        if self.order.begin == Begin::Aside {
            return Ok(());
        }
        let Totals { looked, findings, repaired, .. } = self.totals;
        let progress = Progress {
            begun: self.visit.begun,
            step: self.check.to_string(),
            position: self.after.clone(),
            looked,
            findings,
            repaired,
            saved: self.doctor.clock.now(),
            finished,
        };
        self.doctor.metadata.write(SaveProgress { kind: self.order.kind(), progress }).await?;
        Ok(())
    }
}

fn nothing_yet(now: Timestamp) -> Progress {
    let (looked, findings, repaired) = (0, 0, 0);
    let (step, position) = (Check::ALL[0].to_string(), Position::default());
    Progress { begun: now, step, position, looked, findings, repaired, saved: now, finished: None }
}

impl Doctor {
    /// Where the last run of a kind was ended, if it did not come to its end, if that is not too long ago, and if this release knows where it is.
    async fn ended(&self, kind: &str) -> Result<Option<(Check, Progress)>, Error> {
        let all = progress::all(&mut self.metadata.read().await?).await?;
        let oldest = self.clock.now() - LONGEST_PAUSE;
        let is_open = |progress: &Progress| progress.finished.is_none() && progress.saved > oldest;
        let ended = all.into_iter().find(|(of, progress)| of == kind && is_open(progress));
        Ok(ended.and_then(|(_, progress)| Some((Check::named(&progress.step)?, progress))))
    }

    /// Remembers, for those who watch, what the last runs came to that an earlier process made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn recall(&self) -> Result<(), Error> {
        for (kind, progress) in progress::all(&mut self.metadata.read().await?).await? {
            let Progress { looked, findings, repaired, finished, .. } = progress;
            let depth = if kind.starts_with("deep") { Depth::Deep } else { Depth::Sizes };
            if let Some(finished) = finished {
                self.seen.finished(depth, finished, Totals { depth, looked, findings, repaired, resumed: false });
            }
        }
        Ok(())
    }
}
