//! Bytes that no row knows.
//!
//! A key has a row before it has bytes, and no row is forgotten before its bytes are gone. So a file that is still there after no row knew its key is a
//! stray; one that was listed a moment ago may have gone together with its row.

use super::{Doctor, Error, Fault, check::Looked};
use crate::{
    metadata::{examine::Position, keys},
    store::StorageKey,
};

/// How many files are listed at a time.
const FILES: usize = 500;

impl Doctor {
    /// Lists a page of the store, looks up the rows, and looks at the files again that have none.
    pub(super) async fn strays(&self, after: &Position) -> Result<Looked, Error> {
        let behind = (!after.name.is_empty()).then(|| StorageKey::stored(&after.name));
        let listed = self.store.list(behind.as_ref(), FILES).await?;
        let Some(last) = listed.last() else { return Ok(Looked::END) };
        let unknown = keys::unknown(&mut self.metadata.read().await?, listed.iter().map(|listed| &listed.key)).await?;
        let mut faults = Vec::new();
        for key in &unknown {
            faults.extend(self.stray(key).await?);
        }
        let upto = Some(Position::behind(last.key.as_str()));
        Ok(Looked { faults, upto, rows: listed.len() as u64, ..Looked::END })
    }

    /// The key, if there are bytes under it now.
    async fn stray(&self, key: &StorageKey) -> Result<Option<Fault>, Error> {
        let size = self.store.size(key).await?;
        Ok(size.map(|size| Fault::StrayBytes { key: key.to_string(), size }))
    }
}
