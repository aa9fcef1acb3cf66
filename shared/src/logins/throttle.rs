//! Throttling of failed passwords (authorization.md, 5.2).
//!
//! A try takes a token from its buckets before anything is hashed, and a right password gives it back: a thousand guesses sent at
//! once find as few tokens as a thousand sent one after the other.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;

use crate::{
    clock::{Clock, Timestamp},
    network::Network,
};

/// Most buckets of each sort. Beyond it those used least are forgotten, which is to say full again.
const MAX_BUCKETS: u64 = 100_000;

/// How many failures are taken, and how soon they are forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Failures in a row.
    pub burst: u32,
    /// Time after which one is forgiven.
    pub forgiven_after: Duration,
}

/// What is allowed for an account from one neighbourhood of addresses.
pub const PER_ACCOUNT: Allowance = Allowance { burst: 10, forgiven_after: Duration::from_secs(30) };
/// What is allowed for a neighbourhood of addresses, over all accounts it has never signed in to.
pub const PER_NETWORK: Allowance = Allowance { burst: 50, forgiven_after: Duration::from_secs(6) };

/// Counts failed passwords.
#[derive(Debug)]
pub struct Throttle {
    clock: Clock,
    accounts: Buckets<(String, Network)>,
    networks: Buckets<Network>,
}

/// Where a try comes from, seen from the account that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbourhood {
    /// The account has signed in from it: what strangers there do to other accounts does not count against it.
    Known,
    /// It has not.
    Strange,
}

/// A token that was taken. Dropping it is a failure; [`Try::succeeded`] gives it back.
#[derive(Debug)]
#[must_use = "a try that did not fail must be given back"]
pub struct Try {
    taken: Vec<Arc<Mutex<Bucket>>>,
}

/// No tokens are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// When there will be one.
    pub retry_after: Duration,
}

impl Throttle {
    /// Starts with full buckets.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, accounts: Buckets::new(PER_ACCOUNT), networks: Buckets::new(PER_NETWORK) }
    }

    /// Takes what a try costs.
    ///
    /// # Errors
    /// [`Throttled`] if a bucket is empty; nothing is taken then.
    pub fn begin(&self, account: &str, from: IpAddr, neighbourhood: Neighbourhood) -> Result<Try, Throttled> {
        let now = self.clock.now();
        let network = Network::around(from);
        let mut attempt = Try { taken: Vec::with_capacity(2) };
        let mut take = |bucket: Arc<Mutex<Bucket>>, allowance: Allowance| {
            let taken = locked(&bucket).take(now, allowance);
            match taken {
                Ok(()) => attempt.taken.push(bucket),
                Err(_) => attempt.give_back(),
            }
            taken
        };
        take(self.accounts.of((account.to_owned(), network)), PER_ACCOUNT)?;
        if neighbourhood == Neighbourhood::Strange {
            take(self.networks.of(network), PER_NETWORK)?;
        }
        Ok(attempt)
    }
}

impl Throttle {
    /// Whether a try would be let through; nothing is taken. For what is not hashed: a password that is remembered must not be found out
    /// by somebody who may not try any more.
    ///
    /// # Errors
    /// [`Throttled`] if a bucket is empty.
    pub fn look(&self, account: &str, from: IpAddr, neighbourhood: Neighbourhood) -> Result<(), Throttled> {
        let (now, network) = (self.clock.now(), Network::around(from));
        locked(&self.accounts.of((account.to_owned(), network))).look(now, PER_ACCOUNT)?;
        match neighbourhood {
            Neighbourhood::Known => Ok(()),
            Neighbourhood::Strange => locked(&self.networks.of(network)).look(now, PER_NETWORK),
        }
    }
}

impl Try {
    /// It was no failure.
    pub fn succeeded(mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        for bucket in self.taken.drain(..) {
            let mut bucket = locked(&bucket);
            bucket.failures = bucket.failures.saturating_sub(1);
        }
    }
}

#[derive(Debug)]
struct Buckets<K: std::hash::Hash + Eq + Send + Sync + 'static>(Cache<K, Arc<Mutex<Bucket>>>);

impl<K: std::hash::Hash + Eq + Send + Sync + 'static> Buckets<K> {
    fn new(allowance: Allowance) -> Self {
        // After this long unused a bucket is full whatever it was.
        let full_again = allowance.forgiven_after * allowance.burst;
        Self(Cache::builder().max_capacity(MAX_BUCKETS).time_to_idle(full_again).build())
    }

    fn of(&self, key: K) -> Arc<Mutex<Bucket>> {
        self.0.get_with(key, Arc::default)
    }
}

