//! What access control does between requests: it fetches the key set and follows the revocation feed.

use std::{sync::Arc, time::Duration};

use shared::clock::Clock;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use super::{Access, companion, jwks::MAX_JWKS_BYTES, revocations, trust::TrustStore};

/// How old a fetched key set gets. A new key is published long before it signs.
const JWKS_AGE: Duration = Duration::from_secs(300);

/// How long to wait after an address did not answer.
const JWKS_RETRY: Duration = Duration::from_secs(5);

/// Runs until cancelled. `jwks` is the address of the key set, if it has one.
pub async fn upkeep(access: Arc<Access>, jwks: Option<Url>, clock: Clock, cancelled: CancellationToken) {
    let Some(access) = access.token() else { return };
    let keys = async {
        if let Some(url) = &jwks {
            tokio::select! {
                () = keep_fetching(access.verifier().trust(), url) => {}
                () = cancelled.cancelled() => {}
            }
        }
    };
    let feed = async {
        if let Some(companion) = access.companion() {
            let (companion, revocations) = (Arc::clone(companion), Arc::clone(access.revocations()));
            revocations::follow(companion, revocations, clock, cancelled.clone()).await;
        }
    };
    tokio::join!(keys, feed);
}

async fn keep_fetching(trust: &TrustStore, url: &Url) {
    shared::crypto::install();
    loop {
        let pause = match fetch(trust, url).await {
            Ok(()) => JWKS_AGE,
            Err(reason) => {
                warn!(%url, reason, "the key set cannot be fetched; the last one stays");
                JWKS_RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn fetch(trust: &TrustStore, url: &Url) -> Result<(), String> {
    let document = companion::fetch(url, MAX_JWKS_BYTES).await.map_err(|error| error.to_string())?;
    trust.take_fetched(&document).map_err(|error| error.to_string())
}
