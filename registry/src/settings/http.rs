//! `http`: where requests come in, and how answers name this place.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use shared::{
    exposition,
    listen::{ClientCertificates, DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS_EACH, Limits, MinimumTls, Place, Tls},
    network::Network,
    secret::Secret,
};
use url::Url;

use super::{
    SettingsError, asks_for_something,
    raw::{OneOrMany, RawConnections, RawHttp, RawPrometheus, RawTls},
};

/// HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where the listener is.
    pub listen: Place,
    /// What generated addresses begin with, whatever the request says.
    pub host: Option<Url>,
    /// What stands before `/v2/`, with slashes at both ends; `/` for nothing.
    pub prefix: String,
    /// Whether `Location` is a path alone.
    pub relative_urls: bool,
    /// How long running requests may take to end at a shutdown.
    pub drain: Duration,
    /// TLS, if the listener speaks it.
    pub tls: Option<Tls>,
    /// Set on every answer below `/v2/`.
    pub headers: Vec<(String, String)>,
    /// Where health is told without access control.
    pub debug: Option<String>,
    /// The path on the debug server where metrics are told, if they are.
    pub metrics: Option<String>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: bool,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Connections that may be open at once.
    pub connections: usize,
    /// Those of one address, unless it is a trusted proxy's.
    pub connections_each: usize,
    /// Seals what clients carry from one replica to another. Upload states lie in the database and need no seal.
    pub secret: Option<Secret<String>>,
}

/// More than a process has files for, and still a number that a semaphore counts to.
const MOST_CONNECTIONS: usize = 1 << 20;

/// Where the stock image listens.
const DEFAULT_ADDRESS: &str = ":5000";

impl HttpSettings {
    /// What a listener holds its clients to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            drain: self.drain,
            http2: self.http2,
            h2c: self.h2c,
            connections: self.connections,
            connections_each: self.connections_each,
            ..Limits::default()
        }
    }

    /// Whether an address is a trusted proxy's.
    pub fn trusted(&self) -> impl Fn(IpAddr) -> bool + Send + Sync + 'static {
        let proxies = self.trusted_proxies.clone();
        move |address| proxies.iter().any(|network| network.contains(address))
    }

    pub(super) fn read(raw: RawHttp, proxies: &[String], connections: &RawConnections) -> Result<Self, SettingsError> {
        Ok(Self {
            listen: listen(raw.net.as_deref(), raw.addr)?,
            host: raw.host.filter(|host| !host.is_empty()).map(|host| base_url("http.host", &host)).transpose()?,
            prefix: prefix(raw.prefix)?,
            relative_urls: raw.relativeurls.unwrap_or(false),
            drain: raw.draintimeout.map_or(Limits::default().drain, |drain| drain.0),
            tls: tls(raw.tls)?,
            headers: raw.headers.into_iter().flat_map(|(name, values)| values.with(&name)).collect(),
            metrics: metrics(raw.debug.prometheus)?,
            debug: raw.debug.addr.filter(|address| !address.is_empty()),
            h2c: raw.h2c.enabled.unwrap_or(false),
            http2: !raw.http2.disabled.unwrap_or(false),
            trusted_proxies: networks(proxies)?,
            connections: most("portreeve.connections.total", connections.total, DEFAULT_CONNECTIONS)?,
            connections_each: most(
                "portreeve.connections.peraddress",
                connections.peraddress,
                DEFAULT_CONNECTIONS_EACH,
            )?,
            secret: raw.secret.filter(|secret| !secret.expose().is_empty()),
        })
    }
}

impl OneOrMany {
    fn with(self, name: &str) -> Vec<(String, String)> {
        let values = match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        };
        values.into_iter().map(|value| (name.to_owned(), value)).collect()
    }
}

fn metrics(raw: RawPrometheus) -> Result<Option<String>, SettingsError> {
    if raw.enabled != Some(true) {
        return Ok(None);
    }
    let path = exposition::path(raw.path);
    path.map(Some).map_err(|error| SettingsError::new("http.debug.prometheus.path", error))
}

