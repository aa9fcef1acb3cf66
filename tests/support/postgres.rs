//! Schemas of a test's own in the PostgreSQL cluster that `make test` started.

use super::server::Launch;
use crate::protocol::samples::word;

/// One test's schemas: one for the registry, one for auth.
pub(crate) struct Schemas {
    url: String,
    name: String,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let url = std::env::var("PORTREEVE_TEST_POSTGRES").expect("PORTREEVE_TEST_POSTGRES holds a URL");
        Self { url, name: word() }
    }

    /// The registry's facts go to PostgreSQL.
    pub(crate) fn for_registry(&self, launch: Launch) -> Launch {
        launch
            .env("REGISTRY_PORTREEVE_DATABASE_URL", &self.url)
            .env("REGISTRY_PORTREEVE_DATABASE_SCHEMA", &format!("registry_{}", self.name))
    }

    /// Auth's facts go to PostgreSQL.
    pub(crate) fn for_auth(&self, launch: Launch) -> Launch {
        launch
            .env("PORTREEVE_AUTH_DATABASE_URL", &self.url)
            .env("PORTREEVE_AUTH_DATABASE_SCHEMA", &format!("auth_{}", self.name))
    }
}
