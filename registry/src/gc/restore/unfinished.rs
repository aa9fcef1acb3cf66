//! The word in a data directory that a restore is on its way: until it is taken back nobody serves what lies there.
//!
//! Half a restore looks like a registry. A server on it would mark as damaged what has not been brought yet, and its collector would throw away the files of
//! uploads that have become blobs since the backup was made.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The file's name.
const NAME: &str = "restore.unfinished";

/// What a person finds who opens it.
const TEXT: &str = "A restore began here and has not come to its end. Run it again, with --force; no server starts while this file is there.\n";

/// Says that a restore begins. Again changes nothing.
///
/// # Errors
/// What the operating system says.
pub fn begin(data: &Path) -> io::Result<()> {
    let mut file = File::create(data.join(NAME))?;
    file.write_all(TEXT.as_bytes())?;
    file.sync_all()?;
    sync(data)
}

/// Says that it has come to its end.
///
/// # Errors
/// What the operating system says.
pub fn end(data: &Path) -> io::Result<()> {
    fs::remove_file(data.join(NAME))?;
    sync(data)
}

/// The file that says so, where one has begun and not come to its end.
#[must_use]
pub fn of(data: &Path) -> Option<PathBuf> {
    Some(data.join(NAME)).filter(|file| file.symlink_metadata().is_ok())
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