fn listen(net: Option<&str>, address: Option<String>) -> Result<Place, SettingsError> {
    let address = address.filter(|address| !address.is_empty());
    match net {
        None | Some("" | "tcp") => {
            let address = address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                return Err(SettingsError::new("http.addr", "must be host:port"));
            }
            Ok(Place::Tcp(address))
        }
        Some("unix") => address.map(|path| Place::Unix(path.into())).ok_or_else(|| SettingsError::missing("http.addr")),
        Some(_) => Err(SettingsError::new("http.net", "must be tcp or unix")),
    }
}

/// Scheme and host are needed; a path is kept, for proxies that add one.
pub(super) fn base_url(key: &str, text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|error| SettingsError::new(key, error))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(SettingsError::new(key, "must be an address like https://registry.example.com"))
    }
}

fn prefix(given: Option<String>) -> Result<String, SettingsError> {
    let prefix = given.filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| "/".to_owned());
    let segments_fit = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-~".contains(&b));
    if prefix.starts_with('/') && prefix.ends_with('/') && segments_fit && !prefix.contains("//") {
        Ok(prefix)
    } else {
        Err(SettingsError::new("http.prefix", "must begin and end with a slash, and hold nothing that needs escaping"))
    }
}

fn tls(raw: RawTls) -> Result<Option<Tls>, SettingsError> {
    let acme = raw.letsencrypt;
    let acme_parts = [&acme.email, &acme.hosts, &acme.directoryurl];
    if acme.cachefile.is_some_and(|cache| !cache.is_empty())
        || acme_parts.into_iter().any(|part| asks_for_something(part.as_ref()))
    {
        return Err(SettingsError::later("http.tls.letsencrypt", "certificates of an ACME authority"));
    }
    if raw.ciphersuites.is_some_and(|suites| !suites.is_empty()) {
        let reason = "cannot be chosen: only authenticated suites with forward secrecy are offered; take the key out";
        return Err(SettingsError::new("http.tls.ciphersuites", reason));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (certificate, key) = match (given(raw.certificate), given(raw.key)) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate.into(), key.into()),
        (Some(_), None) => return Err(SettingsError::missing("http.tls.key")),
        (None, Some(_)) => return Err(SettingsError::missing("http.tls.certificate")),
    };
    let minimum = match raw.minimumtls.as_deref() {
        None | Some("" | "tls1.2") => MinimumTls::V1_2,
        Some("tls1.3") => MinimumTls::V1_3,
        Some(_) => return Err(SettingsError::new("http.tls.minimumtls", "must be tls1.2 or tls1.3")),
    };
    let clients = client_certificates(raw.clientcas.unwrap_or_default(), raw.clientauth.as_deref())?;
    Ok(Some(Tls { certificate, key, clients, minimum }))
}

fn client_certificates(
    authorities: Vec<String>,
    mode: Option<&str>,
) -> Result<Option<ClientCertificates>, SettingsError> {
    let required = match mode {
        None | Some("" | "require-and-verify-client-cert") => true,
        Some("verify-client-cert-if-given") => false,
        Some("request-client-cert" | "require-any-client-cert") => {
            let reason = "a client certificate that is not verified proves nothing; \
                          use verify-client-cert-if-given or require-and-verify-client-cert";
            return Err(SettingsError::new("http.tls.clientauth", reason));
        }
        Some(_) => return Err(SettingsError::new("http.tls.clientauth", "is not known")),
    };
    let authorities: Vec<_> = authorities.into_iter().map(PathBuf::from).collect();
    Ok((!authorities.is_empty()).then_some(ClientCertificates { authorities, required }))
}

fn most(key: &str, given: Option<usize>, default: usize) -> Result<usize, SettingsError> {
    let most = given.unwrap_or(default);
    if (1..=MOST_CONNECTIONS).contains(&most) {
        Ok(most)
    } else {
        Err(SettingsError::new(key, format!("must be from 1 to {MOST_CONNECTIONS}")))
    }
}

/// Address ranges; a bare address is a range of one.
fn networks(texts: &[String]) -> Result<Vec<Network>, SettingsError> {
    let read = |text: &String| {
        let range = text.parse().or_else(|error| text.parse::<IpAddr>().map(Network::from).map_err(|_| error));
        range.map_err(|error| SettingsError::new("portreeve.trustedproxies", error.to_string()))
    };
    texts.iter().map(read).collect()
}
