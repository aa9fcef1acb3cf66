//! Blobs against their bytes: whether these are there, how many, and with `--deep` what they hash to.

use futures_util::TryStreamExt;
use shared::{
    clock::Timestamp,
    digest::{Digest, Hasher},
};

use super::{
    Depth, Doctor, Error, Fault,
    check::{Looked, key_twice},
};
use crate::{
    metadata::examine::{
        Position, Range,
        blobs::{self, Row},
        fault::KeyOf,
    },
    store::{StorageKey, StoreError},
};

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

    /// Hashes the bytes of the blob that nobody has hashed for longest.
    pub(super) async fn hash_stalest(&self, after: &Position, begun: Timestamp) -> Result<Looked, Error> {
        let found = blobs::stalest(&mut self.metadata.read().await?, after, begun, 1).await?;
        let Some(row) = found.into_iter().next() else { return Ok(Looked::END) };
        let upto = Some(row.by_age());
        let mut faults: Vec<Fault> = self.hash_twice(&row).await?.into_iter().collect();
        self.name_namers(&mut faults).await?;
        Ok(Looked { faults, upto, rows: 1, bytes: row.size })
    }

    /// A blob whose bytes seem wrong counts if its row still says that they are under this key: under a key bytes never change, and they go after the row.
    async fn hash_twice(&self, row: &Row) -> Result<Option<Fault>, Error> {
        if self.wrong_bytes(row).await.is_none() {
            return Ok(None);
        }
        let now = blobs::one(&mut self.metadata.read().await?, row.id).await?;
        match now.filter(|now| now.key == row.key) {
            Some(now) => Ok(self.wrong_bytes(&now).await),
            None => Ok(None),
        }
    }

    /// What is wrong with a blob's bytes, whatever its row knows of them.
    async fn wrong_bytes(&self, row: &Row) -> Option<Fault> {
        if row.store != self.store.name() {
            return None;
        }
        if let Some(fault) = self.wrong_size(row).await {
            return Some(fault);
        }
        // That this is no digest is found with the rows.
        let expected: Digest = row.digest.parse().ok()?;
        let of = || row.of();
        match self.hash(&row.key, row.size, Hasher::new(expected.algorithm())).await {
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
    ) -> Result<(Digest, Vec<u8>), StoreError> {
        let key = StorageKey::stored(key);
        let mut reading = self.store.read(&key, 0..length).await?;
        while let Some(piece) = reading.try_next().await.map_err(|error| StoreError::from_io(&key, error))? {
            hasher.update(&piece);
        }
        let state = hasher.save();
        Ok((hasher.finish(), state))
    }

    /// Says of blobs who would miss them.
    async fn name_namers(&self, faults: &mut [Fault]) -> Result<(), Error> {
        for fault in faults {
            if let Fault::BytesMissing(of)
            | Fault::BytesWrongSize { of, .. }
            | Fault::BytesDiffer { of, .. }
            | Fault::BytesUnreadable { of, .. }
            | Fault::Damaged(of) = fault
            {
                of.named_by = blobs::named_by(&mut self.metadata.read().await?, of).await?;
            }
        }
        Ok(())
    }
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
