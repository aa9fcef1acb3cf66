//! Uploads: which there are, who may write them, how far they have come (design.md section 5, "Uploads").

mod end;
mod finish;
mod take;
pub(crate) mod writers;

use std::{fmt, str::FromStr, time::Duration};

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Durability, Failure, Operation, Reader, Transaction},
    digest::Algorithm,
    on,
    repository::RepositoryName,
};

pub(crate) use self::take::take;
pub use self::{
    end::{EndUpload, Ended, ExpireUploads},
    finish::{FinishUpload, Finished, Known, Looked, NotFinished},
    take::Taken,
};
use super::{
    parse_bytes,
    quotas::Exceeded,
    repositories::{self, Repository},
    stored_bytes,
    usage::{self, Ahead, Allowance},
};
use crate::{
    failpoints::{Point, reach},
    store::StorageKey,
};

/// The name of an upload: random, so that it is neither guessed nor ever given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(i64);

impl UploadId {
    /// An id that no upload has.
    pub fn fresh() -> Self {
        Self(i64::from_le_bytes(shared::random::bytes()) & i64::MAX)
    }

    /// The id as a row holds it.
    pub const fn stored(id: i64) -> Self {
        Self(id)
    }

    /// The id for a row.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of an upload; for a client that is the same as an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload is named by 16 lower-case hexadecimal digits")]
pub struct InvalidUploadId;

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let shaped = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        shaped.then(|| i64::from_str_radix(text, 16).ok().map(Self)).flatten().ok_or(InvalidUploadId)
    }
}

/// There is no such upload in this repository, or somebody else has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYours;

/// Makes an upload, and its repository with the first push.
#[derive(Debug)]
pub struct StartUpload {
    /// Its random id.
    pub id: UploadId,
    /// Where it belongs.
    pub repository: RepositoryName,
    /// The store that its bytes go to.
    pub store: &'static str,
    /// Where they will lie.
    pub key: StorageKey,
    /// What they are hashed with as they come.
    pub algorithm: Algorithm,
    /// The machine's boot under which they are hashed.
    pub boot: String,
    /// Who writes first: 1 if the request that starts it also writes it, else 0.
    pub writer: i64,
    /// How long it waits for its next request.
    pub life: Duration,
    /// Who starts it,
    pub holder: String,
    /// and how many uploads that one may have open. Pushes that begin at the same moment on PostgreSQL may exceed it by their number.
    pub most: u32,
    /// How many bytes it will have, if the client has said so.
    pub length: Option<u64>,
}

/// Why an upload was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The holder has as many open uploads as it may.
    TooMany,
    /// The namespace has no room for it.
    Exceeded(Exceeded),
}

impl From<Exceeded> for NotStarted {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

/// An upload that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its repository.
    pub repository: Repository,
    /// How far it may go.
    pub allowance: Allowance,
}

impl Operation for StartUpload {
    type Output = Started;
    type Refusal = NotStarted;
    const NAME: &'static str = "start_upload";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Started, Failure<NotStarted>> {
        let repository = repositories::ensure(tx, &self.repository).await?;
        let quota = self.insert(tx, repository).await?.ok_or(Failure::Refused(NotStarted::TooMany))?;
        let allowance = match (quota, self.length) {
            (None, _) => Allowance::Unlimited,
            (Some(_), length) => {
                let upload = usage::Upload { id: self.id, namespace: repository.namespace, reserved: 0 };
                let ahead = if length.is_some() { Ahead::Nothing } else { Ahead::Later };
                usage::grow(tx, &upload, length.unwrap_or(0), ahead).await?
            }
        };
        Ok(Started { repository, allowance })
    }
}

impl StartUpload {
    /// Writes the row and answers the namespace's quota in bytes; `None` if the holder has too many already.
    async fn insert(
        &self,
        tx: &mut Transaction<'_>,
        repository: Repository,
    ) -> Result<Option<Option<i64>>, sqlx::Error> {
        let insert = "INSERT INTO upload (id, repository_id, store, storage_key, algorithm, boot, writer, expires_at, holder) \
                      SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE $10 > \
                      (SELECT count(*) FROM (SELECT 1 FROM upload WHERE holder = $9 LIMIT $10) AS open) \
                      RETURNING (SELECT quota FROM namespace WHERE namespace.id = $11) AS quota";
        let until = tx.now() + self.life;
        let inserted: Option<(Option<i64>,)> = on!(tx, c => {
            let query = sqlx::query_as(insert).bind(self.id.get()).bind(repository.id).bind(self.store);
            let query = query.bind(self.key.as_str()).bind(self.algorithm.as_str()).bind(self.boot.as_str());
            let query = query.bind(self.writer).bind(until).bind(&self.holder).bind(i64::from(self.most));
            query.bind(repository.namespace).fetch_optional(c).await
        })?;
        if inserted.is_some() {
            reach(Point::UploadInserted)?;
        }
        Ok(inserted.map(|(quota,)| quota))
    }
}

