//! Who is asking: credentials become an identity here, or do not.
//!
//! What a secret is decides where it is looked up, never the name beside it: our own prefix, one indexed lookup and an HMAC; anything
//! else, the provider that owns the name. Wrong, too many and cannot be asked are three answers.

mod directories;
mod foreign;
pub mod htpasswd;
pub mod ldap;
mod own;
pub mod passwords;
mod peer;
pub mod remembered;
mod void;

use std::{sync::Arc, time::Duration};

use ring::hmac;
pub use shared::logins::{queue, throttle};
use shared::{
    clock::{Clock, Timestamp},
    secret::Secret,
};
use thiserror::Error;
use tracing::info;

use crate::{
    accounts::{
        self, Accounts, CredentialId, ServiceId,
        credentials::{Credential, CredentialKind, NewCredential, Stored},
        events::FailedLogin,
        leader::Lease,
        names::{Label, folded_claim},
        principals::{AccountState, Principal, PrincipalKind},
        providers::added::Removed,
        rules::About,
    },
    audit::Actor,
    metrics::{Cause, Metrics},
    permissions::ApiLevel,
    secrets::{self, MasterKeys, NewSecret, Purpose, SecretKind, Shape},
};
use directories::{Directories, LEADER, LEASE};
pub use directories::{Examined, NotAdded};
use htpasswd::Htpasswd;
use ldap::{Ldap, NotAsked, written::RawLdap};
use passwords::Passwords;
pub use peer::Peer;
use queue::{Busy, Queue};
use remembered::Remembered;
use throttle::{Throttle, Throttled};
pub use void::Void;

/// How much of an unknown name's HMAC stands in the audit: enough to tell names apart.
const PSEUDONYM_BYTES: usize = 16;

/// Somebody who proved who they are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The account.
    pub principal: Principal,
    /// What proved it.
    pub credential: CredentialId,
    /// What sort of proof that was.
    pub kind: CredentialKind,
    /// When the proof ends, or the account.
    pub ends: Option<Timestamp>,
    /// How long the proof lives unused, if that is bounded.
    pub idle: Option<Duration>,
    /// True if the proof counts in some networks only.
    pub confined: bool,
}

impl Identity {
    /// Whose rules to read.
    #[must_use]
    pub fn about(&self) -> About {
        About::Proved(self.principal.id, self.credential)
    }

    /// True if a client may keep an identity token instead of what it showed: people's passwords, not keys and tokens.
    #[must_use]
    pub fn may_keep_an_identity_token(&self) -> bool {
        self.kind == CredentialKind::Password && self.principal.kind == PrincipalKind::User
    }
}

/// Somebody who claims to be somebody.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The name beside the secret; None where the protocol has none (a refresh token, a bearer credential).
    pub username: Option<&'a str>,
    /// The secret.
    pub secret: &'a Secret<String>,
    /// The service it is shown for; an identity token is good for one only.
    pub service: Option<ServiceId>,
    /// Where it comes from.
    pub peer: Peer,
}

