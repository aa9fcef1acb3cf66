//! Access by a password file, as `htpasswd -B` writes it.
//!
//! Only bcrypt is accepted, as at the stock registries. The file is read again when it changes. Checking a
//! password is meant to be slow, so it happens off the runtime's threads, a few at a time behind a bounded queue, and a
//! right password is remembered for a moment: docker sends it with every request of a push. Failures are throttled as the
//! auth service throttles them.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use moka::{future, sync::Cache};
use ring::hmac;
use shared::{
    basic::BasicCredentials,
    clock::Clock,
    logins::{
        MAX_BCRYPT_COST,
        queue::{Busy, Queue},
        throttle::{Neighbourhood, Throttle, Throttled},
    },
    network::Network,
    random,
    watched::{WatchError, Watched},
};
use tracing::warn;

use super::{Caller, Identity, Presented, Refusal};

/// The largest password file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// What bcrypt looks at of a password, in bytes. A longer one would match whatever begins like it.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// For how long a right password is not hashed again.
const MEMORY: Duration = Duration::from_secs(30);

/// How many right passwords are remembered.
const MEMORY_ENTRIES: u64 = 1024;

/// From how many networks it is remembered that a user came.
const KNOWN_ENTRIES: u64 = 10_000;

/// For how long after the last time.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest name that is looked up and counted, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Whose guesses those count as that come by a socket file and say nothing of themselves: they are all of one neighbourhood.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Why a password file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HtpasswdError {
    /// It is too large.
    #[error("more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It is no text.
    #[error("not UTF-8")]
    NotText,
    /// A line is not `name:hash`.
    #[error("line {line}: not of the form name:hash")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// A hash is of another kind.
    #[error("line {line}: only bcrypt hashes ($2a$, $2b$, $2y$) are accepted; `htpasswd -B` makes them")]
    Hash {
        /// Counted from one.
        line: usize,
    },
    /// A hash would take too long to compare.
    #[error(
        "line {line}: a bcrypt hash of cost {cost} takes too long to compare; {MAX_BCRYPT_COST} is the highest cost"
    )]
    Cost {
        /// Counted from one.
        line: usize,
        /// What it costs.
        cost: u32,
    },
}

/// A realm whose users stand in a file.
pub struct Htpasswd {
    realm: String,
    users: Watched<Users, HtpasswdError>,
    key: hmac::Key,
    /// What was found right lately. Requests that bring the same at once wait for one hash: a push has several.
    right: future::Cache<[u8; 32], ()>,
    /// Where users came from with the right password: what strangers do there to others does not count against them.
    known: Cache<(Arc<str>, Network), ()>,
    throttle: Throttle,
    queue: Queue,
}

struct Users {
    hashes: HashMap<Arc<str>, Arc<str>>,
    /// Hashed for names that do not exist, so that they take as long as most of those that do.
    decoy: Arc<str>,
}

/// A login whose password is compared with a line, or with the decoy where there is none of its name.
struct Login {
    name: Arc<str>,
    hash: Arc<str>,
    from: IpAddr,
    exists: bool,
}

