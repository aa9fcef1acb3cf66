//! Whether bytes may be deleted now.
//!
//! A backup copies the facts first and the bytes after them. What the facts speak of may go to the trash in between; while this is held it stays there.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Shared by whoever deletes bytes in a process and whoever copies them. Bytes of files are deleted by one process alone, which holds their directory.
#[derive(Clone, Debug, Default)]
pub(super) struct TrashHold(Arc<RwLock<()>>);

impl TrashHold {
    /// Leave to delete a batch; `None` while a backup is being made.
    pub(super) fn emptying(&self) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::clone(&self.0).try_read_owned().ok()
    }

    /// Keeps what is in the trash. Waits for the batch that is being deleted now.
    pub(super) async fn keep(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.0).write_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_deleted_while_it_is_kept() {
        let hold = TrashHold::default();
        let emptying = [hold.emptying().unwrap(), hold.emptying().unwrap()];
        let keeping = tokio::spawn({
            let hold = hold.clone();
            async move { hold.keep().await }
        });
        drop(emptying);
        let kept = keeping.await.unwrap();
        assert!(hold.emptying().is_none());
        drop(kept);
        assert!(hold.emptying().is_some());
    }
}
