//! The open file of an upload.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use shared::digest::{Algorithm, Hasher};

use super::{Lane, OpenUpload, StorageKey, StoreError, sync_directory_of};

/// How many pieces the kernel takes in one call (IOV_MAX).
const PIECES_PER_CALL: usize = 1024;

/// How many bytes are read at once when a file is hashed again.
const HASH_BYTES: usize = 256 * 1024;

pub(super) struct FileUpload {
    key: StorageKey,
    // Shared with the job that works on it: a job outlives the future that waits for it.
    file: Arc<File>,
    path: PathBuf,
    pushes: Lane,
}

impl FileUpload {
    pub(super) fn new(key: StorageKey, file: File, path: PathBuf, pushes: Lane) -> Self {
        Self { key, file: Arc::new(file), path, pushes }
    }

    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        self.pushes.run(move || job(&file)).await.map_err(|error| StoreError::from_io(&self.key, error))
    }

    fn expect(&self, expected: u64, found: u64) -> Result<(), StoreError> {
        if found < expected {
            return Err(StoreError::TooShort { key: self.key.clone(), expected, found });
        }
        Ok(())
    }
}

impl OpenUpload for FileUpload {
    fn length(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        // An open file answers from memory; a job of its own would cost more than the answer.
        let length = self.file.metadata().map(|metadata| metadata.len());
        async move { length.map_err(|error| StoreError::from_io(&self.key, error)) }.boxed()
    }

    fn write(&mut self, offset: u64, pieces: Vec<Bytes>, hasher: Hasher) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        self.job(move |file| {
            write_all_at(file, offset, &pieces)?;
            let mut hasher = hasher;
            pieces.iter().for_each(|piece| hasher.update(piece));
            Ok(hasher)
        })
        .boxed()
    }

    fn hash(&mut self, algorithm: Algorithm, length: u64) -> BoxFuture<'_, Result<Hasher, StoreError>> {
        async move {
            let hasher = self.job(move |file| hash_up_to(file, algorithm, length)).await?;
            self.expect(length, hasher.length())?;
            Ok(hasher)
        }
        .boxed()
    }

    fn finish(&mut self, length: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        let path = self.path.clone();
        async move {
            let found = self
                .job(move |file| {
                    let found = file.metadata()?.len();
                    if found < length {
                        return Ok(found);
                    }
                    if found > length {
                        // What a crash or a failed write left behind the recorded end belongs to nobody.
                        file.set_len(length)?;
                    }
                    file.sync_data()?;
                    sync_directory_of(&path)?;
                    Ok(found)
                })
                .await?;
            self.expect(length, found)
        }
        .boxed()
    }
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
