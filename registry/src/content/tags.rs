//! Tags: listed and deleted. They move with the push of a manifest.

mod delete;
pub mod history;
pub mod limits;
#[cfg(test)]
mod tests;

use shared::repository::RepositoryName;

use super::{Content, Error, Force};
use crate::{
    failpoints::{Point, reach},
    metadata::tags,
};

pub use delete::DeleteTag;
pub use limits::Denial;

/// How many tags a page holds at most; one without `n` too, so that a repository with a million tags is no burden on anybody.
pub const MAX_TAGS: usize = 10_000;

/// Some names in bytewise order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The names.
    pub names: Vec<String>,
    /// Whether others follow them.
    pub more: bool,
}

impl Content {
    /// Up to `limit` tags of a repository behind `after`, which need not be one of them.
    ///
    /// # Errors
    /// There is no such repository.
    pub async fn tags(&self, repository: &RepositoryName, after: &str, limit: Option<usize>) -> Result<Names, Error> {
        let limit = limit.unwrap_or(MAX_TAGS).min(MAX_TAGS);
        // One name more than asked for tells whether others follow.
        let look = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut reader = self.metadata.read().await?;
        let found = tags::list(&mut reader, repository, after, look).await?;
        let mut names = found.ok_or_else(|| Error::RepositoryUnknown { repository: repository.clone() })?;
        let more = limit > 0 && names.len() > limit;
        names.truncate(limit);
        Ok(Names { names, more })
    }

    /// Deletes a tag; what it pointed at stays, for a while at least.
    ///
    /// # Errors
    /// There is no such tag, the caller may not touch it, or it has to stay.
    pub async fn delete_tag(&self, delete: DeleteTag) -> Result<(), Error> {
        self.delete_tag_with(delete, Force::No).await
    }

    /// The same for an administrator of the namespace, who may say that the rules about tags that stay do not count.
    ///
    /// # Errors
    /// As [`Content::delete_tag`].
    pub async fn delete_tag_with(&self, request: DeleteTag, force: Force) -> Result<(), Error> {
        let remembered = self.metadata.manifests().clone();
        self.metadata.write(delete::Delete { request, force, remembered, grace: self.lives.grace }).await?;
        Ok(reach(Point::TagDeleted)?)
    }
}
