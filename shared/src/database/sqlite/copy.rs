//! A copy of a database that somebody writes, and looking into one that nobody writes.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sqlx::ConnectOptions;
use tokio::task;

use super::{Lent, Readers, common, reading};
use crate::database::DatabaseError;

/// Copies a database into a file that is not there yet (mode 0600), as it stands at one moment. Everything that was committed before the call is in it;
/// whoever writes meanwhile goes on. The copy is one synced file without a log beside it.
///
/// `VACUUM INTO` and not SQLite's step by step copy: that one begins anew whenever another connection writes, and beside a busy registry would never end.
pub(in crate::database) async fn copy(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let refused = |reason: String| DatabaseError::Copy { location: from.display().to_string(), reason };
    // SQLite would make the file with a mode that others can read; an empty one it takes.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to);
    made.map_err(|error| refused(format!("{}: {error}", to.display())))?;
    // Reads and writes the whole database: nothing for a thread that serves requests.
    let (source, target) = (from.clone(), to.clone());
    let copying = task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(async {
            let mut connection = common(&source).connect().await.map_err(|error| error.to_string())?;
            let into = format!("VACUUM INTO {}", quoted(&target)?);
            connection.command(&into).map_err(|error| error.to_string())
        })
    });
    let copied: Result<(), String> = copying.await.map_err(|error| refused(error.to_string()))?;
    copied.map_err(refused)?;
    sync(&to).map_err(|error| DatabaseError::Copy { location: to.display().to_string(), reason: error.to_string() })
}

/// SQLite syncs a copy that it makes so only now and then.
fn sync(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    let directory = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::File::open(directory)?.sync_all()
}

/// A path as a text of SQL.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is no text", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// A connection to a copy, which changes nothing, not even its schema.
pub(in crate::database) async fn look_into(path: &Path) -> Result<Lent, DatabaseError> {
    Readers::new(reading(path)).lend().await
}
