//! A registry with many repositories, written straight into its database: pushing them would take longer than all the rest.

use std::{path::Path, time::Duration};

use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

/// How many repositories the catalog is measured at.
pub(crate) const REPOSITORIES: u32 = 100_000;

/// Their common beginning; numbers of six digits follow.
pub(crate) const PREFIX: &str = "many/r-";

const STATEMENTS: [&str; 3] = [
    "INSERT INTO namespace (name) VALUES ('many')",
    "INSERT INTO repository (namespace_id, name, created_at) \
     WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1) \
     SELECT namespace.id, printf('many/r-%06d', i), 0 FROM n JOIN namespace ON namespace.name = 'many'",
    "INSERT INTO manifest (repository_id, digest, media_type, size, pushed_at) \
     SELECT id, 'sha256:' || printf('%064x', id), 'application/vnd.oci.image.manifest.v1+json', 0, 0 \
     FROM repository WHERE name LIKE 'many/%'",
];

/// Adds [`REPOSITORIES`], each with the row of a manifest, to a registry that runs.
pub(crate) async fn fill(database: &Path) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_secs(10));
    let mut connection = options.connect().await?;
    for statement in STATEMENTS {
        sqlx::query(statement).bind(REPOSITORIES).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}
