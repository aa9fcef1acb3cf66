//! A page of what lies under `blobs`, for the reconciler.

use std::{fs, io, path::Path};

use super::{BLOBS, Listed, StorageKey};

/// At most `limit` keys behind `after`, in bytewise order. Reads one of the 256 directories at a time.
pub(super) fn page(root: &Path, after: &str, limit: usize) -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for directory in 0..=u8::MAX {
        let prefix = format!("{BLOBS}/{directory:02x}/");
        // A directory whose every key comes before `after` has nothing to add.
        if after > prefix.as_str() && !after.starts_with(&prefix) {
            continue;
        }
        for name in names(&root.join(&prefix))? {
            let key = format!("{prefix}{name}");
            if key.as_str() <= after {
                continue;
            }
            if listed.len() == limit {
                return Ok(listed);
            }
            // A file may be deleted between the listing of its name and this look.
            if let Ok(metadata) = fs::metadata(root.join(&key)) {
                listed.push(Listed { key: StorageKey::stored(&key), size: metadata.len() });
            }
        }
    }
    Ok(listed)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(directory) {
        // A backup makes the directories that it needs.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
