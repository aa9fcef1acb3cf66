//! How long things live that somebody pushed: rules, and what an operator says of them.

pub mod rules;
