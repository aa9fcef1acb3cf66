//! The first start of all: an administrator, whose random password lies in a file that only the server's user reads.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use shared::secret::Secret;
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroize;

use crate::{
    accounts::{
        self, Accounts, Refusal,
        names::{NameError, folded},
        principals::NewUser,
    },
    identity::{
        passwords::{Passwords, check_new, random_password},
        queue::Busy,
    },
    key_files,
    permissions::SystemRole,
};

/// What the first administrator is called.
pub const FIRST_ADMINISTRATOR: &str = "admin";
/// The file, in the data directory.
const FILE: &str = "admin-password";

/// The first administrator could not be made.
#[derive(Debug, Error)]
pub enum FirstStartError {
    /// The file cannot be written or read.
    #[error("{}: {error}", path.display())]
    File {
        /// Where it lies.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The accounts cannot be written.
    #[error(transparent)]
    Accounts(#[from] accounts::Error),
    /// The constant name is a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The password was not hashed.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Where the first administrator's password lies until it is changed.
#[derive(Clone, Debug)]
pub struct FirstPassword {
    path: PathBuf,
}

impl FirstPassword {
    /// The file of this data directory.
    #[must_use]
    pub fn in_directory(data: &Path) -> Self {
        Self { path: data.join(FILE) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the first administrator if there never was a user; true if it did.
    ///
    /// The file comes before the account: a crash between leaves a password that opens nothing, and the next start gives it to the
    /// account; never an account whose password nobody knows. Of two replicas one makes the account, and the other removes its file.
    ///
    /// # Errors
    /// [`FirstStartError`].
    pub async fn make(&self, accounts: &Accounts, passwords: &Passwords) -> Result<bool, FirstStartError> {
        if !accounts.untouched().await? {
            return Ok(false);
        }
        let password = self.password()?;
        let user = NewUser {
            handle: FIRST_ADMINISTRATOR.parse()?,
            display_name: String::new(),
            system_role: Some(SystemRole::Administrator),
            password: Some(passwords.hash(&password).await?),
        };
        match accounts.create_first_user(user).await {
            Ok(_) => {
                info!(file = %self.path.display(), "made the account admin; its password lies in the file");
                Ok(true)
            }
            Err(accounts::Error::Refused(Refusal::AlreadyStarted | Refusal::NameTaken(_))) => {
                self.remove();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the file once the account has another password.
    pub fn forget(&self, handle: &str) {
        if folded(handle) == FIRST_ADMINISTRATOR {
            self.remove();
        }
    }

    /// What the file holds, written now unless an earlier start was cut off behind this point.
    fn password(&self) -> Result<Secret<String>, FirstStartError> {
        let at = |error| FirstStartError::File { path: self.path.clone(), error };
        let mut line = format!("{}\n", random_password().expose());
        let made = key_files::make_once(&self.path, line.as_bytes());
        line.zeroize();
        made.map_err(at)?;
        let mut content = fs::read_to_string(&self.path).map_err(at)?;
        let password = Secret::new(content.trim_end_matches('\n').to_owned());
        content.zeroize();
        match check_new(password.expose()) {
            Ok(()) => Ok(password),
            Err(unfit) => Err(at(io::Error::new(io::ErrorKind::InvalidData, unfit))),
        }
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(file = %self.path.display(), %error, "the first password's file was not removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        accounts::tests::fixture::{Fixture, on_both},
        identity::queue::Queue,
    };

    on_both! {
        the_first_start_makes_an_administrator_whose_password_lies_in_a_closed_file
        of_two_replicas_one_makes_the_administrator
        a_start_that_was_cut_off_is_taken_up
    }

    async fn the_first_start_makes_an_administrator_whose_password_lies_in_a_closed_file(fixture: &Fixture) {
        let data = tempfile::tempdir().unwrap();
        let passwords = Passwords::new(Queue::new(1, 4));
        let first = FirstPassword::in_directory(data.path());
        assert!(first.make(&fixture.accounts, &passwords).await.unwrap());
        assert_eq!(fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let password = Secret::from(fs::read_to_string(first.path()).unwrap().trim_end());
        assert!(password.expose().len() >= 20);
        let claimed = fixture.accounts.claimed("admin").await.unwrap().unwrap();
        assert_eq!(claimed.principal.system_role, Some(SystemRole::Administrator));
        assert!(passwords.matches(&password, &claimed.proofs[0].1).await.unwrap());

        assert!(!first.make(&fixture.accounts, &passwords).await.unwrap(), "once");
        first.forget("alice");
        assert!(first.path().exists());
        first.forget("Admin");
        assert!(!first.path().exists());
        assert!(!first.make(&fixture.accounts, &passwords).await.unwrap());
        assert!(!first.path().exists());
    }

    async fn of_two_replicas_one_makes_the_administrator(fixture: &Fixture) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let passwords = Passwords::new(Queue::new(2, 4));
        let files = [one.path(), two.path()].map(FirstPassword::in_directory);
        let (first, second) =
            tokio::join!(files[0].make(&fixture.accounts, &passwords), files[1].make(&fixture.accounts, &passwords));
        assert_ne!(first.unwrap(), second.unwrap());
        assert_ne!(files[0].path().exists(), files[1].path().exists());
    }

    async fn a_start_that_was_cut_off_is_taken_up(fixture: &Fixture) {
        let data = tempfile::tempdir().unwrap();
        let passwords = Passwords::new(Queue::new(1, 4));
        let first = FirstPassword::in_directory(data.path());
        fs::write(first.path(), "left by a start that was cut\n").unwrap();
        assert!(first.make(&fixture.accounts, &passwords).await.unwrap());
        let claimed = fixture.accounts.claimed("admin").await.unwrap().unwrap();
        assert!(passwords.matches(&"left by a start that was cut".into(), &claimed.proofs[0].1).await.unwrap());
    }
}
