//! Schemas of a test's own in the PostgreSQL cluster that `make test` started.

use std::path::Path;

use super::{
    program::Program,
    server::{Launch, written},
};
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

    /// Where the registry's tables are, for whoever looks into them beside it: the cluster, and the schema.
    pub(crate) fn registry(&self) -> (String, String) {
        (self.url.clone(), format!("registry_{}", self.name))
    }

    /// The registry's facts go to PostgreSQL.
    pub(crate) fn for_registry(&self, launch: Launch) -> Launch {
        launch
            .env("REGISTRY_PORTREEVE_DATABASE_URL", &self.url)
            .env("REGISTRY_PORTREEVE_DATABASE_SCHEMA", &format!("registry_{}", self.name))
    }

    /// A configuration that says the same, for commands about a data directory that nobody serves.
    pub(crate) fn configuration(&self, home: &Path, data: &Path) -> String {
        let (data, url, name) = (data.display(), &self.url, &self.name);
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{data}'}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             portreeve: {{database: {{url: '{url}', schema: registry_{name}}}}}\n"
        );
        written(home, "postgres.yml", &config)
    }

    /// Dumps the registry's schema as operators do.
    pub(crate) async fn dump_registry(&self, file: &Path) {
        let dump = Program::new("pg_dump").args(["--format=custom", &format!("--schema=registry_{}", self.name)]);
        dump.arg("--file").arg(file).arg(&self.url).succeeds().await;
    }

    /// Drops the schema, and brings the dump back.
    pub(crate) async fn restore_registry(&self, file: &Path) {
        let restore = Program::new("pg_restore").args(["--clean", "--if-exists", "--dbname"]).arg(&self.url);
        restore.arg(file).succeeds().await;
    }

    /// Auth's facts go to PostgreSQL.
    pub(crate) fn for_auth(&self, launch: Launch) -> Launch {
        launch
            .env("PORTREEVE_AUTH_DATABASE_URL", &self.url)
            .env("PORTREEVE_AUTH_DATABASE_SCHEMA", &format!("auth_{}", self.name))
    }
}
