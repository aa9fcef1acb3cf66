//! What access control does between requests: it fetches the key set and follows the revocation feed.

use std::{sync::Arc, time::Duration};

use shared::clock::Clock;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use super::{Access, companion, jwks::MAX_JWKS_BYTES, revocations, trust::TrustStore};

/// How old a fetched key set gets, where no token names a key that is missing in it. A new key is best published long before it signs.
const JWKS_AGE: Duration = Duration::from_secs(300);

/// How long to wait after an address was asked, whatever becomes of that: who makes up key ids makes us ask so often, and no oftener.
const JWKS_PAUSE: Duration = Duration::from_secs(5);

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
        let fetched = fetch(trust, url).await;
        if let Err(reason) = &fetched {
            warn!(%url, reason, "the key set cannot be fetched; the last one stays");
        }
        sleep(JWKS_PAUSE).await;
        if fetched.is_ok() {
            // However the wait ends, it is time to ask again.
            let _ = timeout(JWKS_AGE, trust.missed()).await;
        }
    }
}

async fn fetch(trust: &TrustStore, url: &Url) -> Result<(), String> {
    let document = companion::fetch(url, MAX_JWKS_BYTES).await.map_err(|error| error.to_string())?;
    trust.take_fetched(&document).map_err(|error| error.to_string())
}
