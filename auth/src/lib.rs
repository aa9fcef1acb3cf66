//! The token authorization service: it learns who is asking, adds up what they may do, and signs a token that says so.

pub mod accounts;
pub mod audit;
pub mod cli;
pub mod doctor;
pub mod first_start;
pub mod http;
pub mod identity;
pub mod import;
pub mod issuer;
mod key_files;
pub mod metrics;
pub mod permissions;
pub mod pki;
pub mod sealing;
pub mod secrets;
pub mod server;
pub mod settings;
pub mod signing;
pub mod tokens;
