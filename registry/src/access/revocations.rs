//! Tokens that must not be believed to their end: what the companion's feed has said, and the task that listens.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use shared::{
    clock::{Clock, Timestamp},
    revocation::{Revocation, Revoked},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{companion::Companion, verifier::VerifiedToken};

/// A feed that has been silent for so long is an alarm. Requests are served all the same: an auth service that is
/// down must not take pulls with it, and tokens are short-lived.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How long to wait before asking a feed again that failed, or that answered nothing at once.
const PAUSE: Duration = Duration::from_secs(1);

/// The rows that still matter.
#[derive(Default)]
pub struct Revocations {
    rows: ArcSwap<HashMap<Revoked, Row>>,
    /// The last row that was taken; guards writers, too.
    last: Mutex<u64>,
    /// Whether the feed's silence was reported and lasts.
    silent: AtomicBool,
}

#[derive(Clone, Copy)]
struct Row {
    seq: u64,
    until: Timestamp,
}

impl Revocations {
    /// Whether a token is revoked for operations in these namespaces.
    ///
    /// A token without an epoch is older than every row: who signs for us and sends no epoch cannot tell that it
    /// has seen the change. A leaf is revoked because its key is not trusted any more, and then its epochs are not either.
    pub fn refuse<'a>(&self, token: &VerifiedToken, namespaces: impl Iterator<Item = &'a str>) -> bool {
        let rows = self.rows.load();
        if rows.is_empty() {
            return false;
        }
        let claims = &token.claims;
        let epoch = claims.epoch.unwrap_or(0);
        let revoked = |subject| rows.get(&subject).is_some_and(|row| epoch < row.seq);
        claims.credential.map(Revoked::Credential).is_some_and(revoked)
            || claims.principal.map(Revoked::Principal).is_some_and(revoked)
            // Whoever has stolen a key writes whatever epoch they like.
            || token.leaf.as_ref().is_some_and(|leaf| rows.contains_key(&Revoked::Leaf(leaf.to_string())))
            || revoked(Revoked::Everyone)
            || namespaces.map(|namespace| Revoked::Namespace(namespace.to_owned())).any(revoked)
    }

    /// The last row that was taken.
    #[must_use]
    pub fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the feed has been silent for [`SILENCE`] and is so still.
    #[must_use]
    pub fn feed_is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Takes rows of the feed, and forgets those whose last token has expired.
    pub fn take(&self, feed: Vec<Revocation>, now: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = HashMap::clone(&self.rows.load());
        rows.retain(|_, row| row.until >= now);
        for Revocation { seq, subject, until } in feed {
            let row = rows.entry(subject).or_insert(Row { seq, until });
            *row = Row { seq: row.seq.max(seq), until: row.until.max(until) };
            *last = (*last).max(seq);
        }
        self.rows.store(Arc::new(rows));
    }
}

/// Follows the companion's feed until cancelled.
pub async fn follow(
    companion: Arc<dyn Companion>,
    revocations: Arc<Revocations>,
    clock: Clock,
    cancelled: CancellationToken,
) {
    let mut feed = Feed { heard: clock.now(), revocations: &revocations };
    while !cancelled.is_cancelled() {
        let answer = tokio::select! {
            answer = companion.revocations(revocations.last()) => answer,
            // A companion that is asked and never answers is as silent as one that refuses.
            never = feed.watch(&clock) => match never {},
            () = cancelled.cancelled() => return,
        };
        let now = clock.now();
        let pause = match answer {
            Ok(rows) => {
                feed.answered(now);
                let nothing = rows.is_empty();
                revocations.take(rows, now);
                nothing
            }
            Err(unavailable) => {
                feed.failed(now, &unavailable);
                true
            }
        };
        if pause {
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = cancelled.cancelled() => return,
            }
        }
    }
}

/// When the feed answered last.
struct Feed<'a> {
    heard: Timestamp,
    revocations: &'a Revocations,
}

impl Feed<'_> {
    fn answered(&mut self, now: Timestamp) {
        self.heard = now;
        if self.revocations.silent.swap(false, Ordering::Relaxed) {
            info!("the companion's revocation feed answers again");
        }
    }

    fn failed(&self, now: Timestamp, reason: &dyn std::fmt::Display) {
        if now.since(self.heard) < SILENCE {
            warn!(%reason, "the companion's revocation feed does not answer");
        } else {
            self.alarm(now, reason);
        }
    }

    /// Looks at the time while an answer is waited for.
    async fn watch(&self, clock: &Clock) -> Infallible {
        loop {
            sleep(PAUSE).await;
            let now = clock.now();
            if now.since(self.heard) >= SILENCE {
                self.alarm(now, &"no answer comes");
            }
        }
    }

    /// Said once, until it answers again.
    fn alarm(&self, now: Timestamp, reason: &dyn std::fmt::Display) {
        if !self.revocations.silent.swap(true, Ordering::Relaxed) {
            let seconds = now.since(self.heard).as_secs();
            error!(%reason, seconds, "the companion's revocation feed is silent: revoked tokens stay good until they expire");
        }
    }
}
