//! What a namespace may have, set by a system administrator, and what it has.
//!
//! A namespace's own administrators read it and do not set it: it is what everybody else keeps of the disk.

use shared::{database::DatabaseError, repository::RepositoryName};

use super::Lifecycle;
use crate::metadata::quotas::{self, SetQuota};
pub use crate::metadata::quotas::{Change, Count, Quota, Standing};

impl Lifecycle {
    /// How a namespace stands: with nothing at all where nobody has pushed yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn standing(&self, namespace: &RepositoryName) -> Result<Standing, DatabaseError> {
        let found = quotas::standing(&mut self.metadata.read().await?, namespace.as_str()).await?;
        Ok(found.unwrap_or_else(|| Standing { namespace: namespace.as_str().to_owned(), ..Standing::default() }))
    }

    /// How namespaces stand, at most `limit` of them behind a name, in bytewise order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn standings(&self, after: &str, limit: u32) -> Result<Vec<Standing>, DatabaseError> {
        quotas::standings(&mut self.metadata.read().await?, after, i64::from(limit)).await
    }

    /// Changes what a namespace may have, and answers how it stands.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_quota(
        &self,
        namespace: RepositoryName,
        change: Change,
        actor: String,
    ) -> Result<Standing, DatabaseError> {
        let set = SetQuota { namespace: namespace.clone(), change, actor };
        self.metadata.write(set).await.map_err(DatabaseError::from)?;
        self.standing(&namespace).await
    }
}
