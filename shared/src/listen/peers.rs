//! How many connections come from where.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections by where they come from, up to a limit for each.
#[derive(Clone)]
pub(super) struct Peers {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
    exempt: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Peers {
    pub(super) fn new(most: usize) -> Self {
        Self { open: Arc::default(), most, exempt: Arc::new(|_| false) }
    }

    /// Does not count those for whom `exempt` is true.
    pub(super) fn exempting(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Arc::new(exempt), ..self }
    }

    /// A place for one more connection from `address`; `None` if it has as many as it may.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        if (self.exempt)(address) {
            return Some(Admitted(None));
        }
        let home = home(address);
        let mut open = self.open();
        let count = open.entry(home).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Admitted(Some((self.clone(), home))))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Whom an address belongs to. A customer of IPv6 has 2⁶⁴ of them at least.
fn home(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A counted connection, until it is dropped.
pub(super) struct Admitted(Option<(Peers, IpAddr)>);

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((peers, home)) = self.0.take() else { return };
        let mut open = peers.open();
        if let Some(count) = open.get_mut(&home) {
            *count -= 1;
            if *count == 0 {
                open.remove(&home);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_number_of_places_and_gets_them_back() {
        let peers = Peers::new(2);
        let (first, _second) = (peers.admit(address("192.0.2.1")), peers.admit(address("192.0.2.1")));
        assert!(peers.admit(address("192.0.2.1")).is_none());
        assert!(peers.admit(address("192.0.2.2")).is_some(), "another address");
        drop(first);
        assert!(peers.admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let peers = Peers::new(1);
        let _first = peers.admit(address("2001:db8::1"));
        assert!(peers.admit(address("2001:db8::ffff:0:2")).is_none());
        assert!(peers.admit(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn the_exempt_are_not_counted_and_nothing_is_kept_of_who_left() {
        let peers = Peers::new(1).exempting(|address| address.is_loopback());
        let held: Vec<_> = (0..5).map(|_| peers.admit(address("127.0.0.1")).unwrap()).collect();
        assert!(peers.open().is_empty());
        drop((held, peers.admit(address("192.0.2.1")).unwrap()));
        assert!(peers.open().is_empty());
    }
}
