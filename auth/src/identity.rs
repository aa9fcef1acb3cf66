//! Who is asking: credentials become an identity here, or do not.
//!
//! What a secret is decides where it is looked up, never the name beside it: our own prefix, one indexed lookup and an HMAC; anything
//! else, the provider that owns the name. Wrong, too many and cannot be asked are three answers.

pub mod htpasswd;
mod own;
pub mod passwords;
pub mod queue;
pub mod remembered;
pub mod throttle;

use std::{net::IpAddr, sync::Arc, time::Duration};

use ring::hmac;
use shared::{clock::Clock, secret::Secret};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    accounts::{
        self, Accounts, CredentialId, PrincipalId, ServiceId,
        credentials::{Claimed, Credential, CredentialKind, NewCredential},
        events::FailedLogin,
        names::{Label, MAX_HANDLE_BYTES, folded},
        networks::Network,
        principals::{AccountState, Principal, PrincipalKind},
        rules::About,
    },
    permissions::ApiLevel,
    secrets::{self, MasterKeys, NewSecret, Purpose, SecretKind, Shape},
};
use htpasswd::{Entry, Htpasswd};
use passwords::{MAX_PASSWORD_BYTES, Passwords};
use queue::{Busy, Queue};
use remembered::{Proof, Remembered};
use throttle::{Neighbourhood, Throttle, Throttled};

/// How much of an unknown name's HMAC stands in the audit: enough to tell names apart.
const PSEUDONYM_BYTES: usize = 16;

/// The longest name that is looked up, in bytes. Folding makes one byte of four at most (mathematical letters), so whatever could
/// be somebody's handle is no longer.
const MAX_CLAIMED_BYTES: usize = 4 * MAX_HANDLE_BYTES;

/// What local passwords are remembered under.
const LOCAL: &str = "local";

/// Somebody who proved who they are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The account.
    pub principal: Principal,
    /// What proved it.
    pub credential: CredentialId,
    /// What sort of proof that was.
    pub kind: CredentialKind,
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
    /// Where it comes from; None on the data directory's socket.
    pub peer: Option<IpAddr>,
}

/// Why nobody was identified.
#[derive(Debug, Error)]
pub enum NotIdentified {
    /// The credentials prove nothing. It is not said why.
    #[error("the user name or the secret is wrong")]
    Wrong,
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
    throttle: Throttle,
    remembered: Remembered,
    unknown_names: hmac::Key,
    clock: Clock,
}

