//! The registry's settings: Distribution's tree, complete and valid, or the process does not start.
//!
//! [`RawSettings`] is what the file says, [`Settings`] what it means. Keys of Distribution that change nothing here
//! (a lock file's, a cache's) are accepted; keys of features that come with later versions stop the start, because
//! a registry that silently has no notifications is worse than one that does not start.

mod access;
mod duration;
mod health;
mod http;
mod log;
mod portreeve;
mod raw;
mod storage;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use shared::settings::Unknown;

pub use self::{
    access::{AccessSettings, CompanionSettings, JwksPlace, TokenSettings},
    duration::{GoDuration, NotADuration},
    health::{FileCheck, Health, HttpCheck, StorageCheck, TcpCheck},
    http::HttpSettings,
    log::LogSettings,
    portreeve::{DEFAULT_MANIFEST_LIMIT, DatabaseSettings, Lives, References},
    raw::RawSettings,
    storage::{Deletes, StorageSettings, Writes},
};

/// Everything a registry needs to know before it starts.
#[derive(Debug)]
pub struct Settings {
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where bytes lie and what may be done with them.
    pub storage: StorageSettings,
    /// Where the facts about them lie.
    pub database: DatabaseSettings,
    /// How requests come in.
    pub http: HttpSettings,
    /// Who may do what.
    pub access: AccessSettings,
    /// The auth service that this registry knows.
    pub companion: Option<CompanionSettings>,
    /// The longest page of the catalog.
    pub catalog_entries: u64,
    /// The longest page of tags.
    pub tag_entries: u64,
    /// What a manifest must find in its repository.
    pub references: References,
    /// The largest manifest, in bytes.
    pub manifest_limit: u64,
    /// How long things live that nothing refers to.
    pub lives: Lives,
    /// How long after the beginning of a run of lifecycle rules the next one begins; None leaves it to people.
    pub rules_every: Option<Duration>,
    /// What must hold for the registry to be healthy.
    pub health: Health,
}

/// The longest page of a list where the file does not say otherwise.
pub const DEFAULT_PAGE: u64 = 1000;

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SettingsError {
    /// Its place in the tree.
    pub key: String,
    /// What is wrong, as a sentence.
    pub reason: String,
}

impl SettingsError {
    fn new(key: &str, reason: impl fmt::Display) -> Self {
        Self { key: key.to_owned(), reason: reason.to_string() }
    }

    fn later(key: &str, what: &str) -> Self {
        Self::new(key, format_args!("{what} come with a later version of Portreeve; take the key out to start without"))
    }

    fn missing(key: &str) -> Self {
        Self::new(key, "is required here")
    }
}

impl TryFrom<RawSettings> for Settings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, SettingsError> {
        refuse_later(&raw)?;
        // Version 2 had these; they have meant nothing since, here as at Distribution 3.
        let _ = (raw.compatibility, raw.reporting);
        let storage = StorageSettings::try_from(raw.storage)?;
        let portreeve = raw.portreeve;
        let companion = portreeve.companion.map(CompanionSettings::try_from).transpose()?;
        Ok(Self {
            log: LogSettings::read(raw.log, raw.loglevel)?,
            database: DatabaseSettings::read(portreeve.database, &storage.root)?,
            storage,
            http: HttpSettings::read(
                raw.http,
                portreeve.trustedproxies.as_deref().unwrap_or_default(),
                &portreeve.connections,
            )?,
            access: AccessSettings::try_from(raw.auth)?,
            companion,
            catalog_entries: positive_or(raw.catalog.maxentries, DEFAULT_PAGE),
            tag_entries: tag_entries(raw.tags.maxtags)?,
            references: References::read(portreeve.references.as_deref(), &raw.validation)?,
            manifest_limit: portreeve::manifest_limit(portreeve.manifestlimit)?,
            lives: Lives::read(portreeve.undelete, portreeve.grace, portreeve.trash, portreeve.collect)?,
            rules_every: portreeve::rules_every(portreeve.lifecycle.every)?,
            health: Health::try_from(raw.health)?,
        })
    }
}

/// A way of access that nobody knows would leave the registry open to everybody.
///
/// # Errors
/// The settings ask for one.
pub fn refuse_unknown_access(unknown: &[Unknown]) -> Result<(), SettingsError> {
    let mut ways = unknown.iter().filter_map(|unknown| unknown.key.strip_prefix("auth."));
    match ways.find(|way| !way.contains(['.', '['])) {
        Some(way) => {
            Err(SettingsError::new(&format!("auth.{way}"), "is no way of access; use token, htpasswd or none"))
        }
        None => Ok(()),
    }
}

fn refuse_later(raw: &RawSettings) -> Result<(), SettingsError> {
    let later = [
        ("middleware", &raw.middleware, "middlewares"),
        ("notifications", &raw.notifications, "notifications"),
        ("redis", &raw.redis, "shared caches"),
        ("proxy", &raw.proxy, "pull-through caches"),
        ("policy", &raw.policy, "policies on artifact classes"),
        ("log.hooks", &raw.log.hooks, "log hooks"),
    ];
    match later.into_iter().find(|(_, value, _)| asks_for_something(value.as_ref())) {
        Some((key, _, what)) => Err(SettingsError::later(key, what)),
        None => Ok(()),
    }
}

/// An empty section asks for nothing: Distribution's own example files have some.
fn asks_for_something(value: Option<&serde_json::Value>) -> bool {
    match value {
        None | Some(serde_json::Value::Null) => false,
        Some(serde_json::Value::Object(members)) => members.values().any(|member| asks_for_something(Some(member))),
        Some(serde_json::Value::Array(entries)) => !entries.is_empty(),
        Some(_) => true,
    }
}

/// Distribution takes its default for zero and below.
fn positive_or(given: Option<i64>, default: u64) -> u64 {
    given.and_then(|given| u64::try_from(given).ok()).filter(|given| *given > 0).unwrap_or(default)
}

fn tag_entries(given: Option<i64>) -> Result<u64, SettingsError> {
    match given {
        Some(given) if given < 0 => Err(SettingsError::new("tags.maxtags", "must not be negative")),
        given => Ok(positive_or(given, DEFAULT_PAGE)),
    }
}
