//! Auth's settings: complete and valid, or the process does not start. Unknown keys are errors: a misspelled setting of the service that
//! decides who may do what must not be taken for none.

mod ldap;
mod raw;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use shared::{
    database::{Location, Schema},
    exposition,
    listen::{MinimumTls, Place, Tls},
    secret::Secret,
    settings::{self, Source},
    telemetry,
};

use crate::{
    accounts::{names::Label, networks::Networks},
    identity::ldap::config::Config,
    issuer::{DEFAULT_LIFE, MAX_LIFE, MIN_LIFE},
    permissions::Catalog,
    pki::TokenKey,
    sealing::{LEAST_KEPT, Retention},
};
pub use ldap::to_be_added;
use raw::RawRegistry;
pub use raw::{
    RawAudit, RawDatabase, RawDebug, RawHttp, RawLog, RawPrometheus, RawService, RawSettings, RawTls, RawToken,
};

/// What variables that overlay the settings begin with.
pub const PREFIX: &str = "PORTREEVE_AUTH";
/// What the server calls itself, and the registry that it knows, where the settings say nothing.
pub const DEFAULT_NAME: &str = "portreeve";
/// Where auth listens alone.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:5001";
/// Where it keeps its data alone.
pub const DEFAULT_DATA: &str = "./data";
/// Sections that a registry's configuration has and auth's own file has not.
const REGISTRYS: [&str; 3] = ["storage", "auth", "portreeve"];
const REGISTRYS_PREFIX: &str = "REGISTRY";
/// The data directory of a registry whose `storage` does not name one, as at the stock registries.
const REGISTRYS_DATA: &str = "/var/lib/registry";
const VERSION: &str = "0.1";
const DEFAULT_SCHEMA: &str = "portreeve_auth";
/// The longest `iss`, in bytes.
const MAX_ISSUER_BYTES: usize = 255;

/// What the service needs to know, whoever runs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where accounts lie; None: in a file of the data directory.
    pub database: Option<(Secret<String>, Schema)>,
    /// `iss` of tokens.
    pub issuer: String,
    /// How long tokens live, where their registry has no setting of its own.
    pub token_life: Duration,
    /// Which key signs tokens.
    pub token_key: TokenKey,
    /// Where to write a copy of the bundle that others can read, besides `keys/bundle.pem`.
    pub bundle: Option<PathBuf>,
    /// The registries that tokens are made for from the start.
    pub services: Vec<(Label, Catalog)>,
    /// A file of accounts.
    pub htpasswd: Option<PathBuf>,
    /// Directories.
    pub ldap: Vec<Config>,
    /// Proxies that are believed about where requests come from.
    pub trusted_proxies: Option<Networks>,
    /// How long events of the audit are kept.
    pub retention: Retention,
}

/// What a process needs to know that runs this service alone.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// The service's own.
    pub auth: Settings,
    /// The data directory.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: Place,
    /// With what certificate.
    pub tls: Option<Tls>,
    /// Where health and metrics are told; None: nowhere but on the listener, and health alone.
    pub debug: Option<Debug>,
    /// Passwords may be read on the way: somebody asked for it by name.
    pub insecure: bool,
    /// What is logged.
    pub level: telemetry::Level,
    /// And how.
    pub format: telemetry::Format,
}

/// A listener for those who watch. It does not ask who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debug {
    /// Where.
    pub listen: Place,
    /// The path of metrics, if they are told.
    pub metrics: Option<String>,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error(transparent)]
    Unread(#[from] settings::SettingsError),
    /// Nothing reads it.
    #[error("{0}")]
    Unknown(String),
    /// It makes no sense.
    #[error("{key}: {reason}")]
    Invalid {
        /// Its place in the tree.
        key: &'static str,
        /// What is wrong, as a sentence.
        reason: String,
    },
    /// It makes no sense, and this is where it stands.
    #[error("{}: {error}", file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// Which, and why.
        error: Box<Self>,
    },
}

impl SettingsError {
    /// Names the file, where the error does not do so by itself.
    fn of(self, file: Option<&Path>) -> Self {
        match (self, file) {
            (error @ Self::Invalid { .. }, Some(file)) => {
                Self::InFile { file: file.to_owned(), error: Box::new(error) }
            }
            (error, _) => error,
        }
    }

    fn invalid(key: &'static str, reason: impl fmt::Display) -> Self {
        Self::Invalid { key, reason: reason.to_string() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: None,
            issuer: DEFAULT_NAME.to_owned(),
            token_life: DEFAULT_LIFE,
            token_key: TokenKey::Own,
            bundle: None,
            services: DEFAULT_NAME.parse().map(|name| (name, Catalog::Filtered)).into_iter().collect(),
            htpasswd: None,
            ldap: Vec::new(),
            trusted_proxies: None,
            retention: Retention::default(),
        }
    }
}

