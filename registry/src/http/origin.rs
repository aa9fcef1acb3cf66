//! Under which address the client sees us, and from which it comes.
//!
//! What a proxy says about the client is believed only if the proxy is trusted; a client could say the same of
//! itself.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header, uri::Authority};
use shared::network::Network;
use url::Url;

use super::operation::Operation;

/// How addresses are generated.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// `http.host`, without a slash at its end: it wins over everything.
    pub(super) host: Option<String>,
    /// What stands before `/v2/`, without a slash at its end.
    pub(super) prefix: String,
    /// Whether addresses are paths alone.
    pub(super) relative: bool,
    /// Whose forwarded headers are believed.
    pub(super) proxies: Vec<Network>,
    /// The scheme that the listener speaks.
    pub(super) scheme: Scheme,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    const fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Addresses {
    pub(super) fn new(host: Option<&Url>, prefix: &str, relative: bool, proxies: Vec<Network>, scheme: Scheme) -> Self {
        let without_slash = |text: &str| text.trim_end_matches('/').to_owned();
        let host = host.map(|host| without_slash(host.as_str()));
        Self { host, prefix: without_slash(prefix), relative, proxies, scheme }
    }

    /// Where an operation is found, as `Location` says it.
    pub(super) fn location(&self, origin: Option<&str>, operation: &Operation) -> String {
        let prefix = &self.prefix;
        match (&self.host, origin) {
            (Some(host), _) => format!("{host}{operation}"),
            (None, Some(origin)) if !self.relative => format!("{origin}{prefix}{operation}"),
            _ => self.path(operation),
        }
    }

    /// Where an operation is found, as `Link` says it: a path.
    pub(super) fn path(&self, operation: &Operation) -> String {
        format!("{}{operation}", self.prefix)
    }

    /// Scheme and authority as the client wrote them; `None` if it wrote none that could be repeated.
    pub(super) fn origin(&self, headers: &HeaderMap, uri: &Uri, peer: Option<SocketAddr>) -> Option<String> {
        if let Some(host) = &self.host {
            let host = Url::parse(host).ok()?;
            return Some(host.origin().ascii_serialization());
        }
        let forwarded = if self.trusts(peer) { Forwarded::read(headers) } else { Forwarded::default() };
        let scheme = forwarded.scheme.unwrap_or(self.scheme);
        let authority = forwarded.host.or_else(|| {
            // A target that names an authority overrules the field (RFC 9112, section 3.2.2).
            let named = uri.authority().map(Authority::as_str);
            named.or_else(|| headers.get(header::HOST)?.to_str().ok()).and_then(authority)
        })?;
        Some(format!("{}://{authority}", scheme.text()))
    }

    /// The client's own address: the last one that no trusted proxy vouches for as a proxy.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Option<IpAddr> {
        let peer_address = peer?.ip();
        if !self.trusts(peer) {
            return Some(peer_address);
        }
        let fields: Vec<_> =
            headers.get_all("x-forwarded-for").iter().filter_map(|field| field.to_str().ok()).collect();
        let mut client = peer_address;
        for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            let Some(address) = hop_address(hop.trim()) else { break };
            client = address;
            if !self.proxies.iter().any(|proxy| proxy.contains(address)) {
                break;
            }
        }
        Some(client)
    }

    fn trusts(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_some_and(|peer| self.proxies.iter().any(|proxy| proxy.contains(peer.ip())))
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip())).or_else(|| {
        let inside = hop.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse().ok()
    })
}

/// What a trusted proxy says.
#[derive(Default)]
struct Forwarded {
    scheme: Option<Scheme>,
    host: Option<String>,
}

