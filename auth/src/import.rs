//! What other programs know of accounts and rules, as a setup that can be reviewed and applied.

mod docker_auth;

use shared::settings::Placed;

pub use self::docker_auth::{Changed, Imported, Warning, docker_auth};
use crate::{
    accounts::setup::{Document, UserPart},
    identity::htpasswd::{self, FileError},
};

/// The lines of an htpasswd file as local accounts, with their hashes as they are.
///
/// # Errors
/// The first line that is refused, by its number.
pub fn htpasswd(content: &[u8]) -> Result<Document, FileError> {
    let users = htpasswd::entries(content)?.into_iter().map(|entry| {
        let hash = entry.hash().to_owned();
        Placed::nowhere(UserPart { password_hash: Some(hash), ..UserPart::named(entry.name) })
    });
    Ok(Document { users: Some(users.collect()), ..Document::default() })
}
