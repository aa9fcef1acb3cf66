//! How long things live that somebody pushed: rules, what an operator says of them, and tags that stay where they are.
//!
//! [`Lifecycle`] is the one door for `http`: its methods take parsed values and answer with a value or with the error of their module.

use crate::metadata::Metadata;

pub mod immutable;
pub mod quotas;
pub mod rules;

/// What administrators decide about the images of a registry. Clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    metadata: Metadata,
}

impl Lifecycle {
    /// Over what `metadata` says.
    pub const fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }
}
