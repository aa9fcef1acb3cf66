//! The directory that a backup is made in.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use shared::clock::Timestamp;

use super::{Error, manifest::Manifest};
use crate::store::filesystem::transfer;

/// Stands in a directory in which a backup was begun: one that broke off can be told from somebody else's files.
const UNFINISHED: &str = "backup.unfinished";

/// Where the copies of the facts lie, each backup's in a directory of its own.
const FACTS: &str = "facts";

/// What a filesystem puts into its root.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory that belongs to backups of one registry. Everything here blocks.
#[derive(Clone, Debug)]
pub(super) struct Target {
    root: PathBuf,
    /// The data directory that it is a backup of.
    data: PathBuf,
    /// The copies of this backup's facts, below the root.
    facts: String,
}

impl Target {
    /// Takes a directory for a backup of `data`: one that is not there yet, that is empty, or that has an earlier backup of it.
    pub(super) fn open(root: &Path, data: &Path, begun: Timestamp) -> Result<Self, Error> {
        if !root.is_absolute() {
            return Err(Error::Relative(root.to_owned()));
        }
        let at = |source| Error::Target { path: root.to_owned(), source };
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(at)?,
        }
        let (root, data) = (root.canonicalize().map_err(at)?, data.canonicalize().map_err(at)?);
        let within = root.starts_with(&data) || data.starts_with(&root);
        if within || transfer::share_their_files(&root, &data).map_err(at)? {
            return Err(Error::WithinItself(root));
        }
        check_whose(&root, &data)?;
        let facts = format!("{FACTS}/{}", begun.rfc3339().replace(['-', ':'], ""));
        let target = Self { root, data, facts };
        target.begin().map_err(|source| Error::Target { path: target.root.clone(), source })?;
        Ok(target)
    }

    /// Marks the directory, and makes the one that the facts are copied into.
    fn begin(&self) -> io::Result<()> {
        File::create(self.root.join(UNFINISHED))?;
        DirBuilder::new().recursive(true).mode(0o700).create(self.facts().join("keys"))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The directory of this backup's facts.
    pub(super) fn facts(&self) -> PathBuf {
        self.root.join(&self.facts)
    }

    /// Where a file of the facts lies, below the root.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.facts)
    }

    /// Makes the backup whole.
    pub(super) fn finish(&self, manifest: &Manifest) -> io::Result<()> {
        for directory in [self.facts().join("keys"), self.facts(), self.root.join(FACTS)] {
            File::open(directory)?.sync_all()?;
        }
        manifest.write(&self.root)
    }

    /// Removes the facts of the backups before this one, which is whole.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(FACTS))? {
            let path = entry?.path();
            if path != self.facts() {
                fs::remove_dir_all(path)?;
            }
        }
        fs::remove_file(self.root.join(UNFINISHED))
    }

    /// Takes back what was begun. An earlier backup stays as it was, and bytes that were brought already are there for the next one.
    pub(super) fn give_up(&self) {
        // Nobody reads what remains: it has no manifest, and the next backup removes it.
        let _ = fs::remove_dir_all(self.facts());
    }
}

/// Refuses a directory that holds anything but backups of `data`.
fn check_whose(root: &Path, data: &Path) -> Result<(), Error> {
    if let Some(earlier) = Manifest::read(root)? {
        return if earlier.source == data {
            Ok(())
        } else {
            Err(Error::AnothersBackup { path: root.to_owned(), of: earlier.source })
        };
    }
    let at = |source| Error::Target { path: root.to_owned(), source };
    if root.join(UNFINISHED).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(root).map_err(at)? {
        if entry.map_err(at)?.file_name() != LOST_AND_FOUND {
            return Err(Error::Foreign(root.to_owned()));
        }
    }
    Ok(())
}