#[derive(Debug, Default)]
struct Bucket {
    failures: u32,
    /// Up to when failures have been forgiven.
    since: Option<Timestamp>,
}

impl Bucket {
    fn take(&mut self, now: Timestamp, allowance: Allowance) -> Result<(), Throttled> {
        self.look(now, allowance)?;
        self.failures += 1;
        Ok(())
    }

    fn look(&mut self, now: Timestamp, allowance: Allowance) -> Result<(), Throttled> {
        self.forgive(now, allowance);
        if self.failures < allowance.burst {
            return Ok(());
        }
        let since = self.since.unwrap_or(now);
        Err(Throttled { retry_after: (since + allowance.forgiven_after).since(now) })
    }

    fn forgive(&mut self, now: Timestamp, allowance: Allowance) {
        let since = self.since.unwrap_or(now);
        let steps = now.since(since).as_micros() / allowance.forgiven_after.as_micros().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(steps);
        // An empty count starts afresh; else what has passed of the current step is kept.
        self.since = Some(if self.failures == 0 { now } else { since + allowance.forgiven_after * steps });
    }
}

fn locked(bucket: &Mutex<Bucket>) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> (Throttle, Clock) {
        let clock = Clock::fixed(Timestamp::from_seconds(1_800_000_000));
        (Throttle::new(clock.clone()), clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(throttle: &Throttle, account: &str, from: &str, times: u32) {
        for n in 0..times {
            drop(throttle.begin(account, address(from), Neighbourhood::Strange).unwrap_or_else(|_| panic!("try {n}")));
        }
    }

    #[test]
    fn failures_are_forgiven_one_by_one() {
        let (throttle, clock) = throttle();
        let home = "192.0.2.1";
        fail(&throttle, "alice", home, PER_ACCOUNT.burst);
        let refused = throttle.begin("alice", address("192.0.2.99"), Neighbourhood::Strange).unwrap_err();
        assert_eq!(refused.retry_after, PER_ACCOUNT.forgiven_after, "neighbours share a bucket");
        clock.advance(PER_ACCOUNT.forgiven_after - Duration::from_secs(1));
        let refused = throttle.begin("alice", address(home), Neighbourhood::Strange).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        fail(&throttle, "alice", home, 1);
        throttle.begin("alice", address(home), Neighbourhood::Strange).unwrap_err();
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let (throttle, _) = throttle();
        for _ in 0..PER_NETWORK.burst * 3 {
            throttle.begin("alice", address("192.0.2.1"), Neighbourhood::Strange).unwrap().succeeded();
        }
    }

    #[test]
    fn guesses_sent_at_once_find_no_more_tokens() {
        let (throttle, _) = throttle();
        let begun: Vec<_> = (0..1000)
            .map(|_| throttle.begin("alice", address("192.0.2.1"), Neighbourhood::Strange))
            .filter_map(Result::ok)
            .collect();
        assert_eq!(begun.len(), PER_ACCOUNT.burst as usize);
    }

    #[test]
    fn strangers_lock_nobody_out() {
        let (throttle, _) = throttle();
        fail(&throttle, "alice", "198.51.100.1", PER_ACCOUNT.burst);
        throttle.begin("alice", address("198.51.100.1"), Neighbourhood::Strange).unwrap_err();
        throttle.begin("alice", address("192.0.2.1"), Neighbourhood::Strange).unwrap().succeeded();
        throttle.begin("alice", address("2001:db8::1"), Neighbourhood::Strange).unwrap().succeeded();
    }

    #[test]
    fn one_network_guesses_at_many_accounts_only_so_often() {
        let (throttle, _) = throttle();
        for n in 0..PER_NETWORK.burst {
            fail(&throttle, &format!("user-{n}"), "192.0.2.1", 1);
        }
        let refused = throttle.begin("somebody", address("192.0.2.1"), Neighbourhood::Strange).unwrap_err();
        assert_eq!(refused.retry_after, PER_NETWORK.forgiven_after);
        // Who has signed in from there before is not made to pay for it, and what was refused took nothing from the account.
        for _ in 0..PER_ACCOUNT.burst {
            drop(throttle.begin("somebody", address("192.0.2.1"), Neighbourhood::Known).unwrap());
        }
        throttle.begin("somebody", address("192.0.2.1"), Neighbourhood::Known).unwrap_err();
    }
}
