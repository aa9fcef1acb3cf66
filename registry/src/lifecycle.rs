//! How long things live that somebody pushed: rules, what an operator says of them, tags that stay where they are, and repositories that go and come back.
//!
//! [`Lifecycle`] is the one door for `http`: its methods take parsed values and answer with a value or with the error of their module.

use std::time::Duration;

use shared::clock::Clock;

use crate::metadata::Metadata;

pub mod deleted;
pub mod immutable;
pub mod quotas;
pub mod repositories;
pub mod rules;

/// What administrators decide about the images of a registry. Clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    metadata: Metadata,
    clock: Clock,
    undelete_window: Duration,
}

impl Lifecycle {
    /// Over what `metadata` says; what is deleted can come back for `undelete_window`.
    pub const fn new(metadata: Metadata, clock: Clock, undelete_window: Duration) -> Self {
        Self { metadata, clock, undelete_window }
    }
}
