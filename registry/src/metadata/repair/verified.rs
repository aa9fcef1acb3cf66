//! Bytes that were hashed and found right.

use std::{collections::BTreeSet, convert::Infallible};

use shared::{
    database::{Dialect, Durability, Failure, Operation, Transaction},
    on,
};

use crate::{
    metadata::{
        BlobId,
        blobs::{HotBlobs, LIVE},
    },
    store::StorageKey,
};

/// Writes down that the bytes of blobs were hashed and found right.
#[derive(Debug)]
pub struct MarkVerified {
    /// Which blobs, under which keys: since then a push may have brought other bytes.
    pub blobs: Vec<(BlobId, StorageKey)>,
    /// Where answers about them may be kept.
    pub hot: HotBlobs,
}

/// A list of blobs as one parameter, read as the table `pair`.
macro_rules! pairs {
    ($tx:expr, $sql:literal) => {
        match $tx.dialect() {
            Dialect::Sqlite => concat!(
                "WITH pair (id, storage_key) AS \
                 (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each($1)) ",
                $sql
            ),
            Dialect::Postgres => concat!(
                "WITH pair (id, storage_key) AS \
                 (SELECT (value ->> 0)::bigint, value ->> 1 FROM jsonb_array_elements($1::jsonb) AS value) ",
                $sql
            ),
        }
    };
}

impl Operation for MarkVerified {
    /// Those that were said to be damaged.
    type Output = BTreeSet<BlobId>;
    type Refusal = Infallible;
    const NAME: &'static str = "mark_verified";

    fn durability(&self) -> Durability {
        // What the power takes back is hashed once more.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Self::Output, Failure<Infallible>> {
        let pairs = self.blobs.iter().map(|(blob, key)| serde_json::json!([blob.0, key.as_str()]));
        let (pairs, now) = (serde_json::Value::from_iter(pairs).to_string(), tx.now());
        if tx.dialect() == Dialect::Postgres {
            let lock =
                pairs!(tx, "SELECT b.id FROM blob b WHERE b.id IN (SELECT id FROM pair) ORDER BY b.id FOR UPDATE");
            let _: Vec<(BlobId,)> = on!(tx, c => sqlx::query_as(lock).bind(&pairs).fetch_all(c).await)?;
        }
        let revive = pairs!(
            tx,
            "UPDATE blob SET state = $2 WHERE state <> $2 AND id IN \
             (SELECT pair.id FROM pair JOIN blob b ON b.id = pair.id AND b.storage_key = pair.storage_key) RETURNING id"
        );
        let revived: Vec<(BlobId,)> = on!(tx, c => sqlx::query_as(revive).bind(&pairs).bind(LIVE).fetch_all(c).await)?;
        let verified = pairs!(
            tx,
            "UPDATE blob SET verified_at = $2 WHERE id IN \
             (SELECT pair.id FROM pair JOIN blob b ON b.id = pair.id AND b.storage_key = pair.storage_key)"
        );
        on!(tx, c => sqlx::query(verified).bind(&pairs).bind(now).execute(c).await.map(drop))?;
        Ok(revived.into_iter().map(|(blob,)| blob).collect())
    }

    fn committed(&self, revived: &Self::Output) {
        if !revived.is_empty() {
            self.hot.forget_all();
        }
    }
}
