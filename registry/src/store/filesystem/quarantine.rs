//! Bytes that are put aside: `<root>/quarantine/<key>`, and `<root>/quarantine/LIST`, which says of each what is known.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::sync_directory_of;
use crate::failpoints::{Point, reach};

/// The directory, under the root.
const QUARANTINE: &str = "quarantine";

/// What stands at the beginning of the list.
const HEAD: &str = "\
# Files that the doctor or a restore put aside: no row knew them, or no repository held them.
# Each line: when, where the file lay below this data directory, how many bytes, what they hash to.
# The file itself lies here under the same path. To have it back as a blob, push it to a repository
# under its digest. A file that nobody misses may be deleted; nothing here is ever read again.
";

/// How many files of one name are kept apart.
const SAME_NAMES: u32 = 1000;

/// Moves the file of a key aside and writes down what is known of it; false if there is no file. The line comes first: a crash leaves a line too many, never
/// a file that nobody knows.
pub(super) fn move_aside(root: &Path, key: &str, line: &str) -> io::Result<bool> {
    let from = root.join(key);
    if !fs::exists(&from)? {
        return Ok(false);
    }
    let to = free_name(&root.join(QUARANTINE).join(key))?;
    make_directories(root, &to)?;
    write_down(&root.join(QUARANTINE).join("LIST"), line)?;
    reach(Point::StrayListed)?;
    fs::rename(&from, &to)?;
    reach(Point::StrayMoved)?;
    sync_directory_of(&to)?;
    sync_directory_of(&from)?;
    Ok(true)
}

/// Makes the directories of a path below the root, durably.
fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for directory in directory.ancestors() {
        File::open(directory)?.sync_all()?;
        if directory == root {
            break;
        }
    }
    Ok(())
}

fn write_down(list: &Path, line: &str) -> io::Result<()> {
    let new = !fs::exists(list)?;
    let mut file = OpenOptions::new().create(true).append(true).open(list)?;
    if new {
        file.write_all(HEAD.as_bytes())?;
    }
    writeln!(file, "{line}")?;
    file.sync_data()?;
    sync_directory_of(list)
}

/// A name that nothing has: what was put aside before stays.
fn free_name(wanted: &Path) -> io::Result<PathBuf> {
    let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 0..SAME_NAMES {
        let path = if number == 0 { wanted.to_owned() } else { wanted.with_file_name(format!("{name}.{number}")) };
        if !fs::exists(&path)? {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