impl Forwarded {
    /// `Forwarded` (RFC 7239) wins over `X-Forwarded-*`; of a list the first element is the client's side.
    fn read(headers: &HeaderMap) -> Self {
        let first = |name: &str| {
            let field = headers.get(name)?.to_str().ok()?;
            Some(field.split(',').next().unwrap_or_default().trim())
        };
        if let Some(element) = first("forwarded") {
            let pair = |name: &str| {
                let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                let mut values = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                values.next().map(|(_, value)| value.trim().trim_matches('"'))
            };
            return Self { scheme: pair("proto").and_then(scheme), host: pair("host").and_then(authority) };
        }
        Self {
            scheme: first("x-forwarded-proto").and_then(scheme),
            host: first("x-forwarded-host").and_then(authority),
        }
    }
}

fn scheme(text: &str) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_str() {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// A host with or without a port, and nothing that could end a quoted text or begin a path.
fn authority(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let plain = authority.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]".contains(&b));
    (plain && !authority.host().is_empty()).then(|| authority.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(proxies: &[&str]) -> Addresses {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Addresses::new(None, "/", false, proxies, Scheme::Http)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_host_of_the_request_is_repeated_if_it_is_one() {
        let origin = |host: &str| addresses(&[]).origin(&headers(&[("host", host)]), &Uri::from_static("/v2/"), None);
        assert_eq!(origin("reg.example:5000").as_deref(), Some("http://reg.example:5000"));
        assert_eq!(origin("[::1]:5000").as_deref(), Some("http://[::1]:5000"));
        for bad in ["a\"b", "a/b", "user@host", "", "a b", "a\\b"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_target_with_an_authority_overrules_the_field() {
        let fields = headers(&[("host", "other.example")]);
        let uri = Uri::from_static("http://reg.example:5000/v2/");
        assert_eq!(addresses(&[]).origin(&fields, &uri, None).as_deref(), Some("http://reg.example:5000"));
    }

    #[test]
    fn only_trusted_proxies_speak_for_clients() {
        let fields = headers(&[
            ("host", "inner:5000"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer.example"),
            ("x-forwarded-for", "198.51.100.9, 203.0.113.5"),
            ("x-forwarded-for", "10.0.0.2"),
        ]);
        let uri = Uri::from_static("/v2/");
        let addresses = addresses(&["10.0.0.0/8"]);
        let trusted = peer("10.1.2.3:999");
        let stranger = peer("203.0.113.77:999");
        assert_eq!(addresses.origin(&fields, &uri, trusted).as_deref(), Some("https://outer.example"));
        assert_eq!(addresses.origin(&fields, &uri, stranger).as_deref(), Some("http://inner:5000"));
        assert_eq!(addresses.client(&fields, trusted), Some("203.0.113.5".parse().unwrap()));
        assert_eq!(addresses.client(&fields, stranger), Some("203.0.113.77".parse().unwrap()));
        let rfc = headers(&[
            ("forwarded", "for=1.2.3.4;proto=https;host=\"rfc.example\", for=x"),
            ("x-forwarded-host", "no"),
        ]);
        assert_eq!(addresses.origin(&rfc, &uri, trusted).as_deref(), Some("https://rfc.example"));
        assert_eq!(
            addresses.client(&headers(&[("x-forwarded-for", "nonsense")]), trusted),
            Some(trusted.unwrap().ip())
        );
    }

    #[test]
    fn a_fixed_host_wins_and_relative_addresses_are_paths() {
        let operation = Operation::Version;
        let fixed = Url::parse("https://fixed.example/registry/").unwrap();
        let with = |host, prefix, relative| Addresses::new(host, prefix, relative, Vec::new(), Scheme::Http);
        let origin = Some("http://asked");
        assert_eq!(with(Some(&fixed), "/", true).location(origin, &operation), "https://fixed.example/registry/v2/");
        assert_eq!(with(None, "/p/", false).location(origin, &operation), "http://asked/p/v2/");
        assert_eq!(with(None, "/p/", true).location(origin, &operation), "/p/v2/");
        assert_eq!(with(None, "/", false).location(None, &operation), "/v2/");
    }
}