/// Why nobody was identified.
#[derive(Debug, Error)]
pub enum NotIdentified {
    /// The credentials prove nothing. It is not said why.
    #[error("the user name or the secret is wrong")]
    Wrong,
    /// They are right, and do not count. Whoever may know why is told.
    #[error(transparent)]
    Void(#[from] Void),
    /// Too many failed passwords.
    #[error("too many failed passwords; try again in {} s", retry_after.as_secs().max(1))]
    Throttled {
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// Too many passwords are being checked.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The accounts cannot be read.
    #[error(transparent)]
    Unavailable(#[from] accounts::Error),
    /// Whoever would know the password cannot be asked.
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
}

impl From<&NotIdentified> for Cause {
    fn from(error: &NotIdentified) -> Self {
        match error {
            NotIdentified::Void(void) if void.is_told() => Self::Void,
            NotIdentified::Wrong | NotIdentified::Void(_) => Self::Wrong,
            NotIdentified::Throttled { .. } => Self::Throttled,
            NotIdentified::Busy(_) => Self::Busy,
            NotIdentified::Unavailable(_) => Self::Unavailable,
            NotIdentified::NotAsked(_) => Self::Directory,
        }
    }
}

impl From<Throttled> for NotIdentified {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled { retry_after: throttled.retry_after }
    }
}

/// Turns credentials into identities. Cheap to clone.
#[derive(Clone)]
pub struct Identities(Arc<Parts>);

struct Parts {
    accounts: Accounts,
    keys: MasterKeys,
    passwords: Passwords,
    htpasswd: Option<Htpasswd>,
    directories: Directories,
    /// Who asks directories about everybody.
    turn: Lease,
    throttle: Throttle,
    remembered: Remembered,
    metrics: Metrics,
    unknown_names: hmac::Key,
    clock: Clock,
}

/// Where identities come from besides the accounts of this server.
#[derive(Debug, Default)]
pub struct Providers {
    /// A file of names and password hashes.
    pub htpasswd: Option<Htpasswd>,
    /// Directories, in the order in which they are asked for a name that nobody has yet.
    pub ldap: Vec<Ldap>,
}

impl Identities {
    /// Puts the providers together.
    #[must_use]
    pub fn new(accounts: Accounts, keys: MasterKeys, queue: Queue, providers: Providers, clock: Clock) -> Self {
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, keys.current().derive(purpose).expose());
        let metrics = Metrics::default();
        metrics.knows_only(providers.ldap.iter().map(Ldap::name));
        let (remembering, unknown_names) = (key(Purpose::RememberedPasswords), key(Purpose::UnknownNames));
        Self(Arc::new(Parts {
            turn: accounts.lease(LEADER, LEASE),
            accounts,
            passwords: Passwords::new(queue),
            htpasswd: providers.htpasswd,
            directories: Directories::new(providers.ldap),
            throttle: Throttle::new(clock.clone()),
            remembered: Remembered::new(remembering, clock.clone()),
            metrics,
            unknown_names,
            keys,
            clock,
        }))
    }

    /// Hashes passwords that are to be stored.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The keys that stored secrets hang on.
    #[must_use]
    pub fn keys(&self) -> &MasterKeys {
        &self.0.keys
    }

    /// Identifies whoever shows this secret.
    ///
    /// # Errors
    /// [`NotIdentified`].
    pub async fn identify(&self, attempt: &Attempt<'_>) -> Result<Identity, NotIdentified> {
        let identified = match Shape::of(attempt.secret.expose()) {
            Shape::Ours { kind, lookup } => self.0.own_secret(attempt, kind, lookup).await,
            Shape::Damaged => Err(NotIdentified::Wrong),
            Shape::Foreign => self.0.foreign_secret(attempt).await,
        };
        match &identified {
            Ok(identity) => self.0.accounts.note_use(identity.credential, attempt.peer.address()),
            // The name is not logged: people type passwords where names belong.
            Err(error) => {
                info!(peer = attempt.peer.address().map(tracing::field::display), reason = %error, "login failed");
                self.0.metrics.login_failed(error.into());
                self.0.note_failure(attempt, error);
            }
        }
        identified
    }

    /// The credential whose secret this is, if it and its account count now, wherever it is shown.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub async fn living(
        &self,
        secret: &Secret<String>,
        kind: SecretKind,
        lookup: &str,
    ) -> Result<Option<Stored>, accounts::Error> {
        let (found, now) = (self.0.proved(secret, kind, lookup).await?, self.0.clock.now());
        Ok(found.filter(|stored| void::counts(&stored.principal, &stored.credential, now)))
    }

    /// How often the htpasswd file has changed; None without one.
    #[must_use]
    pub fn htpasswd_generation(&self) -> Option<u64> {
        self.0.htpasswd.as_ref().map(Htpasswd::generation)
    }

    /// Brings the accounts that an htpasswd file provides up to what it says now: who is gone from it is disabled.
    ///
    /// # Errors
    /// The accounts cannot be written.
    pub async fn reconcile(&self) -> Result<(), accounts::Error> {
        match &self.0.htpasswd {
            Some(htpasswd) => htpasswd.reconcile(&self.0.accounts).await,
            None => Ok(()),
        }
    }

    /// Brings the accounts of directories up to what these say, every quarter of an hour: of several processes one does it.
    pub async fn follow_directories(&self) {
        Box::pin(self.0.follow_directories()).await;
    }

    /// Lets another process do that at once.
    pub async fn leave_directories(&self) {
        self.0.leave_turn().await;
    }

    /// The same, once and at once.
    #[cfg(test)]
    pub(crate) async fn sync(&self) {
        Box::pin(self.0.sync()).await;
    }

    /// Adds a directory beside those of the settings. It is asked from now on: here at once, by every other process within seconds.
    ///
    /// # Errors
    /// [`NotAdded`]: nothing is stored then.
    pub async fn add_directory(&self, actor: &Actor, described: RawLdap) -> Result<(), NotAdded> {
        Box::pin(self.0.add_directory(actor, described)).await
    }

