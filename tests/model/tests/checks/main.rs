//! Every scenario, searched to its end: what is written holds everywhere, and what was rejected breaks where it was known to break.

mod as_written;
mod rejected;
mod scenarios;
mod search;
