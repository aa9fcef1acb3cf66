//! Bytes that nobody can explain: they are moved out of the way and never deleted.
//!
//! Every key has a row before it has bytes, and keeps one until they are gone (decision 0008). So bytes without a row are not a push that has just begun:
//! they are newer than the facts, because those were restored from a backup, or a person put them there.

use serde::Serialize;

use super::Error;
use crate::{
    metadata::{Metadata, backup as rows},
    store::{Listed, Store},
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
    let known = rows::known(&mut metadata.read().await?, page.iter().map(|listed| &listed.key)).await?;
    Ok(Some((page.into_iter().filter(|listed| !known.contains(&listed.key)).collect(), last)))
}

/// Moves every stray into quarantine, and tells `each` of it.
///
/// # Errors
/// Store or database failed. What was moved stays moved.
pub async fn set_strays_aside(
    metadata: &Metadata,
    store: &dyn Store,
    mut each: impl FnMut(&Listed),
) -> Result<SetAside, Error> {
    let (mut set_aside, mut after) = (SetAside::default(), None);
    while let Some((found, last)) = strays(metadata, store, after.as_ref()).await? {
        for stray in &found {
            let line = format!("restore {} {} unhashed", stray.key, stray.size);
            store.set_aside(&stray.key, &line).await?;
            set_aside.files += 1;
            set_aside.bytes += stray.size;
            each(stray);
        }
        after = Some(last);
    }
    Ok(set_aside)
}
