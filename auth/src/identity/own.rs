//! Secrets that this server made: found by their public part, compared as HMACs in constant time.

use super::{Attempt, Identity, NotIdentified, Parts, Void};
use crate::{
    accounts::{credentials::CredentialKind, names::are_one, principals::AccountState},
    secrets::SecretKind,
};

impl Parts {
    pub(super) async fn own_secret(
        &self,
        attempt: &Attempt<'_>,
        kind: SecretKind,
        lookup: &str,
    ) -> Result<Identity, NotIdentified> {
        // A registry's own credential is nobody's.
        let Some(kind) = credential_kind(kind) else { return Err(NotIdentified::Wrong) };
        let Some(stored) = self.accounts.credential_with_lookup(lookup).await? else {
            return Err(NotIdentified::Wrong);
        };
        if !self.keys.prove(attempt.secret.expose(), &stored.verifier) || stored.credential.kind != kind {
            return Err(NotIdentified::Wrong);
        }
        // A right secret beside somebody else's name is a mistake that would make logs and `{username}` lie.
        let right_name = attempt.username.is_none_or(|name| are_one(name, &stored.principal.handle));
        if !right_name || stored.principal.state == AccountState::Deleted {
            return Err(NotIdentified::Wrong);
        }
        if let Some(at) = stored.revoked_at {
            return Err(Void::revoked(&stored, at, attempt).into());
        }
        if stored.credential.service.is_some() && stored.credential.service != attempt.service {
            let another = attempt.service.map(|_| Void::for_another_service(&stored, attempt).into());
            return Err(another.unwrap_or(NotIdentified::Wrong));
        }
        let identity = self.active(&stored.principal, &stored.credential, attempt)?;
        // A personal access token goes on with what was known last; what stands for a password does what the password would do.
        if kind == CredentialKind::Identity && !self.directories.is_empty() {
            Box::pin(self.recent_groups(stored.principal.id)).await?;
        }
        Ok(identity)
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
