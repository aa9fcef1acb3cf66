//! Networks: addresses that are looked at together.

use std::{fmt, net::IpAddr, str::FromStr};

/// Not `address/prefix`, or bits are set beyond the prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network: an address and a prefix length, such as 10.0.0.0/8, without bits beyond the prefix")]
pub struct MalformedNetwork(String);

/// Addresses that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The neighbourhood of an address, which is throttled together: a /24 of IPv4, a /64 of IPv6.
    #[must_use]
    pub fn around(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        Self { address: masked(address, prefix), prefix }
    }

    /// True if the address is in it. An IPv4 address mapped into IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

impl FromStr for Network {
    type Err = MalformedNetwork;

    /// IPv4 mapped into IPv6 is read as IPv4: no address is compared in that form.
    fn from_str(text: &str) -> Result<Self, MalformedNetwork> {
        let malformed = || MalformedNetwork(text.chars().take(64).collect());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(malformed)?;
        if masked(address, prefix) != address {
            return Err(malformed());
        }
        Ok(match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix >= 96 => Self { address: v4, prefix: prefix - 96 },
            _ => Self { address, prefix },
        })
    }
}

impl From<IpAddr> for Network {
    /// The network of this address alone.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_throttled_together() {
        let around = |text: &str| Network::around(text.parse().unwrap()).to_string();
        assert_eq!(around("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(around("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(around("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_prefix() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0", "::1/64", "10.0.0.0/", "a/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0", "::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mapped_networks_are_those_they_map() {
        for (text, plain) in [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:192.0.2.1/128", "192.0.2.1/32")] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), plain);
            assert!(network.contains(plain.split('/').next().unwrap().parse().unwrap()));
        }
        assert_eq!("::ffff:0:0/96".parse::<Network>().unwrap().to_string(), "0.0.0.0/0");
    }

    #[test]
    fn a_family_is_no_part_of_the_other() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "203.0.113.9"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
    }

    proptest! {
        #[test]
        fn an_address_is_a_network_of_one(address: IpAddr, other: IpAddr) {
            let network = Network::from(address);
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.contains(other), address.to_canonical() == other.to_canonical());
        }

        #[test]
        fn what_is_read_is_written_and_read_again_as_the_same(address: IpAddr, prefix in 0_u8..=128) {
            let address = address.to_canonical();
            let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix };
            let text = format!("{}/{prefix}", masked(address, prefix));
            let network: Network = text.parse().unwrap();
            prop_assert_eq!(network.to_string(), text);
            prop_assert_eq!(format!("{address}/{prefix}").parse::<Network>().is_ok(), masked(address, prefix) == address);
        }

        #[test]
        fn a_neighbourhood_is_a_network_and_holds_its_address(address: IpAddr) {
            let around = Network::around(address);
            prop_assert!(around.contains(address));
            prop_assert_eq!(around.to_string().parse::<Network>(), Ok(around));
        }

        #[test]
        fn any_text_at_all_is_read_or_refused_without_a_panic(text in "[0-9a-f.:/]{0,24}|.{0,12}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
            }
        }
    }
}
