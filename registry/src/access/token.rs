//! Access by bearer token: verify, look whether it was revoked, compare with what is required.

use std::{net::IpAddr, sync::Arc};

use shared::{
    access::{self as granted, ResourceKind},
    basic::BasicCredentials,
    challenge::{BearerChallenge, ChallengeError},
    clock::Timestamp,
    scope::Scope,
    shortfall::Sentence,
};

use super::{
    Caller, Companion, Identity, Presented, Realm, Refusal, VerifiedToken, companion::Exchanged, exchange::Exchanges,
    revocations::Revocations, verifier::Verifier,
};

/// Bearer tokens of one issuer.
pub struct TokenAccess {
    verifier: Verifier,
    realm: Realm,
    service: String,
    revocations: Arc<Revocations>,
    companion: Option<Arc<dyn Companion>>,
    exchanges: Exchanges,
}

impl TokenAccess {
    /// Accepts what `verifier` accepts and `companion` has not revoked.
    #[must_use]
    pub fn new(verifier: Verifier, realm: Realm, service: String, companion: Option<Arc<dyn Companion>>) -> Self {
        let revocations = Arc::new(Revocations::default());
        Self { verifier, realm, service, revocations, companion, exchanges: Exchanges::new() }
    }

    /// What checks signatures and claims.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What was revoked, for whoever follows the feed.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The auth service that this registry knows.
    #[must_use]
    pub fn companion(&self) -> Option<&Arc<dyn Companion>> {
        self.companion.as_ref()
    }

    pub(super) async fn authorize(
        &self,
        presented: Presented<'_>,
        required: &[granted::Access],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        match presented {
            Presented::Bearer(token) => self.check(token, required, now),
            Presented::Basic(credentials) => {
                let check = |token: &str| self.check(token, required, now);
                self.check_exchanged(&credentials, required, peer, check).await
            }
            Presented::Nothing | Presented::Unknown => Err(Refusal::nothing_presented()),
        }
    }

    /// What `check` says of the token that the companion gives for credentials; without a companion nobody has any.
    ///
    /// A remembered token that is not believed any more says nothing about the credentials: a narrowed grant revokes every token
    /// of its owner, and the next one has what is left.
    pub(super) async fn check_exchanged(
        &self,
        credentials: &BasicCredentials,
        required: &[granted::Access],
        peer: Option<IpAddr>,
        check: impl Fn(&str) -> Result<Caller, Refusal>,
    ) -> Result<Caller, Refusal> {
        let Some(companion) = &self.companion else { return Err(Refusal::nothing_presented()) };
        let scopes = scopes(required);
        if let Some(token) = self.exchanges.remembered(credentials, &scopes, peer) {
            let checked = check(token.expose());
            if !matches!(checked, Err(Refusal::Unauthorized { error: Some(ChallengeError::InvalidToken), .. })) {
                return checked;
            }
        }
        match self.exchanges.exchange(companion.as_ref(), credentials, &scopes, peer).await {
            Ok(Exchanged::Token(token)) => check(token.expose()),
            Ok(Exchanged::Refused) => Err(Refusal::Unauthorized {
                error: None,
                sentence: None,
                // Not the name: people paste passwords into it.
                reason: "the companion does not accept the credentials".to_owned(),
            }),
            Ok(Exchanged::Throttled { retry_after }) => {
                Err(Refusal::Throttled { retry_after, reason: "the companion throttles failed passwords".to_owned() })
            }
            Err(error) => Err(Refusal::Unavailable { reason: error.to_string() }),
        }
    }

    fn check(&self, token: &str, required: &[granted::Access], now: Timestamp) -> Result<Caller, Refusal> {
        let caller = Caller(Identity::Token(self.verified(token, required, now)?));
        if caller.may(required) { Ok(caller) } else { Err(Refusal::insufficient(&caller, required)) }
    }

    /// A token that is believed, and not revoked for what it is shown for.
    pub(super) fn verified(
        &self,
        token: &str,
        shown_for: &[granted::Access],
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, Refusal> {
        let error = Some(ChallengeError::InvalidToken);
        let invalid = |reason| Refusal::Unauthorized { error, sentence: None, reason };
        let token = self.verifier.verify(token, now).map_err(|error| invalid(error.to_string()))?;
        if self.revocations.refuse(&token, namespaces(shown_for)) {
            return Err(invalid(format!("the token of {} is revoked", holder(&token))));
        }
        Ok(token)
    }

    pub(super) fn challenge(
        &self,
        error: Option<(ChallengeError, Option<&Sentence>)>,
        required: &[granted::Access],
        origin: Option<&str>,
    ) -> String {
        let (realm, service, scope) = (self.realm.for_request(origin), self.service.clone(), scopes(required));
        let description = error.and_then(|(_, sentence)| sentence).map(ToString::to_string);
        BearerChallenge { realm, service, scope, error: error.map(|(error, _)| error), description }.to_string()
    }
}

/// Whose token it is, for the log.
fn holder(token: &VerifiedToken) -> &str {
    token.claims.subject.as_deref().filter(|subject| !subject.is_empty()).unwrap_or("nobody in particular")
}

fn scopes(required: &[granted::Access]) -> Vec<Scope> {
    let scope = |access: &granted::Access| Scope::new(access.resource.clone(), access.actions.iter().cloned());
    required.iter().map(scope).collect()
}

fn namespaces(required: &[granted::Access]) -> impl Iterator<Item = &str> {
    let lies_in_one =
        |access: &&granted::Access| matches!(access.resource.kind, ResourceKind::Repository | ResourceKind::Namespace);
    required.iter().filter(lies_in_one).map(|access| {
        let name = access.resource.name.as_str();
        name.split_once('/').map_or(name, |(namespace, _)| namespace)
    })
}
