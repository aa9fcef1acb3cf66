//! What an operator wants to hold while requests are served (`health` in the settings), looked at now and then.
//!
//! While a check fails, every request is answered 503, as at the stock registries: a load balancer then sends clients
//! elsewhere. Nothing is asked at a request; it only sees what the last look found.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use shared::database::DatabaseError;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::{
    content::Content,
    settings::{Health, StorageCheck},
};

/// Every check, and what it found. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Checks(Arc<Vec<Check>>);

#[derive(Debug)]
struct Check {
    /// As the stock registries name it in `/debug/health`.
    name: String,
    probe: Probe,
    when: StorageCheck,
    /// Why it fails, while it does.
    failure: ArcSwapOption<String>,
}

#[derive(Debug)]
enum Probe {
    /// The directory is there.
    Directory(PathBuf),
    /// The file is not there.
    NoFile(PathBuf),
    /// HEAD is answered with this status.
    Http { client: reqwest::Client, url: Url, status: u16, patience: Duration },
    /// Somebody accepts.
    Tcp { address: String, patience: Duration },
}

/// Why a registry should not be sent requests.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database does not answer.
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    /// Checks fail.
    #[error("health checks fail: {0}")]
    Checks(String),
}

/// Tells whether a registry can serve. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    content: Content,
    checks: Checks,
}

impl Readiness {
    pub(crate) const fn new(content: Content, checks: Checks) -> Self {
        Self { content, checks }
    }

    /// Ready if the database answers and no check fails.
    ///
    /// # Errors
    /// [`NotReady`]
    pub async fn ready(&self) -> Result<(), NotReady> {
        let failing: Vec<_> = self.checks.failures().into_keys().collect();
        if failing.is_empty() { Ok(self.content.ready().await?) } else { Err(NotReady::Checks(failing.join(", "))) }
    }
}

impl Checks {
    /// The checks that the settings ask for; `root` is the data directory.
    #[must_use]
    pub fn new(settings: &Health, root: &std::path::Path) -> Self {
        let mut checks = Vec::new();
        let mut add = |name: String, probe, when| {
            checks.push(Check { name, probe, when, failure: ArcSwapOption::empty() });
        };
        if let Some(when) = settings.storage {
            add("storagedriver_filesystem".to_owned(), Probe::Directory(root.to_owned()), when);
        }
        for check in &settings.files {
            let when = StorageCheck { interval: check.interval, threshold: 1 };
            add(check.path.display().to_string(), Probe::NoFile(check.path.clone()), when);
        }
        if !settings.http.is_empty() {
            shared::crypto::install();
        }
        for check in &settings.http {
            let (client, url) = (reqwest::Client::new(), check.url.clone());
            let probe = Probe::Http { client, url, status: check.status, patience: check.timeout };
            add(check.url.to_string(), probe, check.when);
        }
        for check in &settings.tcp {
            let probe = Probe::Tcp { address: check.address.clone(), patience: check.timeout };
            add(check.address.clone(), probe, check.when);
        }
        Self(Arc::new(checks))
    }

    /// Whether one fails.
    #[must_use]
    pub fn fail(&self) -> bool {
        self.0.iter().any(|check| check.failure.load().is_some())
    }

    /// Which fail, and why.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<String, String> {
        let failing = self.0.iter().filter_map(|check| Some((check.name.clone(), check.failure.load_full()?)));
        failing.map(|(name, reason)| (name, reason.as_ref().clone())).collect()
    }

    /// Looks, waits and looks again until cancelled.
    pub async fn run(&self, cancelled: CancellationToken) {
        let all = join_all(self.0.iter().map(Check::run));
        cancelled.run_until_cancelled(all).await;
    }
}

impl Check {
    async fn run(&self) {
        let mut in_a_row = 0_u32;
        loop {
            match self.probe.look().await {
                Ok(()) => {
                    in_a_row = 0;
                    self.recovered();
                }
                Err(reason) => {
                    in_a_row = in_a_row.saturating_add(1);
                    if in_a_row >= self.when.threshold {
                        self.failed(reason);
                    }
                }
            }
            sleep(self.when.interval).await;
        }
    }

    fn failed(&self, reason: String) {
        if self.failure.load().is_none() {
            warn!(check = self.name, reason, "a health check fails: requests are answered 503");
        }
        self.failure.store(Some(Arc::new(reason)));
    }

    fn recovered(&self) {
        if self.failure.swap(None).is_some() {
            info!(check = self.name, "the health check holds again");
        }
    }
}

impl Probe {
    async fn look(&self) -> Result<(), String> {
        match self {
            Self::Directory(path) => tokio::fs::metadata(path).await.map(drop).map_err(|error| error.to_string()),
            Self::NoFile(path) => match tokio::fs::try_exists(path).await {
                Ok(false) => Ok(()),
                Ok(true) => Err("file exists".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Self::Http { client, url, status, patience } => {
                let answer = client.head(url.clone()).timeout(*patience).send().await;
                match answer.map_err(|error| error.without_url().to_string())?.status().as_u16() {
                    answered if answered == *status => Ok(()),
                    answered => Err(format!("downstream service returned unexpected status: {answered}")),
                }
            }
            Self::Tcp { address, patience } => match timeout(*patience, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("connection to {address} failed: {error}")),
                Err(_) => Err(format!("connection to {address} failed: no answer in time")),
            },
        }
    }
}
