//! Blobs against their bytes: whether these are there, how many, and with `--deep` what they hash to.

use futures_util::TryStreamExt;
use shared::digest::{Digest, Hasher};

use super::{
    Depth, Doctor, Error, Fault,
    check::{Looked, Visit, key_twice},
    rate::Pace,
};
use crate::{
    metadata::{
        examine::{
            Position, Range,
            blobs::{self, Row},
            fault::KeyOf,
        },
        repair::MarkVerified,
    },
    store::{self, StorageKey, StoreError},
};

/// How many blobs are hashed for one word in the database,
const BLOBS: i64 = 64;
/// and how many bytes, but for one blob that is larger.
const PAGE_BYTES: u64 = 16 << 20;

impl Doctor {
    /// What is wrong with the blobs of a page, their bytes as far as one sees without reading them.
    pub(super) async fn blobs(&self, range: &Range, depth: Depth) -> Result<Vec<Fault>, Error> {
        let rows = blobs::rows(&mut self.metadata.read().await?, range).await?;
        let mut faults = Vec::new();
        for row in &rows {
            faults.extend(wrong_rows(row));
            if depth == Depth::Sizes {
                faults.extend(if row.live { self.wrong_size(row).await } else { self.known_damage(row) });
            }
        }
        self.name_namers(&mut faults).await?;
        Ok(faults)
    }

    fn known_damage(&self, row: &Row) -> Option<Fault> {
        (row.store == self.store.name()).then(|| Fault::Damaged(row.of()))
    }

    /// Whether a blob's bytes are there and as many as there should be.
    async fn wrong_size(&self, row: &Row) -> Option<Fault> {
        if row.store != self.store.name() {
            return None;
        }
        match self.store.size(&StorageKey::stored(&row.key)).await {
            Ok(Some(size)) if size == row.size => None,
            Ok(Some(found)) => Some(Fault::BytesWrongSize { of: row.of(), found }),
            Ok(None) => Some(Fault::BytesMissing(row.of())),
            Err(error) => Some(Fault::BytesUnreadable { of: row.of(), reason: error.to_string() }),
        }
    }

    /// Hashes the bytes of the blobs that nobody has hashed for longest, and writes down what it found: a push of damaged ones heals them.
    pub(super) async fn hash_stalest(&self, after: &Position, visit: Visit) -> Result<Looked, Error> {
        let rows = blobs::stalest(&mut self.metadata.read().await?, after, visit.begun, BLOBS).await?;
        let (mut looked, mut pace, mut right) = (Looked::END, Pace::new(visit.rate), Vec::new());
        let mut read = 0;
        for row in rows {
            if read > 0 && read + row.size > PAGE_BYTES {
                break;
            }
            read += row.size;
            looked.rows += 1;
            looked.upto = Some(row.by_age());
            match self.hash_twice(&row, &mut pace).await? {
                Hashed::Right => right.push(row),
                Hashed::Gone => {}
                Hashed::Wrong(fault) => looked.faults.push(self.damaged(&row, *fault).await?),
            }
        }
        looked.faults.extend(self.mark_verified(right).await?);
        self.name_namers(&mut looked.faults).await?;
        Ok(Looked { bytes: pace.bytes(), rested: pace.rested(), ..looked })
    }

    /// Writes down that bytes are damaged, where that is certain.
    async fn damaged(&self, row: &Row, fault: Fault) -> Result<Fault, Error> {
        if row.live && self.is_damage(&fault).await? {
            self.mark_damaged(&row.of()).await?;
        }
        Ok(fault)
    }

    /// Whether what is wrong is the blob's. What cannot be read now may be read tomorrow, and where nothing is to be seen at all, no disk is mounted.
    pub(super) async fn is_damage(&self, fault: &Fault) -> Result<bool, Error> {
        let unreadable = matches!(fault, Fault::BytesUnreadable { .. });
        Ok(!unreadable && store::is_there(&*self.store).await?)
    }

