//! The facts of a backup, put into a data directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use shared::clock::Timestamp;

use super::{Error, unfinished};
use crate::{
    gc::backup::{CopiedFile, Facts, Manifest},
    store::filesystem::transfer,
};

/// Where files lie until all of them are there and were found right.
const PART: &str = "restore.part";

/// What is put in place, in this order: a restore that is cut leaves a registry without its facts, which does not go unnoticed.
const PLACES: [&str; 3] = [KEYS, ACCOUNTS, "registry.db"];

/// What SQLite keeps beside a database.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Keys of accounts, and certificates; meaningless apart from the accounts that they belong to.
const KEYS: &str = "keys";

/// The accounts.
const ACCOUNTS: &str = "auth.db";

/// What may be put out of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: the directory holds no facts and no bytes.
    Nothing,
    /// What is there. It is kept beside.
    WhatIsThere,
}

/// What was put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where what was there before lies now.
    pub aside: Option<PathBuf>,
    /// The files of the backup that are in place.
    pub files: Vec<CopiedFile>,
}

impl Placed {
    /// Whether the keys of the backup are among them.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.files.iter().any(|file| place_of(file) == KEYS)
    }
}

/// A backup that says that it is whole.
#[derive(Clone, Debug)]
pub struct Backup {
    root: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

impl Backup {
    /// Opens the backup in a directory.
    ///
    /// # Errors
    /// There is none, or none that was finished.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let manifest = Manifest::read(root)?.ok_or_else(|| Error::NoBackup(root.to_owned()))?;
        manifest.files.iter().try_for_each(CopiedFile::check_places)?;
        if manifest.database == Facts::Sqlite && !manifest.files.iter().any(|file| file.name == "registry.db") {
            return Err(Error::NoBackup(root.to_owned()));
        }
        Ok(Self { root: root.to_owned(), manifest })
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it holds the accounts of the auth service.
    #[must_use]
    pub fn holds_accounts(&self) -> bool {
        self.manifest.files.iter().any(|file| file.name == ACCOUNTS)
    }

    /// Whether it holds keys.
    #[must_use]
    pub fn holds_keys(&self) -> bool {
        self.manifest.files.iter().any(|file| place_of(file) == KEYS)
    }

    /// Puts the facts into a data directory that nobody serves, after every file was found right. Keys without the accounts that they belong to stay in the
    /// backup where the directory has keys: its accounts, in PostgreSQL, know those. Blocks.
    ///
    /// # Errors
    /// [`Error`]; before anything was put out of the way, the directory is as it was.
    pub fn place(&self, data: &Path, over: Over, now: Timestamp) -> Result<Placed, Error> {
        let at = |source| Error::Data { path: data.to_owned(), source };
        let files = self.files_for(data);
        let replaced = in_the_way(&files, data);
        let bytes = self.manifest.database == Facts::Sqlite && transfer::holds_something(data).map_err(at)?;
        if over == Over::Nothing && (bytes || !replaced.is_empty()) {
            return Err(Error::NotEmpty(data.to_owned()));
        }
        let part = data.join(PART);
        self.gather(&files, data).map_err(at)?;
        if let Some(wrong) = files.iter().find_map(|file| file.verify(&part.join(&file.name)).err()) {
            fs::remove_dir_all(&part).map_err(at)?;
            return Err(wrong.into());
        }
        let aside = data.join(format!("replaced-{}", now.rfc3339().replace(['-', ':'], "")));
        unfinished::begin(data).map_err(at)?;
        put_aside(data, &replaced, &aside).map_err(at)?;
        put_in_place(&part, data).map_err(at)?;
        Ok(Placed { aside: (!replaced.is_empty()).then_some(aside), files })
    }

    /// The files that are put into a data directory.
    fn files_for(&self, data: &Path) -> Vec<CopiedFile> {
        let keep_keys = !self.holds_accounts() && holds_files(&data.join(KEYS));
        self.manifest.files.iter().filter(|file| !keep_keys || place_of(file) != KEYS).cloned().collect()
    }

    /// Copies files to where they are looked at, with the modes of those that they are to replace.
    fn gather(&self, files: &[CopiedFile], data: &Path) -> io::Result<()> {
        let part = data.join(PART);
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        DirBuilder::new().mode(0o700).create(&part)?;
        DirBuilder::new().mode(mode_of(&data.join(KEYS)).unwrap_or(0o700)).create(part.join(KEYS))?;
        for file in files {
            // Who reads certificates as another user goes on reading them.
            let mode = mode_of(&data.join(&file.name)).unwrap_or(0o600);
            copy(&self.root.join(&file.path), &part.join(&file.name), mode)?;
        }
        Ok(())
    }
}

/// Where a file belongs: a name in the data directory.
fn place_of(file: &CopiedFile) -> &str {
    file.name.split('/').next().unwrap_or_default()
}

/// What lies where files belong.
fn in_the_way(files: &[CopiedFile], data: &Path) -> Vec<String> {
    let named = PLACES.iter().filter(|place| files.iter().any(|file| place_of(file) == **place));
    let names = named.flat_map(|place| BESIDE.iter().map(move |beside| format!("{place}{beside}")));
    names.filter(|name| data.join(name).symlink_metadata().is_ok()).collect()
}

fn holds_files(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

fn copy(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

fn put_aside(data: &Path, names: &[String], aside: &Path) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(aside)?;
    names.iter().try_for_each(|name| fs::rename(data.join(name), aside.join(name)))?;
    sync(aside)?;
    sync(data)
}

fn put_in_place(part: &Path, data: &Path) -> io::Result<()> {
    let keys = part.join(KEYS);
    sync(&keys)?;
    if fs::read_dir(&keys)?.next().is_none() {
        fs::remove_dir(&keys)?;
    }
    for place in PLACES {
        match fs::rename(part.join(place), data.join(place)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => sync(data)?,
        }
    }
    fs::remove_dir_all(part)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
