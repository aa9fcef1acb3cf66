//! Lifecycle rules: which tags and untagged manifests go with time, and which stay.
//!
//! A namespace has a set of rules, and a repository may have one beside it. [`document`] makes one of what a person wrote, whole and valid or not at all;
//! [`evaluate`] decides by it, a pure function.

pub mod age;
pub mod document;
pub mod evaluate;
pub mod rule;
pub mod version;

pub use self::{
    document::{Document, InvalidRules, Rules},
    rule::About,
};
