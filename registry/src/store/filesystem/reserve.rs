//! What bytes leave of a disk.
//!
//! SQLite needs a little room to delete anything: what goes is first written down in its log. On a disk that bytes have filled to the last block nobody
//! could delete a tag, and the collector could free nothing. So bytes stop before that; rows go on.

use std::{io, os::fd::AsFd};

use rustix::fs::fstatvfs;

/// How much stays free, in bytes: what SQLite's log is cut back to behind a burst.
const RESERVE: u64 = 64 * 1024 * 1024;

/// Of a small file system this part of it stays free. (SQLite folds its log back from 4 MiB on.)
const PART: u64 = 8;

/// Whether the reserve is left behind `bytes` more where `file` lies. The kernel answers from memory.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] if not.
pub(super) fn is_left_behind(bytes: u64, file: impl AsFd) -> io::Result<()> {
    let disk = fstatvfs(file)?;
    let (free, size) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    if free < reserve(size).saturating_add(bytes) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
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
        assert_eq!(reserve(0), 0);
    }
}
