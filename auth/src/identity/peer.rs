//! Where somebody who is to be identified comes from.

use std::net::{IpAddr, Ipv4Addr};

use crate::accounts::networks::Networks;

/// Where a request comes from, as the listener knows it.
///
/// Three answers and not an optional address: whom nobody knows is not to be taken for the one who is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The data directory's socket, from root or the server's own user: a system administrator, whom nothing throttles.
    Socket,
    /// An address.
    Address(IpAddr),
    /// Nobody said, or a process of this machine: nobody in particular.
    Unknown,
}

impl Peer {
    /// The address, for logs and the audit.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Socket | Self::Unknown => None,
        }
    }

    /// Whose failures count together with this one's; None if they do not count. All whom nobody knows share one throttle.
    #[must_use]
    pub fn throttled_as(self) -> Option<IpAddr> {
        match self {
            Self::Socket => None,
            Self::Address(address) => Some(address),
            Self::Unknown => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }

    /// True if a credential that is bound to these networks is good from here. From nowhere in particular it is not.
    #[must_use]
    pub fn is_within(self, networks: &Networks) -> bool {
        match self {
            Self::Socket => true,
            Self::Address(address) => networks.contains(address),
            Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_nobody_knows_is_throttled_and_within_no_network() {
        let everywhere: Networks = "0.0.0.0/0 ::/0".parse().unwrap();
        assert!(!Peer::Unknown.is_within(&everywhere));
        assert!(Peer::Unknown.throttled_as().is_some());
        assert!(Peer::Socket.is_within(&"192.0.2.0/24".parse().unwrap()));
        assert_eq!(Peer::Socket.throttled_as(), None);
    }
}
