//! Who goes on with an upload, and from where.

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Dialect, Durability, Failure, Operation, Reader, Transaction, WriteError},
    digest::Algorithm,
    on,
    repository::RepositoryName,
};

use super::{NotYours, UploadId, writers::Turn};
use crate::{
    metadata::{Metadata, NamespaceId, RepositoryId, parse_bytes, repositories::Repository, usage::Allowance},
    store::StorageKey,
};

/// An upload as its new writer finds it.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The writer's number: results are saved only while it is still this.
    pub writer: i64,
    /// Its repository.
    pub repository: Repository,
    /// Where its bytes lie.
    pub key: StorageKey,
    /// Bytes received and recorded.
    pub received: u64,
    /// What they are hashed with.
    pub algorithm: Algorithm,
    /// The state of the hash behind the last of them; none before the first.
    pub hash_state: Option<Vec<u8>>,
    /// The machine's boot under which the state was saved.
    pub boot: String,
    /// How far it may go.
    pub allowance: Allowance,
    /// Until when it waits for its next request.
    pub expires_at: Timestamp,
}

/// Takes an upload: from now on only this writer can save to it.
#[derive(Debug)]
struct TakeUpload {
    id: UploadId,
    /// Where it has to belong.
    repository: RepositoryName,
}

impl Operation for TakeUpload {
    type Output = Taken;
    type Refusal = NotYours;
    const NAME: &'static str = "take_upload";

    fn durability(&self) -> Durability {
        // A number that the power takes back had a writer that the power took too.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Taken, Failure<NotYours>> {
        let update = "UPDATE upload SET writer = writer + 1 WHERE id = $1 AND expires_at > $3 \
                      AND repository_id = (SELECT id FROM repository WHERE name = $2 AND deleted_at IS NULL) \
                      RETURNING writer, repository_id, \
                      (SELECT namespace_id FROM repository AS r WHERE r.id = upload.repository_id) AS namespace_id, \
                      (SELECT n.quota FROM repository AS r JOIN namespace AS n ON n.id = r.namespace_id \
                       WHERE r.id = upload.repository_id) AS quota, \
                      storage_key, received, algorithm, hash_state, boot, reserved, expires_at";
        let now = tx.now();
        let row: Option<TakenRow> = on!(tx, c => {
            let query = sqlx::query_as(update).bind(self.id.get()).bind(self.repository.as_str()).bind(now);
            query.fetch_optional(c).await
        })?;
        Ok(row.ok_or(Failure::Refused(NotYours))?.try_into()?)
    }
}

/// Takes an upload for the request whose turn it is here.
///
/// On PostgreSQL other processes write uploads too: a number that each raises keeps the others from saving. On SQLite this process is the only one, the
/// turn keeps its own requests apart, and to look is enough.
///
/// # Errors
/// [`NotYours`] if there is no such upload in the repository; the database failed.
pub(crate) async fn take(
    metadata: &Metadata,
    _turn: &Turn,
    id: UploadId,
    repository: &RepositoryName,
    now: Timestamp,
) -> Result<Taken, WriteError<NotYours>> {
    if metadata.dialect() == Dialect::Postgres {
        return metadata.write(TakeUpload { id, repository: repository.clone() }).await;
    }
    let found = found(&mut metadata.read().await?, id, repository, now).await?;
    found.ok_or(WriteError::Refused(NotYours))
}

async fn found(
    reader: &mut Reader,
    id: UploadId,
    repository: &RepositoryName,
    now: Timestamp,
) -> Result<Option<Taken>, DatabaseError> {
    let select = "SELECT u.writer, u.repository_id, r.namespace_id, u.storage_key, u.received, u.algorithm, u.hash_state, u.boot, \
                  u.reserved, u.expires_at, n.quota FROM upload u JOIN repository r ON r.id = u.repository_id \
                  JOIN namespace n ON n.id = r.namespace_id \
                  WHERE u.id = $1 AND r.name = $2 AND r.deleted_at IS NULL AND u.expires_at > $3";
    let row: Option<TakenRow> = on!(reader, c => {
        sqlx::query_as(select).bind(id.get()).bind(repository.as_str()).bind(now).fetch_optional(c).await
    })?;
    Ok(row.map(Taken::try_from).transpose()?)
}

#[derive(sqlx::FromRow)]
struct TakenRow {
    writer: i64,
    repository_id: RepositoryId,
    namespace_id: NamespaceId,
    storage_key: String,
    received: i64,
    algorithm: String,
    hash_state: Option<Vec<u8>>,
    boot: String,
    quota: Option<i64>,
    reserved: i64,
    expires_at: Timestamp,
}

impl TryFrom<TakenRow> for Taken {
    type Error = sqlx::Error;

    fn try_from(row: TakenRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            writer: row.writer,
            repository: Repository { id: row.repository_id, namespace: row.namespace_id },
            key: StorageKey::stored(&row.storage_key),
            received: parse_bytes(row.received),
            algorithm: row.algorithm.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            hash_state: row.hash_state,
            boot: row.boot,
            allowance: Allowance::stored(row.quota, row.reserved),
            expires_at: row.expires_at,
        })
    }
}
