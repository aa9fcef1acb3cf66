//! Where a request comes from.

use std::{convert::Infallible, net::IpAddr};

use axum::{extract::FromRequestParts, http::request::Parts};

/// Where a request comes from, as the listener saw it. The listener puts it beside the request; no header can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The data directory's socket, from root or the server's own user: a system administrator.
    Socket,
    /// An address.
    Address(IpAddr),
    /// Nobody said: a router that is called without a listener. It is nobody in particular.
    Unknown,
}

impl Peer {
    /// The address, for throttling and for the audit.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Socket | Self::Unknown => None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self::Unknown))
    }
}
