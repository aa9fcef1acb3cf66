//! `portreeve`: what the stock registries do not have.

use std::{path::Path, time::Duration};

use shared::secret::Secret;

use super::{
    GoDuration, SettingsError,
    raw::{RawDatabase, RawValidation},
};
use crate::{content, gc};

/// The largest manifest where the file does not say otherwise: twice what the specification asks for.
pub const DEFAULT_MANIFEST_LIMIT: u64 = 8 << 20;

/// The specification's own bound: smaller limits would refuse what clients may send.
const LEAST_MANIFEST_LIMIT: u64 = 4 << 20;

/// Manifests are held in memory whole, so there is an upper bound.
const MOST_MANIFEST_LIMIT: u64 = 64 << 20;

/// A hundred years are as good as for ever, and still fit into microseconds.
pub(super) const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// A collector that never rests would look for garbage all day.
const SHORTEST_REST: Duration = Duration::from_millis(100);

/// How often lifecycle rules are run where the file says nothing.
const RULES_EVERY: Duration = Duration::from_secs(60 * 60);

/// More often would be all the time.
const RULES_SHORTEST_REST: Duration = Duration::from_secs(1);

/// What a manifest must find in its repository when it is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// Nothing.
    Lenient,
    /// An image its config and layers; an index may name absent children.
    Normal,
    /// Everything that it names.
    Strict,
}

/// Where the facts lie.
#[derive(Debug)]
pub enum DatabaseSettings {
    /// In a file of the data directory.
    Sqlite {
        /// Which.
        path: std::path::PathBuf,
    },
    /// On a server.
    Postgres {
        /// With user and password.
        url: Secret<String>,
        /// The registry's own.
        schema: String,
    },
}

/// How long things live that nothing refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// How long a deleted manifest can be brought back. Nothing where the file says nothing: whoever comes with a
    /// Distribution configuration expects DELETE to delete.
    pub undelete: Duration,
    /// How long an untagged manifest stays at least.
    pub grace: Duration,
    /// How long bytes wait in the trash.
    pub trash: Duration,
    /// How long the collector rests between two sweeps.
    pub collect: Duration,
}

impl References {
    pub(super) fn read(given: Option<&str>, validation: &RawValidation) -> Result<Self, SettingsError> {
        let RawValidation { enabled, disabled, manifests } = validation;
        if manifests.urls.allow.is_some() || manifests.urls.deny.is_some() {
            return Err(SettingsError::later("validation.manifests.urls", "rules about the addresses of layers"));
        }
        let platforms = manifests.indexes.platforms.as_deref().unwrap_or("all").to_ascii_lowercase();
        if platforms == "list" || manifests.indexes.platformlist.is_some() {
            return Err(SettingsError::later("validation.manifests.indexes", "rules about single platforms"));
        }
        match given {
            Some("lenient") => return Ok(Self::Lenient),
            Some("normal") => return Ok(Self::Normal),
            Some("strict") => return Ok(Self::Strict),
            Some(_) => return Err(SettingsError::new("portreeve.references", "must be lenient, normal or strict")),
            None => {}
        }
        let off = *disabled == Some(true) && *enabled != Some(true);
        match platforms.as_str() {
            // Stock registries still ask for config and layers then, and so do we.
            "all" | "none" if off => Ok(Self::Normal),
            // With `all`, Distribution refuses an index whose children are absent. Only a file that asks for it by
            // name gets that: sparse indexes are the specification's rule.
            "all" if manifests.indexes.platforms.is_some() => Ok(Self::Strict),
            "all" | "none" => Ok(Self::Normal),
            _ => Err(SettingsError::new("validation.manifests.indexes.platforms", "must be all, none or list")),
        }
    }
}

pub(super) fn manifest_limit(given: Option<u64>) -> Result<u64, SettingsError> {
    let limit = given.unwrap_or(DEFAULT_MANIFEST_LIMIT);
    if (LEAST_MANIFEST_LIMIT..=MOST_MANIFEST_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        let reason = format!("must be from {LEAST_MANIFEST_LIMIT} to {MOST_MANIFEST_LIMIT} bytes");
        Err(SettingsError::new("portreeve.manifestlimit", reason))
    }
}

/// How long after the beginning of a run of lifecycle rules the next one begins; None leaves it to people.
pub(super) fn rules_every(given: Option<GoDuration>) -> Result<Option<Duration>, SettingsError> {
    match given.map_or(RULES_EVERY, |given| given.0) {
        Duration::ZERO => Ok(None),
        every if (RULES_SHORTEST_REST..=FOR_EVER).contains(&every) => Ok(Some(every)),
        _ => Err(SettingsError::new("portreeve.lifecycle.every", "must be 0 for never, or from 1s to a hundred years")),
    }
}

impl DatabaseSettings {
    pub(super) fn read(raw: RawDatabase, root: &Path) -> Result<Self, SettingsError> {
        let Some(url) = raw.url.filter(|url| !url.expose().is_empty()) else {
            return Ok(Self::Sqlite { path: root.join("registry.db") });
        };
        // The text is a secret: it is never repeated in an error.
        if !url.expose().starts_with("postgres://") && !url.expose().starts_with("postgresql://") {
            return Err(SettingsError::new("portreeve.database.url", "must begin with postgres://"));
        }
        let schema = raw.schema.filter(|schema| !schema.is_empty()).unwrap_or_else(|| "registry".to_owned());
        Ok(Self::Postgres { url, schema })
    }

    /// The file that the facts lie in, unless a server has them.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path } => Some(path),
            Self::Postgres { .. } => None,
        }
    }
}

impl Lives {
    pub(super) fn read(
        undelete: Option<GoDuration>,
        grace: Option<GoDuration>,
        trash: Option<GoDuration>,
        collect: Option<GoDuration>,
    ) -> Result<Self, SettingsError> {
        let or = |given: Option<GoDuration>, default: Duration| given.map_or(default, |given| given.0);
        let lives = Self {
            undelete: or(undelete, Duration::ZERO),
            grace: or(grace, content::Lives::default().grace),
            trash: or(trash, gc::Settings::default().trash_wait),
            collect: or(collect, gc::Settings::default().interval),
        };
        if [lives.undelete, lives.grace, lives.trash, lives.collect].into_iter().any(|life| life > FOR_EVER) {
            return Err(SettingsError::new(
                "portreeve",
                "undelete, grace, trash and collect are a hundred years at most",
            ));
        }
        if lives.collect < SHORTEST_REST {
            return Err(SettingsError::new("portreeve.collect", "must be at least 100ms"));
        }
        Ok(lives)
    }
}
