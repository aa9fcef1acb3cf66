//! Directories that administrators added beside those of the settings. Every process looks for them every two seconds, and asks those that
//! it finds; one whose description is as before keeps its connections.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use shared::secret::Secret;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::super::{
    Parts,
    ldap::{
        Ldap, NotAsked,
        written::{Files, RawLdap, Unfit},
    },
};
use crate::{
    accounts::{
        self, Accounts, Refusal,
        providers::{
            MAX_DIRECTORIES,
            added::{AddedDirectory, NewDirectory, Removed, SealedSecret},
        },
    },
    audit::Actor,
    secrets::{MasterKey, NotSealedHere},
};

/// How often it is looked which there are.
const LOOK: Duration = Duration::from_secs(2);

/// Why a directory was not added.
#[derive(Debug, Error)]
pub enum NotAdded {
    /// Its description makes no sense.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Its certificates or its key cannot be used.
    #[error("ldap: {}", .0.fault)]
    Unusable(NotAsked),
    /// The accounts refused, or cannot be written.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
}

/// Why a directory that is stored cannot be asked.
#[derive(Debug, Error)]
enum Unreadable {
    #[error("its settings are another release's: {0}")]
    Settings(#[from] serde_json::Error),
    #[error("its secrets: {0}")]
    Sealed(#[from] NotSealedHere),
    #[error("its secrets were sealed under the master key {0}, which is not here")]
    Key(String),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Unusable(#[from] NotAsked),
}

/// What of a description is sealed.
#[derive(Default, Deserialize)]
struct Secrets {
    password: Option<Secret<String>>,
    key: Option<Secret<String>>,
}

impl Secrets {
    fn of(described: &RawLdap) -> Self {
        Self { password: described.bind.password.clone(), key: described.key.clone() }
    }

    /// Sealed for the row of that name; what is moved to another one opens nothing there.
    fn sealed(&self, key: &MasterKey, name: &str) -> Option<SealedSecret> {
        let text = |secret: &Option<Secret<String>>| secret.as_ref().map(|secret| secret.expose().clone());
        if self.password.is_none() && self.key.is_none() {
            return None;
        }
        let bytes = json!({ "password": text(&self.password), "key": text(&self.key) }).to_string();
        let sealed = key.seal(&place(name), Secret::new(bytes).expose().as_bytes());
        Some(SealedSecret { sealed, master_id: key.id().to_owned() })
    }
}

fn place(name: &str) -> String {
    format!("provider/{name}")
}

impl Parts {
    pub(in crate::identity) async fn add_directory(&self, actor: &Actor, described: RawLdap) -> Result<(), NotAdded> {
        let (settings, urls, secrets) =
            (json!(&described).to_string(), described.urls.clone(), Secrets::of(&described));
        let config = described.config(Files::Inline)?;
        Ldap::can_be_asked(&config).map_err(NotAdded::Unusable)?;
        let name = config.name;
        if self.directories.are_of_settings(name.as_str()) {
            return Err(accounts::Error::from(Refusal::ProviderOfSettings(name.as_str().to_owned())).into());
        }
        let secret = secrets.sealed(self.keys.current(), name.as_str());
        let most = MAX_DIRECTORIES.saturating_sub(self.directories.of_settings());
        self.accounts.add_directory(actor, NewDirectory { name, settings, urls, secret, most }).await?;
        Ok(self.look_for_directories().await.map(drop)?)
    }

    /// From here on nobody is let in by it, here or by any other process; its accounts are disabled before this ends.
    pub(in crate::identity) async fn remove_directory(
        &self,
        accounts: &Accounts,
        actor: &Actor,
        name: &str,
    ) -> Result<Removed, accounts::Error> {
        let removed = accounts.remove_directory(actor, name).await?;
        self.look_for_directories().await?;
        self.accounts.disable_removed(actor).await?;
        Ok(removed)
    }

    /// Takes up what any process has changed, and goes on with what one has left.
    pub(in crate::identity) async fn follow_added(&self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look_and_go_on().await {
                warn!(%error, "it is not known which directories were added or removed; those that were known are asked");
            }
        }
    }

    async fn look_and_go_on(&self) -> Result<(), accounts::Error> {
        let is_removing = self.look_for_directories().await?;
        if is_removing { self.accounts.disable_removed(&Actor::system()).await } else { Ok(()) }
    }

    /// Asks from now on those that are stored. True if accounts of removed ones are left to be disabled.
    pub(in crate::identity) async fn look_for_directories(&self) -> Result<bool, accounts::Error> {
        let (old, is_removing) =
            self.directories.take_up(self.accounts.added_directories(), |stored| self.open(stored)).await?;
        for stored in old {
            self.seal_anew(&stored).await?;
        }
        self.metrics.knows_only(self.directories.all().iter().map(|ldap| ldap.name()));
        Ok(is_removing)
    }

    /// What is stored, ready to be asked. One that cannot be keeps the others from nothing: it is said, and its accounts wait.
    fn open(&self, stored: &AddedDirectory) -> Option<Ldap> {
        let provider = stored.name.as_str();
        if self.directories.are_of_settings(provider) {
            error!(
                provider,
                "a directory was added under a name that the settings of this process have: theirs is asked"
            );
            return None;
        }
        let opened =
            self.read(stored).and_then(|described| Ok(Ldap::new(stored.id, described.config(Files::Inline)?)?));
        match &opened {
            Ok(_) => info!(provider, "a directory is asked that was added"),
            Err(error) => {
                error!(provider, %error, "a directory that was added cannot be asked: remove it, and add it anew");
            }
        }
        opened.ok()
    }

    fn read(&self, stored: &AddedDirectory) -> Result<RawLdap, Unreadable> {
        let mut described: RawLdap = serde_json::from_str(&stored.settings)?;
        let Secrets { password, key } = self.opened_secrets(stored)?;
        (described.bind.password, described.key) = (password, key);
        Ok(described)
    }

    fn opened_secrets(&self, stored: &AddedDirectory) -> Result<Secrets, Unreadable> {
        let Some(SealedSecret { sealed, master_id }) = &stored.secret else { return Ok(Secrets::default()) };
        let key = self.keys.named(master_id).ok_or_else(|| Unreadable::Key(master_id.clone()))?;
        Ok(serde_json::from_slice(&key.open_sealed(&place(&stored.name), sealed)?)?)
    }

    /// Secrets under the master key before are sealed under the one of now, so that the old one can go.
    async fn seal_anew(&self, stored: &AddedDirectory) -> Result<(), accounts::Error> {
        let current = self.keys.current();
        if stored.secret.as_ref().is_none_or(|secret| secret.master_id == current.id()) {
            return Ok(());
        }
        match self.opened_secrets(stored).map(|secrets| secrets.sealed(current, &stored.name)) {
            Ok(Some(secret)) => self.accounts.reseal_directory(stored, secret).await,
            Ok(None) | Err(_) => Ok(()),
        }
    }
}
