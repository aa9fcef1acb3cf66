//! What auth's settings say, before it is known whether they make sense.

use serde::Deserialize;
use shared::secret::Secret;

use crate::identity::ldap::written::RawLdap;

/// The tree: auth's own file, or what stands under `portreeve.auth` where both services run as one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawSettings {
    /// The data directory; with one process for both services it is the registry's.
    pub data: Option<String>,
    /// How requests come in; with one process for both services it is the registry's.
    pub http: Option<RawHttp>,
    /// What is logged; with one process for both services it is the registry's.
    pub log: Option<RawLog>,
    /// Where accounts lie.
    pub database: RawDatabase,
    /// What tokens look like.
    pub token: RawToken,
    /// The registries that tokens are made for.
    pub services: Option<Vec<RawService>>,
    /// A file of accounts.
    pub htpasswd: Option<String>,
    /// Directories.
    pub ldap: Vec<RawLdap>,
    /// Networks of proxies that are believed about where requests come from.
    pub trustedproxies: Vec<String>,
    /// How long the audit is kept.
    pub audit: RawAudit,
}

/// What commands read of a registry's configuration: where the data directory is. The rest is the registry's business.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawRegistry {
    pub(super) storage: RawStorage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawStorage {
    pub(super) filesystem: RawFilesystem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawFilesystem {
    pub(super) rootdirectory: Option<String>,
}

/// How requests come in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawHttp {
    /// `host:port`.
    pub addr: Option<String>,
    /// A certificate and its key.
    pub tls: Option<RawTls>,
    /// Without TLS beyond loopback, by name.
    pub insecure: bool,
    /// Where health and metrics are told without asking who reads them.
    pub debug: RawDebug,
}

/// A listener for those who watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawDebug {
    /// `host:port`.
    pub addr: Option<String>,
    /// Whether metrics are told there.
    pub prometheus: RawPrometheus,
}

/// Metrics.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawPrometheus {
    /// Whether they are told.
    pub enabled: bool,
    /// And where, `/metrics` if nothing is said.
    pub path: Option<String>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawTls {
    /// The chain, PEM.
    pub certificate: Option<String>,
    /// The private key, PEM.
    pub key: Option<String>,
}

/// What is logged.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug`.
    pub level: Option<String>,
    /// `text` or `json`.
    pub formatter: Option<String>,
}

/// Where accounts lie.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawDatabase {
    /// `postgres://…`; without it a file in the data directory.
    pub url: Option<Secret<String>>,
    /// The schema there.
    pub schema: Option<String>,
}

/// What tokens look like.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawToken {
    /// `iss`.
    pub issuer: Option<String>,
    /// Seconds that a token lives.
    pub expiration: Option<u64>,
    /// An RSA key in PKCS #8 that signs instead of the server's own.
    pub key: Option<String>,
    /// Where a copy of the bundle is written at start.
    pub bundle: Option<String>,
}

/// How long the audit is kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawAudit {
    /// Days that events of changes are kept; without it for good.
    pub changes: Option<u32>,
    /// Days that events of tokens and failed logins are kept.
    pub tokens: Option<u32>,
}

/// A registry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawService {
    /// What it calls itself.
    pub name: String,
    /// `filtered` or `admins`.
    pub catalog: Option<String>,
}
