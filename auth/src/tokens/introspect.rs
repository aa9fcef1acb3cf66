//! What a registry token or a credential is worth at this moment.

use shared::{
    access::Access,
    claims::TokenClaims,
    revocation::{Revocation, Revoked},
    secret::Secret,
};

use super::{Parts, Tokens};
use crate::{
    accounts::{
        self, CredentialId, PrincipalId,
        credentials::Stored,
        rules::{About, Reach},
    },
    secrets::Shape,
};

/// Something that counts now.
#[derive(Clone, Debug)]
pub enum Introspected {
    /// A registry token of this server, with what of it registries still allow.
    Token(Box<TokenClaims>),
    /// A token, a key or an identity token that this server made.
    Credential(Box<Stored>),
}

impl Tokens {
    /// What the text is, if it counts now: what is unknown, damaged, somebody else's, ended or revoked is nothing, and neither is a
    /// password or a secret that its owner chose.
    ///
    /// # Errors
    /// It could not be looked up.
    pub async fn introspect(&self, text: &Secret<String>) -> Result<Option<Introspected>, accounts::Error> {
        match Shape::of(text.expose()) {
            Shape::Ours { kind, lookup } => {
                let found = self.0.identities.living(text, kind, lookup).await?;
                Ok(found.map(|stored| Introspected::Credential(stored.into())))
            }
            Shape::Damaged => Ok(None),
            Shape::Foreign => {
                let found = self.0.living_token(text.expose()).await?;
                Ok(found.map(|claims| Introspected::Token(claims.into())))
            }
        }
    }
}

impl Parts {
    async fn living_token(&self, token: &str) -> Result<Option<TokenClaims>, accounts::Error> {
        let now = self.clock.now();
        // Registries give its end some leeway, for their clocks; here there is one clock.
        let recognised = self.issuer.recognise(token, now).ok().filter(|claims| now.seconds() < claims.expires_at);
        let Some(mut claims) = recognised else { return Ok(None) };
        let about = match (claims.principal, claims.credential) {
            (Some(principal), Some(credential)) => About::Proved(PrincipalId(principal), CredentialId(credential)),
            (None, None) => About::Anonymous,
            _ => return Ok(None),
        };
        if self.accounts.rules_for(about, &Reach::repositories([])).await?.is_none() {
            return Ok(None);
        }
        let mut seen = claims.epoch.unwrap_or_default();
        loop {
            let rows = self.accounts.revocations_after(seen).await?;
            let Some(last) = rows.last() else { return Ok(Some(claims)) };
            seen = last.seq;
            if rows.iter().any(|row| ends(row, &claims)) {
                return Ok(None);
            }
            for row in &rows {
                if let Revoked::Namespace(name) = &row.subject {
                    claims.access.retain(|access| namespace_of(access) != name);
                }
            }
        }
    }
}

/// Whether a registry that reads the row refuses the token. Rows about keys need no look: what such a key signed is not recognised.
fn ends(row: &Revocation, claims: &TokenClaims) -> bool {
    match &row.subject {
        Revoked::Credential(id) => claims.credential == Some(*id),
        Revoked::Principal(id) => claims.principal == Some(*id),
        Revoked::Everyone => true,
        Revoked::Namespace(_) | Revoked::Leaf(_) => false,
    }
}

fn namespace_of(access: &Access) -> &str {
    let name = access.resource.name.as_str();
    name.split_once('/').map_or(name, |(namespace, _)| namespace)
}
