//! The registry on the wire: requests become operations, operations become answers.

pub mod operation;
