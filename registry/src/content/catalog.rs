//! The catalog: which repositories there are, as far as the caller may read them (OCI distribution specification, `_catalog` extension).
//!
//! What a caller may read is patterns. Their literal beginnings become ranges of names for the database, the rest is matched here,
//! and a page looks at a bounded number of names: it may come back short, with a place to go on from.

mod ranges;
#[cfg(test)]
mod tests;

use shared::{database::Reader, readable::Readable};

use super::{Content, Error};
use crate::metadata::{
    RepositoryId,
    catalog::{self, Look},
};
use ranges::Range;

/// How many names a page looks at before it is given back short.
pub const MAX_LOOKED_AT: usize = 5_000;

/// How many names a page holds at most.
pub const MAX_NAMES: usize = 5_000;

/// How many names are read at a time where most of them may turn out unreadable.
const MIN_LOOK: usize = 100;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Behind a text, usually the last name of the page before. Empty is the beginning.
    Behind(String),
    /// Behind a repository that the page before had looked at in vain. Neither its name nor its row's number is for the caller to
    /// see: where a number sorts tells where a hidden name does.
    BehindUnseen(i64),
}

/// A page of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Names of repositories that hold a manifest, in bytewise order.
    pub names: Vec<String>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Cursor>,
}

impl Content {
    /// Up to `limit` repositories that hold a living manifest and that `readable` permits; everything is readable without it.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn catalog(&self, readable: Option<&Readable>, from: &Cursor, limit: usize) -> Result<Catalog, Error> {
        let limit = limit.min(MAX_NAMES);
        if limit == 0 {
            return Ok(Catalog { names: Vec::new(), next: None });
        }
        let mut reader = self.metadata.read().await?;
        let behind = match from {
            Cursor::Behind(text) => text.clone(),
            // A repository's row outlives it; a number that never was begins at the beginning.
            Cursor::BehindUnseen(id) => catalog::name(&mut reader, RepositoryId(*id)).await?.unwrap_or_default(),
        };
        let mut page = Page { readable, limit, behind, looked_at: 0, names: Vec::new() };
        for range in ranges::of(readable) {
            if let Some(next) = page.walk(&mut reader, &range).await? {
                return Ok(Catalog { names: page.names, next: Some(next) });
            }
        }
        Ok(Catalog { names: page.names, next: None })
    }
}

/// A page as it fills.
struct Page<'a> {
    readable: Option<&'a Readable>,
    limit: usize,
    behind: String,
    looked_at: usize,
    names: Vec<String>,
}

impl Page<'_> {
    /// Looks through a range. Some is where the next page begins: this one is full, or has looked at enough.
    async fn walk(&mut self, reader: &mut Reader, range: &Range) -> Result<Option<Cursor>, Error> {
        let until = range.until();
        loop {
            // One name more than is missing tells whether others follow.
            let wanted = (self.limit - self.names.len() + 1).max(MIN_LOOK).min(MAX_LOOKED_AT - self.looked_at);
            let look = Look {
                after: &self.behind,
                from: range.from(),
                until: &until,
                limit: i64::try_from(wanted).unwrap_or(i64::MAX),
            };
            let rows = catalog::look(reader, &look).await?;
            let found = rows.len();
            for row in rows {
                if let Some(next) = self.see(row) {
                    return Ok(Some(next));
                }
            }
            if found < wanted {
                return Ok(None);
            }
        }
    }

    fn see(&mut self, row: catalog::Row) -> Option<Cursor> {
        let shown = row.holds_manifest && self.readable.is_none_or(|readable| readable.permits(&row.name));
        if shown && self.names.len() == self.limit {
            return self.names.last().cloned().map(Cursor::Behind);
        }
        self.looked_at += 1;
        self.behind.clone_from(&row.name);
        let enough = self.looked_at == MAX_LOOKED_AT;
        if shown {
            self.names.push(row.name);
            return enough.then(|| Cursor::Behind(self.behind.clone()));
        }
        enough.then_some(Cursor::BehindUnseen(row.id.0))
    }
}
