//! `health`: what must hold for requests to be served.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::{
    GoDuration, SettingsError,
    raw::{OneOrMany, RawFileCheck, RawHealth, RawHttpCheck, RawStorageCheck, RawTcpCheck},
};

/// How often a check runs where the file does not say otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Checks that run now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The data directory can be reached.
    pub storage: Option<StorageCheck>,
    /// A file does not exist: operators create it to take a registry out.
    pub files: Vec<FileCheck>,
    /// An address answers.
    pub http: Vec<HttpCheck>,
    /// A port answers.
    pub tcp: Vec<TcpCheck>,
}

/// When a check runs and how often it may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageCheck {
    /// Between two runs.
    pub interval: Duration,
    /// Failures in a row before it counts; one at least.
    pub threshold: u32,
}

/// Unhealthy while the file exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    /// Which.
    pub path: PathBuf,
    /// Between two runs.
    pub interval: Duration,
}

/// Unhealthy while HEAD does not answer as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Whom to ask.
    pub url: Url,
    /// What it must answer.
    pub status: u16,
    /// For how long to wait.
    pub timeout: Duration,
    /// When, and how often it may fail.
    pub when: StorageCheck,
}

/// Unhealthy while nobody accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpCheck {
    /// Host and port.
    pub address: String,
    /// For how long to wait.
    pub timeout: Duration,
    /// When, and how often it may fail.
    pub when: StorageCheck,
}

impl StorageCheck {
    fn new(interval: Option<GoDuration>, threshold: Option<u32>) -> Self {
        Self { interval: period(interval), threshold: threshold.unwrap_or(1).max(1) }
    }
}

fn period(given: Option<GoDuration>) -> Duration {
    given.map(|given| given.0).filter(|given| !given.is_zero()).unwrap_or(DEFAULT_INTERVAL)
}

impl TryFrom<RawHealth> for Health {
    type Error = SettingsError;

    fn try_from(raw: RawHealth) -> Result<Self, SettingsError> {
        let RawStorageCheck { enabled, interval, threshold } = raw.storagedriver;
        Ok(Self {
            storage: (enabled == Some(true)).then(|| StorageCheck::new(interval, threshold)),
            files: raw.file.into_iter().map(FileCheck::try_from).collect::<Result<_, _>>()?,
            http: raw.http.into_iter().map(HttpCheck::try_from).collect::<Result<_, _>>()?,
            tcp: raw.tcp.into_iter().map(TcpCheck::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<RawFileCheck> for FileCheck {
    type Error = SettingsError;

    fn try_from(raw: RawFileCheck) -> Result<Self, SettingsError> {
        // A file is there or is not: stock registries ignore the threshold, too.
        let _ = raw.threshold;
        let path = raw.file.ok_or_else(|| SettingsError::missing("health.file.file"))?.into();
        Ok(Self { path, interval: period(raw.interval) })
    }
}

impl TryFrom<RawHttpCheck> for HttpCheck {
    type Error = SettingsError;

    fn try_from(raw: RawHttpCheck) -> Result<Self, SettingsError> {
        let key = "health.http.uri";
        let has_headers =
            raw.headers.values().any(|values| !matches!(values, OneOrMany::Many(values) if values.is_empty()));
        if has_headers {
            return Err(SettingsError::later("health.http.headers", "headers of health checks"));
        }
        let url = raw.uri.ok_or_else(|| SettingsError::missing(key))?;
        let url = Url::parse(&url).map_err(|error| SettingsError::new(key, error))?;
        Ok(Self {
            url,
            status: raw.statuscode.unwrap_or(200),
            timeout: period(raw.timeout),
            when: StorageCheck::new(raw.interval, raw.threshold),
        })
    }
}

impl TryFrom<RawTcpCheck> for TcpCheck {
    type Error = SettingsError;

    fn try_from(raw: RawTcpCheck) -> Result<Self, SettingsError> {
        let address = raw.addr.ok_or_else(|| SettingsError::missing("health.tcp.addr"))?;
        Ok(Self { address, timeout: period(raw.timeout), when: StorageCheck::new(raw.interval, raw.threshold) })
    }
}