    /// Removes a directory that was added, and disables the accounts that it has made; under the condition that `accounts` have.
    ///
    /// # Errors
    /// There is none of that name, it is one of the settings, the last administrator is among its accounts, or the accounts cannot be written.
    pub async fn remove_directory(
        &self,
        accounts: &Accounts,
        actor: &Actor,
        name: &str,
    ) -> Result<Removed, accounts::Error> {
        Box::pin(self.0.remove_directory(accounts, actor, name)).await
    }

    /// Asks the directories that are stored, from now on.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub async fn look_for_directories(&self) -> Result<(), accounts::Error> {
        Box::pin(self.0.look_for_directories()).await.map(drop)
    }

    /// Goes on doing so, for what other processes add and remove.
    pub async fn follow_added(&self) {
        Box::pin(self.0.follow_added()).await;
    }

    /// Looks at a directory step by step, and at what it would mean for one of its users; None if there is none of that name.
    ///
    /// # Errors
    /// The accounts cannot be read, or too many passwords failed. That the directory does not answer is what is told.
    pub async fn examine(
        &self,
        provider: &str,
        name: Option<&str>,
        password: Option<&Secret<String>>,
        peer: Peer,
    ) -> Result<Option<Examined>, NotIdentified> {
        Box::pin(self.0.examine(provider, name, password, peer)).await
    }

    /// What the audit calls whoever's name was typed: an account, or else a pseudonym. People type passwords where names belong.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub async fn audited(&self, typed: &str) -> Result<String, accounts::Error> {
        let name = folded_claim(typed);
        let account = match &name {
            Some(name) => self.0.accounts.principal_called(name).await?,
            None => None,
        };
        let pseudonym = || format!("unknown:{}", self.0.pseudonym(name.as_deref()));
        Ok(account.map_or_else(pseudonym, |account| account.handle))
    }

    /// What the directory of that name is asked, and where; None if there is none.
    #[must_use]
    pub fn directory(&self, name: &str) -> Option<Arc<Ldap>> {
        self.0.directories.called(name)
    }

    /// Makes an identity token for somebody who just showed a password, for one service.
    ///
    /// # Errors
    /// [`NotIdentified::Wrong`] if the password has been changed since.
    pub async fn keep_identity(
        &self,
        identity: &Identity,
        service: ServiceId,
        client: &Label,
        peer: Peer,
    ) -> Result<Secret<String>, NotIdentified> {
        let NewSecret { text, lookup } = secrets::mint(SecretKind::IdentityToken);
        let key = self.0.keys.current();
        let new = NewCredential {
            principal: identity.principal.id,
            name: client.clone(),
            lookup: Some(lookup),
            verifier: key.verifier(text.expose()),
            earlier: Vec::new(),
            master_id: key.id().to_owned(),
            scope: None,
            networks: None,
            api: ApiLevel::None,
            idle: None,
            expires_at: None,
        };
        match self.0.accounts.issue_identity_token(new, service, identity.credential, peer.address()).await {
            Ok(_) => Ok(text),
            Err(accounts::Error::Refused(_)) => Err(NotIdentified::Wrong),
            Err(error) => Err(error.into()),
        }
    }
}

impl Parts {
    /// What could not be asked is no failed login.
    fn note_failure(&self, attempt: &Attempt<'_>, error: &NotIdentified) {
        let reason = match error {
            NotIdentified::Wrong => "wrong",
            NotIdentified::Void(void) => void.word(),
            NotIdentified::Throttled { .. } => "throttled",
            NotIdentified::Busy(_) | NotIdentified::Unavailable(_) | NotIdentified::NotAsked(_) => return,
        };
        let name = attempt.username.and_then(folded_claim);
        let pseudonym = self.pseudonym(name.as_deref());
        self.accounts.note_failed_login(FailedLogin { name, pseudonym, address: attempt.peer.address(), reason });
    }

    /// Stands for a name that nobody has, the same for each, and does not tell it.
    fn pseudonym(&self, name: Option<&str>) -> String {
        let tag = hmac::sign(&self.unknown_names, name.unwrap_or_default().as_bytes());
        tag.as_ref()[..PSEUDONYM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The last look: account and credential must count, here and now.
    fn active(
        &self,
        principal: &Principal,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Result<Identity, NotIdentified> {
        if principal.state == AccountState::Deleted {
            return Err(NotIdentified::Wrong);
        }
        match Void::of(principal, credential, attempt, self.clock.now()) {
            Some(void) => Err(void.into()),
            None => Ok(Identity {
                principal: principal.clone(),
                credential: credential.id,
                kind: credential.kind,
                ends: principal.expires_at.into_iter().chain(credential.expires_at).min(),
                idle: credential.idle,
                confined: credential.networks.is_some(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
