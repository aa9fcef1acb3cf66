//! What repositories hold: blobs, uploads, manifests, tags and referrers, as the protocol speaks of them but without its form.
//!
//! [`Content`] is the one door for `http`: every method takes parsed values, decides, and answers with a value or with one [`Error`] that names the
//! situation. Facts go through the doors of metadata, bytes through a [`Store`](crate::store::Store).

use shared::tag::{Tag, TagPattern};

pub mod error;
pub mod uploads;

pub use error::Error;

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
    /// A pusher asks whether it may leave the blob out of its push: a yes holds for a day.
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
