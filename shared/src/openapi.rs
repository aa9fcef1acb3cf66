//! The admin API as OpenAPI 3.1, made of what handlers' own types say: who may call a route, what it reads, what it answers. Nobody writes
//! that down a second time, so it cannot be said wrong.
//!
//! A type of a body, a query or an answer derives [`utoipa::ToSchema`]; its descriptions are the comments that its members have anyway. Words
//! whose text has a grammar of its own have one here. The sentence about a route is its row in `docs/api.md`.

mod types;

#[cfg(feature = "testing")]
mod checked_in;
#[cfg(feature = "testing")]
mod document;
#[cfg(feature = "testing")]
mod handler;
#[cfg(feature = "testing")]
mod rows;

pub use self::types::{Schemas, page_of, text, words};
#[cfg(feature = "testing")]
pub use self::{
    checked_in::{compare, conforms},
    document::{Route, document},
    handler::{Answer, Argument, Caller, Entity, Handler, Parts, Said, of},
    rows::rows,
};
