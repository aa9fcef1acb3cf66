//! What repositories hold: blobs, uploads, manifests, tags and referrers, as the protocol speaks of them but without its form.
//!
//! [`Content`] is the one door for `http`: every method takes parsed values, decides, and answers with a value or with one [`Error`] that names the
//! situation. Facts go through [`Metadata`], bytes through a [`Store`].

use std::{sync::Arc, time::Duration};

use shared::{
    clock::Clock,
    database::DatabaseError,
    tag::{Tag, TagPattern},
};

use crate::{
    metadata::{Metadata, manifests::MANIFEST_GRACE},
    store::Store,
};

pub mod blobs;
pub mod budget;
pub mod catalog;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod manifest;
pub mod manifests;
pub mod mount;
pub mod pulls;
pub mod referrers;
pub mod tags;
pub mod undelete;
pub mod uploads;

pub use crate::metadata::immutable::Force;
use budget::Budget;
pub use error::Error;
use uploads::UPLOAD_LIFE;

/// The content of all repositories. Clones share it.
#[derive(Clone, Debug)]
pub struct Content(Arc<Parts>);

/// What content works with; nobody outside looks inside.
#[derive(Debug)]
pub struct Parts {
    pub(crate) metadata: Metadata,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) lives: Lives,
    pub(crate) budget: Budget,
    pub(crate) pulls: pulls::Pulls,
}

impl Content {
    /// Content whose facts are in `metadata` and whose bytes are in `store`.
    pub fn new(metadata: Metadata, store: Arc<dyn Store>, clock: Clock, lives: Lives) -> Self {
        let (budget, pulls) = Default::default();
        Self(Arc::new(Parts { metadata, store, clock, lives, budget, pulls }))
    }

    /// Ready if the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ready(&self) -> Result<(), DatabaseError> {
        self.metadata.ready().await
    }
}

impl std::ops::Deref for Content {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// How long things stay that nothing refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// How long an upload waits for its next request.
    pub upload: Duration,
    /// How long an untagged manifest stays at least.
    pub grace: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self { upload: UPLOAD_LIFE, grace: MANIFEST_GRACE }
    }
}

/// Who pushes, as far as content has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pusher {
    /// Whose promise it is that a blob stays: the token's subject, else the user, else the address. Parallel pushes of one holder count as one.
    pub holder: String,
    /// Who is written into histories and events.
    pub actor: String,
}

/// Whether a look at a blob is also a promise that it stays (design.md section 6).
#[derive(Clone, Copy, Debug)]
pub enum Promise<'a> {
    /// A reader looks: nothing is written.
    Nothing,
    /// A pusher asks whether it may leave the blob out of its push: a yes holds for [`PROMISE_LIFE`](crate::metadata::links::PROMISE_LIFE).
    To(&'a Pusher),
}

/// Which tags a push or a deletion may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagLimits {
    /// Every tag, and what has none.
    Everything,
    /// Only tags that match one of the patterns; an empty list matches nothing.
    Matching(Vec<TagPattern>),
}

impl TagLimits {
    /// Whether `tag` may be touched.
    pub fn permits(&self, tag: &Tag) -> bool {
        match self {
            Self::Everything => true,
            Self::Matching(patterns) => patterns.iter().any(|pattern| pattern.matches(tag)),
        }
    }
}
