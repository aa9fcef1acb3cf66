//! Uploads against their bytes.

use shared::digest::Hasher;

use super::{
    Depth, Doctor, Error, Fault, Rate,
    check::{Visit, key_twice},
    rate::Pace,
};
use crate::{
    metadata::{
        examine::{
            Range,
            fault::KeyOf,
            uploads::{self, Row},
        },
        uploads::UploadId,
    },
    store::{StorageKey, StoreError},
};

impl Doctor {
    /// What is wrong with the uploads of a page. Bytes are written before they are recorded, so there are as many as a row says or more, whoever writes.
    pub(super) async fn uploads(&self, range: &Range, visit: Visit) -> Result<Vec<Fault>, Error> {
        let rows = uploads::rows(&mut self.metadata.read().await?, range).await?;
        let mut faults = Vec::new();
        for row in rows {
            if row.key_in_trash {
                faults.push(key_twice(&row.key, KeyOf::Upload, KeyOf::Trash));
            }
            // What an earlier boot has lost with the power ends the upload when somebody comes back for it: that is no fault.
            if row.received > 0 && row.boot == self.reading.boot && row.store == self.store.name() {
                faults.extend(self.wrong_upload(&row, visit).await?);
            }
        }
        Ok(faults)
    }

    /// Whether an upload, whose turn the caller has, can come to nothing: its bytes or the state of its hash are not what was recorded.
    pub(super) async fn upload_is_lost(&self, id: UploadId) -> Result<bool, Error> {
        let visit = Visit { depth: Depth::Deep, begun: self.clock.now(), rate: Rate::ALL };
        let faults = self.uploads(&Range::of_one(id.get()), visit).await?;
        Ok(faults.iter().any(|fault| matches!(fault, Fault::UploadShort { .. } | Fault::UploadHashWrong { .. })))
    }

    async fn wrong_upload(&self, row: &Row, visit: Visit) -> Result<Option<Fault>, Error> {
        let (id, writer, upload) = (row.id.get(), row.writer, row.id.to_string());
        let (repository, received) = (row.repository.clone(), row.received);
        let found = self.store.size(&StorageKey::stored(&row.key)).await?.unwrap_or(0);
        if found < received {
            return Ok(Some(Fault::UploadShort { id, writer, upload, repository, received, found }));
        }
        let reason = match (wrong_state(row), visit.depth) {
            (None, Depth::Deep) => self.wrong_hash(row, visit.rate).await?,
            (reason, _) => reason,
        };
        Ok(reason.map(|reason| Fault::UploadHashWrong { id, writer, upload, repository, received, reason }))
    }

    /// Whether the bytes that were received hash to the state that is saved.
    async fn wrong_hash(&self, row: &Row, rate: Rate) -> Result<Option<String>, Error> {
        let Ok(algorithm) = row.algorithm.parse() else { return Ok(None) };
        match self.hash(&row.key, row.received, Hasher::new(algorithm), &mut Pace::new(rate)).await {
            Ok((_, state)) if Some(&state) == row.hash_state.as_ref() => Ok(None),
            Ok(_) => Ok(Some("they hash to something else".to_owned())),
            // It ended meanwhile: the second look does not find it.
            Err(StoreError::NotFound(_)) => Ok(Some("they are gone".to_owned())),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is wrong with the saved state of a hash. One that this version cannot read is another's, and ends the upload by itself.
fn wrong_state(row: &Row) -> Option<String> {
    let Some(state) = &row.hash_state else { return Some("no state of its hash is saved".to_owned()) };
    let hasher = Hasher::resume(state).ok()?;
    if hasher.algorithm().as_str() != row.algorithm {
        return Some(format!("its hash is {}, not {}", hasher.algorithm().as_str(), row.algorithm));
    }
    (hasher.length() != row.received).then(|| format!("its hash is behind {} of them", hasher.length()))
}