    /// A blob whose bytes seem wrong counts if its row still says that they are under this key: under a key bytes never change, and they go after the row.
    async fn hash_twice(&self, row: &Row, pace: &mut Pace) -> Result<Hashed, Error> {
        if row.store != self.store.name() {
            return Ok(Hashed::Gone);
        }
        if self.wrong_bytes(row, pace).await.is_none() {
            return Ok(Hashed::Right);
        }
        let now = blobs::one(&mut self.metadata.read().await?, row.id).await?;
        let Some(now) = now.filter(|now| now.key == row.key) else { return Ok(Hashed::Gone) };
        Ok(self.wrong_bytes(&now, pace).await.map_or(Hashed::Right, |fault| Hashed::Wrong(Box::new(fault))))
    }

    /// Writes down that these bytes are right; those that were said to be damaged are a word for the operator.
    async fn mark_verified(&self, rows: Vec<Row>) -> Result<Vec<Fault>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let blobs = rows.iter().map(|row| (row.id, StorageKey::stored(&row.key))).collect();
        let revived = self.metadata.write(MarkVerified { blobs, hot: self.metadata.blobs().clone() }).await?;
        Ok(rows.iter().filter(|row| revived.contains(&row.id)).map(|row| Fault::SoundAgain(row.of())).collect())
    }

    /// What is wrong with a blob's bytes, whatever its row knows of them.
    async fn wrong_bytes(&self, row: &Row, pace: &mut Pace) -> Option<Fault> {
        if let Some(fault) = self.wrong_size(row).await {
            return Some(fault);
        }
        // That this is no digest is found with the rows.
        let expected: Digest = row.digest.parse().ok()?;
        let of = || row.of();
        match self.hash(&row.key, row.size, Hasher::new(expected.algorithm()), pace).await {
            Ok((found, _)) if found == expected => None,
            Ok((found, _)) => Some(Fault::BytesDiffer { of: of(), found: found.to_string() }),
            Err(StoreError::NotFound(_)) => Some(Fault::BytesMissing(of())),
            Err(StoreError::TooShort { found, .. }) => Some(Fault::BytesWrongSize { of: of(), found }),
            Err(error) => Some(Fault::BytesUnreadable { of: of(), reason: error.to_string() }),
        }
    }

    /// What so many bytes hash to, and how many there were.
    pub(super) async fn hash(
        &self,
        key: &str,
        length: u64,
        mut hasher: Hasher,
        pace: &mut Pace,
    ) -> Result<(Digest, Vec<u8>), StoreError> {
        let key = StorageKey::stored(key);
        let mut reading = self.store.read(&key, 0..length).await?;
        while let Some(piece) = reading.try_next().await.map_err(|error| StoreError::from_io(&key, error))? {
            hasher.update(&piece);
            pace.read(piece.len() as u64).await;
        }
        let state = hasher.save();
        Ok((hasher.finish(), state))
    }

    /// Says of blobs who would miss them, and whose promise is broken (I7).
    async fn name_namers(&self, faults: &mut [Fault]) -> Result<(), Error> {
        for fault in faults {
            if let Fault::BytesMissing(of)
            | Fault::BytesWrongSize { of, .. }
            | Fault::BytesDiffer { of, .. }
            | Fault::BytesUnreadable { of, .. }
            | Fault::Damaged(of) = fault
            {
                let mut reader = self.metadata.read().await?;
                of.named_by = blobs::named_by(&mut reader, of).await?;
                of.promised_until = blobs::promised_until(&mut reader, of.blob, self.clock.now()).await?;
            }
        }
        Ok(())
    }
}

/// What hashing a blob's bytes came to.
enum Hashed {
    Right,
    Wrong(Box<Fault>),
    /// The blob has gone, or has other bytes by now, or they are in a store that is not this one.
    Gone,
}

/// What other rows have against this one.
fn wrong_rows(row: &Row) -> Vec<Fault> {
    let faults = [
        row.unlinked.then(|| Fault::BlobWithoutLink(row.of())),
        row.twice.then(|| Fault::DigestTwice(row.of())),
        row.digest.parse::<Digest>().is_err().then(|| Fault::DigestInvalid(row.of())),
        row.key_of_upload.then(|| key_twice(&row.key, KeyOf::Blob, KeyOf::Upload)),
        row.key_in_trash.then(|| key_twice(&row.key, KeyOf::Blob, KeyOf::Trash)),
    ];
    faults.into_iter().flatten().collect()
}
