//! One run: check by check, page by page.

use std::time::{Duration, Instant};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Check, Doctor, Error, Event, Fault, Finding, Order, Outcome, Rate, Totals,
    check::{Looked, Visit},
};
use crate::metadata::examine::Position;

impl Doctor {
    /// Looks at everything as ordered and tells `listener` what it finds; the last event of a run that came to its end is [`Event::Done`].
    ///
    /// # Errors
    /// Database or store failed, another run is under way, nobody listens any more, or `stop` was cancelled.
    pub async fn examine(
        &self,
        order: Order,
        listener: mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Totals, Error> {
        let _alone = self.at_work.try_lock().map_err(|_| Error::AtWork)?;
        let totals = Totals { depth: order.depth, looked: 0, findings: 0 };
        let visit = Visit { depth: order.depth, begun: self.clock.now() };
        let mut run = Run { doctor: self, listener, stop, visit, rate: order.rate, totals };
        for check in Check::of(order.depth) {
            run.make(*check).await?;
        }
        run.tell(Event::Done(run.totals)).await?;
        Ok(run.totals)
    }
}

struct Run<'d> {
    doctor: &'d Doctor,
    listener: mpsc::Sender<Event>,
    stop: &'d CancellationToken,
    visit: Visit,
    rate: Rate,
    totals: Totals,
}

impl Run<'_> {
    async fn make(&mut self, check: Check) -> Result<(), Error> {
        let before = self.totals;
        let mut after = Position::default();
        loop {
            let begun = Instant::now();
            let Looked { faults, upto, rows, bytes } = self.doctor.look(check, &after, self.visit).await?;
            let worked = begun.elapsed();
            self.totals.looked += rows;
            for fault in faults {
                self.found(fault).await?;
            }
            match upto {
                Some(upto) => after = upto,
                None => break,
            }
            self.rest(self.rate.rest(worked, bytes)).await?;
        }
        let (looked, findings) = (self.totals.looked - before.looked, self.totals.findings - before.findings);
        self.tell(Event::Checked { check, looked, findings }).await
    }

    async fn found(&mut self, fault: Fault) -> Result<(), Error> {
        self.totals.findings += 1;
        self.tell(Event::Finding(Box::new(Finding::new(fault, Outcome::Told {})))).await
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
}
