//! Where clients get their tokens.

use url::Url;

/// Where a client gets its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Realm {
    /// At this address, for everybody.
    Fixed(Url),
    /// At the address that the client used for the registry, so that tunnels and ingresses work.
    OfRequest {
        /// The path there.
        path: String,
    },
}

impl Realm {
    /// The address for a request that came to `origin`, scheme and authority. Where that is not known the path alone
    /// stands there: clients that resolve it find us, the others say what is wrong.
    pub(super) fn for_request(&self, origin: Option<&str>) -> String {
        match self {
            Self::Fixed(url) => url.to_string(),
            Self::OfRequest { path } => format!("{}{path}", origin.unwrap_or_default()),
        }
    }
}
