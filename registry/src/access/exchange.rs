//! Basic credentials on `/v2/`, turned into a token by the companion: `curl -u user:password …/v2/_catalog`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moka::sync::Cache;
use ring::hmac;
use shared::{basic::BasicCredentials, random, scope::Scope, secret::Secret};

use super::companion::{Companion, CompanionUnavailable, Exchanged};

/// For how long a right password is not asked about again. The companion remembers it as long.
const MEMORY: Duration = Duration::from_secs(30);

/// How many answers are remembered.
const MEMORY_ENTRIES: u64 = 1024;

/// Tokens that were given for passwords lately, under a hash that is worthless outside this process.
pub(super) struct Exchanges {
    key: hmac::Key,
    tokens: Cache<[u8; 32], Arc<Secret<String>>>,
}

impl Exchanges {
    pub(super) fn new() -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>());
        Self { key, tokens: Cache::builder().max_capacity(MEMORY_ENTRIES).time_to_live(MEMORY).build() }
    }

    /// Asks the companion, and remembers the token that it gives.
    pub(super) async fn exchange(
        &self,
        companion: &dyn Companion,
        credentials: &BasicCredentials,
        scopes: &[Scope],
        peer: Option<IpAddr>,
    ) -> Result<Exchanged, CompanionUnavailable> {
        let answer = companion.exchange(credentials, scopes, peer).await?;
        if let Exchanged::Token(token) = &answer {
            let memory_key = self.memory_key(credentials, scopes, peer);
            self.tokens.insert(memory_key, Arc::new(Secret::new(token.expose().clone())));
        }
        Ok(answer)
    }

    /// What was given for the same lately. It may have been revoked since: whoever finds it refused exchanges once more.
    pub(super) fn remembered(
        &self,
        credentials: &BasicCredentials,
        scopes: &[Scope],
        peer: Option<IpAddr>,
    ) -> Option<Arc<Secret<String>>> {
        self.tokens.get(&self.memory_key(credentials, scopes, peer))
    }

    /// Every part with its length, so that no two requests are the same bytes. The address counts too: a
    /// credential may be bound to networks.
    fn memory_key(&self, credentials: &BasicCredentials, scopes: &[Scope], peer: Option<IpAddr>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        let scopes: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        for part in [&credentials.username, credentials.password.expose(), &scopes.join(" "), &peer] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}
