//! The end of an upload that went well: its bytes become a blob, or heal one, or were there before.

use shared::{
    database::{Dialect, Failure, Operation, Transaction},
    digest::Digest,
    on,
};

use super::UploadId;
use crate::{
    failpoints::{Point, reach},
    metadata::{
        BlobId,
        blobs::{self, Blob, HotBlobs, LIVE},
        links::{self, NewLink},
        parse_bytes,
        quotas::Exceeded,
        repositories::Repository,
        stored_bytes,
        trash::{self, Place},
    },
    store::StorageKey,
};

/// What finish found under the digest before, and what it thinks of the bytes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The blob's id.
    pub blob: BlobId,
    /// Where its bytes lie.
    pub key: StorageKey,
    /// Whether they are there, and as many as there should be.
    pub sound: bool,
}

/// A blob that is already there under the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub blob: BlobId,
    /// Where its bytes lie.
    pub key: StorageKey,
    /// How many bytes there should be.
    pub size: u64,
}

/// Why an upload was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFinished {
    /// The upload is gone, or another writer's.
    NotYours,
    /// The digest is already there, under bytes that nobody has looked at yet: look, and finish again.
    LookFirst(Known),
    /// The namespace has no room for it. What was reserved for an upload always fits.
    Exceeded(Exceeded),
}

impl From<Exceeded> for NotFinished {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

/// Turns an upload, its bytes synced and verified, into a blob with a link and a promise.
#[derive(Debug)]
pub struct FinishUpload {
    /// Which.
    pub id: UploadId,
    /// Who finishes.
    pub writer: i64,
    /// Its repository.
    pub repository: Repository,
    /// What its bytes hash to.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Whose promise the link begins with.
    pub holder: String,
    /// What was looked at.
    pub looked: Option<Looked>,
    /// Where answers about the blob may be kept.
    pub hot: HotBlobs,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// They are the blob's.
    New,
    /// The registry had them already: these go to the trash.
    Surplus,
    /// They took the place of damaged ones.
    Healed,
}

impl Operation for FinishUpload {
    type Output = Finished;
    type Refusal = NotFinished;
    const NAME: &'static str = "finish_upload";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Finished, Failure<NotFinished>> {
        let upload = self.take_out(tx).await?.ok_or(Failure::Refused(NotFinished::NotYours))?;
        reach(Point::UploadRemoved)?;
        let (place, covered) = (upload.place, parse_bytes(upload.reserved));
        if let Some(blob) = self.insert_blob(tx, &place).await? {
            reach(Point::BlobInserted)?;
            links::add(tx, &self.link(blob, covered)).await?;
            reach(Point::BlobLinked)?;
            return Ok(Finished::New);
        }
        // It was there a statement ago: its last link went in the meantime.
        let Some(known) = blobs::lock(tx, &self.digest).await? else { return Err(Failure::Again) };
        let finished = if known.is_live() && self.is_sound(&known)? {
            trash::throw_away(tx, &place).await?;
            reach(Point::SurplusDiscarded)?;
            Finished::Surplus
        } else {
            blobs::move_to(tx, known.id, &place).await?;
            reach(Point::BlobHealed)?;
            trash::throw_away(tx, &known.place).await?;
            reach(Point::DamageDiscarded)?;
            Finished::Healed
        };
        links::promise(tx, &self.link(known.id, covered)).await?;
        Ok(finished)
    }

    fn committed(&self, finished: &Finished) {
        if *finished == Finished::Healed {
            // Every repository that links the blob has it under another key now.
            self.hot.forget_all();
        }
    }
}

/// An upload whose row is gone.
#[derive(sqlx::FromRow)]
struct TakenOut {
    #[sqlx(flatten)]
    place: Place,
    /// Bytes of the namespace's quota.
    reserved: i64,
}

impl FinishUpload {
    fn link(&self, blob: BlobId, covered: u64) -> NewLink<'_> {
        NewLink { repository: self.repository, blob, size: self.size, holder: &self.holder, covered }
    }

    /// Removes the upload's row, if it is still this writer's, and keeps its repository.
    async fn take_out(&self, tx: &mut Transaction<'_>) -> Result<Option<TakenOut>, sqlx::Error> {
        if tx.dialect() == Dialect::Postgres {
            let lock = "SELECT 1 FROM repository WHERE id = $1 FOR KEY SHARE";
            on!(tx, c => sqlx::query(lock).bind(self.repository.id).execute(c).await.map(drop))?;
        }
        let delete = "DELETE FROM upload WHERE id = $1 AND writer = $2 \
                      AND EXISTS (SELECT 1 FROM repository WHERE id = $3 AND deleted_at IS NULL) \
                      RETURNING storage_key, store, reserved";
        on!(tx, c => {
            let query = sqlx::query_as(delete).bind(self.id.get()).bind(self.writer).bind(self.repository.id);
            query.fetch_optional(c).await
        })
    }

    /// Inserts the blob, unless the digest is there already. One statement, because a look before it would have to be repeated after it.
    async fn insert_blob(&self, tx: &mut Transaction<'_>, place: &Place) -> Result<Option<BlobId>, sqlx::Error> {
        let insert = "INSERT INTO blob (digest, size, store, storage_key, state, verified_at) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest) DO NOTHING RETURNING id";
        let now = tx.now();
        let row: Option<(BlobId,)> = on!(tx, c => {
            let query = sqlx::query_as(insert).bind(self.digest.to_string()).bind(stored_bytes(self.size));
            query.bind(&place.store).bind(place.key.as_str()).bind(LIVE).bind(now).fetch_optional(c).await
        })?;
        Ok(row.map(|(blob,)| blob))
    }

    /// Whether the bytes that are there can stay; refuses if they are not the ones that were looked at.
    fn is_sound(&self, known: &Blob) -> Result<bool, Failure<NotFinished>> {
        let (blob, key, size) = (known.id, &known.place.key, known.size);
        match &self.looked {
            Some(looked) if looked.blob == blob && looked.key == *key => Ok(looked.sound),
            _ => Err(Failure::Refused(NotFinished::LookFirst(Known { blob, key: key.clone(), size }))),
        }
    }
}