impl Settings {
    /// Where accounts lie.
    #[must_use]
    pub fn location(&self, data: &Path) -> Location {
        match &self.database {
            Some((url, schema)) => {
                Location::Postgres { url: Secret::new(url.expose().clone()), schema: schema.clone() }
            }
            None => Location::Sqlite { path: data.join("auth.db") },
        }
    }

    /// True if auth was ever started over the data directory: its keys are there.
    #[must_use]
    pub fn have_begun(data: &Path) -> bool {
        data.join("keys/master").exists()
    }

    /// True if the data directory has been used, but not with these settings: it has keys, and no accounts where they say accounts lie. A
    /// command would otherwise begin new ones there.
    #[must_use]
    pub fn are_elsewhere(&self, data: &Path) -> bool {
        match self.location(data) {
            Location::Sqlite { path } => Self::have_begun(data) && !path.exists(),
            Location::Postgres { .. } => false,
        }
    }

    /// The service's settings where both services run as one: what belongs to the process is the registry's to say.
    ///
    /// # Errors
    /// A setting makes no sense, or belongs elsewhere.
    pub fn together(raw: RawSettings) -> Result<Self, SettingsError> {
        let elsewhere = [
            ("data", raw.data.is_some(), "storage.filesystem.rootdirectory"),
            ("http", raw.http.is_some(), "http"),
            ("log", raw.log.is_some(), "log"),
        ];
        if let Some((key, _, there)) = elsewhere.into_iter().find(|(_, present, _)| *present) {
            return Err(SettingsError::invalid(key, format_args!("one process has one: set {there} of the registry")));
        }
        Self::read(raw)
    }

    fn read(raw: RawSettings) -> Result<Self, SettingsError> {
        let defaults = Self::default();
        let services = match raw.services {
            Some(services) => services.into_iter().map(service).collect::<Result<_, _>>()?,
            None => defaults.services,
        };
        let trusted = raw.trustedproxies;
        let trusted = if trusted.is_empty() { None } else { Some(Networks::try_from(trusted)) };
        Ok(Self {
            database: database(raw.database)?,
            issuer: raw.token.issuer.map_or(Ok(defaults.issuer), issuer)?,
            token_life: raw.token.expiration.map_or(Ok(defaults.token_life), token_life)?,
            token_key: raw.token.key.map_or(TokenKey::Own, |path| TokenKey::Brought(path.into())),
            bundle: raw.token.bundle.map(PathBuf::from),
            services,
            htpasswd: raw.htpasswd.map(PathBuf::from),
            ldap: ldap::directories(raw.ldap)?,
            trusted_proxies: trusted.transpose().map_err(|error| SettingsError::invalid("trustedproxies", error))?,
            retention: Retention {
                changes: raw.audit.changes.map(|days| kept("audit.changes", days)).transpose()?,
                tokens: raw
                    .audit
                    .tokens
                    .map_or(Ok(defaults.retention.tokens), |days| kept("audit.tokens", days).map(Some))?,
            },
        })
    }
}

impl ProcessSettings {
    /// Reads auth's own file, overlaid by `PORTREEVE_AUTH_*`.
    ///
    /// # Errors
    /// [`SettingsError`], naming file, key and reason.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let source = file.map_or_else(|| Ok(Source::empty()), Source::file)?;
        let source = source.version(VERSION)?.overlay(PREFIX, environment);
        Self::from_source(source).map_err(|error| error.of(file))
    }

    /// Reads what commands need, from auth's own file or from the registry's configuration that `up` runs both services with: whose
    /// accounts, and in which data directory.
    ///
    /// # Errors
    /// [`SettingsError`], naming file, key and reason.
    pub fn for_commands(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let source = file.map_or_else(|| Ok(Source::empty()), Source::file)?.version(VERSION)?;
        let environment: Vec<_> = environment.into_iter().collect();
        let read = if REGISTRYS.iter().any(|section| source.has(section)) {
            Self::beside_a_registry(source, &environment)
        } else {
            Self::from_source(source.overlay(PREFIX, environment))
        };
        read.map_err(|error| error.of(file))
    }

    fn beside_a_registry(source: Source, environment: &[(String, String)]) -> Result<Self, SettingsError> {
        let unsaid = if source.has("storage") { REGISTRYS_DATA } else { DEFAULT_DATA };
        let registry = source.clone().overlay(REGISTRYS_PREFIX, environment.iter().cloned()).read::<RawRegistry>()?;
        let data = registry.value.storage.filesystem.rootdirectory.unwrap_or_else(|| unsaid.to_owned());
        let ours = source.section(&["portreeve", "auth"]).overlay(PREFIX, environment.iter().cloned());
        let auth = Settings::together(known(ours)?)?;
        Ok(Self { data: data.into(), auth, ..Self::read(RawSettings::default())? })
    }

    /// Takes what the command line says in place of what the settings say.
    pub fn listen_on(&mut self, address: Option<String>, insecure: bool) {
        if let Some(address) = address {
            self.listen = Place::Tcp(address);
        }
        self.insecure |= insecure;
    }

    fn from_source(source: Source) -> Result<Self, SettingsError> {
        Self::read(known(source)?)
    }

    fn read(mut raw: RawSettings) -> Result<Self, SettingsError> {
        let http = raw.http.take().unwrap_or_default();
        let log = raw.log.take().unwrap_or_default();
        let data = raw.data.take().unwrap_or_else(|| DEFAULT_DATA.to_owned());
        Ok(Self {
            data: data.into(),
            listen: Place::Tcp(http.addr.unwrap_or_else(|| DEFAULT_LISTEN.to_owned())),
            tls: http.tls.map(tls).transpose()?,
            debug: debug(http.debug)?,
            insecure: http.insecure,
            level: log.level.map_or(Ok(telemetry::Level::default()), |level| {
                level.parse().map_err(|error| SettingsError::invalid("log.level", error))
            })?,
            format: match log.formatter.as_deref() {
                None | Some("text") => telemetry::Format::Text,
                Some("json") => telemetry::Format::Json,
                Some(_) => return Err(SettingsError::invalid("log.formatter", "text or json")),
            },
            auth: Settings::read(raw)?,
        })
    }
}

