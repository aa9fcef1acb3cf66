//! Every operation, on both databases.

mod credentials;
pub(crate) mod fixture;
mod principals;
mod providers;
mod rules;
