//! What was deleted in a namespace and can still come back: repositories first, then manifests, and of both those first whose window ends first.

use std::{fmt, str::FromStr};

use shared::{clock::Timestamp, database::DatabaseError, repository::RepositoryName};

use super::Lifecycle;
use crate::metadata::deleted::{self, Place};

pub use crate::metadata::deleted::{Gone, Manifest, Repository};

/// Something that can come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// A repository with everything in it.
    Repository(Repository),
    /// A manifest of a living repository.
    Manifest(Manifest),
}

/// Where a list goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Behind this repository.
    Repository(Place),
    /// Behind this manifest.
    Manifest(Place),
}

/// The text is no place that a page of ours ended at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after: say what the page before this one had as next")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, Place { until, id }) = match self {
            Self::Repository(place) => ("repository", place),
            Self::Manifest(place) => ("manifest", place),
        };
        write!(f, "{kind}-{}-{id}", until.micros())
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(InvalidCursor);
        let (kind, until, id) = (part()?, part()?, part()?);
        let number = |text: &str| text.parse::<i64>().map_err(|_| InvalidCursor);
        let place = Place { until: Timestamp::from_micros(number(until)?), id: number(id)? };
        match kind {
            "repository" => Ok(Self::Repository(place)),
            "manifest" => Ok(Self::Manifest(place)),
            _ => Err(InvalidCursor),
        }
    }
}

/// Part of a list: an empty one may have a next.
#[derive(Clone, Debug)]
pub struct Part {
    /// What can come back,
    pub found: Vec<Deleted>,
    /// and where the list goes on, if it may.
    pub next: Option<Cursor>,
}

impl Lifecycle {
    /// What can come back in a namespace, or of the name `repository` alone: at most `limit`, and fewer where much of other namespaces lies between.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deleted(
        &self,
        namespace: &RepositoryName,
        repository: Option<&RepositoryName>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Part, DatabaseError> {
        let (beginning, limit) = (Place::beginning(self.clock.now()), i64::from(limit));
        let (repositories, manifests) = match after {
            None => (Some(beginning), beginning),
            Some(Cursor::Repository(place)) => (Some(place), beginning),
            Some(Cursor::Manifest(place)) => (None, place),
        };
        let (within, mut reader) = ((namespace.as_str(), repository), self.metadata.read().await?);
        let mut found = Vec::new();
        if let Some(behind) = repositories {
            let page = deleted::repositories(&mut reader, within, behind, limit).await?;
            found.extend(page.found.into_iter().map(Deleted::Repository));
            if let Some(place) = page.next {
                return Ok(Part { found, next: Some(Cursor::Repository(place)) });
            }
        }
        let page = deleted::manifests(&mut reader, within, manifests, limit - found.len() as i64).await?;
        found.extend(page.found.into_iter().map(Deleted::Manifest));
        Ok(Part { found, next: page.next.map(Cursor::Manifest) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let place = Place { until: Timestamp::from_micros(1_767_225_600_000_000), id: 7 };
        for cursor in [Cursor::Repository(place), Cursor::Manifest(place)] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for strange in ["", "manifest", "manifest-1", "manifest-1-x", "manifest-x-1", "tag-1-1", "manifest-1-1-1"] {
            assert_eq!(strange.parse::<Cursor>(), Err(InvalidCursor), "{strange}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(micros in 0..i64::MAX, id: i64, of_repositories: bool) {
            let place = Place { until: Timestamp::from_micros(micros), id };
            let cursor = if of_repositories { Cursor::Repository(place) } else { Cursor::Manifest(place) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_at_all_is_read_or_refused_without_a_panic(text in "(repository|manifest)-[0-9+-]{0,22}-[0-9+-]{0,22}|.{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
    }
}
