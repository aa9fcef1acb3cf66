//! Bytes brought from one directory of files into another: into a backup, and out of it.
//!
//! On one filesystem a file gets a second name (a hard link) in place of a copy. That is right because bytes under a key never change and a deletion
//! takes away a name: neither directory can do anything to what the other has. A disk that dies takes both.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{BLOBS, StorageKey, listing, path_of};

/// Behind the name of a file that is not whole yet.
const PART: &str = ".part";

/// How many keys are listed at a time.
const PAGE: usize = 1000;

/// What was done for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It was there, as long as it should be.
    Already,
    /// The file has a second name.
    Linked,
    /// The bytes were copied; they count when [`Transfer::settle`] has returned.
    Copied,
    /// There is nothing of that length to be brought.
    Missing,
}

/// A way from one root to another. Blocks.
#[derive(Debug)]
pub struct Transfer {
    from: PathBuf,
    to: PathBuf,
    /// Where copies will lie, by where they lie until they are on the disk.
    copied: BTreeMap<PathBuf, PathBuf>,
}

impl Transfer {
    /// From the files under `from` to those under `to`.
    #[must_use]
    pub fn new(from: &Path, to: &Path) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), copied: BTreeMap::new() }
    }

    /// The file of a key at the side where it comes from, if it is as long as it should be.
    #[must_use]
    pub fn source(&self, key: &StorageKey, size: u64) -> Option<PathBuf> {
        path_of(&self.from, key).filter(|path| is_sound(path, size))
    }

    /// The file of a key at the other side, if it is as long as it should be.
    #[must_use]
    pub fn there(&self, key: &StorageKey, size: u64) -> Option<PathBuf> {
        path_of(&self.to, key).filter(|path| is_sound(path, size))
    }

    /// Brings the bytes of a key, which are `size`, unless they are there.
    ///
    /// # Errors
    /// What the operating system says, about either side.
    pub fn bring(&mut self, key: &StorageKey, size: u64) -> io::Result<Brought> {
        match self.there(key, size) {
            Some(_) => Ok(Brought::Already),
            None => self.replace(key, size),
        }
    }

    /// Brings the bytes of a key, which are `size`, in the place of whatever is there.
    ///
    /// # Errors
    /// What the operating system says, about either side.
    pub fn replace(&mut self, key: &StorageKey, size: u64) -> io::Result<Brought> {
        let (Some(from), Some(to)) = (self.source(key, size), path_of(&self.to, key)) else {
            return Ok(Brought::Missing);
        };
        if let Some(directory) = to.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        match fs::hard_link(&from, &to) {
            Ok(()) => return Ok(Brought::Linked),
            // Shorter than it should be, or longer, or damaged: nobody's bytes, in the way of the right ones. A copy takes its place in one step.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // It was deleted since it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Brought::Missing),
            // Another filesystem, or one without links, or too many of them.
            Err(_) => {}
        }
        self.copy(&from, to)
    }

    fn copy(&mut self, from: &Path, to: PathBuf) -> io::Result<Brought> {
        let mut part = to.clone().into_os_string();
        part.push(PART);
        let part = PathBuf::from(part);
        let mut source = File::open(from)?;
        let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        io::copy(&mut source, &mut target)?;
        self.copied.insert(part, to);
        Ok(Brought::Copied)
    }

    /// Makes what was brought durable, and gives copies their names. One sync of the filesystem serves any number of them.
    ///
    /// # Errors
    /// What the operating system says; copies that have no name yet have none.
    pub fn settle(&mut self) -> io::Result<()> {
        self.sync()?;
        if self.copied.is_empty() {
            return Ok(());
        }
        for (part, whole) in std::mem::take(&mut self.copied) {
            fs::rename(part, whole)?;
        }
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.to)?)?)
    }
}

fn is_sound(path: &Path, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Whether two roots keep their files in one directory, by whatever names.
///
/// # Errors
/// What the operating system says, but for a directory that is not there.
pub fn share_their_files(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |root: &Path| match fs::metadata(root.join(BLOBS)) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(identity(one)?.is_some() && identity(one)? == identity(other)?)
}

/// Keys of the files under `root` behind `after`, a page; none at the end.
///
/// # Errors
/// What the operating system says.
pub fn page(root: &Path, after: &str) -> io::Result<Vec<StorageKey>> {
    Ok(listing::page(root, after, PAGE)?.into_iter().map(|listed| listed.key).collect())
}

/// Removes the files of keys under `root`.
///
/// # Errors
/// What the operating system says.
pub fn remove<'k>(root: &Path, keys: impl IntoIterator<Item = &'k StorageKey>) -> io::Result<()> {
    keys.into_iter().filter_map(|key| path_of(root, key)).try_for_each(fs::remove_file)
}

/// How many bytes lie under a key of `root`.
#[must_use]
pub fn length(root: &Path, key: &StorageKey) -> Option<u64> {
    fs::symlink_metadata(path_of(root, key)?).ok().map(|metadata| metadata.len())
}

/// Whether any file lies under `root`.
///
/// # Errors
/// What the operating system says.
pub fn holds_something(root: &Path) -> io::Result<bool> {
    Ok(!listing::page(root, "", 1)?.is_empty())
}
