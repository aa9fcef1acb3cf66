//! What is counted while the server runs, and told at `/metrics`.
//!
//! Labels take few values, whoever asks: kinds, causes, names that settings gave to directories; never a user's name, a repository or an
//! address. Counting is an addition in memory; telling asks no database: what only the database knows is what the last look saw.

mod told;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use shared::clock::Timestamp;

use crate::accounts::census::Census;

/// Declares a closed set of label values, each with its counter.
macro_rules! labels {
    ($(#[$meta:meta])* $set:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set {
            $($(#[$doc])* $variant),+
        }

        impl $set {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl From<$set> for usize {
            fn from(label: $set) -> Self {
                label as Self
            }
        }
    };
}

labels! {
    /// What somebody showed who was given a token.
    Shown {
        /// Nothing.
        Nothing = "anonymous",
        /// A password.
        Password = "password",
        /// A personal access token.
        PersonalToken = "personal_token",
        /// A robot's key.
        RobotKey = "robot_key",
        /// What `docker login` keeps.
        IdentityToken = "identity_token",
    }
}

labels! {
    /// Why there was no token, or nobody was let in.
    Cause {
        /// The credentials prove nothing.
        Wrong = "wrong",
        /// They are right, and count for nothing: revoked, ended, for elsewhere. Where that is not told to whoever shows them, it is wrong here too.
        Void = "void",
        /// Too many failed before.
        Throttled = "throttled",
        /// Too many passwords are being checked.
        Busy = "busy",
        /// A directory cannot be asked.
        Directory = "directory",
        /// The database did not answer.
        Unavailable = "unavailable",
        /// The registry that is named is not known here.
        Service = "unknown_service",
        /// The key did not sign.
        NotSigned = "not_signed",
    }
}

labels! {
    /// What a directory answered.
    Answer {
        /// The password is right.
        Proved = "proved",
        /// It is not.
        Rejected = "rejected",
        /// The account is disabled there.
        Disabled = "disabled",
        /// It does not have the name.
        Unknown = "unknown",
        /// It told groups, or everybody.
        Told = "told",
        /// It could not be asked, or what it said was not whole.
        Failed = "failed",
    }
}

labels! {
    /// What became of a reading of everybody.
    Reading {
        /// What it said was done. Where nobody of the directory has an account, nothing was to be read.
        Done = "done",
        /// It would have taken too much away, and nothing was changed.
        Stopped = "stopped",
        /// It was not whole, or was not written.
        Failed = "failed",
    }
}

labels! {
    /// What was asked for.
    Route {
        /// A token.
        Token = "token",
        /// The admin API.
        Api = "api",
        /// The revocation feed, readable names, the bundle.
        Registry = "registry",
    }
}

labels! {
    /// How a request ended.
    Ended {
        /// With a status below 400.
        Done = "done",
        /// With one of the client's.
        Refused = "refused",
        /// With one of ours.
        Failed = "failed",
    }
}

/// A counter for each value of a label.
#[derive(Debug)]
struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counters<N> {
    fn add(&self, label: impl Into<usize>, count: u64) {
        self.0[label.into()].fetch_add(count, Relaxed);
    }

    fn with(&self, words: &'static [&'static str]) -> impl Iterator<Item = (&'static str, f64)> {
        words.iter().copied().zip(self.0.iter().map(|count| count.load(Relaxed) as f64))
    }
}

/// What is known of one directory.
#[derive(Debug, Default)]
struct Directory {
    answers: Counters<6>,
    readings: Counters<3>,
    microseconds: u64,
    /// When what everybody's reading said was last done.
    synced: Option<Timestamp>,
    /// True if the last one would have taken too much away.
    stopped: bool,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    tokens: Counters<5>,
    reduced: AtomicU64,
    kept: AtomicU64,
    refused: Counters<8>,
    failed_logins: Counters<8>,
    requests: [Counters<3>; 3],
    request_microseconds: Counters<3>,
    directories: Mutex<BTreeMap<String, Directory>>,
    /// 1 if this process asks the directories about everybody.
    leads: AtomicU64,
    /// When somebody last read the revocation feed; 0 before.
    feed_read: AtomicI64,
    census: Mutex<Option<Census>>,
}

impl Metrics {
    /// A token was made; for less than was asked, or together with an identity token.
    pub fn token(&self, shown: Shown, reduced: bool, kept: bool) {
        self.0.tokens.add(shown, 1);
        self.0.reduced.fetch_add(u64::from(reduced), Relaxed);
        self.0.kept.fetch_add(u64::from(kept), Relaxed);
    }

    /// No token was made.
    pub fn refused(&self, cause: Cause) {
        self.0.refused.add(cause, 1);
    }

    /// Nobody was let in, for whatever they wanted.
    pub fn login_failed(&self, cause: Cause) {
        self.0.failed_logins.add(cause, 1);
    }

    /// A request was answered.
    pub fn request(&self, route: Route, ended: Ended, took: Duration) {
        self.0.requests[usize::from(route)].add(ended, 1);
        self.0.request_microseconds.add(route, microseconds(took));
    }

    /// There are directories of these names, whether or not they were ever asked, and no others.
    pub fn knows_only<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let mut directories = self.directories();
        let mut known = std::mem::take(&mut *directories);
        *directories = names.map(|name| (name.to_owned(), known.remove(name).unwrap_or_default())).collect();
    }

    /// A directory was asked.
    pub fn asked(&self, directory: &str, answer: Answer, took: Duration) {
        let mut directories = self.directories();
        let known = directories.entry(directory.to_owned()).or_default();
        known.answers.add(answer, 1);
        known.microseconds += microseconds(took);
    }

    /// A reading of everybody came to its end. After one that failed it is not known whether too much is gone: what was stopped stays so.
    pub fn read(&self, directory: &str, reading: Reading, at: Timestamp) {
        let mut directories = self.directories();
        let known = directories.entry(directory.to_owned()).or_default();
        known.readings.add(reading, 1);
        match reading {
            Reading::Done => (known.stopped, known.synced) = (false, Some(at)),
            Reading::Stopped => known.stopped = true,
            Reading::Failed => {}
        }
    }

    /// This process asks the directories about everybody, or another does. What another knows better is told no more.
    pub fn leads(&self, leads: bool) {
        let before = self.0.leads.swap(u64::from(leads), Relaxed);
        if before == 1 && !leads {
            for known in self.directories().values_mut() {
                (known.synced, known.stopped) = (None, false);
            }
        }
    }

    /// The revocation feed was read.
    pub fn feed_read(&self, at: Timestamp) {
        self.0.feed_read.store(at.micros(), Relaxed);
    }

    /// What the database was seen to hold.
    pub fn saw(&self, census: Census) {
        *self.0.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
    }

    fn directories(&self) -> MutexGuard<'_, BTreeMap<String, Directory>> {
        self.0.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn microseconds(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
