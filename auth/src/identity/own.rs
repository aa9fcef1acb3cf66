//! Secrets that this server made: found by their public part, compared as HMACs in constant time.

use shared::secret::Secret;

use super::{Attempt, Identity, NotIdentified, Parts, Void};
use crate::{
    accounts::{
        self,
        credentials::{CredentialKind, Stored},
        names::are_one,
        principals::AccountState,
    },
    secrets::SecretKind,
};

impl Parts {
    pub(super) async fn own_secret(
        &self,
        attempt: &Attempt<'_>,
        kind: SecretKind,
        lookup: &str,
    ) -> Result<Identity, NotIdentified> {
        let stored = self.proved(attempt.secret, kind, lookup).await?.ok_or(NotIdentified::Wrong)?;
        // A right secret beside somebody else's name is a mistake that would make logs and `{username}` lie.
        let right_name = attempt.username.is_none_or(|name| are_one(name, &stored.principal.handle));
        if !right_name || stored.principal.state == AccountState::Deleted {
            return Err(NotIdentified::Wrong);
        }
        let identity = self.active(&stored.principal, &stored.credential, attempt)?;
        if stored.credential.service.is_some() && stored.credential.service != attempt.service {
            let another = attempt.service.map(|_| Void::for_another_service(&stored, attempt).into());
            return Err(another.unwrap_or(NotIdentified::Wrong));
        }
        // A personal access token goes on with what was known last; what stands for a password does what the password would do.
        if stored.credential.kind == CredentialKind::Identity && !self.directories.is_empty() {
            Box::pin(self.recent_groups(stored.principal.id)).await?;
        }
        Ok(identity)
    }

    /// The credential whose secret this is, whether it counts or not.
    pub(super) async fn proved(
        &self,
        secret: &Secret<String>,
        kind: SecretKind,
        lookup: &str,
    ) -> Result<Option<Stored>, accounts::Error> {
        // A registry's own credential is nobody's.
        let Some(kind) = credential_kind(kind) else { return Ok(None) };
        let found = self.accounts.credential_with_lookup(lookup).await?;
        let is_it =
            |stored: &Stored| self.keys.prove(secret.expose(), &stored.verifier) && stored.credential.kind == kind;
        Ok(found.filter(is_it))
    }
}

fn credential_kind(kind: SecretKind) -> Option<CredentialKind> {
    match kind {
        SecretKind::PersonalToken => Some(CredentialKind::Pat),
        SecretKind::RobotKey => Some(CredentialKind::RobotKey),
        SecretKind::IdentityToken => Some(CredentialKind::Identity),
        SecretKind::Service => None,
    }
}