fn known<T: DeserializeOwned>(source: Source) -> Result<T, SettingsError> {
    let read = source.read::<T>()?;
    if let Some(unknown) = read.unknown.iter().find(|unknown| unknown.is_in_file()) {
        return Err(SettingsError::Unknown(unknown.to_string()));
    }
    // A platform makes variables of its own for a service called portreeve-auth: they are named, and stop nothing.
    for unknown in &read.unknown {
        tracing::warn!("{unknown}");
    }
    Ok(read.value)
}

fn database(raw: RawDatabase) -> Result<Option<(Secret<String>, Schema)>, SettingsError> {
    let schema = raw.schema.as_deref().unwrap_or(DEFAULT_SCHEMA).parse();
    let schema = schema.map_err(|error| SettingsError::invalid("database.schema", error))?;
    match raw.url {
        None => Ok(None),
        Some(url) if url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://") => {
            Ok(Some((url, schema)))
        }
        // The rest of it may be a password.
        Some(_) => Err(SettingsError::invalid("database.url", "begins with postgres://")),
    }
}

fn issuer(name: String) -> Result<String, SettingsError> {
    if name.is_empty() || name.len() > MAX_ISSUER_BYTES || name.contains(char::is_control) {
        return Err(SettingsError::invalid("token.issuer", format_args!("1 to {MAX_ISSUER_BYTES} bytes")));
    }
    Ok(name)
}

fn token_life(seconds: u64) -> Result<Duration, SettingsError> {
    let life = Duration::from_secs(seconds);
    if (MIN_LIFE..=MAX_LIFE).contains(&life) {
        return Ok(life);
    }
    let (least, most) = (MIN_LIFE.as_secs(), MAX_LIFE.as_secs());
    Err(SettingsError::invalid("token.expiration", format_args!("{least} to {most} seconds")))
}

/// Days that events are kept.
fn kept(key: &'static str, days: u32) -> Result<Duration, SettingsError> {
    let kept = Duration::from_secs(u64::from(days) * 24 * 3600);
    if kept >= LEAST_KEPT {
        return Ok(kept);
    }
    Err(SettingsError::invalid(key, format_args!("{} days at least", LEAST_KEPT.as_secs() / (24 * 3600))))
}

fn service(raw: RawService) -> Result<(Label, Catalog), SettingsError> {
    let name = raw.name.parse().map_err(|error| SettingsError::invalid("services.name", error))?;
    let catalog = raw.catalog.map_or(Ok(Catalog::default()), |catalog| catalog.parse());
    Ok((name, catalog.map_err(|error| SettingsError::invalid("services.catalog", error))?))
}

fn debug(raw: RawDebug) -> Result<Option<Debug>, SettingsError> {
    let RawDebug { addr, prometheus: RawPrometheus { enabled, path } } = raw;
    let metrics = enabled.then(|| exposition::path(path)).transpose();
    let metrics = metrics.map_err(|error| SettingsError::invalid("http.debug.prometheus.path", error))?;
    let addr = addr.filter(|addr| !addr.is_empty());
    Ok(addr.map(|addr| Debug { listen: Place::Tcp(addr), metrics }))
}

fn tls(raw: RawTls) -> Result<Tls, SettingsError> {
    let both = "a certificate and its key come together";
    let certificate = raw.certificate.ok_or_else(|| SettingsError::invalid("http.tls.certificate", both))?;
    let key = raw.key.ok_or_else(|| SettingsError::invalid("http.tls.key", both))?;
    Ok(Tls { certificate: certificate.into(), key: key.into(), clients: None, minimum: MinimumTls::default() })
}
