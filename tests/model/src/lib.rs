//! The protocol behind garbage collection (design.md section 6) as a state machine: what the registry's operations do to rows and bytes, who calls them
//! in which order, and what must be true whatever happens in between.
//!
//! [`rows`] mirrors the SQL, one function for one operation, named beside it. [`world`] holds who is in the middle of something: pushers, collectors, and
//! deletes that the store may still carry out. [`action`] lists what can happen next, and [`properties`] what must hold then. A [`Scenario`] bounds all of it.
//!
//! Two things use this. `tests/checks` hands scenarios to an exhaustive checker, and shows that it finds what breaks the [`Variant`]s that were rejected.
//! The registry's own tests (`registry/src/stories/model.rs`) let random walks through the same actions run against the real operations on both databases
//! and compare every row after every step, so that the model stays what the SQL says.
//!
//! An operation is one atomic step here: it takes its locks in everybody's order before it looks, and what it looked at stays until its end. That
//! operations are indeed atomic on PostgreSQL is not shown by this model but by `registry/src/stories/beside_each_other.rs`.

pub mod action;
mod announce;
pub mod properties;
pub mod rows;
pub mod scenario;
pub mod step;
pub mod world;

pub use action::Action;
pub use announce::announce;
pub use rows::Rows;
pub use scenario::{Job, Lives, Power, References, Rules, Scenario, Shape, Variant};
pub use world::World;

/// How many digests there are at most.
pub const DIGESTS: usize = 2;
/// How many repositories there are at most.
pub const REPOSITORIES: usize = 2;
/// How many manifests there are at most, each of which any repository may hold.
pub const MANIFESTS: usize = 4;
/// How many storage keys are in use at once at most. One that nobody knows any more stands for a fresh one.
pub const KEYS: usize = 6;
/// How many uploads there are at once at most.
pub const UPLOADS: usize = 3;
/// How many pushers there are at most.
pub const CLIENTS: usize = 3;
/// How many collectors there are at most.
pub const COLLECTORS: usize = 2;
/// How often a repository is deleted at most, where that is bounded.
pub const DELETIONS: u8 = 2;
/// How often a tag moves at most.
pub const VERSIONS: usize = 4;

/// A digest of a blob, a repository, a manifest and so on, by its number.
pub type Number = u8;
