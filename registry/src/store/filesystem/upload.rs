//! The file of an upload.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use shared::digest::{Algorithm, Hasher};

use super::{Found, Lane, OpenUpload, StorageKey, StoreError, reserve, sync_directory_of};
use crate::failpoints::{Point, reach};

/// How many pieces the kernel takes in one call (IOV_MAX).
const PIECES_PER_CALL: usize = 1024;

/// How many bytes are read at once when a file is hashed again.
const HASH_BYTES: usize = 256 * 1024;

pub(super) struct FileUpload {
    key: StorageKey,
    // Shared with the job that works on it: a job outlives the future that waits for it.
    place: Arc<Place>,
    pushes: Lane,
}

impl FileUpload {
    /// `path` is missing where the key leads out of the store: no bytes lie there.
    pub(super) fn new(key: StorageKey, path: Option<PathBuf>, found: Found, pushes: Lane) -> Self {
        Self { key, place: Arc::new(Place { path, found, opened: OnceLock::new() }), pushes }
    }

    /// Runs `job` on the file, which is opened if this is the first.
    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&File, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.place);
        let done = self.pushes.run(move || place.open().and_then(|(file, path)| job(file, path))).await;
        done.map_err(|error| StoreError::from_io(&self.key, error))
    }

    fn expect(&self, expected: u64, found: u64) -> Result<(), StoreError> {
        if found < expected {
            return Err(StoreError::TooShort { key: self.key.clone(), expected, found });
        }
        Ok(())
    }
}

/// Where the file is, and the file once a job has opened it.
struct Place {
    path: Option<PathBuf>,
    found: Found,
    opened: OnceLock<File>,
}

impl Place {
    fn open(&self) -> io::Result<(&File, &Path)> {
        let path = self.path.as_deref().ok_or(io::ErrorKind::NotFound)?;
        if let Some(file) = self.opened.get() {
            return Ok((file, path));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match self.found {
            Found::Nothing => options.create_new(true),
            Found::Bytes => &mut options,
            Found::Unknown => options.create(true),
        };
        let file = options.open(path)?;
        reach(if self.found == Found::Bytes { Point::FileReopened } else { Point::FileCreated })?;
        Ok((self.opened.get_or_init(|| file), path))
    }
}

impl OpenUpload for FileUpload {
    fn write(&mut self, offset: u64, pieces: Vec<Bytes>, hasher: Hasher) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        async move {
            let written = self.job(move |file, _| write_and_hash(file, offset, &pieces, hasher)).await?;
            written.map_err(|found| StoreError::TooShort { key: self.key.clone(), expected: offset, found })
        }
        .boxed()
    }

    fn hash(&mut self, algorithm: Algorithm, length: u64) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        async move {
            let hasher = self.job(move |file, _| hash_up_to(file, algorithm, length)).await?;
            self.expect(length, hasher.length())?;
            Ok(hasher)
        }
        .boxed()
    }

    fn finish(&mut self, length: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let found = self.job(move |file, path| sync_first(file, path, length)).await?;
            self.expect(length, found)
        }
        .boxed()
    }
}

/// Fails with the length of a file that does not reach `offset`: what lies between would be nobody's.
fn write_and_hash(file: &File, offset: u64, pieces: &[Bytes], mut hasher: Hasher) -> io::Result<Result<Hasher, u64>> {
    let length = file.metadata()?.len();
    if length < offset {
        return Ok(Err(length));
    }
    reserve::is_left_behind(pieces.iter().map(|piece| piece.len() as u64).sum(), file)?;
    write_all_at(file, offset, pieces)?;
    reach(Point::BytesWritten)?;
    pieces.iter().for_each(|piece| hasher.update(piece));
    Ok(Ok(hasher))
}

/// Makes the first `length` bytes and their name durable and cuts off the rest, unless there are fewer. Answers how many there were.
fn sync_first(file: &File, path: &Path, length: u64) -> io::Result<u64> {
    let found = file.metadata()?.len();
    if found < length {
        return Ok(found);
    }
    if found > length {
        // What a crash or a failed write left behind the recorded end belongs to nobody.
        file.set_len(length)?;
        reach(Point::FileTrimmed)?;
    }
    file.sync_data()?;
    reach(Point::FileSynced)?;
    sync_directory_of(path)?;
    reach(Point::DirectorySynced)?;
    Ok(found)
}

/// Writes the pieces one behind the other, at an explicit offset: no other writer can move it.
pub(super) fn write_all_at(file: &File, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        let batch = slices.len().min(PIECES_PER_CALL);
        match rustix::io::retry_on_intr(|| rustix::io::pwritev(file, &slices[..batch], offset))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
        }
    }
    Ok(())
}

/// Hashes at most `length` bytes from the beginning; the hasher knows how many there were.
fn hash_up_to(file: &File, algorithm: Algorithm, length: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; HASH_BYTES];
    while hasher.length() < length {
        let wanted = usize::try_from(length - hasher.length()).map_or(HASH_BYTES, |left| left.min(HASH_BYTES));
        match file.read_at(&mut buffer[..wanted], hasher.length()) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher)
}
