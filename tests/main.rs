//! End-to-end tests of Portreeve: real servers on free ports, real clients, one binary that links once.
//!
//! - `dependencies`: what is built in keeps to `deny.toml`;
//! - `structure`: the source tree keeps the dependency directions that the architecture promises;
//! - `power_loss`: a server's calls to the kernel, replayed on a disk that loses what was not synced;
//! - `protocol`: our port of every case of the distribution specification's conformance program;
//! - `stories`: what people and machines do with a registry, with the clients that they use;
//! - `support`: starting servers, running foreign programs, making small images.
//!
//! A test that needs a program beyond Rust's own is `#[ignore = "needs …"]`; `make test` installs and starts what
//! those need and runs them too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so where it stands")]

mod dependencies;
mod power_loss;
mod protocol;
mod stories;
mod structure;
mod support;
