//! Who asks the directories about everybody. Of several processes over one database it is one: a directory is not asked for each of
//! them, and what it says is not written twice at once.

use std::time::Duration;

use shared::clock::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::super::Parts;

/// How often directories are asked about everybody.
const SYNC: Duration = Duration::from_secs(15 * 60);
/// How long a process that leads may be silent, and how long the others wait once it has died.
pub(in crate::identity) const LEASE: Duration = Duration::from_secs(90);
/// How often it says that it is still there, and the others ask whether it is.
const RENEWED: Duration = Duration::from_secs(30);
/// The row of `leader`.
pub(in crate::identity) const LEADER: &str = "directories";

/// What a process knows about its turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// When it last began to ask, since it leads; None while it does not.
    asked: Option<Timestamp>,
    /// Which directories it asked then: who was added a moment ago has accounts that wait, perhaps.
    generation: u64,
}

impl Parts {
    /// Asks the directories about everybody, every quarter of an hour, while it is for this process to ask.
    pub(in crate::identity) async fn follow_directories(&self) {
        let mut ticks = interval(RENEWED);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = Turn::default();
        loop {
            ticks.tick().await;
            self.take_turn(&mut turn, RENEWED).await;
        }
    }

    /// Looks whether this process leads, and whether it is time. Who takes over asks at once: nobody knows how far the other came.
    pub(super) async fn take_turn(&self, turn: &mut Turn, renewed: Duration) {
        if self.directories.is_empty() {
            return;
        }
        let leads = self.leads().await;
        self.metrics.leads(leads);
        if !leads {
            turn.asked = None;
            return;
        }
        let (now, generation) = (self.clock.now(), self.directories.generation());
        if turn.generation == generation && turn.asked.is_some_and(|asked| now < asked + SYNC) {
            return;
        }
        (turn.asked, turn.generation) = (Some(now), generation);
        tokio::select! {
            () = self.sync() => {}
            () = self.until_another_leads(renewed) => {
                info!("another process asks the directories now");
                self.metrics.leads(false);
                turn.asked = None;
            }
        }
    }

    async fn leads(&self) -> bool {
        self.accounts.lead(&self.turn).await.unwrap_or_else(|error| {
            warn!(%error, "it is not known which process asks the directories");
            false
        })
    }

    /// Directories may be slower than a lease lasts.
    async fn until_another_leads(&self, renewed: Duration) {
        loop {
            sleep(renewed).await;
            if !self.leads().await {
                return;
            }
        }
    }

    /// Lets another process take over at once.
    pub(in crate::identity) async fn leave_turn(&self) {
        if self.directories.is_empty() {
            return;
        }
        if let Err(error) = self.accounts.stop_leading(&self.turn).await {
            warn!(%error, "another process asks the directories when the lease of this one has run out");
        }
    }
}

#[cfg(test)]
mod tests;
