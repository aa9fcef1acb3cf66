//! The tree as it stands in the file: Distribution's `version: 0.1` and ours under `portreeve:`.
//!
//! Everything is optional here and means nothing yet; `TryFrom` in the modules beside this one decides. What comes
//! with later versions is read as [`Later`], so that its presence can stop the start instead of being ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use shared::secret::Secret;

use super::duration::GoDuration;

/// A part whose presence is all that is looked at.
pub(super) type Later = Option<Value>;

/// A section whose name says something by standing there: `silly:` asks for it as `silly: {}` does.
#[derive(Debug)]
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Some(Option::deserialize(deserializer)?.unwrap_or_default())))
    }
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawSettings {
    pub(super) log: RawLog,
    /// Deprecated by Distribution, for `log.level`.
    pub(super) loglevel: Option<String>,
    pub(super) storage: RawStorage,
    pub(super) auth: RawAuth,
    pub(super) middleware: Later,
    pub(super) http: RawHttp,
    pub(super) notifications: Later,
    pub(super) redis: Later,
    pub(super) health: RawHealth,
    pub(super) proxy: Later,
    pub(super) validation: RawValidation,
    pub(super) policy: Later,
    pub(super) catalog: RawCatalog,
    pub(super) tags: RawTags,
    /// Of version 2; means nothing any more.
    pub(super) compatibility: Later,
    /// Of version 2; means nothing any more.
    pub(super) reporting: Later,
    pub(super) portreeve: RawPortreeve,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawLog {
    pub(super) level: Option<String>,
    pub(super) formatter: Option<String>,
    pub(super) fields: BTreeMap<String, Value>,
    pub(super) accesslog: RawSwitch,
    pub(super) reportcaller: Option<bool>,
    pub(super) hooks: Later,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawSwitch {
    pub(super) enabled: Option<bool>,
    pub(super) disabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawStorage {
    pub(super) filesystem: Given<RawFilesystem>,
    pub(super) inmemory: Given<Value>,
    pub(super) s3: Given<Value>,
    pub(super) s3aws: Given<Value>,
    pub(super) azure: Given<Value>,
    pub(super) gcs: Given<Value>,
    pub(super) swift: Given<Value>,
    pub(super) oss: Given<Value>,
    pub(super) delete: RawSwitch,
    pub(super) redirect: Later,
    pub(super) cache: RawCache,
    pub(super) tag: Later,
    pub(super) maintenance: RawMaintenance,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawFilesystem {
    pub(super) rootdirectory: Option<String>,
    pub(super) maxthreads: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawCache {
    pub(super) blobdescriptor: Option<String>,
    pub(super) layerinfo: Option<String>,
    pub(super) blobdescriptorsize: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMaintenance {
    pub(super) uploadpurging: RawPurging,
    pub(super) readonly: RawSwitch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPurging {
    pub(super) enabled: Option<bool>,
    pub(super) age: Option<GoDuration>,
    pub(super) interval: Option<GoDuration>,
    pub(super) dryrun: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawAuth {
    pub(super) none: Given<Value>,
    pub(super) silly: Given<Value>,
    pub(super) htpasswd: Given<RawHtpasswd>,
    pub(super) token: Given<RawToken>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawHtpasswd {
    pub(super) realm: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawToken {
    pub(super) realm: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) service: Option<String>,
    pub(super) rootcertbundle: Option<String>,
    pub(super) jwks: Option<String>,
    pub(super) signingalgorithms: Option<Vec<String>>,
    pub(super) autoredirect: Option<bool>,
    pub(super) autoredirectpath: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawHttp {
    pub(super) addr: Option<String>,
    pub(super) net: Option<String>,
    pub(super) host: Option<String>,
    pub(super) prefix: Option<String>,
    /// Distribution signs upload states with it; ours lie in the database.
    pub(super) secret: Option<Secret<String>>,
    pub(super) relativeurls: Option<bool>,
    pub(super) draintimeout: Option<GoDuration>,
    pub(super) tls: RawTls,
    pub(super) headers: BTreeMap<String, OneOrMany>,
    pub(super) debug: RawDebug,
    pub(super) http2: RawSwitch,
    pub(super) h2c: RawSwitch,
}

/// Header values are a list; people write one text, too.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawTls {
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) clientcas: Option<Vec<String>>,
    pub(super) clientauth: Option<String>,
    pub(super) minimumtls: Option<String>,
    pub(super) ciphersuites: Option<Vec<String>>,
    pub(super) letsencrypt: RawAcme,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawAcme {
    pub(super) cachefile: Option<String>,
    pub(super) email: Later,
    pub(super) hosts: Later,
    pub(super) directoryurl: Later,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDebug {
    pub(super) addr: Option<String>,
    pub(super) prometheus: RawPrometheus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPrometheus {
    pub(super) enabled: Option<bool>,
    pub(super) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawHealth {
    pub(super) storagedriver: RawStorageCheck,
    pub(super) file: Vec<RawFileCheck>,
    pub(super) http: Vec<RawHttpCheck>,
    pub(super) tcp: Vec<RawTcpCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawStorageCheck {
    pub(super) enabled: Option<bool>,
    pub(super) interval: Option<GoDuration>,
    pub(super) threshold: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawFileCheck {
    pub(super) file: Option<String>,
    pub(super) interval: Option<GoDuration>,
    pub(super) threshold: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawHttpCheck {
    pub(super) uri: Option<String>,
    pub(super) headers: BTreeMap<String, OneOrMany>,
    pub(super) statuscode: Option<u16>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) interval: Option<GoDuration>,
    pub(super) threshold: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawTcpCheck {
    pub(super) addr: Option<String>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) interval: Option<GoDuration>,
    pub(super) threshold: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawValidation {
    pub(super) enabled: Option<bool>,
    pub(super) disabled: Option<bool>,
    pub(super) manifests: RawManifests,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawManifests {
    pub(super) urls: RawUrls,
    pub(super) indexes: RawIndexes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawUrls {
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawIndexes {
    pub(super) platforms: Option<String>,
    pub(super) platformlist: Later,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawCatalog {
    pub(super) maxentries: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawTags {
    pub(super) maxtags: Option<i64>,
}

/// What only Portreeve has.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPortreeve {
    pub(super) companion: Option<RawCompanion>,
    pub(super) references: Option<String>,
    pub(super) manifestlimit: Option<u64>,
    pub(super) undelete: Option<GoDuration>,
    pub(super) grace: Option<GoDuration>,
    pub(super) trash: Option<GoDuration>,
    pub(super) collect: Option<GoDuration>,
    pub(super) lifecycle: RawLifecycle,
    pub(super) database: RawDatabase,
    pub(super) trustedproxies: Option<Vec<String>>,
    pub(super) connections: RawConnections,
    /// The auth service's own tree, where one file serves both; it is read there.
    #[serde(rename = "auth")]
    pub(super) _auth: Later,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawLifecycle {
    pub(super) every: Option<GoDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawConnections {
    pub(super) total: Option<usize>,
    pub(super) peraddress: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawCompanion {
    pub(super) url: Option<String>,
    pub(super) credential: Option<Secret<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDatabase {
    pub(super) url: Option<Secret<String>>,
    pub(super) schema: Option<String>,
}
