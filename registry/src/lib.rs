//! Under construction in this commit series.

pub mod content;
pub mod store;
