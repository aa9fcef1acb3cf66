//! Uploads against their bytes.

use shared::digest::Hasher;

use super::{Doctor, Error, Fault, check::key_twice};
use crate::{
    metadata::examine::{
        Range,
        fault::KeyOf,
        uploads::{self, Row},
    },
    store::StorageKey,
};

impl Doctor {
    /// What is wrong with the uploads of a page. Bytes are written before they are recorded, so there are as many as a row says or more, whoever writes.
    pub(super) async fn uploads(&self, range: &Range) -> Result<Vec<Fault>, Error> {
        let rows = uploads::rows(&mut self.metadata.read().await?, range).await?;
        let mut faults = Vec::new();
        for row in rows {
            if row.key_in_trash {
                faults.push(key_twice(&row.key, KeyOf::Upload, KeyOf::Trash));
            }
            // What an earlier boot has lost with the power ends the upload when somebody comes back for it: that is no fault.
            if row.received > 0 && row.boot == self.reading.boot && row.store == self.store.name() {
                faults.extend(self.wrong_upload(&row).await?);
            }
        }
        Ok(faults)
    }

    async fn wrong_upload(&self, row: &Row) -> Result<Option<Fault>, Error> {
        let (upload, repository, received) = (row.id.to_string(), row.repository.clone(), row.received);
        let found = self.store.size(&StorageKey::stored(&row.key)).await?.unwrap_or(0);
        if found < received {
            return Ok(Some(Fault::UploadShort { upload, repository, received, found }));
        }
        Ok(wrong_state(row).map(|reason| Fault::UploadHashWrong { upload, repository, received, reason }))
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
