//! What the server answers over HTTP. Handlers translate; accounts, identity, permissions and issuer decide.

mod peer;

use std::{sync::Arc, time::Duration};

use axum::Router;
use shared::clock::Clock;

use crate::{accounts::Accounts, identity::Identities, issuer::Issuer};
pub use peer::Peer;

/// What every handler may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Who there is and what they were given.
    pub accounts: Accounts,
    /// Who is asking.
    pub identities: Identities,
    /// What signs tokens.
    pub issuer: Issuer,
    /// What registries are to trust, in PEM.
    pub bundle: Arc<str>,
    /// How long tokens live where the service does not say.
    pub token_life: Duration,
    /// What time it is.
    pub clock: Clock,
}

/// Every route of the server.
pub fn router(app: App) -> Router {
    Router::new().with_state(app)
}
