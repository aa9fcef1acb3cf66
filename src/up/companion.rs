//! The auth service as the registry's companion, in the same process.

use std::{net::IpAddr, sync::Arc};

use auth::{
    identity::{NotIdentified, Peer, queue::Busy},
    tokens::{FEED_WAIT, NotIssued, Shown, TokenRequest, Tokens},
};
use futures_util::future::BoxFuture;
use registry::access::{Companion, CompanionUnavailable, Exchanged, verifier::VerifiedToken};
use shared::{
    basic::BasicCredentials,
    readable::Readable,
    revocation::Revocation,
    scope::{Scope, Scopes},
    secret::Secret,
};

/// Asks the auth service beside it, without a detour over the network.
pub(super) struct InProcess {
    tokens: Tokens,
    service: Arc<str>,
}

impl InProcess {
    pub(super) fn new(tokens: Tokens, service: String) -> Self {
        Self { tokens, service: service.into() }
    }
}

impl Companion for InProcess {
    fn readable<'a>(
        &'a self,
        token: &'a VerifiedToken,
        _raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        Box::pin(async move { self.tokens.readable_by(&token.claims).await.map_err(unavailable) })
    }

    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        scopes: &'a [Scope],
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        Box::pin(async move {
            // A registry has no socket for administrators: whom it does not know is nobody in particular.
            let peer = peer.map_or(Peer::Unknown, Peer::Address);
            let scopes = scopes.iter().cloned().collect::<Scopes>();
            let shown = Shown::Basic(credentials);
            let request = TokenRequest { service: &self.service, scopes: &scopes, shown, keeper: None, peer };
            match self.tokens.issue(&request).await {
                Ok(answer) => Ok(Exchanged::Token(Secret::new(answer.token))),
                Err(NotIssued::NotIdentified(NotIdentified::Wrong | NotIdentified::Void(_))) => Ok(Exchanged::Refused),
                Err(NotIssued::NotIdentified(NotIdentified::Throttled { retry_after })) => {
                    Ok(Exchanged::Throttled { retry_after })
                }
                Err(NotIssued::NotIdentified(NotIdentified::Busy(_))) => {
                    Ok(Exchanged::Throttled { retry_after: Busy::RETRY_AFTER })
                }
                Err(error) => Err(unavailable(error)),
            }
        })
    }

    fn revocations(&self, after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        Box::pin(async move { self.tokens.revocations(after, FEED_WAIT).await.map_err(unavailable) })
    }
}

fn unavailable(error: impl std::fmt::Display) -> CompanionUnavailable {
    CompanionUnavailable(error.to_string())
}