impl Identities {
    /// Puts the providers together.
    #[must_use]
    pub fn new(accounts: Accounts, keys: MasterKeys, queue: Queue, htpasswd: Option<Htpasswd>, clock: Clock) -> Self {
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, keys.current().derive(purpose).expose());
        let (remembering, unknown_names) = (key(Purpose::RememberedPasswords), key(Purpose::UnknownNames));
        Self(Arc::new(Parts {
            accounts,
            passwords: Passwords::new(queue),
            htpasswd,
            throttle: Throttle::new(clock.clone()),
            remembered: Remembered::new(remembering, clock.clone()),
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
            Ok(identity) => self.0.accounts.note_use(identity.credential, attempt.peer),
            // The name is not logged: people type passwords where names belong.
            Err(error) => {
                info!(peer = attempt.peer.map(tracing::field::display), reason = %error, "login failed");
                self.0.note_failure(attempt, error);
            }
        }
        identified
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

    /// Makes an identity token for somebody who just showed a password, for one service.
    ///
    /// # Errors
    /// [`NotIdentified::Wrong`] if the password has been changed since.
    pub async fn keep_identity(
        &self,
        identity: &Identity,
        service: ServiceId,
        client: &Label,
    ) -> Result<Secret<String>, NotIdentified> {
        let NewSecret { text, lookup } = secrets::mint(SecretKind::IdentityToken);
        let key = self.0.keys.current();
        let new = NewCredential {
            principal: identity.principal.id,
            name: client.clone(),
            lookup: Some(lookup),
            verifier: key.verifier(text.expose()),
            master_id: key.id().to_owned(),
            scope: None,
            networks: None,
            api: ApiLevel::None,
            expires_at: None,
        };
        match self.0.accounts.issue_identity_token(new, service, identity.credential).await {
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
            NotIdentified::Throttled { .. } => "throttled",
            NotIdentified::Busy(_) | NotIdentified::Unavailable(_) => return,
        };
        let name = attempt.username.map(folded);
        let pseudonym = hmac::sign(&self.unknown_names, name.as_deref().unwrap_or_default().as_bytes());
        let pseudonym = pseudonym.as_ref()[..PSEUDONYM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        self.accounts.note_failed_login(FailedLogin { name, pseudonym, address: attempt.peer, reason });
    }

    /// A secret that is none of ours: a password, or a robot's key that somebody chose.
    async fn foreign_secret(&self, attempt: &Attempt<'_>) -> Result<Identity, NotIdentified> {
        let Some(username) = attempt.username else { return Err(NotIdentified::Wrong) };
        let password = attempt.secret.expose();
        // Nothing is hashed for these, whoever is meant, so no name can be told by them. Nobody has a name that long, and the
        // throttle need not remember what strangers make up.
        if username.len() > MAX_CLAIMED_BYTES {
            return Err(NotIdentified::Wrong);
        }
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
            return Err(NotIdentified::Wrong);
        }
        let claimed = self.accounts.claimed(username).await?;
        if let Some(claimed) = &claimed {
            if claimed.principal.kind == PrincipalKind::Robot {
                return match self.chosen_key(attempt, claimed) {
                    Some(credential) => self.active(&claimed.principal, credential, attempt),
                    None => self.refuse(attempt, username).await,
                };
            }
            if let Some((credential, stored)) = stored_here(claimed) {
                return self.local_password(attempt, &claimed.principal, credential, stored).await;
            }
        }
        match self.htpasswd.as_ref().and_then(|htpasswd| Some((htpasswd, htpasswd.entry(username)?))) {
            Some((htpasswd, entry)) => self.htpasswd_password(attempt, htpasswd, entry).await,
            None => self.refuse(attempt, username).await,
        }
    }

    async fn local_password(
        &self,
        attempt: &Attempt<'_>,
        principal: &Principal,
        credential: &Credential,
        stored: &str,
    ) -> Result<Identity, NotIdentified> {
        let proof = Proof { provider: LOCAL, account: principal.id, credential: credential.id };
        if !self.remembers(attempt, &principal.handle, &proof).await? {
            self.compare(
                attempt,
                &principal.handle,
                Some(principal.id),
                self.passwords.matches(attempt.secret, stored),
            )
            .await?;
            self.remembered.insert(&proof, attempt.secret);
        }
        self.active(principal, credential, attempt)
    }

    async fn htpasswd_password(
        &self,
        attempt: &Attempt<'_>,
        htpasswd: &Htpasswd,
        entry: Entry,
    ) -> Result<Identity, NotIdentified> {
        let provided = self.accounts.provided(htpasswd.provider(), entry.name.as_str()).await?;
        // What was proved by another line of the file is another credential.
        let current = provided.filter(|stored| stored.verifier == entry.fingerprint());
        let proof = |account, credential| Proof { provider: htpasswd::PROVIDER, account, credential };
        if let Some(stored) = &current
            && self.remembers(attempt, entry.name.as_str(), &proof(stored.principal.id, stored.credential.id)).await?
        {
            return self.active(&stored.principal, &stored.credential, attempt);
        }
        let account = current.as_ref().map(|stored| stored.principal.id);
        self.compare(attempt, entry.name.as_str(), account, htpasswd.matches(&entry, attempt.secret)).await?;
        let stored = match current {
            Some(stored) => stored,
            None => htpasswd.provision(&self.accounts, &entry).await?,
        };
        self.remembered.insert(&proof(stored.principal.id, stored.credential.id), attempt.secret);
        self.active(&stored.principal, &stored.credential, attempt)
    }

    /// A robot's live key that somebody chose, if this is it. Each is compared, in constant time.
    fn chosen_key<'c>(&self, attempt: &Attempt<'_>, claimed: &'c Claimed) -> Option<&'c Credential> {
        let secret = attempt.secret.expose();
        let mut found = None;
        for (credential, verifier) in &claimed.proofs {
            if self.keys.prove(secret, verifier) {
                found = Some(credential);
            }
        }
        found
    }

    /// Says no to a name that has no password here, in the time that a wrong password takes, and counts it as one.
    async fn refuse(&self, attempt: &Attempt<'_>, username: &str) -> Result<Identity, NotIdentified> {
        let name = folded(username);
        let samples = self.htpasswd.as_ref().map(|htpasswd| (htpasswd, htpasswd.samples()));
        let dummy = async {
            match &samples {
                Some((htpasswd, samples)) => match self.pick(&name, samples.len() + 1).checked_sub(1) {
                    Some(index) => htpasswd.matches(&samples[index], attempt.secret).await.map(drop)?,
                    None => self.passwords.refuse(attempt.secret).await?,
                },
                None => self.passwords.refuse(attempt.secret).await?,
            }
            Ok(false)
        };
        self.compare(attempt, &name, None, dummy).await?;
        Err(NotIdentified::Wrong)
    }

    /// A number below `count` that is always the same for a name, and that nobody outside can compute: an unknown name always takes
    /// the time that some known names take.
    fn pick(&self, name: &str, count: usize) -> usize {
        let digest = self.keys.current().verifier(&format!("time of {name}"));
        let number = u64::from_str_radix(digest.get(..15).unwrap_or_default(), 16).unwrap_or_default();
        usize::try_from(number % count.max(1) as u64).unwrap_or_default()
    }

    /// Whether the password was proved a moment ago; asked of the throttle first, as if it were to be compared. Where its own network's
    /// failures are at their end, a known account is looked at apart, as [`Self::compare`] does.
    async fn remembers(&self, attempt: &Attempt<'_>, account: &str, proof: &Proof<'_>) -> Result<bool, NotIdentified> {
        if let Some(peer) = attempt.peer {
            let account = folded(account);
            if let Err(throttled) = self.throttle.look(&account, peer, Neighbourhood::Strange) {
                let known = self.accounts.is_known_network(proof.account, &Network::around(peer)).await?;
                if !known {
                    return Err(throttled.into());
                }
                self.throttle.look(&account, peer, Neighbourhood::Known)?;
            }
        }
        Ok(self.remembered.knows(proof, attempt.secret))
    }

    /// Compares a password, if the throttle lets it.
    async fn compare(
        &self,
        attempt: &Attempt<'_>,
        account: &str,
        principal: Option<PrincipalId>,
        comparison: impl Future<Output = Result<bool, Busy>>,
    ) -> Result<(), NotIdentified> {
        let Some(peer) = attempt.peer else {
            return if comparison.await? { Ok(()) } else { Err(NotIdentified::Wrong) };
        };
        let network = Network::around(peer);
        let known = match principal {
            Some(id) => self.accounts.is_known_network(id, &network).await?,
            None => false,
        };
        let neighbourhood = if known { Neighbourhood::Known } else { Neighbourhood::Strange };
        let begun = self.throttle.begin(&folded(account), peer, neighbourhood)?;
        match comparison.await {
            Ok(true) => begun.succeeded(),
            Ok(false) => return Err(NotIdentified::Wrong),
            Err(busy) => {
                begun.succeeded();
                return Err(busy.into());
            }
        }
        if let Some(id) = principal
            && let Err(error) = self.accounts.note_network(id, &network).await
        {
            warn!(%error, "the network of a sign-in was not noted");
        }
        Ok(())
    }

    /// The last look: account and credential must count, here and now.
    fn active(
        &self,
        principal: &Principal,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Result<Identity, NotIdentified> {
        let now = self.clock.now();
        let counts = principal.state == AccountState::Active && principal.expires_at.is_none_or(|end| now < end);
        let here = match (&credential.networks, attempt.peer) {
            (Some(networks), Some(peer)) => networks.contains(peer),
            (Some(_), None) | (None, _) => true,
        };
        if counts && here && credential.is_live(now) {
            Ok(Identity { principal: principal.clone(), credential: credential.id, kind: credential.kind })
        } else {
            Err(NotIdentified::Wrong)
        }
    }
}

/// The password that is kept here, not the fingerprint of one that is kept elsewhere.
fn stored_here(claimed: &Claimed) -> Option<(&Credential, &str)> {
    let local = |(credential, verifier): &&(Credential, String)| {
        credential.kind == CredentialKind::Password && verifier.starts_with("$argon2")
    };
    claimed.proofs.iter().find(local).map(|(credential, verifier)| (credential, verifier.as_str()))
}

#[cfg(test)]
mod tests;
