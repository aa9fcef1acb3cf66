//! The audit kept honest while the server runs: sealed every second, what it has come to remembered outside the database, and what is
//! old enough removed. Of several processes over one database one does it.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{error, info, warn};

use crate::{
    accounts::{self, Accounts},
    audit::{
        chain::{CheckpointKey, PublicKey},
        seal::{BATCH, LEADER, LEASE, Remove, Sealed, Sealer},
        verify::Head,
        witness::Witness,
    },
    secrets::{MasterKeys, Purpose},
};

/// How long events stay, from the moment at which they were sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Those of changes; None is for good.
    pub changes: Option<Duration>,
    /// Those of tokens and failed logins; None is for good.
    pub tokens: Option<Duration>,
}

/// How long events of tokens and failed logins are kept if nothing else is said.
pub const TOKENS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest time that events are kept: what a weekend did is there on Monday.
pub const LEAST_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Default for Retention {
    fn default() -> Self {
        Self { changes: None, tokens: Some(TOKENS_KEPT) }
    }
}

/// Seals, and says what it sealed with. Cheap to clone.
#[derive(Clone)]
pub struct Sealing(Arc<Parts>);

struct Parts {
    accounts: Accounts,
    sealer: Sealer,
    keys: Arc<[PublicKey]>,
    witness: Witness,
    known: Mutex<Option<Head>>,
    retention: Retention,
}

impl Sealing {
    /// Over these accounts, with a key of the master key, and the witness of this data directory.
    ///
    /// # Errors
    /// The witness is damaged. It is not begun anew in silence.
    pub fn new(accounts: &Accounts, master: &MasterKeys, data: &Path, retention: Retention) -> io::Result<Self> {
        let witness = Witness::in_directory(data);
        let known = Mutex::new(witness.head()?);
        let keys: Vec<CheckpointKey> =
            master.iter().map(|key| CheckpointKey::from_seed(&key.derive(Purpose::Checkpoints))).collect();
        let public = keys.iter().map(CheckpointKey::public).collect();
        let key = CheckpointKey::from_seed(&master.current().derive(Purpose::Checkpoints));
        let sealer = Sealer { lease: accounts.lease(LEADER, LEASE), key: Arc::new(key) };
        Ok(Self(Arc::new(Parts { accounts: accounts.clone(), sealer, keys: public, witness, known, retention })))
    }

    /// What checkpoints are verified with: the key of today's master key first, then that of the one before while it lives.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.0.keys
    }

    /// The end of the chain as it was last seen from here.
    #[must_use]
    pub fn known(&self) -> Option<Head> {
        *self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals what is there to be sealed, if this process is the one that seals.
    ///
    /// # Errors
    /// The database did not answer; it is tried again.
    pub async fn seal(&self) -> Result<(), accounts::Error> {
        loop {
            let Some(sealed) = self.0.accounts.seal(&self.0.sealer, self.known()).await? else { return Ok(()) };
            let Sealed::Here { events, head, lost } = sealed else { return Ok(()) };
            if lost {
                error!(known = ?self.known(), found = ?head, "the audit ends before what was sealed: it was cut off, or an older database was put in place");
            }
            if let Some(head) = head {
                self.remember(head);
            }
            if events < BATCH {
                return Ok(());
            }
        }
    }

    fn remember(&self, head: Head) {
        *self.0.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        if let Err(error) = self.0.witness.remember(head) {
            warn!(%error, path = %self.0.witness.path().display(), "the end of the audit was not written down outside the database");
        }
    }

    /// Removes batches whose time is over.
    ///
    /// # Errors
    /// The database did not answer; it is tried again.
    pub async fn remove_old(&self) -> Result<u64, accounts::Error> {
        let Retention { changes: long, tokens: short } = self.0.retention;
        let mut removed = 0;
        loop {
            let (sealer, keys) = (self.0.sealer.clone(), self.0.keys.clone());
            let remove = Remove { sealer, keys, long, short };
            let (events, more) = self.0.accounts.remove_events(remove).await?;
            removed += events;
            if !more {
                if removed > 0 {
                    info!(events = removed, "removed old events from the audit");
                }
                return Ok(removed);
            }
        }
    }
}
