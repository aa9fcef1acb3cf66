//! A file whose content is used while the file may change: certificates, trust bundles, htpasswd files.
//!
//! Looked at about once a second when it is used, without a task of its own. What counts is the file behind the path, so the exchange of a symbolic link
//! is a change too: this is how Kubernetes updates mounted secrets.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use ring::digest::{Digest, SHA256, digest};

/// How long an answer counts before the file is looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// A file that was written this recently may be written again without a visible difference, because file times are coarse.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The parsed content of a file, kept up to date. While the file is missing or unreadable the last good value stays.
pub struct Watched<T, E> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, E>,
    value: ArcSwap<T>,
    generation: AtomicU64,
    seen: Mutex<Seen>,
}

struct Seen {
    /// `None` if the file could not be looked at, or if the same look may stand for another content.
    look: Option<Look>,
    content: Digest,
    at: Instant,
    /// The last fault, so that it is logged once.
    fault: Option<String>,
}

/// The file does not yield a value.
#[derive(Debug, thiserror::Error)]
pub enum WatchError<E> {
    /// It cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stood in the way.
        reason: io::Error,
    },
    /// It can be read but not understood.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: E,
    },
}

impl<T, E: fmt::Display> Watched<T, E> {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// The file cannot be read, or `parse` refuses it.
    pub fn open(path: impl Into<PathBuf>, parse: fn(&[u8]) -> Result<T, E>) -> Result<Self, WatchError<E>> {
        let path = path.into();
        let unreadable = |reason| WatchError::Unreadable { path: path.clone(), reason };
        let look = Look::at(&path).map_err(unreadable)?;
        let content = fs::read(&path).map_err(unreadable)?;
        let value = parse(&content).map_err(|reason| WatchError::Invalid { path: path.clone(), reason })?;
        let seen = Seen { look: look.settled(), content: digest(&SHA256, &content), at: Instant::now(), fault: None };
        Ok(Self {
            path,
            parse,
            value: ArcSwap::from_pointee(value),
            generation: AtomicU64::new(0),
            seen: Mutex::new(seen),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value, no older than a second or so.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        let seen = match self.seen.try_lock() {
            Ok(seen) => Some(seen),
            // A parser panicked over an earlier content; what was seen until then still holds.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // Whoever finds the lock taken uses what there is: somebody else is looking.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut seen) = seen
            && seen.at.elapsed() >= LOOK
        {
            self.look(&mut seen);
        }
        self.value.load_full()
    }

    /// How often the value has changed. What is derived from a value is stored under the generation read *before* it: then nothing derived from an old
    /// value is found under a new generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks at the file now.
    pub fn refresh(&self) {
        self.look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look(&self, seen: &mut Seen) {
        seen.at = Instant::now();
        // The look comes before the reading: a change in between is then seen at the next one.
        match Look::at(&self.path) {
            Ok(look) if seen.look.as_ref() == Some(&look) => {}
            Ok(look) => self.read(seen, &look),
            Err(error) => self.fault(seen, &format!("cannot read: {error}")),
        }
    }

    fn read(&self, seen: &mut Seen, look: &Look) {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) => return self.fault(seen, &format!("cannot read: {error}")),
        };
        seen.look = look.settled();
        let changed = digest(&SHA256, &content);
        if changed.as_ref() == seen.content.as_ref() {
            seen.fault = None;
            return;
        }
        match (self.parse)(&content) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                self.generation.fetch_add(1, Ordering::Release);
                seen.content = changed;
                seen.fault = None;
                tracing::info!(path = %self.path.display(), "a file has changed and was read again");
            }
            Err(error) => self.fault(seen, &error.to_string()),
        }
    }

    fn fault(&self, seen: &mut Seen, fault: &str) {
        if seen.fault.as_deref() != Some(fault) {
            tracing::error!(path = %self.path.display(), fault, "a changed file is not used; the last good content stays");
            seen.fault = Some(fault.to_owned());
        }
    }
}

