//! `backup.json`: what a backup holds. It is written last, in one step: a directory with this file in it is a whole backup.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use shared::{
    clock::Timestamp,
    digest::{Algorithm, Hasher},
};
use utoipa::ToSchema;

use super::Error;
use crate::metadata::backup::Counts;

/// The file's name.
pub(in crate::gc) const NAME: &str = "backup.json";

/// What the file says it is.
const FORMAT: &str = "portreeve-backup";

/// The form that this release writes, and the newest that it reads.
const VERSION: u32 = 1;

/// Largest file that is read as one, in bytes: it has a few lines for each key file.
const MAX_BYTES: u64 = 1024 * 1024;

/// How many bytes are read at once to be hashed.
const HASH_BYTES: usize = 256 * 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BackupManifest)]
pub struct Manifest {
    /// What this file is.
    format: String,
    /// In which form it is written.
    format_version: u32,
    /// The release that made it.
    pub program: String,
    /// The data directory that it was made of.
    #[schema(value_type = String)]
    pub source: PathBuf,
    /// Where the registry's facts were.
    pub database: Facts,
    /// The number of the last step of the registry's schema.
    pub schema: i64,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// What was answered before this moment is in it.
    pub facts_at: Timestamp,
    /// When it was whole.
    pub finished_at: Timestamp,
    /// How much the facts speak of.
    pub counts: Counts,
    /// Every file but this one and those of blobs.
    pub files: Vec<CopiedFile>,
    /// The files of blobs, where they were asked for.
    pub blobs: Option<Blobs>,
}

/// Where the registry's facts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BackupFacts)]
pub enum Facts {
    /// In the backup.
    Sqlite,
    /// In a dump that somebody made with PostgreSQL's own programs.
    Postgresql,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopiedFile {
    /// Where it belongs in a data directory: `registry.db`, `auth.db` or `keys/…`.
    pub name: String,
    /// Where it lies, below the backup.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The bytes of blobs in a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BackupBlobs)]
pub struct Blobs {
    /// How many files the facts speak of.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them have got a second name.
    pub linked: u64,
    /// How many were copied.
    pub copied: u64,
    /// How many an earlier backup had brought.
    pub already: u64,
    /// How many were not there to be brought.
    pub missing: u64,
}

impl Manifest {
    /// A manifest of this release's form; times, counts and files are the caller's.
    pub(super) fn new(source: &Path, database: Facts, begun_at: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            source: source.to_owned(),
            database,
            schema: 0,
            begun_at,
            facts_at: begun_at,
            finished_at: begun_at,
            counts: Counts::default(),
            files: Vec::new(),
            blobs: None,
        }
    }

    /// Reads the manifest of a backup; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no manifest of this form.
    pub fn read(backup: &Path) -> Result<Option<Self>, Error> {
        let path = backup.join(NAME);
        let unreadable = |reason: String| Error::NoManifest { path: path.clone(), reason };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| unreadable(error.to_string()))?,
        };
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        match (manifest.format.as_str(), manifest.format_version) {
            (FORMAT, VERSION) => Ok(Some(manifest)),
            (FORMAT, later) => Err(unreadable(format!("form {later} is of another release; this one reads {VERSION}"))),
            _ => Err(unreadable("it is no backup of a registry".to_owned())),
        }
    }

    /// Makes the backup whole: from now on this manifest counts.
    pub(super) fn write(&self, backup: &Path) -> io::Result<()> {
        let (part, whole) = (backup.join("backup.json.new"), backup.join(NAME));
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(&part, text)?;
        File::open(&part)?.sync_all()?;
        fs::rename(&part, &whole)?;
        File::open(backup)?.sync_all()
    }
}

impl CopiedFile {
    /// Describes a file that was copied.
    pub(super) fn of(backup: &Path, path: &str, name: &str) -> io::Result<Self> {
        let (bytes, sha256) = weigh(&backup.join(path))?;
        Ok(Self { name: name.to_owned(), path: path.to_owned(), bytes, sha256 })
    }

    /// Refuses a file that does not lie in the backup, or that belongs nowhere in a data directory: somebody else may have written the manifest.
    pub(in crate::gc) fn check_places(&self) -> Result<(), Error> {
        let database = matches!(self.name.as_str(), "registry.db" | "auth.db");
        let key = self.name.strip_prefix("keys/").is_some_and(|name| is_plain(name) && !name.contains('/'));
        if is_plain(&self.path) && (database || key) {
            Ok(())
        } else {
            Err(self.wrong(format!("it has no place in a data directory as {:?}", self.name)))
        }
    }

    /// Makes sure that a copy of the file is what was written when the backup was made.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, copy: &Path) -> Result<(), Error> {
        let (bytes, sha256) = weigh(copy).map_err(|error| self.wrong(error.to_string()))?;
        if (bytes, sha256.as_str()) == (self.bytes, self.sha256.as_str()) {
            Ok(())
        } else {
            Err(self.wrong("it is not what was written when the backup was made".to_owned()))
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::NotWhole { path: self.path.clone(), reason }
    }
}

/// Whether a path stays below where it begins.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)))
}

/// A file's length and SHA-256.
fn weigh(path: &Path) -> io::Result<(u64, String)> {
    let hasher = hash(path, Algorithm::Sha256)?;
    Ok((hasher.length(), hasher.finish().hex()))
}

/// Hashes a file.
pub(in crate::gc) fn hash(path: &Path, algorithm: Algorithm) -> io::Result<Hasher> {
    let (mut file, mut hasher) = (File::open(path)?, Hasher::new(algorithm));
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}
