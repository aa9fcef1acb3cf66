//! Who may call the registry's part of the admin API: a registry token that says so, or an API credential of the companion's that becomes one.

use std::net::IpAddr;

use shared::{
    access::{self as granted, Action, Permit},
    basic::BasicCredentials,
    clock::Timestamp,
    secret::Secret,
};

use super::{Access, Caller, Identity, Refusal, TokenAccess};

impl Access {
    /// Lets in who holds one of `one_of`, by the text behind `Bearer`.
    ///
    /// Basic never administers: what `docker login` leaves in a file must not. Where the registry does not ask for tokens, nobody comes in here.
    ///
    /// # Errors
    /// [`Refusal`], with `insufficient_scope` for somebody who is known and may not.
    pub async fn administer(
        &self,
        bearer: &str,
        one_of: &[granted::Access],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        match self {
            Self::Token(access) => access.administer(bearer, one_of, peer, now).await,
            Self::Htpasswd(_) | Self::None => Err(Refusal::nothing_presented()),
        }
    }
}

impl TokenAccess {
    async fn administer(
        &self,
        bearer: &str,
        one_of: &[granted::Access],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        // Every JWT has dots; no secret of an API credential has one.
        if bearer.contains('.') {
            return self.check_one_of(bearer, one_of, now);
        }
        let credentials = BasicCredentials { username: String::new(), password: Secret::new(bearer.to_owned()) };
        self.check_exchanged(&credentials, one_of, peer, |token| self.check_one_of(token, one_of, now)).await
    }

    fn check_one_of(&self, token: &str, one_of: &[granted::Access], now: Timestamp) -> Result<Caller, Refusal> {
        let caller = Caller(Identity::Token(self.verified(token, one_of, now)?));
        if one_of.iter().any(|access| caller.has(access)) {
            Ok(caller)
        } else {
            Err(Refusal::insufficient(&caller, &[]))
        }
    }
}

impl Caller {
    /// Whether all of `access` is allowed without a limit.
    fn has(&self, access: &granted::Access) -> bool {
        let Identity::Token(token) = &self.0 else { return false };
        let allowed = |action: &Action| granted::allows(&token.claims.access, &access.resource, action) == Permit::Yes;
        access.actions.iter().all(allowed)
    }
}