/// Records what an upload received.
#[derive(Debug)]
pub struct SaveUpload {
    /// Which.
    pub id: UploadId,
    /// Who saves.
    pub writer: i64,
    /// All bytes received so far.
    pub received: u64,
    /// The state of the hash behind the last of them.
    pub hash_state: Vec<u8>,
    /// The machine's boot under which they were written.
    pub boot: String,
    /// How long the upload waits for its next request; `None` where it may wait as long as was said before.
    pub life: Option<Duration>,
    /// How many bytes of its namespace's quota stay reserved at most; `None` leaves them all.
    pub keep_reserved: Option<u64>,
}

impl Operation for SaveUpload {
    type Output = ();
    type Refusal = NotYours;
    const NAME: &'static str = "save_upload";

    fn durability(&self) -> Durability {
        // The bytes are not synced either: after a loss of power the file is hashed again.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotYours>> {
        let saved = match self.life {
            Some(life) => self.save_and_renew(tx, life).await?,
            None => self.save(tx).await?,
        };
        if saved == 0 {
            return Err(Failure::Refused(NotYours));
        }
        if let Some(keep) = self.keep_reserved {
            usage::shrink(tx, self.id, keep).await?;
        }
        reach(Point::ProgressUpdated)?;
        Ok(())
    }
}

impl SaveUpload {
    /// An upload that has most of its life before it can only have expired because its repository was deleted.
    async fn save(&self, tx: &mut Transaction<'_>) -> Result<u64, sqlx::Error> {
        let update = "UPDATE upload SET received = $3, hash_state = $4, boot = $5 \
                      WHERE id = $1 AND writer = $2 AND expires_at > $6";
        let now = tx.now();
        on!(tx, c => {
            let query = sqlx::query(update).bind(self.id.get()).bind(self.writer).bind(stored_bytes(self.received));
            let query = query.bind(self.hash_state.as_slice()).bind(self.boot.as_str()).bind(now);
            query.execute(c).await.map(|done| done.rows_affected())
        })
    }

    /// Not where the repository is deleted: its uploads end with it.
    async fn save_and_renew(&self, tx: &mut Transaction<'_>, life: Duration) -> Result<u64, sqlx::Error> {
        let update = "UPDATE upload SET received = $3, hash_state = $4, boot = $5, expires_at = $6 \
                      WHERE id = $1 AND writer = $2 AND EXISTS \
                      (SELECT 1 FROM repository r WHERE r.id = upload.repository_id AND r.deleted_at IS NULL)";
        let until = tx.now() + life;
        on!(tx, c => {
            let query = sqlx::query(update).bind(self.id.get()).bind(self.writer).bind(stored_bytes(self.received));
            let query = query.bind(self.hash_state.as_slice()).bind(self.boot.as_str()).bind(until);
            query.execute(c).await.map(|done| done.rows_affected())
        })
    }
}

/// How many bytes an upload has received, if there is one of this id in the repository.
///
/// # Errors
/// The database failed.
pub async fn received(
    reader: &mut Reader,
    repository: &RepositoryName,
    id: UploadId,
    now: Timestamp,
) -> Result<Option<u64>, DatabaseError> {
    let select = "SELECT u.received FROM upload u JOIN repository r ON r.id = u.repository_id \
                  WHERE u.id = $1 AND r.name = $2 AND r.deleted_at IS NULL AND u.expires_at > $3";
    let row: Option<(i64,)> = on!(reader, c => {
        sqlx::query_as(select).bind(id.get()).bind(repository.as_str()).bind(now).fetch_optional(c).await
    })?;
    Ok(row.map(|(received,)| parse_bytes(received)))
}

/// How many bytes a living upload has received, wherever it belongs.
///
/// # Errors
/// The database failed.
pub async fn recorded(reader: &mut Reader, id: UploadId, now: Timestamp) -> Result<Option<u64>, DatabaseError> {
    let select = "SELECT received FROM upload WHERE id = $1 AND expires_at > $2";
    let row: Option<(i64,)> =
        on!(reader, c => sqlx::query_as(select).bind(id.get()).bind(now).fetch_optional(c).await)?;
    Ok(row.map(|(received,)| parse_bytes(received)))
}

/// Uploads that nobody came back for, each with the end of its life, at most `limit`, the oldest first, from `behind` one of them on.
///
/// # Errors
/// The database failed.
pub async fn expired(
    reader: &mut Reader,
    now: Timestamp,
    behind: Option<(Timestamp, UploadId)>,
    limit: i64,
) -> Result<Vec<(Timestamp, UploadId)>, DatabaseError> {
    let select = "SELECT expires_at, id FROM upload WHERE expires_at <= $1 AND (expires_at, id) > ($2, $3) \
                  ORDER BY expires_at, id LIMIT $4";
    let (since, id) = behind.map_or((i64::MIN, i64::MIN), |(since, id)| (since.micros(), id.get()));
    let rows: Vec<(Timestamp, i64)> =
        on!(reader, c => sqlx::query_as(select).bind(now).bind(since).bind(id).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(since, id)| (since, UploadId::stored(id))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_upload_is_found_under_the_name_it_was_given(id in 0..=i64::MAX) {
            let id = UploadId::stored(id);
            prop_assert_eq!(id.to_string().len(), 16);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn an_upload_has_one_spelling(text in "[0-9a-fA-F]{14,18}|\\PC{0,20}") {
            if let Ok(id) = text.parse::<UploadId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
