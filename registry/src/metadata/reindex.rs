//! Rows for bytes that have none, where a database was lost.
//!
//! A blob's row needs a link (I4): without one no collector would ever look at it. So found bytes are linked into a repository of their own, and the link
//! has a day on which it ends. Nobody else's promise is as long: the repository says that this one may be.

use std::time::Duration;

use shared::{
    database::{DatabaseError, Failure, Operation, Reader, Transaction},
    digest::Digest,
    on,
    repository::RepositoryName,
};

use super::{
    BlobId,
    blobs::{self, Blob, HotBlobs, LIVE},
    quotas::Exceeded,
    repositories::{self, Repository},
    stored_bytes,
    trash::{self, Place},
    usage,
};
use crate::{
    failpoints::{Point, reach},
    store::StorageKey,
};

/// What the rows call whoever holds the found blobs.
const HOLDER: &str = "reindex";

/// Whether there is a blob of this digest, whatever has become of its bytes.
///
/// # Errors
/// The database failed.
pub async fn is_known(reader: &mut Reader, digest: &Digest) -> Result<bool, DatabaseError> {
    let (select, digest) = ("SELECT EXISTS (SELECT 1 FROM blob WHERE digest = $1)", digest.to_string());
    let (known,): (bool,) = on!(reader, c => sqlx::query_as(select).bind(digest).fetch_one(c).await)?;
    Ok(known)
}

/// Gives found bytes a row.
#[derive(Clone, Debug)]
pub struct IndexBytes {
    /// Where they lie.
    pub place: Place,
    /// What they hash to.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Which repository holds them.
    pub repository: RepositoryName,
    /// For how long, if nobody pushes them.
    pub life: Duration,
    /// Where the registry says that it has them, and they were looked for in vain.
    pub missing: Option<StorageKey>,
    /// Where answers about blobs may be kept.
    pub hot: HotBlobs,
}

/// What became of found bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// They are a blob now.
    New,
    /// They took the place of damaged ones.
    Healed,
    /// The registry says that it has them in this other place: these have no row still. Whether they are there is for the store to say.
    Surplus(Place),
}

impl Operation for IndexBytes {
    type Output = Indexed;
    type Refusal = Exceeded;
    const NAME: &'static str = "index_bytes";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Indexed, Failure<Exceeded>> {
        let repository = repositories::ensure(tx, &self.repository).await?;
        let indexed = match blobs::lock(tx, &self.digest).await? {
            Some(known) if known.is_live() && self.missing.as_ref() != Some(&known.place.key) => {
                Indexed::Surplus(known.place)
            }
            Some(damaged) => self.heal(tx, &damaged).await.map(|()| Indexed::Healed)?,
            None => self.insert(tx, repository).await.map(|()| Indexed::New)?,
        };
        reach(Point::BytesIndexed)?;
        Ok(indexed)
    }

    fn committed(&self, indexed: &Indexed) {
        if *indexed == Indexed::Healed {
            self.hot.forget_all();
        }
    }
}

impl IndexBytes {
    async fn heal(&self, tx: &mut Transaction<'_>, damaged: &Blob) -> Result<(), Failure<Exceeded>> {
        blobs::move_to(tx, damaged.id, &self.place).await?;
        Ok(trash::throw_away(tx, &damaged.place).await?)
    }

    async fn insert(&self, tx: &mut Transaction<'_>, repository: Repository) -> Result<(), Failure<Exceeded>> {
        let insert = "INSERT INTO blob (digest, size, store, storage_key, state, verified_at) \
                      VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
        let (digest, size, now) = (self.digest.to_string(), stored_bytes(self.size), tx.now());
        let (blob,): (BlobId,) = on!(tx, c => {
            let query = sqlx::query_as(insert).bind(digest).bind(size).bind(&self.place.store);
            query.bind(self.place.key.as_str()).bind(LIVE).bind(now).fetch_one(c).await
        })?;
        let until = now + self.life;
        let link = "INSERT INTO link (repository_id, blob_id, expires_at, leased_until, leased_by) VALUES ($1, $2, $3, $3, $4)";
        on!(tx, c => {
            let query = sqlx::query(link).bind(repository.id).bind(blob).bind(until).bind(HOLDER);
            query.execute(c).await.map(drop)
        })?;
        let found = "UPDATE repository SET found_until = $2 WHERE id = $1 AND coalesce(found_until, 0) < $2";
        on!(tx, c => sqlx::query(found).bind(repository.id).bind(until).execute(c).await.map(drop))?;
        usage::link_added(tx, repository.namespace, blob, self.size, 0).await
    }
}
