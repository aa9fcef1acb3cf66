//! What this server knows to have sealed, kept beside the database and not in it: a trail whose end was cut off together with its
//! checkpoints is whole by itself, and only somebody who has seen more can tell.

use std::{io, path::PathBuf};

use super::verify::Head;
use crate::key_files;

/// The file in the data directory.
const FILE: &str = "audit-head";

/// The file that remembers the end of the chain.
#[derive(Clone, Debug)]
pub struct Witness {
    path: PathBuf,
}

impl Witness {
    /// That of a data directory.
    #[must_use]
    pub fn in_directory(data: &std::path::Path) -> Self {
        Self { path: data.join(FILE) }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The last row that was seen; None if none was.
    ///
    /// # Errors
    /// There is a file and it cannot be read, or says something else. It is not taken for none: emptying it would be too easy.
    pub fn head(&self) -> io::Result<Option<Head>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let head = text.trim().parse::<Head>();
        head.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Remembers the end of the chain.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(&self, head: Head) -> io::Result<()> {
        key_files::replace(&self.path, format!("{head}\n").as_bytes())
    }
}
