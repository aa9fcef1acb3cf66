//! What the token issuer and the registry that enforces its tokens must agree on, and plumbing that neither of them owns.
//!
//! A thing belongs here if changing it would force both services to change. There are no handlers here and no tables.

pub mod access;
pub mod basic;
pub mod challenge;
pub mod claims;
pub mod clock;
pub mod command;
pub mod crypto;
pub mod data_directory;
pub mod database;
pub mod digest;
pub mod exposition;
pub mod key_id;
pub mod listen;
pub mod logins;
pub mod network;
pub mod openapi;
pub mod pattern;
pub mod random;
pub mod readable;
pub mod reference;
pub mod repository;
pub mod revocation;
pub mod scope;
pub mod secret;
pub mod settings;
pub mod shortfall;
pub mod shutdown;
pub mod size;
pub mod strict_json;
pub mod tag;
pub mod telemetry;
pub mod token_response;
pub mod watched;
pub mod x5c;

mod text;
