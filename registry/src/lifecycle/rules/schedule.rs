//! Runs at their times.

use std::time::Duration;

use shared::repository::RepositoryName;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Error, Expiry};
use crate::metadata::rules::{
    previews::ForgetPreviews,
    runs::{self, Asked},
};

/// How often it is looked whose time has come: a run that was left lying is gone on with so soon.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How many rows of old previews go in one operation.
const FORGOTTEN_AT_ONCE: i64 = 500;

impl Expiry {
    /// Runs rules whenever they are due, until `stop`. What fails is tried again when it is due again.
    pub async fn run(self, stop: CancellationToken) {
        let rest = self.0.settings.every.map_or(LOOK_EVERY, |every| every.min(LOOK_EVERY));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest) => {}
            }
            if let Err(error) = self.look(&stop).await {
                warn!(error = &error as &dyn std::error::Error, "lifecycle rules will be tried again");
            }
        }
    }

    /// Runs what is due now, and forgets old previews.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look(&self, stop: &CancellationToken) -> Result<(), Error> {
        while self.metadata().write(ForgetPreviews { limit: FORGOTTEN_AT_ONCE }).await? > 0 {
            super::ground::check(stop)?;
        }
        let Some(every) = self.0.settings.every else { return Ok(()) };
        let due = runs::due(&mut self.metadata().read().await?, self.0.clock.now(), every).await?;
        for namespace in due.iter().filter_map(|name| name.parse().ok()) {
            super::ground::check(stop)?;
            match self.run_scheduled(&namespace, stop).await {
                // Another process was faster.
                Ok(()) | Err(Error::Running { .. } | Error::Stopped) => {}
                Err(Error::Unavailable(error)) => return Err(error.into()),
                Err(error) => {
                    error!(%namespace, error = &error as &dyn std::error::Error, "lifecycle rules were not run");
                }
            }
        }
        Ok(())
    }

    /// A set of rules with an error in it is taken, too, so that whoever looks finds why nothing goes.
    async fn run_scheduled(&self, namespace: &RepositoryName, stop: &CancellationToken) -> Result<(), Error> {
        match self.load(namespace).await {
            Ok(loaded) => self.take(namespace, loaded, Asked::BySchedule).await?.go(stop).await.map(drop),
            Err(error @ Error::Unreadable { .. }) => {
                let ground = self.ground(namespace).await?;
                let mut run = self.take(namespace, ground.clone(), Asked::BySchedule).await?;
                Err(run.fail(ground, error).await)
            }
            Err(error) => Err(error),
        }
    }
}