/// Why it failed. Those who brought the same at the same time are told the same.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Failed {
    #[error("wrong")]
    Wrong,
    #[error("throttled")]
    Throttled(Throttled),
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl Htpasswd {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read; or [`HtpasswdError`] with its line.
    pub fn open(realm: String, path: &Path, clock: Clock) -> Result<Self, WatchError<HtpasswdError>> {
        Ok(Self {
            realm,
            users: Watched::open(path, Users::read)?,
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()),
            right: future::Cache::builder().max_capacity(MEMORY_ENTRIES).time_to_live(MEMORY).build(),
            known: Cache::builder().max_capacity(KNOWN_ENTRIES).time_to_idle(KNOWN_FOR).build(),
            throttle: Throttle::new(clock),
            queue: Queue::for_this_machine(),
        })
    }

    /// Looks at the file now.
    #[cfg(test)]
    pub(super) fn refresh(&self) {
        self.users.refresh();
    }

    pub(super) fn challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.realm.replace(['"', '\\'], ""))
    }

    pub(super) async fn authorize(&self, presented: Presented<'_>, peer: Option<IpAddr>) -> Result<Caller, Refusal> {
        let Presented::Basic(credentials) = presented else { return Err(Refusal::nothing_presented()) };
        if credentials.username.len() > MAX_NAME_BYTES {
            return Err(wrong("a name longer than any user's".to_owned()));
        }
        let login = self.login(&credentials.username, peer);
        let memory_key = self.memory_key(&credentials, &login.hash);
        // Also what is remembered: a throttled guesser must not find out by it that a guess was right.
        self.look(&login).map_err(|throttled| refusal(&login, Failed::Throttled(throttled)))?;
        let compared = self.right.try_get_with(memory_key, self.compare(&login, credentials)).await;
        compared.map_err(|failed| refusal(&login, *failed))?;
        Ok(Caller(Identity::User(login.name)))
    }

    fn login(&self, username: &str, peer: Option<IpAddr>) -> Login {
        let (users, from) = (self.users.current(), peer.unwrap_or(NOWHERE));
        match users.hashes.get_key_value(username) {
            Some((name, hash)) => Login { name: Arc::clone(name), hash: Arc::clone(hash), from, exists: true },
            None => Login { name: username.into(), hash: Arc::clone(&users.decoy), from, exists: false },
        }
    }

    fn look(&self, login: &Login) -> Result<(), Throttled> {
        self.throttle.look(&login.name, login.from, self.neighbourhood(login))
    }

    fn neighbourhood(&self, login: &Login) -> Neighbourhood {
        let known = self.known.get(&(Arc::clone(&login.name), Network::around(login.from))).is_some();
        if known { Neighbourhood::Known } else { Neighbourhood::Strange }
    }

    /// Compares a password, if the throttle and the queue let it.
    async fn compare(&self, login: &Login, credentials: BasicCredentials) -> Result<(), Failed> {
        let begun =
            self.throttle.begin(&login.name, login.from, self.neighbourhood(login)).map_err(Failed::Throttled)?;
        let hash = Arc::clone(&login.hash);
        match self.queue.run(move || matches(&credentials, &hash)).await {
            Ok(right) if right && login.exists => begun.succeeded(),
            Ok(_) => return Err(Failed::Wrong),
            Err(busy) => {
                begun.succeeded();
                return Err(busy.into());
            }
        }
        self.known.insert((Arc::clone(&login.name), Network::around(login.from)), ());
        Ok(())
    }

    /// The hash is part of it: a changed line forgets the old password at once.
    fn memory_key(&self, credentials: &BasicCredentials, hash: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&credentials.username, credentials.password.expose(), hash] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// The hash is computed first: the length of a wrong password is nobody's business.
fn matches(credentials: &BasicCredentials, hash: &str) -> bool {
    let password = credentials.password.expose();
    bcrypt::verify(password, hash).unwrap_or(false) && password.len() <= MAX_PASSWORD_BYTES
}

fn wrong(reason: String) -> Refusal {
    Refusal::Unauthorized { error: None, sentence: None, reason }
}

fn refusal(login: &Login, failed: Failed) -> Refusal {
    match failed {
        Failed::Wrong if login.exists => wrong(format!("wrong password for {}", login.name)),
        // Unknown names are not repeated: people paste passwords here.
        Failed::Wrong => wrong("unknown user".to_owned()),
        Failed::Throttled(Throttled { retry_after }) => {
            Refusal::Throttled { retry_after, reason: "too many failed passwords".to_owned() }
        }
        Failed::Busy(busy) => Refusal::Throttled { retry_after: Busy::RETRY_AFTER, reason: busy.to_string() },
    }
}

impl Users {
    fn read(text: &[u8]) -> Result<Self, HtpasswdError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(HtpasswdError::TooLarge);
        }
        let text = std::str::from_utf8(text).map_err(|_| HtpasswdError::NotText)?;
        let mut hashes = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let (text, line) = (line.trim(), at + 1);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, hash) =
                text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or(HtpasswdError::Line { line })?;
            let cost = bcrypt_cost(hash).ok_or(HtpasswdError::Hash { line })?;
            if cost > MAX_BCRYPT_COST {
                return Err(HtpasswdError::Cost { line, cost });
            }
            hashes.insert(Arc::from(name), Arc::from(hash));
        }
        if hashes.is_empty() {
            warn!("the password file has no user: nobody can log in");
        }
        let decoy = decoy(usual_cost(hashes.values().map(AsRef::as_ref)));
        Ok(Self { hashes, decoy })
    }
}

/// What `htpasswd -B` of today would not go below, where a file says nothing.
const DEFAULT_COST: u32 = 10;

/// The cost that most of the hashes have; of several, the dearest.
fn usual_cost<'a>(hashes: impl Iterator<Item = &'a str>) -> u32 {
    let mut lines: HashMap<u32, usize> = HashMap::new();
    for cost in hashes.filter_map(bcrypt_cost) {
        *lines.entry(cost).or_default() += 1;
    }
    lines.into_iter().max_by_key(|(cost, lines)| (*lines, *cost)).map_or(DEFAULT_COST, |(cost, _)| cost)
}

/// A hash of that cost, of a password that nobody knows.
fn decoy(cost: u32) -> Arc<str> {
    format!("$2b${cost:02}$abcdefghijklmnopqrstuuHdKQ1lxCQwLXFqgWqbfJZ0rfQAlvyXa").into()
}

/// The cost of a bcrypt hash; `None` if it is none.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
    known.then(|| hash.parse::<bcrypt::HashParts>().ok()).flatten().map(|parts| parts.get_cost())
}
