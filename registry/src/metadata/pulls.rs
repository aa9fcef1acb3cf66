//! How often tags and manifests were pulled, and when last.

use std::convert::Infallible;

use serde::Serialize;
use shared::{
    clock::Timestamp,
    database::{Dialect, Durability, Failure, Operation, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
    tag::Tag,
};

/// Pulls of one manifest, by one tag or by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// From where.
    pub repository: RepositoryName,
    /// By which tag.
    pub tag: Option<Tag>,
    /// Which manifest.
    pub digest: Digest,
    /// How often.
    pub pulls: u64,
    /// When last, in microseconds since the epoch.
    #[serde(serialize_with = "micros")]
    pub at: Timestamp,
}

fn micros<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.micros())
}

/// Adds pulls to what was counted before. Those of repositories and manifests that have gone since are left out.
#[derive(Debug)]
pub struct CountPulls {
    /// What to add.
    pub pulled: Vec<Pulled>,
}

impl Operation for CountPulls {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "count_pulls";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let pulled = serde_json::to_string(&self.pulled).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let [tags, manifests] = match tx.dialect() {
            Dialect::Sqlite => SQLITE,
            Dialect::Postgres => POSTGRES,
        };
        for sql in [tags, manifests] {
            on!(tx, c => sqlx::query(sql).bind(&pulled).execute(c).await.map(drop))?;
        }
        Ok(())
    }
}

// Rows are taken in the order of their keys, so that two replicas that count at once wait for each other and never collide.
const SQLITE: [&str; 2] = [
    "INSERT INTO tag_pull (repository_id, name, pulls, pulled_at)
     SELECT r.id, value ->> 'tag', sum(value ->> 'pulls'), max(value ->> 'at')
     FROM json_each($1) JOIN repository r ON r.name = value ->> 'repository' AND r.deleted_at IS NULL
     WHERE value ->> 'tag' IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
     ON CONFLICT (repository_id, name) DO UPDATE SET
         pulls = tag_pull.pulls + excluded.pulls, pulled_at = max(tag_pull.pulled_at, excluded.pulled_at)",
    "INSERT INTO manifest_pull (manifest_id, pulls, pulled_at)
     SELECT m.id, sum(value ->> 'pulls'), max(value ->> 'at')
     FROM json_each($1) JOIN repository r ON r.name = value ->> 'repository' AND r.deleted_at IS NULL
         JOIN manifest m ON m.repository_id = r.id AND m.digest = value ->> 'digest'
     WHERE true GROUP BY 1 ORDER BY 1
     ON CONFLICT (manifest_id) DO UPDATE SET
         pulls = manifest_pull.pulls + excluded.pulls, pulled_at = max(manifest_pull.pulled_at, excluded.pulled_at)",
];
// A repository or manifest that goes at the same time takes its count along: what is counted is locked first, in the order of everybody's
// locks, so that its row is there when the count refers to it.
const POSTGRES: [&str; 2] = [
    "WITH held AS MATERIALIZED (SELECT r.id, r.name FROM repository r
         WHERE r.deleted_at IS NULL AND r.name = ANY (ARRAY(SELECT value ->> 'repository' FROM json_array_elements($1::json)))
         ORDER BY r.id FOR KEY SHARE)
     INSERT INTO tag_pull (repository_id, name, pulls, pulled_at)
     SELECT r.id, v.tag, CAST(sum(v.pulls) AS BIGINT), max(v.at)
     FROM json_to_recordset($1::json) AS v (repository TEXT, tag TEXT, pulls BIGINT, at BIGINT)
         JOIN held r ON r.name = v.repository
     WHERE v.tag IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
     ON CONFLICT (repository_id, name) DO UPDATE SET
         pulls = tag_pull.pulls + excluded.pulls, pulled_at = GREATEST(tag_pull.pulled_at, excluded.pulled_at)",
    "WITH pulled AS MATERIALIZED (SELECT r.id AS repository_id, v.digest, sum(v.pulls) AS pulls, max(v.at) AS at
         FROM json_to_recordset($1::json) AS v (repository TEXT, digest TEXT, pulls BIGINT, at BIGINT)
             JOIN repository r ON r.name = v.repository AND r.deleted_at IS NULL
         GROUP BY 1, 2),
     held AS MATERIALIZED (SELECT m.id, v.pulls, v.at FROM pulled v
             JOIN manifest m ON m.repository_id = v.repository_id AND m.digest = v.digest
         ORDER BY m.id FOR KEY SHARE OF m)
     INSERT INTO manifest_pull (manifest_id, pulls, pulled_at)
     SELECT id, CAST(pulls AS BIGINT), at FROM held ORDER BY id
     ON CONFLICT (manifest_id) DO UPDATE SET
         pulls = manifest_pull.pulls + excluded.pulls,
         pulled_at = GREATEST(manifest_pull.pulled_at, excluded.pulled_at)",
];
