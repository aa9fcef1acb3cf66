//! The facts of a backup, put into a data directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use shared::clock::Timestamp;

use super::Error;
use crate::{
    gc::backup::{CopiedFile, Facts, Manifest},
    store::filesystem::transfer,
};

/// Where files lie until all of them are there and were found right.
const PART: &str = "restore.part";

/// What is put in place, in this order: a restore that is cut leaves a registry without its facts, which does not go unnoticed.
const PLACES: [&str; 3] = ["keys", "auth.db", "registry.db"];

/// What SQLite keeps beside a database.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// What may be put out of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: the directory holds no facts and no bytes.
    Nothing,
    /// What is there. It is kept beside.
    WhatIsThere,
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
        self.manifest.files.iter().any(|file| file.name == "auth.db")
    }

    /// Puts the facts into a data directory that nobody serves, after every file was found right. Answers where what was there before lies now. Blocks.
    ///
    /// # Errors
    /// [`Error`]; before anything was put out of the way, the directory is as it was.
    pub fn place(&self, data: &Path, over: Over, now: Timestamp) -> Result<Option<PathBuf>, Error> {
        let at = |source| Error::Data { path: data.to_owned(), source };
        let replaced = self.in_the_way(data);
        let bytes = self.manifest.database == Facts::Sqlite && transfer::holds_something(data).map_err(at)?;
        if over == Over::Nothing && (bytes || !replaced.is_empty()) {
            return Err(Error::NotEmpty(data.to_owned()));
        }
        let part = data.join(PART);
        self.gather(&part).map_err(at)?;
        if let Some(wrong) = self.manifest.files.iter().find_map(|file| file.verify(&part.join(&file.name)).err()) {
            fs::remove_dir_all(&part).map_err(at)?;
            return Err(wrong.into());
        }
        let aside = data.join(format!("replaced-{}", now.rfc3339().replace(['-', ':'], "")));
        put_aside(data, &replaced, &aside).map_err(at)?;
        put_in_place(&part, data).map_err(at)?;
        Ok((!replaced.is_empty()).then_some(aside))
    }

    /// What lies where the files of the backup belong.
    fn in_the_way(&self, data: &Path) -> Vec<String> {
        let is_placed = |place: &str| self.manifest.files.iter().any(|file| file.name.split('/').next() == Some(place));
        let named = PLACES.iter().filter(|place| is_placed(place));
        let names = named.flat_map(|place| BESIDE.iter().map(move |beside| format!("{place}{beside}")));
        names.filter(|name| data.join(name).symlink_metadata().is_ok()).collect()
    }

    /// Copies every file to where it is looked at.
    fn gather(&self, part: &Path) -> io::Result<()> {
        if part.exists() {
            fs::remove_dir_all(part)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(part.join("keys"))?;
        for file in &self.manifest.files {
            copy(&self.root.join(&file.path), &part.join(&file.name))?;
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
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
    let keys = part.join("keys");
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
