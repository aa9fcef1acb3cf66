//! Which boot of the machine this is. Bytes that were written but not synced survive the end of a process, not that of a boot.

use std::{fs, sync::OnceLock};

/// The kernel's name for this boot; where there is none, one of this process, which only makes resumed uploads be hashed again.
pub(crate) fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => format!("process-{:032x}", u128::from_le_bytes(shared::random::bytes())),
    })
}
