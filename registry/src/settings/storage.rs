//! `storage`: where bytes lie, and whether they may change.

use std::{path::PathBuf, time::Duration};

use super::{
    SettingsError,
    portreeve::FOR_EVER,
    raw::{RawCache, RawPurging, RawStorage},
};
use crate::content;

/// Where Distribution keeps its files when nothing else is said.
const DEFAULT_ROOT: &str = "/var/lib/registry";

/// Whether DELETE does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Blobs, manifests and tags can be deleted.
    Enabled,
    /// They cannot: 405. Distribution's default.
    Disabled,
}

/// Whether anything can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// As access allows.
    Allowed,
    /// Every change is 405 (`storage.maintenance.readonly`).
    Refused,
}

/// Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// The data directory.
    pub root: PathBuf,
    /// Whether DELETE does something.
    pub deletes: Deletes,
    /// Whether anything can be changed.
    pub writes: Writes,
    /// How long an upload may wait for its next request.
    pub upload_life: Duration,
}

impl TryFrom<RawStorage> for StorageSettings {
    type Error = SettingsError;

    fn try_from(raw: RawStorage) -> Result<Self, SettingsError> {
        let object_stores = [
            ("storage.s3", &raw.s3),
            ("storage.s3aws", &raw.s3aws),
            ("storage.azure", &raw.azure),
            ("storage.gcs", &raw.gcs),
            ("storage.swift", &raw.swift),
            ("storage.oss", &raw.oss),
        ];
        if let Some((key, _)) = object_stores.into_iter().find(|(_, value)| value.0.is_some()) {
            return Err(SettingsError::later(key, "object stores"));
        }
        if raw.inmemory.0.is_some() {
            let reason = "there is no store in memory; use a filesystem in a temporary directory";
            return Err(SettingsError::new("storage.inmemory", reason));
        }
        check_cache(&raw.cache)?;
        let filesystem = raw.filesystem.0.ok_or_else(|| {
            SettingsError::new("storage", "no storage configuration provided; a filesystem is the one there is")
        })?;
        // On a filesystem there is nothing to redirect to, and no lookup of tags to bound;
        // maxthreads bounds Distribution's goroutines; ours are bounded by memory instead.
        let _ = (raw.redirect, raw.tag, filesystem.maxthreads);
        let root = PathBuf::from(filesystem.rootdirectory.unwrap_or_else(|| DEFAULT_ROOT.to_owned()));
        if root.as_os_str().is_empty() {
            return Err(SettingsError::new("storage.filesystem.rootdirectory", "must not be empty"));
        }
        let on = |switch: Option<bool>| switch.unwrap_or(false);
        Ok(Self {
            root,
            deletes: if on(raw.delete.enabled) { Deletes::Enabled } else { Deletes::Disabled },
            writes: if on(raw.maintenance.readonly.enabled) { Writes::Refused } else { Writes::Allowed },
            upload_life: upload_life(&raw.maintenance.uploadpurging)?,
        })
    }
}

/// The memory of a process is no cache to configure: a blob's facts are remembered in any case.
fn check_cache(raw: &RawCache) -> Result<(), SettingsError> {
    let given = raw.blobdescriptor.as_deref().or(raw.layerinfo.as_deref());
    let _ = raw.blobdescriptorsize;
    if given == Some("redis") {
        return Err(SettingsError::later("storage.cache.blobdescriptor", "shared caches"));
    }
    Ok(())
}

fn upload_life(raw: &RawPurging) -> Result<Duration, SettingsError> {
    let key = "storage.maintenance.uploadpurging";
    if raw.dryrun == Some(true) {
        return Err(SettingsError::new(key, "a dry run purges nothing; say `enabled: false` to keep every upload"));
    }
    // Ours are looked through all the time, so the interval means nothing.
    let _ = raw.interval;
    if raw.enabled == Some(false) {
        return Ok(FOR_EVER);
    }
    let life = raw.age.map_or(content::Lives::default().upload, |age| age.0);
    if life.is_zero() {
        Err(SettingsError::new(key, "age must be more than nothing"))
    } else if life > FOR_EVER {
        Err(SettingsError::new(key, "age is a hundred years at most"))
    } else {
        Ok(life)
    }
}
