//! What issuer and enforcer must agree on, and plumbing that neither owns.

pub mod clock;
pub mod data_directory;
pub mod digest;
pub mod pattern;
pub mod random;
pub mod readable;
pub mod reference;
pub mod repository;
pub mod revocation;
pub mod secret;
pub mod tag;
mod text;
