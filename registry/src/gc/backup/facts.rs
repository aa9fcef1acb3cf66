//! The facts of a backup: the databases that lie in the data directory, and the keys.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use shared::database::{Reader, copy_sqlite, read_copy};

use super::{CopiedFile, Error, Event, Making};

/// The database of the auth service, where both services share the data directory.
const AUTH: &str = "auth.db";

/// The registry's own.
const REGISTRY: &str = "registry.db";

/// How often the keys may change under the copy of the database that they belong to.
const KEY_ATTEMPTS: usize = 3;

/// Files by their names.
type Keys = BTreeMap<String, Vec<u8>>;

impl Making<'_> {
    /// Copies the keys, and auth's database if that lies here too. Both are of one moment: a database whose keys were changed before it was copied could
    /// not be used with those that were copied.
    pub(super) async fn copy_secrets(&self) -> Result<Vec<CopiedFile>, Error> {
        for _ in 0..KEY_ATTEMPTS {
            let keys = self.keys().await?;
            let auth = self.copy_database(&self.target.data().join(AUTH), AUTH).await?;
            if self.keys().await? == keys {
                let mut copied = self.write_keys(keys).await?;
                copied.extend(auth);
                return Ok(copied);
            }
            let copy = self.target.facts().join(AUTH);
            self.on_disk(move || fs::remove_file(copy)).await?;
        }
        Err(Error::RestlessKeys(self.target.data().to_owned()))
    }

    /// Copies the registry's database, where it is a file.
    pub(super) async fn copy_facts(&self) -> Result<Option<CopiedFile>, Error> {
        match &self.backups.database {
            Some(path) => self.copy_database(path, REGISTRY).await,
            None => Ok(None),
        }
    }

    /// The facts to read: the copy, or where none was made what is there now.
    pub(super) async fn reader(&self) -> Result<Reader, Error> {
        Ok(match &self.backups.database {
            Some(_) => read_copy(&self.target.facts().join(REGISTRY)).await?,
            None => self.backups.metadata.read().await?,
        })
    }

    async fn copy_database(&self, from: &Path, name: &str) -> Result<Option<CopiedFile>, Error> {
        if !from.exists() {
            return Ok(None);
        }
        copy_sqlite(from, &self.target.facts().join(name)).await?;
        self.describe(name.to_owned()).await.map(Some)
    }

    async fn keys(&self) -> Result<Keys, Error> {
        let directory = self.target.data().join("keys");
        self.on_disk(move || read_keys(&directory)).await
    }

    async fn write_keys(&self, keys: Keys) -> Result<Vec<CopiedFile>, Error> {
        let (names, directory) = (keys.keys().cloned().collect::<Vec<_>>(), self.target.facts().join("keys"));
        self.on_disk(move || keys.iter().try_for_each(|(name, key)| write_key(&directory.join(name), key))).await?;
        let mut copied = Vec::with_capacity(names.len());
        for name in names {
            copied.push(self.describe(format!("keys/{name}")).await?);
        }
        Ok(copied)
    }

    /// Weighs a copy as it lies in the backup, and tells of it.
    async fn describe(&self, name: String) -> Result<CopiedFile, Error> {
        let (root, path) = (self.target.root().to_owned(), self.target.path_of(&name));
        let copied = self.on_disk(move || CopiedFile::of(&root, &path, &name)).await?;
        self.tell(Event::File(copied.clone())).await?;
        Ok(copied)
    }
}

/// Every file of the directory; none where there is no directory.
fn read_keys(directory: &Path) -> io::Result<Keys> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keys::new()),
        entries => entries?,
    };
    let mut keys = Keys::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().filter(|_| entry.path().is_file());
        if let Some(name) = name {
            keys.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(keys)
}

fn write_key(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key)?;
    file.sync_all()
}
