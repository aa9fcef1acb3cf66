//! Bytes that nobody can explain: they are moved out of the way and never deleted.
//!
//! Every key has a row before it has bytes, and keeps one until they are gone (decision 0008). So bytes without a row are not a push that has just begun:
//! they are newer than the facts, because those were restored from a backup, or a person put them there.

use std::fmt;

use serde::Serialize;
use shared::{
    clock::{Clock, Timestamp},
    digest::Digest,
};

use super::Error;
use crate::{
    failpoints::{Point, reach},
    metadata::{Metadata, keys},
    store::{Listed, Store, StoreError},
};

/// How many keys are looked at a time.
const PAGE: usize = 500;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// What the list of the quarantine says of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hashed {
    /// They hash to this.
    To(Digest),
    /// Nobody has read them.
    Not,
    /// They cannot be read: a directory, or a disk that is failing.
    Unreadable,
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(digest) => digest.fmt(f),
            Self::Not => f.write_str("unhashed"),
            Self::Unreadable => f.write_str("unreadable"),
        }
    }
}

/// Moves bytes into quarantine, with a line in its list that says when, from where, how many and what they hash to; false if they have gone.
pub(super) async fn put_aside(
    store: &dyn Store,
    now: Timestamp,
    stray: &Listed,
    hashed: Hashed,
) -> Result<bool, StoreError> {
    // A name may hold anything, and a line is a line.
    let line = format!("{now} {} {} {hashed}", stray.key.as_str().escape_debug(), stray.size);
    let moved = store.set_aside(&stray.key, &line).await?;
    reach(Point::StraySetAside).map_err(|failed| StoreError::from_io(&stray.key, failed.into()))?;
    Ok(moved)
}

/// Bytes that no row speaks of, behind a key; at most a page, and the key to go on behind. `None` at the end.
///
/// # Errors
/// Store or database failed.
pub async fn strays(
    metadata: &Metadata,
    store: &dyn Store,
    after: Option<&Listed>,
) -> Result<Option<(Vec<Listed>, Listed)>, Error> {
    let page = store.list(after.map(|listed| &listed.key), PAGE).await?;
    let Some(last) = page.last().cloned() else { return Ok(None) };
    // Looked up after they were listed: a key that had a row when it was listed either has it still, or has no bytes any more.
    let unknown = keys::unknown(&mut metadata.read().await?, page.iter().map(|listed| &listed.key)).await?;
    Ok(Some((page.into_iter().filter(|listed| unknown.contains(&listed.key)).collect(), last)))
}

/// Moves every stray into quarantine, and tells `each` of it.
///
/// # Errors
/// Store or database failed. What was moved stays moved.
pub async fn set_strays_aside(
    metadata: &Metadata,
    store: &dyn Store,
    clock: &Clock,
    mut each: impl FnMut(&Listed),
) -> Result<SetAside, Error> {
    let (mut set_aside, mut after) = (SetAside::default(), None);
    while let Some((found, last)) = strays(metadata, store, after.as_ref()).await? {
        for stray in &found {
            put_aside(store, clock.now(), stray, Hashed::Not).await?;
            set_aside.files += 1;
            set_aside.bytes += stray.size;
            each(stray);
        }
        after = Some(last);
    }
    Ok(set_aside)
}
