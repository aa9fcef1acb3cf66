//! Files on their way out: read without waiting where the page cache has them, by a blocking thread where it has not.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::stream;
use rustix::{fs::Advice, io::Errno};

use super::{
    Filesystem, Lane, Reading, StorageKey, StoreError,
    buffers::{BUFFER_BYTES, Buffer, Buffers},
};

/// From this length on the kernel is told to read ahead.
const SEQUENTIAL_BYTES: u64 = 1024 * 1024;

impl Filesystem {
    /// Opens the file and streams `range` of it.
    pub(super) async fn open_reading(&self, key: &StorageKey, range: Range<u64>) -> Result<Reading, StoreError> {
        let path = self.path(key)?;
        let file = self.open_for_reading(&path).await.map_err(|error| StoreError::from_io(key, error))?;
        let found = file.metadata().map_err(|error| StoreError::from_io(key, error))?.len();
        if found < range.end {
            return Err(StoreError::TooShort { key: key.clone(), expected: range.end, found });
        }
        let length = range.end.saturating_sub(range.start);
        if length >= SEQUENTIAL_BYTES {
            // Advice only: a file system that takes none reads as well, a little slower.
            let _ = rustix::fs::fadvise(&file, range.start, None, Advice::Sequential);
        }
        let chunks = Chunks { file: Arc::new(file), range, pulls: self.pulls.clone(), buffers: self.buffers.clone() };
        Ok(Reading::new(length, stream::unfold(chunks, Chunks::next)))
    }

    /// A name that the kernel has cached opens without a thread of its own.
    async fn open_for_reading(&self, path: &Path) -> io::Result<File> {
        match open_cached(path) {
            Some(file) => Ok(file),
            None => {
                let path = path.to_path_buf();
                self.pulls.run(move || OpenOptions::new().read(true).open(path)).await
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn open_cached(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    // Any refusal (not cached, an old kernel, a sandbox that knows no openat2) goes the long way, which tells the true reason.
    openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_cached(_: &Path) -> Option<File> {
    None
}

struct Chunks {
    file: Arc<File>,
    range: Range<u64>,
    pulls: Lane,
    buffers: Buffers,
}

impl Chunks {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let left = self.range.end.saturating_sub(self.range.start);
        let wanted = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
        if wanted == 0 {
            return None;
        }
        let chunk = self.read(self.buffers.lend(wanted)).await;
        match &chunk {
            Ok(bytes) => self.range.start += bytes.len() as u64,
            // A broken body ends here; going on would only fail again.
            Err(_) => self.range.start = self.range.end,
        }
        Some((chunk, self))
    }

    async fn read(&self, mut buffer: Buffer) -> io::Result<Bytes> {
        let offset = self.range.start;
        let (buffer, read) = match read_cached(&self.file, buffer.space(), offset) {
            Some(read) => (buffer, read),
            None => {
                let file = Arc::clone(&self.file);
                self.pulls
                    .run(move || {
                        let read = read_waiting(&file, buffer.space(), offset);
                        (buffer, read)
                    })
                    .await
            }
        };
        match read? {
            // Nobody shortens the bytes under a key: this is a file that lost its end.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(buffer.into_bytes(read)),
        }
    }
}

/// What the page cache has; `None` if it has nothing, or if this file system cannot say.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, space: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
    use rustix::io::{ReadWriteFlags, preadv2, retry_on_intr};
    let read = retry_on_intr(|| preadv2(file, &mut [io::IoSliceMut::new(space)], offset, ReadWriteFlags::NOWAIT));
    match read {
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => None,
        read => Some(read.map_err(Into::into)),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> Option<io::Result<usize>> {
    None
}

fn read_waiting(file: &File, space: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(space, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