impl<T, E> fmt::Debug for Watched<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What can be seen of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Follows symbolic links.
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Itself, if the next change will make it look different.
    fn settled(&self) -> Option<Self> {
        // The kernel's own times are compared here, not the program's: `Clock` has nothing to say about them.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        (now.saturating_sub(changed) > UNSETTLED).then(|| self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn number(content: &[u8]) -> Result<u32, String> {
        let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("not a number: {text:?}"))
    }

    fn watched(directory: &TempDir, content: &str) -> Watched<u32, String> {
        let path = directory.path().join("number");
        fs::write(&path, content).unwrap();
        Watched::open(path, number).unwrap()
    }

    #[test]
    fn a_change_is_seen_even_if_size_and_second_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watched(&directory, "1");
        for value in 2..9 {
            fs::write(watched.path(), value.to_string()).unwrap();
            watched.refresh();
            assert_eq!((*watched.current(), watched.generation()), (value, u64::from(value) - 1));
        }
    }

    #[test]
    fn the_same_content_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watched(&directory, "1");
        let value = watched.current();
        fs::write(watched.path(), "1").unwrap();
        watched.refresh();
        assert!(Arc::ptr_eq(&value, &watched.current()));
        assert_eq!(watched.generation(), 0);
    }

    #[test]
    fn the_last_good_value_stays_while_the_file_is_bad_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watched(&directory, "1");
        fs::write(watched.path(), "one").unwrap();
        watched.refresh();
        assert_eq!(*watched.current(), 1);
        assert!(watched.seen.lock().unwrap().fault.as_deref().unwrap().starts_with("not a number"));

        fs::remove_file(watched.path()).unwrap();
        watched.refresh();
        assert_eq!(*watched.current(), 1);

        fs::write(watched.path(), "2").unwrap();
        watched.refresh();
        assert_eq!(*watched.current(), 2);
        assert!(watched.seen.lock().unwrap().fault.is_none());
    }

    /// A mounted secret: `number -> ..data/number`, `..data -> ..v1`, and an update exchanges `..data`.
    #[test]
    fn the_exchange_of_a_symbolic_link_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (version, value) in [("..v1", "1"), ("..v2", "2")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("number"), value).unwrap();
        }
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/number", root.join("number")).unwrap();
        let watched = Watched::open(root.join("number"), number).unwrap();
        assert_eq!(*watched.current(), 1);

        symlink("..v2", root.join("..next")).unwrap();
        fs::rename(root.join("..next"), root.join("..data")).unwrap();
        watched.refresh();
        assert_eq!(*watched.current(), 2);
    }

    #[test]
    fn using_the_value_looks_at_the_file_when_a_second_has_passed() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watched(&directory, "1");
        fs::write(watched.path(), "2").unwrap();
        assert_eq!(*watched.current(), 1, "it was looked at just now");
        watched.seen.lock().unwrap().at -= LOOK;
        assert_eq!(*watched.current(), 2);
    }

    #[test]
    fn a_parser_that_panicked_once_does_not_end_the_watch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let touchy = |content: &[u8]| if content == b"panic" { panic!("on purpose") } else { number(content) };
        let watched = Watched::open(path, touchy).unwrap();
        fs::write(watched.path(), "panic").unwrap();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watched.refresh())).unwrap_err();
        fs::write(watched.path(), "2").unwrap();
        watched.seen.lock().unwrap_or_else(PoisonError::into_inner).at -= LOOK;
        assert_eq!(*watched.current(), 2);
    }

    #[test]
    fn what_cannot_be_used_at_first_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let missing = Watched::open(&path, number).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("cannot read {}", path.display())), "{missing}");
        fs::write(&path, "one").unwrap();
        let invalid = Watched::open(&path, number).unwrap_err().to_string();
        assert_eq!(invalid, format!("{}: not a number: \"one\"", path.display()));
    }
}
