//! Secrets that are none of ours: passwords, and keys of robots that somebody chose. The name beside the secret says who compares it.

use tracing::warn;

use super::{
    Attempt, Identity, NotIdentified, Parts,
    htpasswd::{self, Entry, Htpasswd},
    passwords::{self, MAX_PASSWORD_BYTES},
    remembered::Proof,
    throttle::Neighbourhood,
};
use crate::accounts::{
    self, PrincipalId,
    credentials::{Claimed, Credential, CredentialKind},
    names::{MAX_CLAIMED_BYTES, folded},
    networks::Network,
    principals::{Principal, PrincipalKind},
};

/// What local passwords are remembered under.
const LOCAL: &str = "local";

impl Parts {
    /// A secret that is none of ours: a password, or a robot's key that somebody chose.
    pub(super) async fn foreign_secret(&self, attempt: &Attempt<'_>) -> Result<Identity, NotIdentified> {
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
            None if self.directories.is_empty() => self.refuse(attempt, username).await,
            // On the heap: what goes on with a directory is much, and most requests have nothing to do with one.
            None => Box::pin(self.directory_password(attempt, username, claimed.as_ref())).await,
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
            if !passwords::is_ours(stored) {
                self.restate(attempt, credential, stored).await;
            }
        }
        self.active(principal, credential, attempt)
    }

    /// Stores a password that was just shown as this server hashes passwords. Where that fails the next sign-in tries again.
    async fn restate(&self, attempt: &Attempt<'_>, credential: &Credential, stored: &str) {
        let Ok(hash) = self.passwords.hash(attempt.secret).await else { return };
        if let Err(error) = self.accounts.restate_password(credential.id, stored, &hash).await {
            warn!(%error, "an imported password was not stored anew");
        }
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
    pub(super) async fn refuse(&self, attempt: &Attempt<'_>, username: &str) -> Result<Identity, NotIdentified> {
        let name = folded(username);
        let dummy = async { self.compare_with_nothing(attempt, &name).await.map(|()| false) };
        self.compare(attempt, &name, None, dummy).await?;
        Err(NotIdentified::Wrong)
    }

    /// Hashes as long as for a name that somebody has: in the htpasswd file, or here with a password that another program hashed.
    pub(super) async fn compare_with_nothing(&self, attempt: &Attempt<'_>, name: &str) -> Result<(), NotIdentified> {
        let samples = self.samples().await?;
        match self.pick(name, samples.len() + 1).checked_sub(1) {
            Some(index) => self.passwords.matches(attempt.secret, &samples[index]).await.map(drop)?,
            None => self.passwords.refuse(attempt.secret).await?,
        }
        Ok(())
    }

    /// One hash of each cost that some name's password has, but for what this server hashed.
    pub(super) async fn samples(&self) -> Result<Vec<String>, accounts::Error> {
        let listed = self.htpasswd.as_ref().map(Htpasswd::samples).unwrap_or_default();
        let imported = self.accounts.foreign_hashes(passwords::OURS).await?;
        Ok(listed.iter().map(|entry| entry.hash().to_owned()).chain(imported.iter().cloned()).collect())
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
    pub(super) async fn remembers(
        &self,
        attempt: &Attempt<'_>,
        account: &str,
        proof: &Proof<'_>,
    ) -> Result<bool, NotIdentified> {
        if let Some(peer) = attempt.peer.throttled_as() {
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
    pub(super) async fn compare<E: Into<NotIdentified>>(
        &self,
        attempt: &Attempt<'_>,
        account: &str,
        principal: Option<PrincipalId>,
        comparison: impl Future<Output = Result<bool, E>>,
    ) -> Result<(), NotIdentified> {
        let Some(peer) = attempt.peer.throttled_as() else {
            return if comparison.await.map_err(Into::into)? { Ok(()) } else { Err(NotIdentified::Wrong) };
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
            // What was not compared was no failure.
            Err(error) => {
                begun.succeeded();
                return Err(error.into());
            }
        }
        if let Some(id) = principal
            && let Err(error) = self.accounts.note_network(id, &network).await
        {
            warn!(%error, "the network of a sign-in was not noted");
        }
        Ok(())
    }
}

/// The password that is kept here, not the fingerprint of one that is kept elsewhere.
pub(super) fn stored_here(claimed: &Claimed) -> Option<(&Credential, &str)> {
    let local = |(credential, verifier): &&(Credential, String)| {
        credential.kind == CredentialKind::Password && passwords::is_hash(verifier)
    };
    claimed.proofs.iter().find(local).map(|(credential, verifier)| (credential, verifier.as_str()))
}
