//! The registry service: it stores and serves images, and believes nobody.
//!
//! [`http`] translates between the wire and [`content`], which decides; [`access`] says who may ask.

pub mod access;
pub mod cli;
pub mod content;
pub mod failpoints;
pub mod gc;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod metadata;
pub mod server;
pub mod settings;
pub mod store;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod testing;
