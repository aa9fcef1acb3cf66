//! Every scenario, searched to its end: what is written holds everywhere, and what was rejected breaks where it was known to break.
//!
//! The figures are printed: `cargo test -p portreeve-model -- --nocapture`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "the figures are what somebody runs this for")]

mod as_written;
mod rejected;
mod scenarios;
mod search;
