//! The data directory and the lock that makes it belong to one process.
//!
//! Keys, embedded databases, blobs and the command socket lie in it. Two processes on one SQLite file or one
//! filesystem store would each trust caches that the other invalidates, so the second is refused by name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A data directory that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    // The kernel releases the lock with the descriptor, so a killed process never leaves one behind.
    _lock: File,
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another process holds the lock.
    #[error("{} is in use by {holder}; two services apart need a data directory each", path.display())]
    Held {
        /// The directory asked for.
        path: PathBuf,
        /// Who holds it, in words ("process 4711", where it said so).
        holder: String,
    },
    /// No server was ever started there: the name is mistyped, most likely.
    #[error("{} is no data directory of Portreeve: no server was ever started there; name the one that yours runs with (--data)", path.display())]
    NotOne {
        /// The directory asked for, as it was named.
        path: PathBuf,
    },
    /// The directory cannot be made or opened.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory the operation was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Who may answer a command about a data directory.
#[derive(Debug)]
pub enum Holder {
    /// A running server; commands go to its socket.
    Server {
        /// The unix socket the server listens on.
        socket: PathBuf,
    },
    /// Nobody else: the caller holds the directory now and may open the databases.
    Caller(DataDirectory),
}

impl DataDirectory {
    /// Makes the directory where it is missing (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`DataDirectoryError::Held`] where another process has it, [`DataDirectoryError::Io`] where the system refuses.
    pub fn claim(path: &Path) -> Result<Self, DataDirectoryError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirectoryError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let path = path.canonicalize().map_err(at(path))?;
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirectoryError::Held { path, holder: holder_of(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(DataDirectoryError::Io { path: lock_path, source }),
        }
        note_holder(&mut lock).map_err(at(&lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// Finds out who answers for `path`: the server that holds it, or the caller, who holds it from now on. Nothing is made there.
    ///
    /// # Errors
    /// [`DataDirectoryError::NotOne`] where no server has ever been; else as [`DataDirectory::claim`], the holder without a socket included.
    pub fn holder(path: &Path) -> Result<Holder, DataDirectoryError> {
        if let Ok(false) = path.join(LOCK).try_exists() {
            return Err(DataDirectoryError::NotOne { path: path.to_owned() });
        }
        match Self::claim(path) {
            Ok(directory) => Ok(Holder::Caller(directory)),
            Err(DataDirectoryError::Held { path, holder }) => {
                let socket = path.join(SOCKET);
                if socket.exists() {
                    Ok(Holder::Server { socket })
                } else {
                    Err(DataDirectoryError::Held { path, holder })
                }
            }
            Err(other) => Err(other),
        }
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where commands reach the running server.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Where keys lie; made with mode 0700 where it is missing.
    ///
    /// # Errors
    /// [`DataDirectoryError::Io`] where the system refuses.
    pub fn keys(&self) -> Result<PathBuf, DataDirectoryError> {
        let keys = self.path.join("keys");
        match DirBuilder::new().recursive(true).mode(0o700).create(&keys) {
            Ok(()) => Ok(keys),
            Err(source) => Err(DataDirectoryError::Io { path: keys, source }),
        }
    }

    /// Writes a file that others read to find this server, whole or not at all.
    ///
    /// # Errors
    /// [`DataDirectoryError::Io`] where the system refuses.
    pub fn publish(&self, name: &str, text: &str) -> Result<(), DataDirectoryError> {
        let (part, whole) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        let write = || {
            fs::write(&part, text)?;
            fs::rename(&part, &whole)
        };
        write().map_err(|source| DataDirectoryError::Io { path: whole.clone(), source })
    }
}

/// The lock's name inside the directory. Every server makes it there, and nobody removes it.
const LOCK: &str = "lock";

/// The command socket's name inside the directory.
const SOCKET: &str = "portreeve.sock";

fn note_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    write!(lock, "{}", std::process::id())
}

fn holder_of(lock: &mut File) -> String {
    let mut pid = String::new();
    // The holder writes its id right after locking; in between the file may be empty.
    match lock.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => format!("process {pid}"),
        _ => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_claim_is_refused_and_names_the_holder() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDirectory::claim(&home.path().join("data")).unwrap();
        let refused = DataDirectory::claim(held.path()).unwrap_err();
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    }

    #[test]
    fn lock_goes_with_its_holder() {
        let home = tempfile::tempdir().unwrap();
        drop(DataDirectory::claim(home.path()).unwrap());
        DataDirectory::claim(home.path()).unwrap();
    }

    #[test]
    fn command_finds_the_server_by_its_socket() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDirectory::claim(home.path()).unwrap();
        assert!(matches!(DataDirectory::holder(home.path()), Err(DataDirectoryError::Held { .. })));
        fs::write(held.socket(), "").unwrap();
        assert!(matches!(DataDirectory::holder(home.path()), Ok(Holder::Server { socket }) if socket == held.socket()));
        drop(held);
        assert!(matches!(DataDirectory::holder(home.path()), Ok(Holder::Caller(_))));
    }

    #[test]
    fn a_command_makes_no_directory_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let mistyped = home.path().join("dta");
        for path in [mistyped.as_path(), home.path()] {
            let refused = DataDirectory::holder(path).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("{} is no data directory", path.display())), "{refused}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "and leaves nothing behind");
    }

    #[test]
    fn directories_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let held = DataDirectory::claim(&home.path().join("a/b")).unwrap();
        for path in [held.path(), held.keys().unwrap().as_path()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn published_file_replaces_the_former_one() {
        let home = tempfile::tempdir().unwrap();
        let held = DataDirectory::claim(home.path()).unwrap();
        held.publish("address", "http://127.0.0.1:1").unwrap();
        held.publish("address", "http://127.0.0.1:2").unwrap();
        assert_eq!(fs::read_to_string(held.path().join("address")).unwrap(), "http://127.0.0.1:2");
    }
}
