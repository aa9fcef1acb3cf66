//! Where a request comes from: the listener says, and proxies that are trusted; no other header can.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, request::Parts},
    middleware::Next,
    response::Response,
};
use shared::listen;
use tracing::warn;

use crate::{accounts::networks::Networks, identity::Peer};

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Most strange proxies that are named in the log.
const MAX_NAMED: usize = 1000;

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self::Unknown))
    }
}

/// Which proxies are believed about where a request comes from.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Option<Networks>,
    named: Arc<Mutex<HashSet<IpAddr>>>,
}

impl Proxies {
    /// Believes proxies in these networks; None believes nobody.
    #[must_use]
    pub fn trusting(trusted: Option<Networks>) -> Self {
        Self { trusted, named: Arc::default() }
    }

    /// The address behind the proxies: the rightmost that no trusted proxy has. What stands left of it anybody can write.
    fn behind(&self, connected: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !headers.contains_key(FORWARDED_FOR) {
            return connected;
        }
        if !self.trusts(connected) {
            self.name(connected);
            return connected;
        }
        let fields = headers.get_all(FORWARDED_FOR).iter().map(|field| field.to_str().unwrap_or_default());
        let hops: Vec<&str> = fields.flat_map(|field| field.split(',')).map(str::trim).collect();
        let mut client = connected;
        for hop in hops.into_iter().rev() {
            // Behind something that is no address nothing can be believed.
            let Some(address) = parse(hop) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.as_ref().is_some_and(|trusted| trusted.contains(address))
    }

    fn name(&self, proxy: IpAddr) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() < MAX_NAMED && named.insert(proxy) {
            warn!(%proxy, "X-Forwarded-For from a peer that is not in trustedproxies is not believed: its clients share one throttle");
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(hop, |(address, _)| address);
    let address: Option<IpAddr> = bare.parse().ok();
    address
        .or_else(|| bare.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|address| address.to_canonical())
}

/// Notes where a request comes from that a listener for everybody took. A unix socket that is not the data directory's has proxies at
/// its other end, and who they run as says nothing about their clients.
pub(super) async fn from_anywhere(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    // Whoever serves the data directory's socket through a router of their own has said so already.
    if request.extensions().get::<Peer>() == Some(&Peer::Socket) {
        return next.run(request).await;
    }
    let peer = match request.extensions().get::<listen::Peer>() {
        Some(listen::Peer::Tcp(address)) => {
            Peer::Address(proxies.behind(address.ip().to_canonical(), request.headers()))
        }
        Some(listen::Peer::Unix { .. }) | None => Peer::Unknown,
    };
    request.extensions_mut().insert(peer);
    next.run(request).await
}

/// Notes where a request comes from that the data directory's socket took.
pub(super) async fn from_the_socket(mut request: Request, next: Next) -> Response {
    let own = rustix::process::geteuid().as_raw();
    let peer = match request.extensions().get::<listen::Peer>() {
        Some(listen::Peer::Unix { uid, .. }) if *uid == 0 || *uid == own => Peer::Socket,
        _ => Peer::Unknown,
    };
    request.extensions_mut().insert(peer);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(connected: &str, forwarded: &[&'static str]) -> String {
        let proxies = Proxies::trusting(Some("10.0.0.0/8 2001:db8::/32".parse().unwrap()));
        let mut headers = HeaderMap::new();
        for field in forwarded {
            headers.append(FORWARDED_FOR, field.parse().unwrap());
        }
        proxies.behind(connected.parse().unwrap(), &headers).to_string()
    }

    /// T38: the header counts from trusted proxies only, and is walked from the right.
    #[test]
    fn t38_only_trusted_proxies_are_believed() {
        for (connected, forwarded, client) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"][..], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"][..], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7:4711"][..], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, rubbish"][..], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, rubbish, 10.1.1.1"][..], "10.1.1.1"),
            ("10.0.0.1", &["10.2.2.2, 10.1.1.1"][..], "10.2.2.2"),
            ("2001:db8::1", &["[2001:db9::2]:80"][..], "2001:db9::2"),
            ("10.0.0.1", &["::ffff:198.51.100.7"][..], "198.51.100.7"),
        ] {
            assert_eq!(behind(connected, forwarded), client, "{connected} {forwarded:?}");
        }
    }
}
