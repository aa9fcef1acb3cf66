//! The companion over HTTP: an address and a service credential.

#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use reqwest::{Client, RequestBuilder, Response};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    basic::BasicCredentials, readable::Readable, revocation::Revocation, scope::Scope, secret::Secret,
    telemetry::RequestId, token_response::TokenResponse,
};
use url::Url;

use super::{Companion, CompanionUnavailable, Exchanged};
use crate::access::verifier::VerifiedToken;

/// For how long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The feed answers when there is news; it holds a request back for less than this.
const FEED_TIMEOUT: Duration = Duration::from_secs(90);

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// How the token endpoint says that credentials are wrong, and nothing else.
const UNAUTHORIZED: u16 = 401;

/// How it says that it has not looked at them, because too many passwords were tried.
const TOO_MANY_REQUESTS: u16 = 429;

/// When another try is worth it where `Retry-After` is missing or is a date.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// An auth service at another address.
pub struct RemoteCompanion {
    client: Client,
    token: Url,
    readable: Url,
    revocations: Url,
    service: String,
    credential: Secret<String>,
}

#[derive(Deserialize)]
struct Feed {
    revocations: Vec<Revocation>,
}

impl RemoteCompanion {
    /// `base` is where the auth service answers, `service` the name that its tokens are for, `credential` what
    /// `portreeve auth service add` printed.
    ///
    /// # Errors
    /// [`CompanionUnavailable`] if no client can be made or the address is none for HTTP.
    pub fn new(base: &Url, service: String, credential: Secret<String>) -> Result<Self, CompanionUnavailable> {
        shared::crypto::install();
        // An answer that sends us elsewhere would send the credential there, too.
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(TIMEOUT).build();
        let client = client.map_err(|error| CompanionUnavailable(error.to_string()))?;
        let at = |path: &[&str]| {
            let mut url = base.clone();
            url.path_segments_mut()
                .map_err(|()| CompanionUnavailable(format!("{base} is no address of a service")))?
                .pop_if_empty()
                .extend(path);
            Ok::<_, CompanionUnavailable>(url)
        };
        Ok(Self {
            token: at(&["token"])?,
            readable: at(&["api", "v1", "readable"])?,
            revocations: at(&["api", "v1", "revocations"])?,
            client,
            service,
            credential,
        })
    }

    async fn ask_exchange(
        &self,
        credentials: &BasicCredentials,
        scopes: &[Scope],
        peer: Option<IpAddr>,
    ) -> Result<Exchanged, CompanionUnavailable> {
        let query: Vec<_> = std::iter::once(("service", self.service.clone()))
            .chain(scopes.iter().map(|scope| ("scope", scope.to_string())))
            .collect();
        let password = credentials.password.expose();
        let mut request = self.client.get(self.token.clone()).query(&query).timeout(TIMEOUT);
        request = request.basic_auth(&credentials.username, Some(password));
        if let Some(peer) = peer {
            // Believed by the auth service if it counts this registry among its trusted proxies.
            request = request.header("X-Forwarded-For", peer.to_string());
        }
        let answer = send(request).await?;
        match answer.status().as_u16() {
            UNAUTHORIZED => Ok(Exchanged::Refused),
            TOO_MANY_REQUESTS => Ok(Exchanged::Throttled { retry_after: retry_after(&answer) }),
            _ => {
                let answer: TokenResponse = read(answer).await?;
                Ok(Exchanged::Token(Secret::new(answer.token)))
            }
        }
    }
}

impl Companion for RemoteCompanion {
    fn readable<'a>(
        &'a self,
        _token: &'a VerifiedToken,
        raw: &'a str,
    ) -> BoxFuture<'a, Result<Readable, CompanionUnavailable>> {
        async move {
            let request = self.client.get(self.readable.clone()).bearer_auth(raw).timeout(TIMEOUT);
            read(send(request).await?).await
        }
        .boxed()
    }

    fn exchange<'a>(
        &'a self,
        credentials: &'a BasicCredentials,
        scopes: &'a [Scope],
        peer: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Exchanged, CompanionUnavailable>> {
        self.ask_exchange(credentials, scopes, peer).boxed()
    }

    fn revocations(&self, after: u64) -> BoxFuture<'_, Result<Vec<Revocation>, CompanionUnavailable>> {
        async move {
            let request = self.client.get(self.revocations.clone()).query(&[("after", after)]);
            let request = request.bearer_auth(self.credential.expose()).timeout(FEED_TIMEOUT);
            let Feed { revocations } = read(send(request).await?).await?;
            Ok(revocations)
        }
        .boxed()
    }
}

/// Fetches a document of at most `limit` bytes: a key set.
pub(in crate::access) async fn fetch(url: &Url, limit: usize) -> Result<Vec<u8>, CompanionUnavailable> {
    let client = Client::builder().connect_timeout(TIMEOUT).build();
    let client = client.map_err(|error| CompanionUnavailable(error.to_string()))?;
    let answer = send(client.get(url.clone()).timeout(TIMEOUT)).await?;
    body(successful(answer)?, limit).await
}

/// What is asked for a request of ours is asked under its id, so that the logs of both services can be laid side by side.
async fn send(request: RequestBuilder) -> Result<Response, CompanionUnavailable> {
    let request = match RequestId::current() {
        Some(id) => request.header("X-Request-Id", id.as_str()),
        None => request,
    };
    // The URL of an error may hold what was asked; the error's own text says enough.
    request.send().await.map_err(|error| CompanionUnavailable(error.without_url().to_string()))
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, CompanionUnavailable> {
    let bytes = body(successful(answer)?, MAX_ANSWER_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| CompanionUnavailable(format!("its answer cannot be read: {error}")))
}

/// The token endpoint says it in seconds.
fn retry_after(answer: &Response) -> Duration {
    let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(USUAL_PAUSE, Duration::from_secs)
}

fn successful(answer: Response) -> Result<Response, CompanionUnavailable> {
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(CompanionUnavailable(format!("it answers {}", answer.status())))
    }
}

async fn body(answer: Response, limit: usize) -> Result<Vec<u8>, CompanionUnavailable> {
    let mut bytes = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| CompanionUnavailable(error.without_url().to_string()))?;
        if bytes.len() + piece.len() > limit {
            return Err(CompanionUnavailable(format!("its answer is longer than {limit} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
