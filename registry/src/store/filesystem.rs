//! Bytes as files: `<root>/blobs/<2 hex>/<32 hex>`.
//!
//! A file is made where it will stay and is never renamed, so finishing an upload costs two syncs: the file's and its directory's. Work that may wait for
//! a disk runs in two lanes of the blocking threads, so that neither pushes nor pulls can take all of them.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use url::Url;

mod buffers;
mod lane;
mod listing;
mod quarantine;
mod reading;
mod reserve;
pub mod transfer;
mod upload;

use self::{buffers::Buffers, lane::Lane, reserve::Plenty, upload::FileUpload};
use super::{Found, Listed, OpenUpload, Reading, StorageKey, Store, StoreError};
use crate::failpoints::{Point, reach};

/// How many jobs of pushes (write, hash, sync, delete) run at once.
pub const PUSH_JOBS: usize = 32;

/// How many reads of pulls that missed the page cache run at once.
pub const PULL_JOBS: usize = 64;

/// The directory of our own keys, under the root.
const BLOBS: &str = "blobs";

/// A store in a directory of this machine. Clones share it.
#[derive(Clone, Debug)]
pub struct Filesystem {
    root: Arc<Path>,
    pushes: Lane,
    pulls: Lane,
    buffers: Buffers,
    plenty: Plenty,
}

impl Filesystem {
    /// Opens the store under `root`, making it and its 256 directories where they are missing. Blocks; meant for the start of the process.
    ///
    /// # Errors
    /// A directory can neither be found nor made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let blobs = root.join(BLOBS);
        let found = nearest_directory(root);
        fs::create_dir_all(&blobs)?;
        for name in 0..=u8::MAX {
            match fs::create_dir(blobs.join(format!("{name:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // Files will be synced into these directories; that helps nobody if the directories themselves can vanish.
        sync_up_to(&blobs, &found)?;
        Ok(Self {
            root: root.into(),
            pushes: Lane::new(PUSH_JOBS),
            pulls: Lane::new(PULL_JOBS),
            buffers: Buffers::default(),
            plenty: Plenty::default(),
        })
    }

    /// Where the bytes of `key` lie. A key that would lead out of the root has no bytes.
    fn path(&self, key: &StorageKey) -> Result<PathBuf, StoreError> {
        path_of(&self.root, key).ok_or_else(|| StoreError::NotFound(key.clone()))
    }

    /// Runs `job` on the file's path in the lane of pushes.
    async fn push_job<T: Send + 'static>(
        &self,
        key: &StorageKey,
        job: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path(key)?;
        self.pushes.run(move || job(&path)).await.map_err(|error| StoreError::from_io(key, error))
    }
}

impl Store for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn part_size(&self) -> Option<u64> {
        None
    }

    fn room(&self, bytes: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.plenty.is_known() {
            return ready(Ok(())).boxed();
        }
        let (root, plenty) = (Arc::clone(&self.root), self.plenty.clone());
        async move {
            // A disk that has gone away lets whoever opens it wait.
            let looked = self.pushes.run(move || plenty.look(bytes, File::open(root)?)).await;
            looked.map_err(|error| StoreError::from_io(&StorageKey::stored(BLOBS), error))
        }
        .boxed()
    }

    fn upload(&self, key: &StorageKey, found: Found) -> Box<dyn OpenUpload> {
        Box::new(FileUpload::new(key.clone(), self.path(key).ok(), found, self.pushes.clone()))
    }

    fn put<'a>(&'a self, key: &'a StorageKey, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        self.push_job(key, move |path| {
            let file = OpenOptions::new().write(true).create_new(true).open(path)?;
            reserve::is_left_behind(bytes.len() as u64, &file)?;
            upload::write_all_at(&file, 0, &[bytes])?;
            file.sync_data()?;
            sync_directory_of(path)
        })
        .boxed()
    }

    fn read<'a>(&'a self, key: &'a StorageKey, range: Range<u64>) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.open_reading(key, range).boxed()
    }

    fn size<'a>(&'a self, key: &'a StorageKey) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move {
            match self.push_job(key, |path| fs::metadata(path)).await {
                Ok(metadata) => Ok(Some(metadata.len())),
                Err(StoreError::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, keys: &'a [StorageKey]) -> BoxFuture<'a, Result<(), StoreError>> {
        // A key that leads out of the root never had bytes here.
        let files: Vec<_> = keys.iter().filter_map(|key| Some((key.clone(), self.path(key).ok()?))).collect();
        async move {
            let deleted = self.pushes.run(move || remove_durably(&files)).await;
            deleted.map_err(|(key, error)| StoreError::from_io(&key, error))
        }
        .boxed()
    }

    fn set_aside<'a>(&'a self, key: &'a StorageKey, line: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            self.path(key)?;
            let (root, name, line) = (Arc::clone(&self.root), key.to_string(), line.to_owned());
            let moved = self.pushes.run(move || quarantine::move_aside(&root, &name, &line)).await;
            moved.map_err(|error| StoreError::from_io(key, error))
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a StorageKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        async move {
            let after = after.map(ToString::to_string).unwrap_or_default();
            let root = Arc::clone(&self.root);
            // A disk that is not there has no bytes to be missed.
            let there = move || fs::metadata(root.join(BLOBS)).and_then(|_| listing::page(&root, &after, limit));
            let listed = self.pushes.run(there).await;
            listed.map_err(|error| StoreError::from_io(&StorageKey::stored(BLOBS), error))
        }
        .boxed()
    }

    fn redirect<'a>(&'a self, _: &'a StorageKey, _: Duration) -> BoxFuture<'a, Result<Option<Url>, StoreError>> {
        async { Ok(None) }.boxed()
    }
}

/// Where the bytes of `key` lie under `root`, unless the key leads out of it.
fn path_of(root: &Path, key: &StorageKey) -> Option<PathBuf> {
    let relative = Path::new(key.as_str());
    let inside = relative.components().all(|component| matches!(component, Component::Normal(_)));
    (inside && !key.as_str().is_empty()).then(|| root.join(relative))
}

/// `root`, or the first directory above it that is there: it gets the name of the first one that is made.
fn nearest_directory(root: &Path) -> PathBuf {
    root.ancestors().find(|directory| directory.is_dir()).unwrap_or(Path::new(".")).to_path_buf()
}

/// Removes the files, then syncs their directories: whoever asked forgets the keys now, so no file may come back when the power goes.
fn remove_durably(files: &[(StorageKey, PathBuf)]) -> Result<(), (StorageKey, io::Error)> {
    let mut directories = BTreeMap::new();
    for (key, path) in files {
        unless_missing(fs::remove_file(path)).map_err(|error| (key.clone(), error))?;
        directories.extend(path.parent().map(|directory| (directory, key)));
    }
    if let Some((key, _)) = files.first() {
        reach(Point::FilesUnlinked).map_err(|failed| (key.clone(), failed.into()))?;
    }
    for (directory, key) in directories {
        unless_missing(File::open(directory).and_then(|opened| opened.sync_all()))
            .map_err(|error| (key.clone(), error))?;
    }
    Ok(())
}

/// Syncs a directory and those above it as far as `found`, which was there before: it has the name of the first one that was made.
fn sync_up_to(directory: &Path, found: &Path) -> io::Result<()> {
    for directory in directory.ancestors() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
        if directory == found {
            break;
        }
    }
    Ok(())
}

/// What is already gone is deleted.
fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A synced file whose name is not synced is lost with the power.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests;
