//! The history of a tag.

use shared::{repository::RepositoryName, tag::Tag};

use crate::{
    content::{Content, Error, undelete::NotRestorable},
    metadata::tags::history,
};

pub use crate::metadata::tags::history::{Fate, Step};

impl Content {
    /// The steps of a tag before version `before`, at most `limit`, the newest first.
    ///
    /// # Errors
    /// There is no such repository, or it never had the tag.
    pub async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Step>, Error> {
        let now = self.clock.now();
        let mut reader = self.metadata.read().await?;
        let before_all = before.unwrap_or(i64::MAX);
        let steps = history::steps(&mut reader, (repository, tag), before_all, i64::from(limit), now).await?;
        match (steps.is_empty(), before) {
            (true, None) => Err(NotRestorable::Tag { repository: repository.clone(), tag: tag.clone() }.into()),
            _ => Ok(steps),
        }
    }
}
