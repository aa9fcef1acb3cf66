//! What bytes leave of a disk.
//!
//! SQLite needs a little room to delete anything: what goes is first written down in its log. On a disk that bytes have filled to the last block nobody
//! could delete a tag, and the collector could free nothing. So bytes stop before that; rows go on.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::fstatvfs;

/// How much stays free, in bytes: what SQLite's log is cut back to behind a burst.
const RESERVE: u64 = 64 * 1024 * 1024;

/// Of a small file system this part of it stays free. (SQLite folds its log back from 4 MiB on.)
const PART: u64 = 8;

/// With so much free beyond the reserve, nobody need look again for a moment.
const PLENTY: u64 = 1024 * 1024 * 1024;

/// How long that moment is. A gigabyte of rows is not written in it.
const MOMENT: Duration = Duration::from_secs(1);

/// Whether the reserve is left behind `bytes` more where `file` lies. The kernel answers from memory.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] if not.
pub(super) fn is_left_behind(bytes: u64, file: impl AsFd) -> io::Result<()> {
    if left(file)? < bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// How many bytes may still be written where `file` lies.
fn left(file: impl AsFd) -> io::Result<u64> {
    let disk = fstatvfs(file)?;
    Ok(beyond(disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// What of `free` bytes lies beyond the reserve of a file system of `size` bytes. One that does not say how large it is says nothing of its room either
/// (FUSE's default answer): what it cannot take fails when it is written.
const fn beyond(free: u64, size: u64) -> u64 {
    if size == 0 { u64::MAX } else { free.saturating_sub(reserve(size)) }
}

/// That there was plenty of room a moment ago. Rows that go beside the bytes are many and small: not each of them is worth a look at the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Plenty(Arc<Mutex<Option<Instant>>>);

impl Plenty {
    /// Whether it was a moment ago.
    pub(super) fn is_known(&self) -> bool {
        self.seen().is_some_and(|seen| seen.elapsed() < MOMENT)
    }

    /// As [`is_left_behind`], and notes it if there is plenty.
    pub(super) fn look(&self, bytes: u64, file: impl AsFd) -> io::Result<()> {
        let left = left(file)?;
        *self.seen() = (left >= PLENTY).then(Instant::now);
        if left < bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stays free of a file system of `size` bytes.
const fn reserve(size: u64) -> u64 {
    if size / PART < RESERVE { size / PART } else { RESERVE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_part_and_a_large_one_a_log() {
        assert_eq!(reserve(16 << 20), 2 << 20);
        assert_eq!(reserve(1 << 40), RESERVE);
    }

    #[test]
    fn what_says_nothing_of_its_size_is_not_full() {
        assert_eq!(beyond(0, 0), u64::MAX);
        assert_eq!(beyond(0, 1 << 40), 0);
        assert_eq!(beyond(RESERVE + 7, 1 << 40), 7);
    }

    #[test]
    fn plenty_is_remembered_for_a_moment_and_too_little_is_not() {
        let (plenty, here) = (Plenty::default(), tempfile::tempfile().unwrap());
        assert!(!plenty.is_known());
        let found = left(&here).unwrap();
        plenty.look(0, &here).unwrap();
        assert_eq!(plenty.is_known(), found >= PLENTY);
        let full = plenty.look(u64::MAX, &here).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
