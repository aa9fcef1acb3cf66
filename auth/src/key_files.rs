//! Files that hold keys: private to the server's user, and either whole or not there. What is to be known of them is published the same way.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use shared::random;
use tracing::warn;

/// What a new file, and a directory that is made for it, allows to whom.
#[derive(Clone, Copy)]
struct Modes {
    file: u32,
    directory: u32,
}

const PRIVATE: Modes = Modes { file: 0o600, directory: 0o700 };
const PUBLIC: Modes = Modes { file: 0o644, directory: 0o755 };

/// Writes a file that did not exist, mode 0600; one that exists is left as it is.
///
/// It appears under its name complete and synced, so a crash leaves none rather than half of one, and of two processes that
/// make it at once one wins and the other's is dropped.
pub(crate) fn make_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let temporary = write_beside(path, bytes, PRIVATE)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(path),
    }
}

/// Writes a file, mode 0600, in the place of the one that may be there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, PRIVATE)
}

/// Writes a file that everybody may read, in the place of the one that may be there: a service under another user reads it.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, PUBLIC)
}

/// Says so if others than the owner can read the file. Volumes of a cluster may widen modes by themselves, so it is no error.
pub(crate) fn warn_if_open(path: &Path) {
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        warn!(path = %path.display(), mode = format!("{:o}", metadata.permissions().mode() & 0o777), "a key is readable by others than its owner");
    }
}

fn replace_with(path: &Path, bytes: &[u8], modes: Modes) -> io::Result<()> {
    let temporary = write_beside(path, bytes, modes)?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

fn write_beside(path: &Path, bytes: &[u8], modes: Modes) -> io::Result<PathBuf> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(modes.directory).create(directory)?;
    }
    let mut name = OsString::from(path);
    name.push(format!(".{:016x}", u64::from_ne_bytes(random::bytes())));
    let temporary = PathBuf::from(name);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(modes.file).open(&temporary).and_then(|mut file| {
            // Whatever the process's umask is.
            file.set_permissions(Permissions::from_mode(modes.file))?;
            file.write_all(bytes)?;
            file.sync_all()
        });
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            // What is half written is of no use; that it cannot be removed either adds nothing to the first error.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_from_its_first_moment_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/key.pem");
        make_once(&path, b"one").unwrap();
        make_once(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_published_can_be_read_by_another_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trust/bundle.pem");
        publish(&path, b"one").unwrap();
        publish(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(make_once(&file.join("key"), b"x").is_err());
        assert!(replace(&file.join("key"), b"x").is_err());
    }
}
