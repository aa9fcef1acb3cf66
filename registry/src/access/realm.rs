//! Where clients get their tokens.

use url::{Host, Url};

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

    /// Its address, where that is fixed and names a private network's or this machine's number: go-containerregistry (crane, cosign,
    /// kaniko, ko, Flux) refuses such a realm unless it has the registry's own host and port.
    #[must_use]
    pub fn private(&self) -> Option<&Url> {
        let Self::Fixed(url) = self else { return None };
        let private = match url.host()? {
            Host::Ipv4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
            Host::Ipv6(address) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
            Host::Domain(_) => false,
        };
        private.then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_private_networks_are_known() {
        let private = |host: &str| {
            let realm = Realm::Fixed(format!("http://{host}:5001/token").parse().unwrap());
            realm.private().is_some()
        };
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
        ] {
            assert!(private(host), "{host}");
        }
        for host in
            ["192.0.2.1", "172.15.255.255", "172.32.0.1", "11.0.0.1", "[2001:db8::1]", "auth.example", "localhost"]
        {
            assert!(!private(host), "{host}");
        }
        assert_eq!(Realm::OfRequest { path: "/token".to_owned() }.private(), None, "the client's own address of us");
    }
}
